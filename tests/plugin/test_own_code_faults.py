"""Own code that raises, changes what it is given, differs per call or shares state: named at once."""

from __future__ import annotations

import asyncio
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bsr.compute import in_process
from bsr.compute.in_process import UntrainableError, altered, check_trainable, compute
from bsr.data import images as data
from bsr.data.images import load_images, load_split
from bsr.data.label_check import labels
from bsr.model import ModelError, check, network
from bsr.own.named import NamedError, look_up
from bsr.own.network import handed_out_before
from bsr.run import Execution, Run
from bsr.text.strict_json import one_line, plain

NAME = "own_faults"
IMAGES = torch.randint(0, 256, (300, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
RUN = Run(
    task=f"{NAME}:task",
    model=f"{NAME}:Net",
    dataset=f"{NAME}:blobs",
    batch_size=8,
    seed=0,
    learning_rate=0.001,
    epochs=1,
    train_images=200,
    test_images=100,
)


class Net(nn.Module):
    """The network that nothing is amiss with."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(36, 1)

    def forward(self, images: Tensor) -> Tensor:
        prediction: Tensor = self.linear(images.flatten(1)).squeeze(1)
        return prediction


def blobs() -> tuple[Tensor, Tensor]:
    return IMAGES[:200], IMAGES[200:]


def mean(images: Tensor) -> Tensor:
    return images.double().mean((1, 2)).float()


@contextmanager
def module(**its: Any) -> Iterator[types.ModuleType]:
    """A user's module for as long as it is wanted."""
    made = types.ModuleType(NAME)
    made.__dict__.update({"Net": Net, "blobs": blobs, "task": mean} | its)
    sys.modules[NAME] = made
    data._images.cache_clear()
    data._labels.cache_clear()
    in_process._PIXELS.clear()
    try:
        yield made
    finally:
        del sys.modules[NAME]
        data._images.cache_clear()
        data._labels.cache_clear()


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_arguments: object) -> None:
        raise error

    return call


def network_of(forward: Callable[[Net, Tensor], Any], base: type[Net] = Net) -> type[nn.Module]:
    return type("Own", (base,), {"forward": forward})


ENDINGS = st.sampled_from(
    [
        SystemExit(0),
        SystemExit("bye"),
        GeneratorExit(),
        asyncio.CancelledError(),
        pytest.exit.Exception("no more"),
        pytest.skip.Exception("not me"),
        BaseException(1, 2),
        type("Mine", (BaseException,), {})("mine"),
        StopIteration(3),
        MemoryError(),
        KeyError("k"),
        LookupError(),
        RecursionError("deep"),
        ExceptionGroup("several", [ValueError("one")]),
    ]
)
PLACES = st.sampled_from(["blobs", "task", "Net", "forward"])


@given(ENDINGS, PLACES)
def test_whatever_own_code_raises_is_one_line_before_the_first_case_that_says_where(
    error: BaseException, place: str
) -> None:
    its: dict[str, Any] = (
        {place: raising(error)} if place != "forward" else {"Net": network_of(raising(error))}
    )
    where = {"blobs": "data set", "task": "task"}.get(place, "network")
    with module(**its):
        with pytest.raises(UntrainableError) as refused:
            check_trainable([RUN])
        said = str(refused.value)
        assert said.startswith(f"{where} '{NAME}:")
        assert type(error).__name__ in said
        assert "\n" not in said


@pytest.mark.parametrize(
    "error", [SystemExit(0), GeneratorExit(), pytest.exit.Exception("no more"), KeyError("k")]
)
def test_a_run_whose_own_code_raises_anything_has_failed_and_the_next_goes_on(error: BaseException) -> None:
    with module(Net=network_of(raising(error))):
        failed = compute(RUN, Execution(threads=1)).result
    assert failed.status == "failed"
    assert failed.message.startswith(f"{type(error).__name__}:")


@given(ENDINGS)
def test_whatever_an_import_raises_is_a_name_that_stands_for_nothing(error: BaseException) -> None:
    """With a remedy that helps: the folder is found."""

    class Finder:
        @staticmethod
        def find_spec(name: str, *_others: object) -> None:
            if name == "own_import":
                raise error

    sys.meta_path.insert(0, Finder)
    try:
        with pytest.raises(NamedError) as refused:
            look_up("task", "own_import:task", {})
    finally:
        sys.meta_path.remove(Finder)
    assert type(error).__name__ in str(refused.value)
    assert str(refused.value).endswith("; mend the module")


def test_ctrl_c_in_own_code_ends_the_session_as_anywhere() -> None:
    with module(task=raising(KeyboardInterrupt())), pytest.raises(KeyboardInterrupt):
        check_trainable([RUN])


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("def (", "SyntaxError", "mend the module"),
        (
            "import own_nowhere",
            "ModuleNotFoundError",
            "install own_nowhere there, or put its folder on PYTHONPATH",
        ),
        ("from json import nothing", "ImportError", "mend the module"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(own_broken.py, line 1\)", "mend the module"),
        ("tsak = 1", "AttributeError", "name something that the module has, such as tsak"),
        ("None.task", "AttributeError", "mend the module"),
    ],
)
def test_the_remedy_is_for_what_is_amiss(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str, said: str, remedy: str
) -> None:
    (tmp_path / "own_broken.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_broken", raising=False)
    with pytest.raises(NamedError, match=f"got {said}.*; {remedy}$"):
        look_up("task", "own_broken:task", {})


