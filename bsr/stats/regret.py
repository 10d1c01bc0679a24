"""What tuning's own luck costs: another draw of its seeds would have chosen another setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
from scipy import special

from bsr.stats.basis import Array, Estimate, Interval, PValue, exponential, finite_exp, generator
from bsr.stats.difference import contrast

DRAWS: Final = 2_000
_Key = TypeVar("_Key")


def regrets(tried: Mapping[_Key, Sequence[float]]) -> Array:
    """[DRAWS] logs of what the setting chosen by resampled seeds costs over the best of all, 0 or more.

    `tried` has the validation errors of each setting over the same tuning seeds, by position; a lost training
    is infinite, and its setting no contender. A draw takes whole seeds, so that what they share stays shared.
    """
    kept = [list(errors) for errors in tried.values() if np.isfinite(list(errors)).all()]
    if not kept:
        return np.zeros(DRAWS)
    logs = np.log(np.array(kept, dtype=np.float64))
    seeds = generator().integers(logs.shape[1], size=(DRAWS, logs.shape[1]))
    chosen = logs[:, seeds].mean(axis=2).argmin(axis=0)
    each = logs.mean(axis=1)
    return np.asarray(each[chosen] - each.min())


def student(logs: Array, luck: Array | None = None) -> Estimate:
    """What the mean of logs [seeds] stands for: Student's interval and t test, from two seeds on.

    With `luck`, draws of what tuning adds to that mean, the interval is of both together; the p is without.
    """
    found = contrast(logs)
    p = found.p
    interval = found.interval(0.95)
    if luck is not None and interval is not None:
        interval = _widened(logs, luck)
    few = PValue(None, f"{len(logs)} seeds: no spread to test against")
    tested = few if p is None else PValue(p)
    return Estimate(finite_exp(found.estimate), interval, tested, (len(logs),), found.interval(0.9))


def _widened(logs: Array, luck: Array) -> Interval | None:
    """The middle 95% of the mean's Student distribution and the luck, drawn independently."""
    n = len(logs)
    error = float(logs.std(ddof=1)) / math.sqrt(n)
    ranks = (generator().permutation(len(luck)) + 0.5) / len(luck)
    drawn = float(logs.mean()) + error * special.stdtrit(n - 1, ranks) + luck
    low, high = np.quantile(drawn, [0.025, 0.975])
    return exponential(Interval(float(low), float(high), 0.95))
