"""The recordings in reports/runs, and what README, docs and the package say by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bsr import rates
from bsr.experiments import PRESETS, plan
from bsr.reading import Recording
from reports import why
from reports.cells import Cells
from reports.chapters.anchor import finding as anchor
from reports.chapters.tuning import CHAPTER as TUNING
from reports.merge import merged, read

ROOT = Path(__file__).parents[1]
TUNING_JOURNALS = sorted((ROOT / "reports" / "runs").glob("cpu-tune*.journal.jsonl"))
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


def test_readme_and_docs_say_what_the_recordings_say() -> None:
    runs = ROOT / "reports" / "runs"
    data = recorded(*TUNING_JOURNALS, runs / "cpu-why.journal.jsonl", runs / "cpu-native.json")
    found = why.primary(data)
    assert found is not None
    factors = {name: why.factor(found.parts[name]) for name in ("updates", "rate", "batch size")}
    said = f"fewer updates {factors['updates']}, a rate tuned only at 32 {factors['rate']}"
    assert f"{said}, the batch size itself {factors['batch size']}" in prose("README.md")
    assert said in why.answer(data)
    (meets,) = anchor(data)
    assert meets.verdict == "shown"
    assert "0.970 times" in meets.sentence
    assert "0.970 times" in prose("docs/why.md")
    assert "(90% interval 0.912 to 1.03)" in meets.sentence
    assert "(90% interval 0.912 to 1.03)" in prose("docs/why.md")
    for steps, schedule in ((586, "constant"), (2_344, "linear")):
        part = why.decomposition(data, steps, schedule)
        assert part is not None
        assert why.factor(part.parts["batch size"]) in prose("docs/why.md")
