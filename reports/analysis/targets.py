"""Steps to a target error at each batch size, and the critical batch size that they fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Final

from bsr import stats
from bsr.result import Result
from bsr.run import Run
from bsr.stats.convergence import WINDOW, first_steady
from reports.analysis.arms import Training, arms_of
from reports.cells import Cells

TARGETS: Final = (0.03, 0.01, 0.005)
"""Normalised test MSE: 3%, 1% and 0.5% of the best constant's."""
MIDDLE: Final = TARGETS[1]


@dataclass(frozen=True, slots=True)
class Reaching:
    """How one batch size got to a target, with that of its trainings whose median is lowest."""

    training: Training
    steps: tuple[float, ...]
    """Of the runs that got there."""
    missed: int

    @property
    def median(self) -> float:
        """Over all runs, a miss as infinitely many."""
        return median([*self.steps, *[math.inf] * self.missed])

    @property
    def rank(self) -> tuple[float, int, int]:
        """Sooner is better; else more runs that got there, else the longer training."""
        return self.median, -len(self.steps), -self.training.arm.steps


@lru_cache(maxsize=64)
def reaching(data: Cells, task: str, target: float) -> dict[int, Reaching]:
    """By batch size."""
    arms = arms_of(data)
    found: dict[int, Reaching] = {}
    for training, results in arms.trainings.items():
        if training.arm.task == task and arms.chosen(training):
            one = _reaching(training, tuple(results.values()), target)
            size = training.arm.batch_size
            found[size] = min(found.get(size, one), one, key=lambda held: held.rank)
    return dict(sorted(found.items()))


@lru_cache(maxsize=64)
def critical(data: Cells, task: str, target: float = MIDDLE) -> stats.Critical | None:
    """The fit over all batch sizes."""
    cells = reaching(data, task, target)
    return stats.critical_batch_size(
        {size: stats.Steps(one.steps, one.missed, one.training.arm.steps) for size, one in cells.items()}
    )


def _reaching(training: Training, results: Sequence[Result], target: float) -> Reaching:
    steps = [steady_from(result, target) for result in results]
    return Reaching(training, tuple(step for step in steps if step is not None), steps.count(None))


def steady_from(result: Result, target: float) -> float | None:
    """The middle of the first three probes whose median is at most `target`; None where there are none."""
    found = first_steady(result.test_mse[1:], target * (result.baseline_mse or 0.0))
    return None if found is None else float(result.run.evaluation_steps[found])


def earliest(run: Run) -> int:
    """Updates of the first reading that `steady_from` can give: who is there by then may have been sooner."""
    return run.evaluation_steps[: WINDOW // 2 + 1][-1]