CALLS = itertools.count()
NEIGHBOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "its position": lambda found, _images: torch.arange(len(found)).float(),
    "the one before": lambda found, _images: found.roll(1),
    "the first": lambda found, _images: found[0].expand(len(found)),
    "the largest": lambda found, _images: found.max().expand(len(found)),
    "how many there are": lambda found, _images: torch.full_like(found, len(found)),
    "the last batch's rest": lambda found, _images: torch.full_like(found, len(found) % 3),
    "chance": lambda found, _images: torch.rand(len(found)),
    "the call": lambda found, _images: torch.full_like(found, next(CALLS)),
}


@given(st.sampled_from(list(NEIGHBOURS)), st.floats(0.5, 100), st.integers(2, 300))
def test_a_label_that_depends_on_more_than_its_image_is_refused(of: str, much: float, count: int) -> None:
    def task(images: Tensor) -> Tensor:
        found = mean(images)
        return found + much * NEIGHBOURS[of](found, images)

    with (
        module(task=task),
        pytest.raises(ValueError, match="the same label alone and among others.*targets$"),
    ):
        labels(IMAGES[:count], RUN.task)


@given(st.floats(-1e6, 1e6), st.integers(1, 300))
def test_a_label_of_its_image_alone_is_not(offset: float, count: int) -> None:
    with module(task=lambda images: mean(images) * 3 + offset):
        assert torch.equal(labels(IMAGES[:count], RUN.task), mean(IMAGES[:count]) * 3 + offset)


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "zeroed": lambda images: images.zero_(),
    "sorted": lambda images: images.copy_(images.flatten(1).sort(1).values.view_as(images)),
    "one pixel": lambda images: images[0, 0, 0].add_(1),
    "through numpy": lambda images: images.numpy().fill(7),
    "resized": lambda images: images.resize_(1),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_task_that_changes_its_images_changes_them_for_nobody_else(how: str) -> None:
    def task(images: Tensor) -> Tensor:
        found = mean(images)
        CHANGES[how](images)
        return found

    before = IMAGES.clone()
    with module(task=task):
        check_trainable([replace(RUN, model=f"{NAME}:Net")])
        assert torch.equal(load_split(RUN).train_labels, mean(before[:200]))
        images = load_images(RUN.dataset)
        assert torch.equal(torch.cat([images.train, images.test]), before)


def test_an_array_that_changes_after_a_data_set_gave_it_is_noticed() -> None:
    given = [IMAGES[:200].clone().numpy(), IMAGES[200:].clone().numpy()]
    with module(blobs=lambda: given):
        load_images(RUN.dataset)
        assert altered(RUN.dataset) == ""
        given[0][:] = 0
        assert "expected its pixels as they were loaded" in altered(RUN.dataset)


def test_read_only_arrays_are_as_good_as_others() -> None:
    given = [part.numpy().copy() for part in blobs()]
    for part in given:
        part.flags.writeable = False
    with module(blobs=lambda: given):
        check_trainable([RUN])


