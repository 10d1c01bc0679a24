"""What several chapters ask of the data: effects, best rates, times to a target, the published beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Final, Literal

from bsr import stats
from bsr.experiments.tried_rates import Rates, at_edge, best_rate, centre, contenders
from bsr.result import Result
from reports.cells import Cells, grouped
from reports.text import listed, number, tick


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects on one task's final MSE, as factors."""

    task: str
    batch_size: stats.Effect | None
    learning_rate: stats.Effect | None
    """Over the second look: the rates that are no powers of ten, and those between."""


@lru_cache(maxsize=8)
def task_effects(data: Cells) -> tuple[Effects, ...]:
    """One entry per task that has something to learn."""
    return tuple(
        Effects(
            task, stats.effect(finals_by_size(data, task)), stats.effect(finals_of_second_look(data, task))
        )
        for task in data.learnable()
    )


def finals_by_size(data: Cells, task: str, experiment: str = "batch-size") -> dict[int, list[float]]:
    """Batch size -> final MSE per seed."""
    return {cell.batch_size: cell.finals for cell in data.cells(task, experiment)}


def finals_of_second_look(data: Cells, task: str) -> dict[float, list[float]]:
    """Learning rate -> final MSE per seed, over the rates around the best; empty without such a look."""
    rates = grouped(data.results("learning-rate", task), lambda result: result.run.learning_rate)
    fine = data.second_look(task)
    if not fine:
        return {}
    return {
        rate: [result.final_mse for result in results if result.final_mse is not None]
        for rate, results in sorted(rates.items())
        if min(fine) <= rate <= max(fine)
    }


@lru_cache(maxsize=8)
def each_doubling(data: Cells) -> stats.Doublings | None:
    """Over all tasks that have something to learn."""
    return stats.doublings(*(_curves(data, task) for task in data.learnable()))


def unmatched_doublings(data: Cells) -> str:
    """`32 to 64 (47 and 24 updates in an epoch)`: those never evaluated after the same number of updates."""
    curves = [_curves(data, task) for task in data.learnable()]
    pairs = sorted(set[tuple[int, int]]().union(*map(stats.unmatched, curves)))
    per_epoch = {size: one.steps_per_epoch for row in curves for size, one in row.items()}
    return listed(
        f"{small} to {large} ({per_epoch[small]:,} and {per_epoch[large]:,} updates in an epoch)"
        for small, large in pairs
    )


def _curves(data: Cells, task: str) -> dict[int, stats.Curves]:
    found = {}
    for cell in data.cells(task):
        errors = [[mse for mse in result.test_mse[1:] if mse is not None] for result in cell.finished]
        seeds = [result.run.seed for result in cell.finished]
        found[cell.batch_size] = stats.Curves(cell.results[0].run.steps_per_epoch, errors, seeds)
    return found


def doublings_text(found: stats.Doublings) -> str:
    """`With each doubling of the batch size the error changes by a factor of 1.3 at equal epochs, ...`."""
    return (
        "With each doubling of the batch size the error changes by a factor of "
        f"{factor_text(found.equal_epochs)} after the same number of epochs, and of "
        f"{factor_text(found.equal_updates)} after the same number of updates"
    )


def factor_text(one: stats.Estimate) -> str:
    """`0.885 (0.86 to 0.91)`."""
    ends = f" ({number(one.interval.low, 2)} to {number(one.interval.high, 2)})" if one.interval else ""
    return f"{number(one.factor, 3)}{ends}"


def best_in_words(rates: Rates) -> str:
    """`lowest at 0.001 (0.24)`, or why there is none."""
    values = contenders(rates)
    if any(min(finals) == 0 for finals in values.values()):
        return "no best rate, since some MSE is zero"
    best = best_rate(rates)
    edge = ", at the edge of the grid" if at_edge(best, rates) else ""
    return f"lowest at {tick(best)} ({number(centre(values[best]), 3)}){edge}"


TARGET: Final = 0.01
"""The stated normalised MSE of "time to converge": one per cent of the best constant's, R squared 0.99."""
Unit = Literal["epochs", "steps", "seconds"]


def target_times(results: Sequence[Result], unit: Unit) -> tuple[list[float], int]:
    """When each run reached TARGET, and how many never did."""
    moments = [reached_target(result, unit).by for result in results]
    return [moment for moment in moments if moment is not None], moments.count(None)


def middle(moments: Sequence[float], missed: int) -> float | None:
    """The median over all runs, those that never got there last; None where it is one of these."""
    if not moments:
        return None
    when = median([*moments, *[math.inf] * missed])
    return when if math.isfinite(when) else None


def reached_target(result: Result, unit: Unit, target: float = TARGET) -> stats.Reached:
    """When a run with something to learn first had a normalised MSE of `target`; see bsr.stats.reached."""
    per_epoch: dict[Unit, float | Sequence[float]] = {
        "epochs": 1.0,
        "steps": float(result.run.steps_per_epoch),
        "seconds": result.training_seconds,
    }
    return stats.reached(result.test_mse, target * (result.baseline_mse or 0.0), per_epoch[unit])


def usual_epochs(data: Cells) -> int:
    """The epochs beyond which a run counts as longer."""
    return data.epochs or max((result.run.epochs for result in data.results("longer")), default=0) // 3


COLLAPSED = 1e-3
"""A final MSE above this, squared label units, is no collapse to the degenerate task's one label."""
