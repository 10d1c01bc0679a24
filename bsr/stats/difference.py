"""Two settings: by how much a measure differs between them, and whether chance would do as much."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special

from bsr.stats.basis import (
    NO_LOGARITHM,
    RESAMPLES,
    SIGNIFICANCE,
    Array,
    Estimate,
    Interval,
    PValue,
    exponential,
    finite_exp,
    generator,
    logarithms,
)

EXACT_ARRANGEMENTS: Final = 20_000
"""Up to so many ways to deal values to two sides are counted one by one; more are drawn at random."""


def difference(
    first: Sequence[float], second: Sequence[float], *, paired: bool = False, level: float = 0.95
) -> Estimate:
    """Ratio of geometric means, second over first, with Student's interval of the logs and a permutation p.

    Unpaired: Welch's interval (1947, Biometrika 34, 28-35) and all (or 9,999 random) ways to deal the values
    to the two sides. Paired, by position: all signs of the differences. Both sides need two values for the
    interval; four for a p (paired: six). Raises ValueError for paired sides of different length.
    """
    if paired and len(first) != len(second):
        raise ValueError(f"paired: expected as many values on each side, got {len(first)} and {len(second)}")
    a, b = logarithms(first), logarithms(second)
    if a is None or b is None or not len(a) or not len(b):
        reason = "a side without values" if not first or not second else NO_LOGARITHM
        return Estimate(math.nan, p=PValue(None, reason))
    found = contrast(b - a if paired else b, None if paired else a)
    p = signs_p(b - a) if paired else _deal_p(a, b)
    n = (len(a),) if paired else (len(a), len(b))
    return Estimate(finite_exp(found.estimate), found.interval(level), p, n)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A difference of mean logs: estimate, squared standard error, degrees of freedom (0: unknown)."""

    estimate: float
    variance: float
    freedom: float

    def interval(self, level: float) -> Interval | None:
        """Student's, of the ratio that the difference stands for; None where freedom is unknown."""
        if not self.freedom:
            return None
        reach = float(special.stdtrit(self.freedom, (1 + level) / 2)) * math.sqrt(self.variance)
        return exponential(Interval(self.estimate - reach, self.estimate + reach, level))

    @property
    def p(self) -> float | None:
        """Two-sided; None where the replicates carry no spread."""
        if not self.freedom or not self.variance:
            return None
        return float(2 * special.stdtr(self.freedom, -abs(self.estimate) / math.sqrt(self.variance)))


def contrast(plus: Array, minus: Array | None = None) -> Contrast:
    """Mean of `plus`, less the mean of `minus` where given; freedom after Welch and Satterthwaite."""
    sides = [plus] if minus is None else [plus, minus]
    estimate = float(plus.mean() - (0.0 if minus is None else minus.mean()))
    if min(len(side) for side in sides) < 2:
        return Contrast(estimate, 0.0, 0.0)
    parts = [(float(side.var(ddof=1)) / len(side), len(side) - 1.0) for side in sides]
    return combined(estimate, parts)


def combined(estimate: float, parts: Sequence[tuple[float, float]]) -> Contrast:
    """A sum of independent parts, each a (variance, degrees of freedom)."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Contrast(estimate, 0.0, sum(freedom for _, freedom in parts))
    return Contrast(estimate, variance, variance**2 / sum(part**2 / freedom for part, freedom in parts))


def signs_p(differences: Array, resamples: int = RESAMPLES) -> PValue:
    """Of all (or 9,999 random) signs of paired differences; without a value below six pairs."""
    n = len(differences)
    if 2 * 0.5**n > SIGNIFICANCE:
        return PValue(None, f"{n} pairs: even if all agreed, chance would do so with p {2 * 0.5**n:.2g}")
    exact = 2**n <= EXACT_ARRANGEMENTS
    signs = _every_sign(n) if exact else _random_signs(n, resamples)
    return _share(np.abs(signs @ differences), abs(float(differences.sum())), exact=exact)


def _every_sign(n: int) -> Array:
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n)))


@lru_cache(maxsize=4)
def _random_signs(n: int, resamples: int) -> Array:
    return generator().choice([-1.0, 1.0], size=(resamples, n))


def _deal_p(a: Array, b: Array, resamples: int = RESAMPLES) -> PValue:
    n, k = len(a) + len(b), len(b)
    arrangements = math.comb(n, k)
    fewest = (2 if len(a) == len(b) else 1) / arrangements
    if fewest > SIGNIFICANCE:
        return PValue(None, f"{len(a)} against {k} values: no outcome could have a p below {fewest:.2g}")
    values = np.concatenate([a, b])
    centred = values - values.mean()
    exact = arrangements <= EXACT_ARRANGEMENTS
    if exact:
        chosen = np.array(list(itertools.combinations(range(n), k)))
    else:
        chosen = generator().permuted(np.tile(np.arange(n), (resamples, 1)), axis=1)[:, :k]
    return _share(np.abs(centred[chosen].sum(axis=1)), abs(float(centred[len(a) :].sum())), exact=exact)


def _share(sample: Array, observed: float, *, exact: bool) -> PValue:
    hits = int(np.sum(sample >= observed - 1e-9))
    return PValue(hits / len(sample) if exact else (hits + 1) / (len(sample) + 1), exact=exact)
