"""Two settings, two series: how much they differ, whether they are the same, and how many runs would tell."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import stats

from bsr.stats.basis import (
    NO_LOGARITHM,
    RESAMPLES,
    SIGNIFICANCE,
    Array,
    Interval,
    PValue,
    as_array,
    exponential,
    generator,
    logarithms,
    percentiles,
)

MARGIN: Final = 0.2
"""Two series within 20% of each other count as the same; ten seeds at the published spread can show that."""
POWER: Final = 0.8
EXACT_ARRANGEMENTS: Final = 20_000

Series = Mapping[Hashable, Mapping[Hashable, float]]
"""Cell (task, batch size) -> replicate (seed) -> value, one per run."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How a measure of the second setting compares with the first: ratio 1.2 is 20% more."""

    ratio: float | None
    interval: Interval | None
    p: PValue
    first: int
    second: int
    """Values on each side."""
    paired: bool = False


def difference(
    first: Sequence[float], second: Sequence[float], *, paired: bool = False, level: float = 0.95
) -> Difference:
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
        return Difference(None, None, PValue(None, reason), len(first), len(second), paired)
    contrast = _contrast(b - a if paired else b, None if paired else a)
    p = _signs_p(b - a) if paired else _deal_p(a, b)
    return Difference(math.exp(contrast.estimate), contrast.interval(level), p, len(a), len(b), paired)


@dataclass(frozen=True, slots=True)
class _Contrast:
    """A difference of mean logs: estimate, squared standard error, degrees of freedom (0: unknown)."""

    estimate: float
    variance: float
    freedom: float

    def interval(self, level: float) -> Interval | None:
        if not self.freedom:
            return None
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * math.sqrt(self.variance)
        return exponential(Interval(self.estimate - reach, self.estimate + reach, level))

    @property
    def p(self) -> float | None:
        """Two-sided; None where the replicates carry no spread."""
        if not self.freedom or not self.variance:
            return None
        return float(2 * stats.t.sf(abs(self.estimate) / math.sqrt(self.variance), self.freedom))


def _contrast(plus: Array, minus: Array | None = None) -> _Contrast:
    """Mean of `plus`, less the mean of `minus` where given; freedom after Welch and Satterthwaite."""
    sides = [plus] if minus is None else [plus, minus]
    estimate = float(plus.mean() - (0.0 if minus is None else minus.mean()))
    if min(len(side) for side in sides) < 2:
        return _Contrast(estimate, 0.0, 0.0)
    parts = [(float(side.var(ddof=1)) / len(side), len(side) - 1.0) for side in sides]
    return _combined(estimate, parts)


def _combined(estimate: float, parts: Sequence[tuple[float, float]]) -> _Contrast:
    """A sum of independent parts, each a (variance, degrees of freedom)."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return _Contrast(estimate, 0.0, sum(freedom for _, freedom in parts))
    return _Contrast(estimate, variance, variance**2 / sum(part**2 / freedom for part, freedom in parts))


def _signs_p(differences: Array, resamples: int = RESAMPLES) -> PValue:
    n = len(differences)
    if 2 * 0.5**n > SIGNIFICANCE:
        return PValue(None, f"{n} pairs: even if all agreed, chance would do so with p {2 * 0.5**n:.2g}")
    exact = 2**n <= EXACT_ARRANGEMENTS
    signs = (
        np.array(list(itertools.product([-1.0, 1.0], repeat=n)))
        if exact
        else generator().choice([-1.0, 1.0], size=(resamples, n))
    )
    return _share(np.abs(signs @ differences), abs(float(differences.sum())), exact=exact)


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


Verdict = Literal["same", "different", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two series agree in a measure, pooled over the cells that both have."""

    verdict: Verdict
    ratio: float | None
    """Second over first, the geometric mean over cells."""
    interval: Interval | None
    """95%: it excludes 1 where the series differ significantly."""
    equivalence: Interval | None
    """90%: it lies within the margin where the series are the same (two one-sided tests at 5%)."""
    p: PValue
    margin: float
    cells: int
    paired_cells: int
    """Cells whose replicates were paired."""
    replicates: float
    """Values per cell and series, on average."""
    needed: int | None
    """Replicates per cell that would show sameness with 80% power, were the series truly equal."""

    def worse_by(self, threshold: float) -> bool:
        """Whether the second series is larger by more than `threshold` (0.2 is 20%), and significantly so."""
        return (
            self.ratio is not None
            and self.ratio > 1 + threshold
            and self.interval is not None
            and self.interval.excludes(1.0)
        )

    def __str__(self) -> str:
        """`same within 20%`, `different by 23% (8 to 40)`, or `cannot tell with 3 per cell; 12 would`."""
        if self.verdict == "same":
            return f"same within {self.margin:.0%}"
        if self.verdict == "different" and self.ratio is not None and self.interval is not None:
            low, high = (100 * (bound - 1) for bound in (self.interval.low, self.interval.high))
            return f"different by {self.ratio - 1:.0%} ({low:.0f} to {high:.0f})"
        would = f"; {self.needed} would" if self.needed else ""
        return f"cannot tell with {self.replicates:.3g} per cell{would}"


