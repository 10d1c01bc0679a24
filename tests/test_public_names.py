"""What `import bsr` gives, and what it does not load."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

import bsr

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "pytest", "matplotlib", "distributed")
LIGHT = (
    "bsr",
    "bsr.run",
    "bsr.records.schema",
    "bsr.records.durable",
    "bsr.records.journal",
    "bsr.published",
    "bsr.stats",
)
WITHOUT_HEAVY = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


def run(code: str) -> str:
    """What the code prints in a process of its own."""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_everything_that_needs_no_torch_works_without_it() -> None:
    names = "bsr.Run, bsr.Result, bsr.EXPERIMENTS, bsr.PRESETS, bsr.read"
    run(f"{WITHOUT_HEAVY}import {', '.join(LIGHT)}; {names}")


@pytest.mark.slow
def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    loaded = f"print(*[name for name in {HEAVY} if name in sys.modules])"
    assert run(f"import sys, {', '.join(LIGHT)}; {loaded}") == "\n"
    assert (
        run(f"import sys, bsr; bsr.train, bsr.load_split, bsr.TASKS, bsr.write, bsr.RegressionCNN; {loaded}")
        == "torch\n"
    )


@pytest.mark.parametrize("name", bsr.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(bsr, name)
    if callable(found):
        assert inspect.getdoc(found)
        assert not (is_dataclass(found) and (found.__doc__ or "").startswith(f"{name}(")), "the generated one"


def test_the_public_names_are_all_listed() -> None:
    assert set(bsr.__all__) == set(bsr._HOME)
    assert set(bsr.__all__) <= set(dir(bsr))
    assert bsr.__version__


def test_star_brings_the_public_names_and_nothing_else() -> None:
    names: dict[str, object] = {}
    exec("from bsr import *", names)
    assert names.keys() - {"__builtins__"} == set(bsr.__all__)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"module 'bsr' has no attribute 'trian'; it has .*train"):
        _ = bsr.trian


@pytest.mark.parametrize("name", ["Makefile", "README.md", "docs/gpu.md", ".github/workflows/ci.yml"])
def test_what_is_run_as_a_module_can_be(name: str) -> None:
    """A module that is merely imported prints nothing, and its recording had no name."""
    said = re.findall(r"-m ((?:bsr|reports)[\w.]*)", (ROOT / name).read_text(encoding="utf-8"))
    assert [module for module in said if find_spec(f"{module}.__main__") is None] == []
