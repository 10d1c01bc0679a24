"""How many times faster one series is than another, from seconds per epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bsr.stats.basis import Array, Interval, as_array, exponential, finite_exp, generator, percentiles


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """How many times faster the second series is; 0.5 is half as fast."""

    ratio: float
    interval: Interval | None
    over: str
    """What the interval covers."""


def speed_up(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], level: float = 0.95
) -> SpeedUp | None:
    """Speed-up of one cell from seconds per epoch, [runs][epochs] on either side; None where a side is empty.

    A run's time is the median of its epochs, so that one disturbed epoch does not count; a side's is the
    geometric mean of its runs. Two-stage bootstrap (Davison and Hinkley 1997, section 3.8): runs, then epochs
    within each. With one run on a side only its epochs vary, and `over` says so; the interval then covers
    one run's noise, not what another run would show. None below three epochs of a lone run.
    """
    sides = [[as_array(epochs) for epochs in side if len(epochs)] for side in (first, second)]
    if not all(sides):
        return None
    a, b = (float(np.mean([math.log(np.median(epochs)) for epochs in side])) for side in sides)
    rng = generator()
    lone = [len(side) == 1 for side in sides]
    over = "runs and their epochs" if not any(lone) else "the epochs of a single run on a side"
    if any(len(side[0]) < 3 for side, alone in zip(sides, lone, strict=True) if alone):
        return SpeedUp(finite_exp(a - b), None, "too few epochs of a single run for an interval")
    sample = _resampled_log_seconds(sides[0], rng) - _resampled_log_seconds(sides[1], rng)
    return SpeedUp(finite_exp(a - b), exponential(percentiles(sample, level)), over)


def _resampled_log_seconds(runs: Sequence[Array], rng: np.random.Generator, resamples: int = 1_999) -> Array:
    """Bootstrap [resamples] of the mean over runs of the log median over epochs."""
    medians = np.stack(
        [
            np.log(np.median(epochs[rng.integers(len(epochs), size=(resamples, len(epochs)))], axis=1))
            for epochs in runs
        ]
    )
    chosen = rng.integers(len(runs), size=(resamples, len(runs)))
    return np.asarray(medians[chosen, np.arange(resamples)[:, None]].mean(axis=1))
