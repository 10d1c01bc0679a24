"""What a result names of a user's own code: an edit by its file; what is not promised goes unseen."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bsr.data import images as data
from bsr.model import identity, network
from bsr.own import code
from bsr.own.network import PROBED
from bsr.records import agreement
from bsr.result import Result, same_probe
from bsr.run import Run

FILES = {
    "own_net.py": '''
"""A network out of several files."""
from torch import nn
import own_pack.layers as layers
from own_pack import RATE

class Net(nn.Module):
    """One of them."""
    def __init__(self):
        super().__init__()
        self.flat = nn.Flatten()
        self.drop = nn.Dropout(RATE)
        self.linear = nn.Linear(784, 1)
        self.widths = [3, {"a": (1, 2)}]
        self.register_buffer("shift", layers.shift())

    def forward(self, images):
        from own_late import scaled
        return scaled(self.linear(self.drop(self.flat(images)))).squeeze(1)

def factory():
    from own_pack.factory import made
    return made(Net)
''',
    "own_pack/__init__.py": "RATE = 0.25\n",
    "own_pack/layers.py": "import torch\n\ndef shift():\n    return torch.zeros(3)\n",
    "own_pack/factory.py": "def made(kind):\n    net = kind()\n    return net\n",
    "own_late.py": (
        "import importlib\nfrom pathlib import Path\n\n"
        "def scaled(values):\n"
        "    factor = float(Path(__file__).with_name('factor.txt').read_text())\n"
        "    return values * factor * importlib.import_module('own_found').ONE\n"
    ),
    "own_found.py": "ONE = 1.0\n",
    "factor.txt": "1.0",
}
NAMES = {name for name in FILES if name.endswith(".py")}
IMAGES = torch.arange(20 * 784).reshape(20, 28, 28).remainder(251).to(torch.uint8)
RUN = Run(task="mean", batch_size=4, seed=0, learning_rate=0.001, model="own_net:factory")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder on the path; this process forgets its modules afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget()


def forget() -> None:
    """As a new process."""
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    code._KNOWN.clear()
    code._BROUGHT.clear()
    data._images.cache_clear()


def result(name: str = RUN.model) -> Result:
    """A result that says what a new process would of the network."""
    forget()
    about = identity(name, network(name), IMAGES)._asdict()
    return Result(run=replace(RUN, model=name), status="ok", **about)


def unlike(one: Result, other: Result) -> set[str]:
    """The digests that differ."""
    mine, its = one.identity, other.identity
    return {name for name in mine if isinstance(mine[name], str) and its.get(name) != mine[name]}


def test_every_file_that_a_network_reaches_is_named_with_a_digest_and_nothing_of_torch_or_python(
    folder: Path,
) -> None:
    assert dict(result().code).keys() == NAMES


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("own_late.py", "values * factor", "values * factor * 2"),  # a helper that forward calls
        ("own_pack/__init__.py", "0.25", "0.5"),  # a constant of a parent package
        ("own_net.py", "784, 1)", "784, 1, bias=True)"),
        ("own_net.py", "nn.Dropout(RATE)", "nn.Dropout(0.3)"),
        ("own_net.py", "[3, ", "[4, "),
        ("own_pack/layers.py", "torch.zeros(3)", "torch.zeros(4)"),
        ("own_pack/factory.py", "return net", "net.drop.p = 0.1\n    return net"),
        ("own_found.py", "1.0", "1.0000001"),  # which is asked for by a string
        ("own_found.py", "1.0", "1.0\nUNRELATED = 2"),
    ],
)
def test_an_edit_of_any_of_them_is_another_identity_that_names_the_file(
    folder: Path, file: str, old: str, new: str
) -> None:
    before = result()
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert f"code of {file}" in unlike(before, result())


@given(
    comments=st.lists(st.sampled_from(["# a word", "", "    # indented", "\n\n"]), min_size=1, max_size=5),
    docstring=st.text(st.characters(categories=["L", "N", "Zs"]), max_size=20),
)
def test_comments_layout_and_docstrings_are_no_other_code(comments: list[str], docstring: str) -> None:
    source = "def f(a, b):\n    return a\n\n\nclass C:\n    x = 1\n"
    lines = source.splitlines()
    for place, comment in enumerate(comments):
        lines.insert(place * 2, comment)
    documented = "\n".join(lines).replace("class C:", f'class C:\n    """{docstring}"""\n')
    plain, other = (
        code.digest_of(repr(code.canonical(ast.parse(text))).encode()) for text in (source, documented)
    )
    assert plain == other


@given(number=st.integers(2, 10**6))
def test_another_number_is_other_code(number: int) -> None:
    one, other = (
        code.digest_of(repr(code.canonical(ast.parse(f"x = {value}"))).encode()) for value in (1, number)
    )
    assert one != other


def test_what_is_installed_counts_by_its_version_and_what_is_missing_as_missing(folder: Path) -> None:
    text = (folder / "own_found.py").read_text()
    (folder / "own_found.py").write_text(
        f"import numpy, json\ntry:\n    import nowhere_at_all\nexcept ImportError:\n    pass\n{text}"
    )
    found = dict(result().code)
    assert found["numpy"] == version("numpy")
    assert found["nowhere_at_all"] == code.ABSENT
    assert found.keys() == {*NAMES, "numpy", "nowhere_at_all"}


def test_a_structure_is_told_where_the_code_is_the_same(folder: Path) -> None:
    """As where a constant comes out of a file."""
    text = FILES["own_net.py"].replace("Dropout(RATE)", "Dropout(float(HERE.read_text()) / 4)")
    here = f"from pathlib import Path\nHERE = Path({str(folder / 'factor.txt')!r})\nfrom torch"
    (folder / "own_net.py").write_text(text.replace("from torch", here))
    before = result()
    (folder / "factor.txt").write_text("2.0")
    (name,) = unlike(before, result())
    assert name.startswith("structure of own_net:factory in torch ")


def test_a_data_file_goes_unseen_by_the_digests_and_is_seen_by_the_probe(folder: Path) -> None:
    before = result()
    assert len(before.probe) > PROBED
    assert same_probe(before.probe, result().probe)
    (folder / "factor.txt").write_text("1.01")
    after = result()
    assert not unlike(before, after)
    (found,) = agreement.unlike(before.identity, after.identity)
    assert found.name == "predictions of network own_net:factory on MNIST"


def test_an_edit_of_a_file_changes_nothing_that_is_loaded(folder: Path) -> None:
    before = result()
    (folder / "own_found.py").write_text("ONE = 3.0\n")
    again = identity(RUN.model, network(RUN.model), IMAGES)
    assert again.code == before.code


def test_a_module_that_is_imported_after_an_edit_is_read_again(folder: Path) -> None:
    """Nothing was loaded of it when its digest was first asked for."""
    forget()
    code.imported("own_net")
    before = code.digests(["own_net"])
    (folder / "own_late.py").write_text(FILES["own_late.py"].replace("values *", "2 * values *"))
    network("own_net:Net")(IMAGES.unsqueeze(1).float())
    assert code.digests(["own_net"])["own_late.py"] != before["own_late.py"]


def test_what_was_recorded_before_is_held_to_what_it_recorded(folder: Path) -> None:
    now = result()
    before = replace(now, code=(), structure="", probe=())
    assert before.says_less
    assert not now.says_less
    assert not unlike(before, now)
    assert same_probe(before.probe, now.probe)
    assert unlike(replace(before, network_digest="another"), now)


def test_bsr_s_own_networks_keep_their_digest_and_have_nothing_else_to_say() -> None:
    found = identity("study", network("study"), IMAGES)
    assert found.network_digest == "1cacd33ff482"
    assert found[2:] == ((), "", ())


NUMBERS = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=PROBED, max_size=PROBED)
NORMS = st.lists(st.floats(1e-2, 1e3), min_size=1, max_size=8)


@given(NUMBERS, NORMS, st.floats(-1e-4, 1e-4))
def test_a_probe_that_differs_as_two_versions_of_torch_do_is_the_same(
    predictions: list[float], norms: list[float], noise: float
) -> None:
    probe = (*predictions, *norms)
    assert same_probe(probe, [value * (1 + noise) for value in probe])


@given(NUMBERS, NORMS, st.integers(0, 15), st.sampled_from([1.01, 0.5, 2.0, -1.0]))
def test_a_probe_of_which_one_telling_number_differs_is_another(
    predictions: list[float], norms: list[float], place: int, factor: float
) -> None:
    probe = [*predictions, *norms]
    place = place % len(probe)
    probe[place] = 2e3
    other = [value * factor if index == place else value for index, value in enumerate(probe)]
    assert not same_probe(probe, other)


def test_structure_reads_attributes_without_calling_a_method_of_a_user_s(folder: Path) -> None:
    hang: Callable[..., None] = pytest.fail
    kind = type("Silent", (list,), {"__iter__": hang, "__repr__": hang, "__str__": hang, "__len__": hang})
    made = network("own_net:Net")
    made.kept = kind()
    made.count = type("Count", (int,), {"__repr__": hang, "__str__": hang})(3)
    assert identity("own_net:Net", made).structure