def test_pixels_that_were_changed_in_this_process_are_no_result_s() -> None:
    def forward(net: Net, images: Tensor) -> Tensor:
        if len(images) == 100:  # the test images, which only the training sees
            load_images(RUN.dataset).train[3] = 9
        return Net.forward(net, images)

    with module(Net=network_of(forward)):
        check_trainable([RUN])
        computed = compute(RUN, Execution(threads=1))
        assert computed.result.status == "failed"
        assert "they were changed in place; change a copy" in computed.result.message
        assert computed.spent == altered(RUN.dataset)


CACHED = Net()
POOL = itertools.cycle([Net(), Net(), Net()])
BACKBONE = nn.Linear(36, 1)


def _with(part: str, value: Any) -> Net:
    net = Net()
    setattr(net.linear if part == "weight" else net, part, value)
    return net


REPEATED: dict[str, Callable[[], nn.Module]] = {
    "the same instance": lambda: CACHED,
    "a cached submodule": lambda: _with("linear", BACKBONE),
    "a cached parameter": lambda: _with("weight", CACHED.linear.weight),
    "a new parameter of cached numbers": lambda: _with("weight", nn.Parameter(CACHED.linear.weight.data)),
    "a part of cached numbers": lambda: _with("weight", nn.Parameter(CACHED.linear.weight.data[:1])),
    "one of three instances": lambda: next(POOL),
}


@pytest.mark.parametrize("how", REPEATED)
def test_weights_that_were_handed_out_are_refused_when_seen_again(how: str) -> None:
    with (
        module(Net=REPEATED[how]),
        pytest.raises(ModelError, match="expected weights of its own at every call, got"),
    ):
        for _ in range(4):
            network(RUN.model)


def test_a_buffer_that_all_share_is_refused_and_a_copy_of_it_is_not() -> None:
    constant = torch.ones(3)

    def sharing(copied: bool) -> nn.Module:
        net = Net()
        net.register_buffer("constant", constant.clone() if copied else constant)
        return net

    assert not any(handed_out_before(sharing(copied=True)) for _ in range(3))
    assert [handed_out_before(sharing(copied=False)) for _ in range(2)] == ["", "constant"]


def test_memory_that_was_given_back_may_be_anothers() -> None:
    for _ in range(200):
        assert not handed_out_before(Net())


def _frozen() -> nn.Module:
    return Net().requires_grad_(requires_grad=False)


def _in_training(change: Callable[[Tensor], Any]) -> type[nn.Module]:
    return network_of(
        lambda net, images: change(Net.forward(net, images)) if net.training else Net.forward(net, images)
    )


def _always(change: Callable[[Tensor], Any]) -> type[nn.Module]:
    return network_of(lambda net, images: change(Net.forward(net, images)))


def _state(total: Tensor) -> type[nn.Module]:
    return network_of(lambda net, images: Net.forward(net, images) + total.add_(1))


def _per_call(count: Iterator[int] | None = None) -> Callable[[], nn.Module]:
    numbers = count or itertools.count()

    def make() -> nn.Module:
        net = Net()
        net.dropout = nn.Dropout(next(numbers) / 1000)
        return net

    return make


