"""What every statistic here is built from: intervals, the bootstrap, permutations, words for too little.

All random numbers come from generators seeded here, so that the same values give the same statistic.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array: TypeAlias = NDArray[np.float64]
ByLevel: TypeAlias = Mapping[int, Sequence[float]] | Mapping[float, Sequence[float]]
"""Values by level: batch size (or learning rate) -> one value per seed, in any order."""

SIGNIFICANCE: Final = 0.05
"""How often a test may see a difference where there is none; a test that cannot reach it gives no p."""
RESAMPLES: Final = 9_999
SEED: Final = 2021
FEWEST_FOR_A_MEAN: Final = 5
"""The bootstrap of fewer cannot reach far enough; see mean_interval."""
FEWEST_FOR_AN_INTERVAL: Final = 3
"""In each of several cells, whose spreads are pooled; two values have one degree of freedom."""
MOST_AT_ONCE: Final = 4_000_000
"""Values of rearranged data that are held at once: what a larger study needs does not grow with it."""
MOST_PERMUTED: Final = 20_000_000
"""Values of all rearrangements together: 9,999 of 2,000 values, fewer of more."""
FEWEST_RESAMPLES: Final = 999
"""At any size: p is 0.001 at least, and one of 0.05 known to 0.007."""
EXACT_UP_TO: Final = 8
"""8! = 40,320 arrangements are counted one by one; more values are permuted at random."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; `level` is the share of such intervals that hold the true value."""

    low: float
    high: float
    level: float = 0.95

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside."""
        return not self.low <= value <= self.high

    def within(self, low: float, high: float) -> bool:
        """Whether the whole interval lies strictly between `low` and `high`."""
        return low < self.low and self.high < high


@dataclass(frozen=True, slots=True)
class PValue:
    """The chance of a statistic at least this extreme if only chance were at work; None with a reason."""

    value: float | None
    reason: str = ""
    """Why there is no p-value; empty where there is one."""
    exact: bool = False
    """Whether every arrangement was counted, rather than a random sample of them."""

    @property
    def significant(self) -> bool:
        """Whether there is a p-value, and it is at most SIGNIFICANCE."""
        return self.value is not None and self.value <= SIGNIFICANCE


SAME: Final = (0.8, 1.25)
"""A factor within is no effect worth the name."""
NO_TEST: Final = PValue(None, "no test of it")


@dataclass(frozen=True, slots=True)
class Estimate:
    """By which factor a measure changes: 1.2 is 20% more."""

    factor: float
    """NaN where a value is zero, so that it has no logarithm; `p` says so."""
    interval: Interval | None = None
    """95%; None where n carries none."""
    p: PValue = NO_TEST
    """Of no change."""
    n: tuple[int, ...] = ()
    """What it rests on: so many pairs or seeds, or values on either side."""
    equivalence: Interval | None = None
    """90%: where it lies within SAME, two one-sided t tests at 5% show that the factor does."""

    @property
    def no_effect(self) -> bool:
        """Whether it is shown to lie within SAME."""
        return self.equivalence is not None and self.equivalence.within(*SAME)

    @property
    def known(self) -> bool:
        """Whether there is a factor."""
        return not math.isnan(self.factor)


def generator() -> np.random.Generator:
    """A fresh generator, always in the same state."""
    return np.random.default_rng(SEED)


def as_array(values: Iterable[float]) -> Array:
    """float64 [n]. Raises ValueError where a value is not finite."""
    array = np.asarray(list(values), dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite values, got {array.tolist()}; leave out runs that have none")
    return array


def logarithms(values: Iterable[float]) -> Array | None:
    """Natural logarithms [n]; None where a value is not positive, because then there is none."""
    array = as_array(values)
    return np.log(array) if (array > 0).all() else None


NO_LOGARITHM: Final = "a value is zero, so it has no logarithm"


def by_level(cells: ByLevel) -> list[tuple[float, Array]]:
    """Cells that hold a value, smallest level first."""
    return sorted(
        ((float(level), as_array(values)) for level, values in cells.items() if len(values)), key=_level
    )


def _level(cell: tuple[float, Array]) -> float:
    return cell[0]


def log_cells(cells: ByLevel) -> list[tuple[float, Array]] | None:
    """As by_level, of natural logarithms; None where a value is not positive."""
    levels = by_level(cells)
    if any((values <= 0).any() for _, values in levels):
        return None
    return [(level, np.log(values)) for level, values in levels]


def resampled_means(cells: Sequence[Array], resamples: int, rng: np.random.Generator) -> Array:
    """Bootstrap means [resamples, cells]; seeds are resampled within each cell.

    Deviations are stretched by sqrt(n / (n - 1)), so that the spread of the means is unbiased at few seeds
    (Davison and Hinkley 1997, Bootstrap Methods and their Application, section 2.3 and 3.2).
    """
    means = np.empty((resamples, len(cells)))
    for column, values in enumerate(cells):
        n = len(values)
        deviations = (values - values.mean()) * (math.sqrt(n / (n - 1)) if n > 1 else 0.0)
        means[:, column] = values.mean() + deviations[rng.integers(n, size=(resamples, n))].mean(axis=1)
    return means


def standard_error(cells: Sequence[Array], weights: Array) -> tuple[float, float]:
    """Of a linear combination of the cells' means, and its degrees of freedom.

    Spreads may differ between cells (Welch 1947, Biometrika 34, 28-35; Satterthwaite 1946, Biometrics
    Bulletin 2, 110-114). Cells of weight 0 do not count. (0, 1) where no cell has any spread.
    """
    parts = [
        (w**2 * float(values.var(ddof=1)) / len(values), len(values) - 1)
        for w, values in zip(weights, cells, strict=True)
        if w
    ]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0, 1.0
    return math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)


def percentiles(sample: Array, level: float, freedom: float = math.inf) -> Interval:
    """The middle of a bootstrap sample [resamples], expanded for few degrees of freedom as tails_of says."""
    low, high = np.quantile(sample, special.ndtr(tails_of(level, freedom)))
    return Interval(float(low), float(high), level)


def tails_of(level: float, freedom: float) -> Array:
    """Student's quantiles [2] of an interval, to be taken where a bootstrap would take normal ones.

    Percentile intervals of few values are too short; this expands them as far as Student's are longer than
    normal ones (Hesterberg 2015, American Statistician 69, 371-386, section 3.3).
    """
    reach = (
        float(special.stdtrit(freedom, (1 + level) / 2))
        if math.isfinite(freedom)
        else special.ndtri((1 + level) / 2)
    )
    return np.array([-reach, reach])


def mean_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = RESAMPLES
) -> Interval | None:
    """Bootstrap interval of the mean; None below five values.

    Bias-corrected and accelerated (Efron 1987, JASA 82, 171-185), so that it leans towards the longer tail as
    MSEs over seeds need, and expanded for few values (see tails_of). In simulations with a log-normal of the
    published spreads (log standard deviation 0.1 to 0.6), a 95% interval of ten values holds the mean in 92
    to 95%, of five in 89 to 92%; three would give 72 to 75%, so they give none.
    """
    array = as_array(values)
    n = len(array)
    if n < FEWEST_FOR_A_MEAN:
        return None
    mean = float(array.mean())
    if np.ptp(array) == 0:
        return Interval(mean, mean, level)
    means = np.sort(array[generator().integers(n, size=(resamples, n))].mean(axis=1))
    below = (np.sum(means < mean) + np.sum(means <= mean)) / (2 * resamples)
    bias = special.ndtri(below)
    jackknife = (array - mean) / np.ptp(array)  # in units of the range: cubes of an MSE of 1e-120 underflow
    acceleration = np.sum(jackknife**3) / (6 * np.sum(jackknife**2) ** 1.5)
    tails = bias + math.sqrt(n / (n - 1)) * tails_of(level, n - 1)
    low, high = np.quantile(means, special.ndtr(bias + tails / (1 - acceleration * tails)))
    return Interval(float(low), float(high), level)


def geometric_mean(values: Sequence[float]) -> float | None:
    """The exponential of the mean logarithm; None where a value is not positive, or there is none."""
    logs = logarithms(values)
    return None if logs is None or not len(logs) else finite_exp(float(logs.mean()))


def exponential(interval: Interval | None) -> Interval | None:
    """An interval of logarithms as one of the values themselves."""
    return interval and Interval(finite_exp(interval.low), finite_exp(interval.high), interval.level)


def finite_exp(logarithm: float) -> float:
    """The exponential, at most 1e304 and at least its inverse: neither it nor its inverse is infinite."""
    return math.exp(min(max(logarithm, -700.0), 700.0))


Statistic: TypeAlias = Callable[[Array], Array]
"""Rows of rearranged values [k, n] -> their statistics [k]."""


def permutation_p(
    values: Array, statistic: Statistic, fewest: float, blocks: Sequence[int], resamples: int = RESAMPLES
) -> PValue:
    """Two-sided permutation p of `statistic`, the values exchangeable within consecutive blocks.

    `fewest` is the smallest p that any arrangement could have. Exact where there is one block of at most
    EXACT_UP_TO values; otherwise (hits + 1) / (resamples + 1), which never claims a p of zero (Phipson and
    Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9, 39). The test is valid with any
    number of them: of many values fewer are drawn, see MOST_PERMUTED.
    """
    if fewest > SIGNIFICANCE:
        return PValue(None, f"too few values to test; the smallest possible p is {fewest:.2g}")
    observed = abs(float(statistic(values[None, :])[0])) - 1e-9
    if len(blocks) == 1 and len(values) <= EXACT_UP_TO:
        arrangements = values[np.array(list(itertools.permutations(range(len(values)))))]
        return PValue(float(np.mean(np.abs(statistic(arrangements)) >= observed)), exact=True)
    resamples = min(resamples, max(FEWEST_RESAMPLES, MOST_PERMUTED // len(values)))
    rng, hits, left = generator(), 0, resamples
    at_once = max(1, MOST_AT_ONCE // len(values))
    while left:
        rows = min(left, at_once)
        hits += int(np.sum(np.abs(statistic(shuffled(values, blocks, rows, rng))) >= observed))
        left -= rows
    return PValue((hits + 1) / (resamples + 1))


def shuffled(values: Array, blocks: Sequence[int], resamples: int, rng: np.random.Generator) -> Array:
    """[resamples, n]: the values permuted at random within consecutive blocks of the given lengths."""
    parts = np.split(values, np.cumsum(blocks)[:-1])
    return np.hstack([rng.permuted(np.tile(part, (resamples, 1)), axis=1) for part in parts])
