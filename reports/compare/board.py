"""Many recordings as one table: which machine and engine reaches the same error soonest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Final

from bsr.result import Result
from bsr.stats.convergence import WINDOW, first_steady
from reports.compare import Comparison
from reports.compare.series import Series
from reports.text.table import Table
from reports.text.verdicts import OR_SOONER

TARGETS: Final = (0.001, 0.005, 0.01, 0.03, 0.1, 0.3)
"""Shares of the best constant's MSE, strictest first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one series needs to get to the target, at the batch size at which it is there soonest."""

    series: Series
    batch_size: int
    seconds: float
    """Geometric mean over tasks of medians over runs; infinite where one never got there."""
    error: float
    """Final, over the best constant's, likewise."""
    or_sooner: bool
    """Whether the first reading of a task's median run found it there, so that the seconds are the most."""


def ranking(comparison: Comparison) -> tuple[float, list[Standing]]:
    """The target that was asked for, else the strictest that all reach; who is there soonest comes first.

    Where none is reached by all it is the easiest.
    """
    asked = comparison.files[0].target
    for target in (asked,) if asked else TARGETS:
        found = [place for one in comparison.series if (place := _place(comparison, one, target))]
        if all(math.isfinite(place.seconds) for place in found):
            break
    return target, sorted(found, key=lambda place: (place.seconds, place.error))


def board(comparison: Comparison) -> Table:
    """A row per series, sorted by the time to the target."""
    target, found = ranking(comparison)
    speeds = {place.series.label: place.series.throughput(comparison.experiment) for place in found}
    rows = [
        {
            "series": place.series.label,
            "s to the error": place.seconds if math.isfinite(place.seconds) else None,
            "state": OR_SOONER if place.or_sooner else None,
            "batch size": place.batch_size,
            "final error": place.error,
            "images per s": speeds[place.series.label].get(place.batch_size),
            "engine": place.series.timing.engine,
            "threads": place.series.timing.threads,
            "timed": place.series.timing.mode,
            "file": place.series.data.recording.path.name,
        }
        for place in found
    ]
    share = f"{100 * target:.3g}%"
    note = (
        f"Seconds of training until the error is {share} of the best constant's (the median of three "
        "evaluations in a row), at the batch size at which that is soonest: geometric mean over the tasks of "
        "medians over runs. Final error: over the best constant's, at that batch size. Times of other modes "
        "are other questions: of several runs at once each waits for the others."
    )
    table = Table.of("comparison-board", f"Time to {share} of the best constant's error", rows, note)
    return replace(table, on_page=comparison.pairwise)  # else it stands with the comparison


def _place(comparison: Comparison, series: Series, target: float) -> Standing | None:
    """The soonest batch size; None of a series without a task that all have and that can be learned."""
    sizes: dict[int, dict[str, list[Result]]] = {}
    for cell, results in series.timed(comparison.experiment).items():
        if cell.task in _tasks(comparison):
            sizes.setdefault(cell.batch_size, {})[cell.task] = list(results.values())
    found = [_at(series, size, tasks, target) for size, tasks in sizes.items() if all(tasks.values())]
    return min(found, key=lambda place: (place.seconds, place.error), default=None)


def _tasks(comparison: Comparison) -> set[str]:
    """With something to learn, of every series."""
    rows = [{cell.task for cell in one.cells(comparison.experiment)} for one in comparison.series]
    degenerate = {task for data in comparison.files for task in data.degenerate}
    return set.intersection(*(row for row in rows if row)) - degenerate


def _at(series: Series, size: int, tasks: Mapping[str, Sequence[Result]], target: float) -> Standing:
    def middle(values: Sequence[Sequence[float]]) -> float:
        return math.exp(fmean(math.log(max(median(each), 1e-300)) for each in values))

    found = [[(result, _reading(result, target)) for result in results] for results in tasks.values()]
    seconds = [[_seconds(result, at) for result, at in row] for row in found]
    errors = [[result.normalised_mse or 1.0 for result in results] for results in tasks.values()]
    or_sooner = any(median(math.inf if at is None else at for _, at in row) <= WINDOW // 2 for row in found)
    return Standing(series, size, middle(seconds), middle(errors), or_sooner)


def _reading(result: Result, target: float) -> int | None:
    """Which evaluation, 0 the first after training began, found it there; None where none did."""
    return first_steady(result.test_mse[1:], target * (result.baseline_mse or 0.0))


def _seconds(result: Result, at: int | None) -> float:
    """Of training before that evaluation; infinite where there is none."""
    return math.inf if at is None else sum(result.training_seconds[: at + 1])
