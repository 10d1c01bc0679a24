"""A session that tried learning rates ends with the best per task, and with how to go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import synthetic
from bsr.experiments import Grid, plan
from bsr.plugin.session import Session
from bsr.plugin.summary import best_rates_found
from bsr.run import Run


def said(best: float, **changes: Any) -> list[str]:
    """What a session says whose error grows with the distance from the rate `best`."""
    grid = Grid(tasks=("left",), dataset="mine:discs", runs=1, evaluate_on="validation", **changes)
    runs = plan(("learning-rate",), grid)["learning-rate"].values()
    results = {
        run.key: replace(synthetic.result(run), test_mse=(9.0,) * run.evaluations + (_error(run, best),))
        for run in runs
    }
    session = SimpleNamespace(
        options=SimpleNamespace(grid=grid, json=Path("rates.json")),
        header=SimpleNamespace(cases={key: {"learning-rate": ""} for key in results}),
        results=results,
    )
    return best_rates_found(cast("Session", session))


def _error(run: Run, best: float) -> float:
    return max(run.learning_rate / best, best / run.learning_rate)


def test_the_best_rate_of_a_task_is_named_with_the_option_that_gives_it() -> None:
    assert said(best=0.001) == [
        "left: of 12 rates 0.001 is best on validation images",
        "give the best by --bsr-learning-rates left=0.001",
        "look round the best by the same command with --bsr-refine rates.json and another --benchmark-json",
    ]


def test_a_best_rate_at_an_edge_says_that_a_better_one_may_lie_beyond() -> None:
    assert said(best=5.0)[0] == (
        "left: of 12 rates 0.1 is best on validation images, the highest that was tried: a better one may "
        "lie beyond"
    )
    assert "the lowest that was tried" in said(best=1e-9)[0]


def test_beyond_the_edge_of_a_second_look_lies_a_tuning_round_it() -> None:
    *_, last = said(best=5.0, refine_around=(("left", 0.1),))
    assert last == (
        "look further by pytest benchmarks --bsr-preset tune --bsr-learning-rates left=0.2 "
        "--bsr-tasks left --bsr-dataset mine:discs --benchmark-json=tune.json"
    )


def test_a_second_look_without_an_edge_needs_no_third() -> None:
    assert len(said(best=0.1, refine_around=(("left", 0.1),))) == 2
