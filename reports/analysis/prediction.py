"""Are the seconds predicted for another machine those that its own Runs took, where it has any?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import geometric_mean, median
from typing import Final, NamedTuple, TypeAlias

from bsr.result import Result
from bsr.stats.basis import Interval
from bsr.stats.soonest import TriedArm, over_reference
from reports.analysis.arms import arms_of
from reports.analysis.choosing import TARGETS, choices, no_later_than, seconds_per_update, tasks
from reports.analysis.targets import steady_from
from reports.cells import Cells

LEVELS: Final = tuple(target for target in TARGETS if target >= 0.01)
"""Errors at which it is checked: stricter ones are reached in too few evaluations apart."""

Sides: TypeAlias = tuple[list[float], list[float]]
"""Of a task and a batch size: seconds to the error as predicted, per seed here, and as measured, there."""


class Predicted(NamedTuple):
    """Seconds of training until an error is reached, geometric mean over tasks of the median over seeds."""

    batch_size: int
    target: float
    predicted: float
    """This recording's updates times the other's seconds per update."""
    measured: float
    """Of the other's own Runs."""
    an_update: float
    """Seconds that an update took there over those predicted: the machine's part, which no seed moves."""
    interval: Interval | None
    """Of measured over predicted, 95%: what the seeds of both alone make of it."""
    seeds: int
    """Of the other's, in the task that has fewest."""

    @property
    def off(self) -> float:
        """Measured over predicted."""
        return self.measured / self.predicted


def predictions(data: Cells) -> list[Predicted]:
    """By batch size and target, where both recordings trained the same, on other seeds or the same.

    Of targets that evaluations resolve: at an easier one the updates agree because nobody looked before.
    """
    there = Cells(data.on) if data.on is not None else None
    costs = _costs(data, there) if there is not None else {}
    if there is None or not costs:
        return []
    found = []
    for target in LEVELS:
        for size, cost in costs.items():
            if no_later_than(data, target, size) is not None:
                continue
            rows = [_of_task(data, there, task, target, size, cost) for task in tasks(data)]
            if rows and all(ours and theirs for ours, theirs in rows):
                predicted, measured = (
                    math.prod(median(row[side]) for row in rows) ** (1 / len(rows)) for side in (0, 1)
                )
                if math.isfinite(predicted) and math.isfinite(measured):
                    seeds = min(len(theirs) for _, theirs in rows)
                    an_update = _seconds_of_an_update(data, there, target, size) / cost
                    found.append(
                        Predicted(size, target, predicted, measured, an_update, _by_seeds(rows), seeds)
                    )
    return sorted(found, key=lambda one: (one.batch_size, one.target))


def _by_seeds(rows: Sequence[Sides]) -> Interval | None:
    """Of measured over predicted."""
    arms = [{side: [TriedArm(values, values, 0)] for side, values in enumerate(row)} for row in rows]
    return over_reference(arms, 0)[1].interval


def _costs(data: Cells, there: Cells) -> dict[int, float]:
    """Batch size -> seconds per update of the loop that trained there, timed alone; empty without it."""
    runs = [result for results in arms_of(there).with_square.values() for result in results.values()]
    if not runs:
        return {}
    engine, threads = runs[0].engine or "", runs[0].threads
    alike = (row for row in there.session.harness if row.threads == threads)
    loops = [row.loop for row in alike if row.loop.startswith(engine)]
    timed = seconds_per_update(data).items()
    return next((costs for name, costs in timed if name.startswith(tuple(loops))), {})


def _of_task(data: Cells, there: Cells, task: str, target: float, size: int, cost: float) -> Sides:
    """Infinite where it was not reached; empty where it was not trained."""
    choice = choices(data, task, target).get(size)
    if choice is None:
        return [], []
    results = arms_of(there).with_square.get(choice.training, {})
    predicted = [updates * cost for updates in choice.updates]
    return predicted, [_seconds_to(result, target) for result in results.values()]


def _seconds_of_an_update(data: Cells, there: Cells, target: float, size: int) -> float:
    """Of the Runs there, geometric mean over tasks of the median over seeds."""
    trainings = [choices(data, task, target)[size].training for task in tasks(data)]
    return geometric_mean(
        median(
            result.total_training_seconds / result.run.total_steps
            for result in arms_of(there).with_square[training].values()
        )
        for training in trainings
    )


def _seconds_to(result: Result, target: float) -> float:
    updates = steady_from(result, target)
    if updates is None:
        return math.inf
    return sum(result.training_seconds[: result.run.evaluation_steps.index(int(updates)) + 1])
