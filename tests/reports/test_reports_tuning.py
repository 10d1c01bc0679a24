"""Tuned rates as the report shows them: a best per arm, its edge named, on validation images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import synthetic
from bsr.experiments import PRESETS
from bsr.experiments.rates import Arm
from bsr.records.reading import Recording
from bsr.run import Run
from reports.cells import Cells
from reports.chapters import figures
from reports.chapters.tuning import CHAPTER, arms

GRID = replace(PRESETS["tune"].grid, tasks=("std",), batch_sizes=(16, 1024), runs=2)
BEST = 0.002


def planted(run: Run) -> dict[str, Any]:
    """The further from BEST the rate, the higher the error."""
    away = max(run.learning_rate / BEST, BEST / run.learning_rate)
    return {"test_mse": (100.0,) * run.evaluations + (away + run.seed / 1e6,)}


def tuned() -> Cells:
    session = synthetic.session(("tune",), GRID)
    changed = tuple(
        replace(case, result=replace(case.result, **planted(case.result.run))) for case in session.cases
    )
    return Cells(Recording(path=Path("tune.json"), session=replace(session, cases=changed)))


def test_the_lowest_error_decides_per_arm() -> None:
    found = arms(tuned())
    assert {arm.batch_size for arm in found} == {16, 1024}
    (table,) = CHAPTER.tables(tuned())
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert {row["learning rate"] for row in rows} == {BEST}
    assert {row["times the study's"] for row in rows} == {2.0}


def test_a_best_rate_at_the_edge_is_named_and_gets_no_verdict() -> None:
    (finding,) = CHAPTER.findings(tuned())
    assert finding.verdict == "not shown"  # at 37,500 updates 2 is the highest power tried
    assert "std at batch size 16, 37,500 updates, linear: 0.002, at the edge" in finding.statistics


def test_errors_are_called_validation_errors() -> None:
    for figure in CHAPTER.figures:
        content = figure.draw(tuned())
        assert content is not None
        assert {panel.measure for panel in content.panels} == {"validation MSE, squared label units (log)"}
        assert "validation images" in content.caption


def test_no_figure_of_test_errors_shows_them() -> None:
    drawn = [figure.name for figure in figures() if figure.draw(tuned()) is not None]
    assert drawn == ["tuning-linear", "tuning-constant"]


def test_an_arm_reads_as_a_phrase() -> None:
    assert str(Arm("mean", 586, "linear", 16)) == "mean at batch size 16, 586 updates, linear"
