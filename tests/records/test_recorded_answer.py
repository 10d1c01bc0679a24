"""The recordings in benchmarks/results, and what README, docs and the package say by them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bsr.experiments import PRESETS, plan, rates
from bsr.records.reading import Recording
from reports.analysis import choosing
from reports.analysis import decomposition as why
from reports.cells import Cells
from reports.chapters.adam_memory import finding as adam_memory
from reports.chapters.anchor import finding as anchor
from reports.chapters.choosing import times
from reports.chapters.rate_rules import finding as rate_rules
from reports.chapters.tuning import CHAPTER as TUNING
from reports.merge import merged, read
from reports.text import listed

ROOT = Path(__file__).parents[2]
TUNING_JOURNALS = sorted((ROOT / "benchmarks" / "results").glob("cpu-tune*.journal.jsonl"))
FACTORS = re.compile("\N{MULTIPLICATION SIGN}[0-9.,]+ \\([^)]*\\)")
pytestmark = pytest.mark.skipif(not TUNING_JOURNALS, reason="recordings are in a checkout alone")


def recorded(*paths: Path) -> Cells:
    session = merged([read(path) for path in paths])
    return Cells(Recording(path=Path("answer.json"), session=session))


def prose(path: str) -> str:
    """A document with its lines joined."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def test_the_rates_that_ship_are_those_of_the_recordings() -> None:
    (table,) = TUNING.tables(recorded(*TUNING_JOURNALS))
    shipped = rates.SHIPPED.read_bytes().splitlines(keepends=True)
    assert table.csv() == b"".join(line for line in shipped if not line.startswith(b"#"))


def test_the_preset_why_takes_them() -> None:
    grid = PRESETS["why"].grid
    shipped = plan(PRESETS["why"].experiments, grid)
    assert shipped == plan(PRESETS["why"].experiments, replace(grid, rates=rates.shipped()))


@pytest.fixture(scope="module")
def data() -> Cells:
    """The recordings of the answer, as one."""
    runs = ROOT / "benchmarks" / "results"
    return recorded(*TUNING_JOURNALS, runs / "cpu-why.journal.jsonl", runs / "cpu-native.json")


def test_docs_say_which_batch_size_is_soonest(data: Cells) -> None:
    found = {one.timed: one for one in choosing.answers(data)}
    for loop in ("native, one core", "eager"):
        said = listed(
            f"{size} {times(ratio)}" for size, ratio in found[f"{loop}, alone"].ratios.items() if size > 16
        )
        assert said in prose("docs/choosing.md"), said


def test_readme_and_docs_say_what_the_recordings_say(data: Cells) -> None:
    found = why.primary(data)
    assert found is not None
    factors = {name: why.factor(found.parts[name]) for name in ("updates", "rate", "batch size")}
    said = f"fewer updates {factors['updates']}, a rate tuned only at 32 {factors['rate']}"
    assert f"{said}, the batch size itself {factors['batch size']}" in prose("README.md")
    assert said in why.answer(data)
    (rules,), (memory,), (meets,) = rate_rules(data), adam_memory(data), anchor(data)
    constant, longer = (why.decomposition(data, *arm) for arm in ((586, "constant"), (2_344, "linear")))
    var = why.decomposition(data, *why.PRIMARY, "var")
    assert constant is not None
    assert longer is not None
    assert var is not None
    parts = {
        "the rate at equal epochs": found.parts["rate at equal epochs"],
        "the rate at equal updates": found.parts["rate at equal updates"],
        "the rate of var": var.parts["rate"],
        "the study's gap": constant.parts["whole"],
        "the batch size at a constant rate": constant.parts["batch size"],
        "the batch size after more updates": longer.parts["batch size"],
    }
    missing = [name for name, part in parts.items() if why.factor(part) not in prose("docs/why.md")]
    assert not missing
    told = FACTORS.findall(rules.sentence) + FACTORS.findall(memory.sentence)[:1]
    assert len(told) == 5
    assert [factor for factor in told if factor not in prose("docs/why.md")] == []
    assert meets.verdict == "shown"
    assert "0.970 times" in meets.sentence
    assert "0.970 times" in prose("docs/why.md")
    assert "(90% interval 0.912 to 1.03)" in meets.sentence
    assert "(90% interval 0.912 to 1.03)" in prose("docs/why.md")