def _other_weights(numbers: Iterator[int]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Net()
        nn.init.constant_(net.linear.weight, next(numbers))
        return net

    return make


def _whole() -> nn.Module:
    net = Net()
    net.index = nn.Parameter(torch.arange(3), requires_grad=False)
    return net


def _few_only(net: nn.Module, images: Tensor) -> Tensor:
    if net.training and len(images) < 8:
        raise ValueError("expected more than one value per channel")
    return Net.forward(net, images)  # type: ignore[arg-type]


UNFIT: dict[str, tuple[Callable[[], Any], str]] = (
    {
        "frozen": (_frozen, "expected parameters to train, got none"),
        "whole parameters": (_whole, "expected floating parameters, got index, torch.int64"),
        "detached": (_always(Tensor.detach), "expected predictions with a gradient"),
        "detached in training": (_in_training(lambda y: y.detach()), "expected predictions with a gradient"),
        "a gradient of nothing": (
            _always(lambda y: y.detach() + torch.zeros(1, requires_grad=True)),
            "expected predictions with a gradient of the parameters",
        ),
        "whole": (_always(lambda y: y.round().long()), "expected floating predictions, got torch.int64"),
        "whole in training": (_in_training(lambda y: y.long()), "expected floating predictions"),
        "a column in training": (_in_training(lambda y: y.unsqueeze(1)), r"got \[8, 1\]; end it with"),
        "a number in training": (_in_training(lambda y: y.mean()), r"got \[\]; end it with"),
        "a tuple in training": (_in_training(lambda y: (y, y)), "got tuple; end it with"),
        "state": (_state(torch.zeros(1)), "expected the same predictions of the same images at every call"),
        "chance": (_always(lambda y: y + torch.rand(1, generator=DRAW)), "expected the same predictions"),
        "chance in training": (
            _in_training(lambda y: y * torch.rand(1, generator=DRAW)),
            "expected the same predictions",
        ),
        "another at every call": (_per_call(), r"expected one network at every call, got dropout: .*p=0.0"),
        "other weights at every call": (
            _other_weights(itertools.count()),
            "expected one seed to give one network",
        ),
        "small batches": (
            network_of(_few_only),
            "expected one for images of 6x6, got expected more than one value",
        ),
    }
    if (DRAW := torch.Generator().manual_seed(0))
    else {}
)


@pytest.mark.parametrize("how", UNFIT)
def test_a_network_that_cannot_be_trained_is_refused_before_the_first_case(how: str) -> None:
    kind, said = UNFIT[how]
    with module(Net=kind), pytest.raises(UntrainableError, match=said):
        check_trainable([replace(RUN, batch_size=3)])


def test_networks_that_can_be_trained_pass() -> None:
    class Rich(Net):
        """Dropout, batch normalisation, a number drawn, images changed in place, a layer that is frozen."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)
            self.drop = nn.Dropout(0.5)
            self.drawn = torch.rand(1).item()
            self.fixed = nn.Linear(36, 36).requires_grad_(requires_grad=False)

        def forward(self, images: Tensor) -> Tensor:
            images.div_(255)
            return super().forward(self.drop(self.fixed(self.norm(images).flatten(1))))

    before = IMAGES.float()
    with module(Net=Rich):
        check(RUN.model, before, [2])
        results = [compute(replace(RUN, seed=seed), Execution(threads=1)).result for seed in (0, 1)]
    assert torch.equal(before, IMAGES.float())
    assert [result.status for result in results] == ["ok", "ok"], [result.message for result in results]
    assert results[0].identity == results[1].identity
    assert results[0].probe == results[1].probe


def test_a_task_that_fails_on_more_than_a_few_images_is_refused_before_the_first_case() -> None:
    def late(images: Tensor) -> Tensor:
        return mean(images) / (images.sum((1, 2)) != IMAGES[250].sum())  # of one image infinite

    with (
        module(task=late),
        pytest.raises(UntrainableError, match=f"^task '{NAME}:task': expected finite labels"),
    ):
        check_trainable([RUN])


class Endless:
    """Whose text never comes."""

    def __str__(self) -> str:
        raise AssertionError("__str__ of a user's object was called")

    __repr__ = __str__
    __format__ = __str__  # type: ignore[assignment]


class EndlessError(Exception):
    __str__ = Endless.__str__
    __repr__ = Endless.__str__


SHAPED: dict[str, Callable[[Any], Any]] = {
    "itself": lambda value: value,
    "in a list": lambda value: [1, value],
    "in a dict": lambda value: {"a": {"b": value}},
    "as a key": lambda value: {value: 1},
    "in a tuple as a key": lambda value: {(1, value): 2},
    "in a set": lambda value: {value},
}


@pytest.mark.parametrize("how", SHAPED)
def test_the_text_of_a_user_s_object_is_never_asked_for(how: str) -> None:
    name = "tuple" if how == "in a tuple as a key" else "Endless"
    assert name in str(plain(SHAPED[how](Endless())))


@given(st.sampled_from([Exception, ValueError, KeyError, OSError, SystemExit, EndlessError, StopIteration]))
def test_nor_that_of_an_exception_made_of_one(kind: type[BaseException]) -> None:
    assert one_line(kind(Endless())).startswith(f"{kind.__name__}: ")
    assert ": 3, list" in one_line(kind(3, [Endless()]))


@pytest.mark.parametrize("base", [int, float, str, list, dict, tuple, set])
def test_a_value_of_a_class_made_from_a_plain_one_is_that_value(base: type) -> None:
    kind = type(
        "Own", (base,), {"__str__": Endless.__str__, "__repr__": Endless.__str__, "__int__": Endless.__str__}
    )
    assert plain(kind()) == plain(base())