def compare(first: Series, second: Series, margin: float = MARGIN) -> Comparison:
    """Whether two series are the same, different, or these runs cannot tell.

    Every cell that both have counts alike: its difference of mean logs is taken over the replicates of equal
    key where there are two or more, otherwise over all of either side. The pooled difference is their mean;
    its standard error comes from the replicates within cells (Welch-Satterthwaite) or, where a cell has fewer
    than two, from the cells' disagreement with each other. "same" needs the 90% interval within the margin on
    either side, 1 / (1 + margin) to 1 + margin (two one-sided tests, Schuirmann 1987, Journal of
    Pharmacokinetics and Biopharmaceutics 15, 657-680); "different" needs the 95% interval to exclude no
    difference; everything else is "cannot tell".

    At ten seeds in the 21 cells of mean, std and var with the published spread, two runs of one distribution
    are called different in under 1% of comparisons and the same in 99%; 30% more MSE is called different in
    100% (mean alone: 75%), 2% more in under 1%, and 20% more is called the same in 5%. A margin of 10% would
    find only half of equal runs the same. Seconds that vary by 2% between runs (as the published ones do) or
    by 10%: 30% is found in 100% and 2% never called different, even with a single run per cell.

    Give one value per run: epochs of one run are not independent replicates. What moves a whole session (a
    hot or shared machine) is in no interval that two sessions give.
    """
    contrasts, paired, counts = _per_cell(first, second)
    if not contrasts:
        nothing = PValue(None, "the series share no cell with positive values")
        return Comparison("cannot tell", None, None, None, nothing, margin, 0, 0, 0, None)
    pooled = _pooled(contrasts)
    replicates = float(np.mean(counts))
    wide, narrow = pooled.interval(0.95), pooled.interval(0.90)
    return Comparison(
        verdict=_verdict(wide, narrow, margin, spread=pooled.variance > 0),
        ratio=math.exp(pooled.estimate),
        interval=wide,
        equivalence=narrow,
        p=PValue(pooled.p, "" if pooled.p is not None else "the replicates carry no spread"),
        margin=margin,
        cells=len(contrasts),
        paired_cells=paired,
        replicates=replicates,
        needed=needed_replicates(pooled.variance, replicates, margin) if pooled.freedom else None,
    )


def _per_cell(first: Series, second: Series) -> tuple[list[_Contrast], int, list[int]]:
    """The contrast of every shared cell, how many are paired, and the values on their smaller side."""
    contrasts, paired, counts = [], 0, []
    for cell in [cell for cell in first if cell in second]:
        shared = [key for key in first[cell] if key in second[cell]]
        pair = len(shared) >= 2
        a = logarithms(first[cell][key] for key in (shared if pair else first[cell]))
        b = logarithms(second[cell][key] for key in (shared if pair else second[cell]))
        if a is None or b is None or not len(a) or not len(b):
            continue
        contrasts.append(_contrast(b - a) if pair else _contrast(b, a))
        paired += pair
        counts.append(min(len(a), len(b)))
    return contrasts, paired, counts


def _pooled(contrasts: Sequence[_Contrast]) -> _Contrast:
    estimates = np.array([contrast.estimate for contrast in contrasts])
    if all(contrast.freedom for contrast in contrasts):
        scale = len(contrasts) ** 2
        parts = [(contrast.variance / scale, contrast.freedom) for contrast in contrasts]
        return _combined(float(estimates.mean()), parts)
    return _contrast(estimates)


def _verdict(wide: Interval | None, narrow: Interval | None, margin: float, *, spread: bool) -> Verdict:
    if wide is None or narrow is None:
        return "cannot tell"
    if narrow.within(1 / (1 + margin), 1 + margin):
        return "same"
    return "different" if spread and wide.excludes(1.0) else "cannot tell"


def needed_replicates(variance: float, replicates: float, margin: float = MARGIN) -> int:
    """Replicates per cell with which two equal series are called the same in 80% of comparisons.

    `variance` is the squared standard error of the pooled log difference at `replicates` per cell. Normal
    approximation of the power of two one-sided tests at a true difference of 0 (Chow, Shao and Wang 2008,
    Sample Size Calculations in Clinical Research, section 3.2); never below two.
    """
    reach = float(stats.norm.ppf(1 - SIGNIFICANCE) + stats.norm.ppf((1 + POWER) / 2))
    return max(2, math.ceil(replicates * variance * (reach / math.log1p(margin)) ** 2))


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
        return SpeedUp(math.exp(a - b), None, "too few epochs of a single run for an interval")
    sample = _resampled_log_seconds(sides[0], rng) - _resampled_log_seconds(sides[1], rng)
    return SpeedUp(math.exp(a - b), exponential(percentiles(sample, level)), over)


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
