"""How much the batch size, the learning rate and the seed each change the final error of a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from bsr import stats
from bsr.experiments import LOG_GRID
from reports.frame import Frame, group


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects on one task's final MSE, as factors."""

    task: str
    batch_size: stats.Effect | None
    learning_rate: stats.Effect | None
    """Over the second look: the rates that are no powers of ten, and those between."""


@lru_cache(maxsize=8)
def effects(frame: Frame) -> tuple[Effects, ...]:
    """One entry per task that has something to learn."""
    return tuple(
        Effects(task, stats.effect(finals_by_size(frame, task)), stats.effect(second_look(frame, task)))
        for task in frame.learnable()
    )


def finals_by_size(frame: Frame, task: str, experiment: str = "batch-size") -> dict[int, list[float]]:
    """Batch size -> final MSE per seed."""
    return {cell.batch_size: cell.finals for cell in frame.cells(task, experiment)}


def second_look(frame: Frame, task: str) -> dict[float, list[float]]:
    """Learning rate -> final MSE per seed, over the rates around the best; empty without such a look."""
    rates = group(frame.results("learning-rate", task), lambda result: result.run.learning_rate)
    fine = [rate for rate in rates if rate not in LOG_GRID]
    if not fine:
        return {}
    return {
        rate: [result.final_mse for result in results if result.final_mse is not None]
        for rate, results in sorted(rates.items())
        if min(fine) <= rate <= max(fine)
    }
