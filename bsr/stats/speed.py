"""How many times faster one series is than another, from seconds per epoch."""

import math
from collections.abc import Sequence

import numpy as np

from bsr.stats.basis import (
    Array,
    Estimate,
    PValue,
    as_array,
    exponential,
    finite_exp,
    generator,
    percentiles,
)


def speed_up(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], level: float = 0.95
) -> Estimate | None:
    """How many times as fast the second is, from seconds per epoch, [runs][epochs]; None of an empty side.

    A run's time is the median of its epochs, so that one disturbed epoch does not count; a side's is the
    geometric mean of its runs. Two-stage bootstrap (Davison and Hinkley 1997, section 3.8): runs, then epochs
    within each. With one run on a side only its epochs vary, and the reason for no p says so; the interval
    then covers one run's noise, not what another run would show. None below three epochs of a lone run.
    """
    sides = [[as_array(epochs) for epochs in side if len(epochs)] for side in (first, second)]
    if not all(sides):
        return None
    a, b = (float(np.mean([math.log(np.median(epochs)) for epochs in side])) for side in sides)
    rng = generator()
    lone = [len(side) == 1 for side in sides]
    over = "the interval is over " + ("the epochs of a single run" if any(lone) else "runs and their epochs")
    if any(len(side[0]) < 3 for side, alone in zip(sides, lone, strict=True) if alone):
        return Estimate(finite_exp(a - b), p=PValue(None, "too few epochs of a single run for an interval"))
    sample = _resampled_log_seconds(sides[0], rng) - _resampled_log_seconds(sides[1], rng)
    return Estimate(finite_exp(a - b), exponential(percentiles(sample, level)), PValue(None, over))


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
