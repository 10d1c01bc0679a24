"""Which setting reaches a target soonest, where the arm of each setting was itself chosen on other runs.

A setting (a batch size) has arms (rate, schedule, budget). Each arm has updates to the target of its tuning
runs and of its reporting runs, infinite where a run never got there. The arm is chosen on tuning runs, and
judged on reporting runs; both are resampled, so that an interval holds the luck of the choice too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from bsr.stats.basis import FEWEST_FOR_AN_INTERVAL, Array, Interval, generator, percentiles

Logs: TypeAlias = Sequence[tuple[float, Array]]
"""Per task the log of the median, as measured and in every draw."""
DRAWS: Final = 2_000
NEVER: Final = 1e12
"""Updates that no training makes: where a rank needs a number for a run that never got there."""


@dataclass(frozen=True, slots=True)
class TriedArm:
    """Updates to the target, a value per seed, infinite where a run never got there."""

    tuning: Sequence[float]
    reporting: Sequence[float]
    budget: int
    """Updates that it was trained for."""


def chosen(arms: Sequence[TriedArm]) -> int:
    """Which arm: fewest misses on tuning runs, then lowest median, then longest budget."""
    return int(_rank(arms, [np.asarray(arm.tuning, dtype=np.float64)[None] for arm in arms])[0])


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much one setting needs as the reference, geometric mean over tasks of medians."""

    factor: float
    """Infinite where more than half of a task's runs never got there."""
    interval: Interval | None
    """95%, over seeds that report and seeds that tune, of the draws in which both get there."""
    lost: float = 0.0
    """Share of draws in which either never does: the tuning seeds drawn chose too short an arm."""


def over_reference(
    tasks: Sequence[Mapping[int, Sequence[TriedArm]]], reference: int, draws: int = DRAWS
) -> dict[int, Ratio]:
    """Per setting, its updates to the target over the reference's; settings that every task has.

    Seeds are whole: one draw takes the same seeds in every task and setting that has as many.
    """
    settings = sorted(set.intersection(*(set(task) for task in tasks))) if tasks else []
    if reference not in settings:
        return {}
    arms = [arm for task in tasks for setting in settings for arm in task[setting]]
    most = max(len(seeds) for arm in arms for seeds in (arm.tuning, arm.reporting))
    fewest = min(len(arm.reporting) for arm in arms)
    luck = generator().random((2, draws, most))
    logs = {setting: [_log_medians(task[setting], luck) for task in tasks] for setting in settings}
    return {
        setting: _ratio(logs[setting], logs[reference], 0 if setting == reference else fewest)
        for setting in settings
    }


def _ratio(mine: Logs, its: Logs, seeds: int) -> Ratio:
    """Of one setting over another, each with its log medians per task; no interval for fewer than 3 seeds."""
    with np.errstate(invalid="ignore"):
        point = float(np.mean([a - b for (a, _), (b, _) in zip(mine, its, strict=True)]))
        drawn = np.mean([a - b for (_, a), (_, b) in zip(mine, its, strict=True)], axis=0)
    lost = float(1 - np.isfinite(drawn).mean())
    return Ratio(math.exp(point) if math.isfinite(point) else math.inf, _interval(drawn, seeds), lost)


def _interval(drawn: Array, seeds: int) -> Interval | None:
    """Of the finite draws; None for too few seeds, or where most draws are not finite."""
    finite = drawn[np.isfinite(drawn)]
    if seeds < FEWEST_FOR_AN_INTERVAL or 2 * len(finite) < len(drawn):
        return None
    reach = percentiles(finite, 0.95)
    return Interval(math.exp(reach.low), math.exp(reach.high))


def _log_medians(arms: Sequence[TriedArm], luck: Array) -> tuple[float, Array]:
    """Of the arm that is chosen: the median of its reporting runs, as measured, and in every draw [draws]."""
    best = chosen(arms)
    picked = _rank(arms, [_drawn(arm.tuning, luck[0]) for arm in arms])
    medians = np.array([np.median(_drawn(arm.reporting, luck[1]), axis=1) for arm in arms])
    drawn = medians[picked, np.arange(len(picked))]
    return float(np.log(np.median(arms[best].reporting))), np.log(drawn)


def _drawn(values: Sequence[float], luck: Array) -> Array:
    """[draws, seeds], resampled by the shared luck, so that arms of as many seeds draw the same ones."""
    seen = np.asarray(values, dtype=np.float64)
    drawn: Array = seen[(luck[:, : len(seen)] * len(seen)).astype(int)]
    return drawn


def _rank(arms: Sequence[TriedArm], tuned: Sequence[Array]) -> Array:
    """Index of the best arm in every draw; `tuned` [draws, seeds] per arm."""
    misses = np.array([np.isinf(values).mean(axis=1) for values in tuned])
    medians = np.minimum(np.array([np.median(values, axis=1) for values in tuned]), NEVER)
    budgets = np.array([arm.budget for arm in arms], dtype=np.float64)[:, None] + 0 * medians
    best: Array = np.lexsort((-budgets, medians, misses), axis=0)[0]
    return best
