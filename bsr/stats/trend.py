"""How a measure follows the batch size: trend, slope, best place, turning point, law of growth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import optimize, stats

from bsr.stats.basis import (
    FEWEST_FOR_AN_INTERVAL,
    NO_LOGARITHM,
    RESAMPLES,
    Array,
    Cells,
    Interval,
    PValue,
    by_level,
    exponential,
    generator,
    log_cells,
    percentiles,
    permutation_p,
    resampled_means,
)

ONE_SEED: Final = "fewer than three seeds at some batch size say nothing about the spread between seeds"


@dataclass(frozen=True, slots=True)
class RankTrend:
    """Whether a measure rises or falls with the level. `rho` from -1 to 1; None where it does not vary."""

    rho: float | None
    p: PValue
    cells: int
    values: int


def rank_trend(*strata: Cells, resamples: int = RESAMPLES) -> RankTrend:
    """Spearman's rank correlation of a measure with the batch size, and its permutation p, two-sided.

    Give one mapping per task: values are ranked and permuted within each, and `rho` is their mean weighted by
    their number of values. Ranks of the measure are those of its logarithm, so zeros are welcome. Exact for
    up to eight values of one task: seven batch sizes with one seed reach at best 2/5040 and say nothing about
    the spread between seeds. (Spearman 1904; permutation: Good 2005, Permutation, Parametric and Bootstrap
    Tests, chapter 3.)

    With seven batch sizes, ten seeds and the published spread, a true 5% rise per doubling (MSE 1.34 times
    from 16 to 1024) is found in at least 80% of simulations for var and half of those for mean; shuffled
    data are called a trend in 5%.
    """
    levels, measures, blocks, arrangements = [], [], [], 1
    for stratum in strata:
        cells = by_level(stratum)
        values = np.concatenate([values for _, values in cells]) if cells else np.empty(0)
        ranks = _standard_ranks(values)
        if ranks is None or len(cells) < 2:
            continue
        level = _standard_ranks(np.concatenate([np.full(len(values), level) for level, values in cells]))
        assert level is not None
        levels.append(level)
        measures.append(ranks * len(values))
        blocks.append(len(values))
        arrangements *= _distinct_arrangements(values, [len(values) for _, values in cells])
    count, total = sum(len(by_level(stratum)) for stratum in strata), sum(blocks)
    if not blocks:
        return RankTrend(
            None, PValue(None, "fewer than two batch sizes, or values that do not vary"), count, total
        )
    x = np.concatenate(levels)
    p = permutation_p(
        np.concatenate(measures), lambda rows: rows @ x / total, 2 / arrangements, blocks, resamples
    )
    return RankTrend(float(np.concatenate(measures) @ x / total), p, count, total)


def _standard_ranks(values: Array) -> Array | None:
    """Midranks, centred, of length one as a vector; None where all are equal."""
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    return np.asarray(ranks / np.linalg.norm(ranks))


def _distinct_arrangements(values: Array, sizes: Sequence[int]) -> int:
    """In how many ways the values fall into cells of these sizes; ties among either count once."""
    ties = np.unique(values, return_counts=True)[1]
    n = len(values)
    return math.factorial(n) // max(_product_of_factorials(sizes), _product_of_factorials(ties.tolist()))


def _product_of_factorials(counts: Sequence[int]) -> int:
    return math.prod(math.factorial(count) for count in counts)


@dataclass(frozen=True, slots=True)
class Slope:
    """By which factor a measure changes with each doubling of the batch size: 1.2 is 20% more."""

    per_doubling: float | None
    interval: Interval | None
    reason: str = ""
    """Why there is no interval (or no slope at all)."""

    @property
    def significant(self) -> bool:
        """Whether the interval excludes no change."""
        return self.interval is not None and self.interval.excludes(1.0)


def slope(cells: Cells, level: float = 0.95, resamples: int = RESAMPLES) -> Slope:
    """Least-squares slope of the log measure against log2 batch size, as a factor per doubling.

    The interval resamples seeds within each batch size and needs three of them in each: it holds the batch
    sizes fixed and covers the seeds. At the published spread with ten seeds a nominal 95% interval holds the
    true slope in 93 to 95% of simulations.
    """
    logs = log_cells(cells)
    if logs is None:
        return Slope(None, None, NO_LOGARITHM)
    if len(logs) < 2:
        return Slope(None, None, "fewer than two batch sizes")
    weights = _slope_weights(logs)
    means = np.array([values.mean() for _, values in logs])
    estimate = math.exp(float(weights @ means))
    if min(len(values) for _, values in logs) < FEWEST_FOR_AN_INTERVAL:
        return Slope(estimate, None, ONE_SEED)
    sample = resampled_means([values for _, values in logs], resamples, generator()) @ weights
    return Slope(estimate, exponential(percentiles(sample, level)))


def _slope_weights(cells: Sequence[tuple[float, Array]]) -> Array:
    """The slope against log2 level is this linear combination of the cells' means."""
    x = np.log2([level for level, _ in cells])
    n = np.array([len(values) for _, values in cells], dtype=np.float64)
    centred = x - np.average(x, weights=n)
    return np.asarray(n * centred / np.sum(n * centred**2))


@dataclass(frozen=True, slots=True)
class Best:
    """Where a measure is lowest, and which other places seeds might have made the lowest."""

    level: float
    shares: Mapping[float, float]
    """Level -> share of the bootstrap samples in which it is the lowest; empty where n carries none."""
    tied: tuple[float, ...]
    """The levels that together hold `confidence` of the shares, in order: ties within seed noise.

    Empty where n carries none.
    """
    at_edge: bool
    """Whether the lowest is the first or the last level, so that the true optimum may lie outside."""
    confidence: float = 0.95
    reason: str = ""


def best(cells: Cells, confidence: float = 0.95, resamples: int = RESAMPLES) -> Best | None:
    """The level (batch size, learning rate) with the lowest geometric mean; None where one is not positive.

    `tied` is its interval: seeds are resampled within each level, and the most frequent winners are taken
    until they hold `confidence` of the samples (Hall and Miller 2009, Annals of Statistics 37, 3929-3959, on
    bootstrapping ranks). With the published spread and ten seeds it holds the true best in at least 95%.
    """
    logs = log_cells(cells)
    if not logs:
        return None
    levels = [level for level, _ in logs]
    lowest = levels[int(np.argmin([values.mean() for _, values in logs]))]
    at_edge = lowest in (levels[0], levels[-1])
    if min(len(values) for _, values in logs) < FEWEST_FOR_AN_INTERVAL:
        return Best(lowest, {}, (), at_edge, confidence, ONE_SEED)
    winners = resampled_means([values for _, values in logs], resamples, generator()).argmin(axis=1)
    shares = np.bincount(winners, minlength=len(levels)) / resamples
    order = np.argsort(-shares, kind="stable")
    enough = int(np.searchsorted(np.cumsum(shares[order]), confidence)) + 1
    tied = tuple(sorted(levels[index] for index in order[:enough]))
    return Best(lowest, dict(zip(levels, shares.tolist(), strict=True)), tied, at_edge, confidence)


@dataclass(frozen=True, slots=True)
class TurningPoint:
    """Whether a measure first falls and then rises. `level` is where, None where it is not shown."""

    level: float | None
    p: PValue

    @property
    def found(self) -> bool:
        """Whether both the fall before and the rise after are significant."""
        return self.p.significant


def turning_point(cells: Cells) -> TurningPoint:
    """A test for a U shape: the log measure falls up to some batch size and rises from it on.

    Two lines, as Simonsohn (2018, Advances in Methods and Practices in Psychological Science 1, 538-555) asks
    for instead of a parabola, which bends at every curved but monotone trend. Each line is the least-squares
    slope through the cells' means against log2 batch size, with Welch's standard error, since the spread
    differs between cells. Both must be significant (intersection-union, Berger 1982), at the best of all
    places to turn, and each p is multiplied by their number (Bonferroni). A flat or monotone truth, of any
    form, is therefore called U-shaped in at most 5%. Needs three batch sizes and three seeds in each.

    With the published means and spreads over 2 to 2048 and ten seeds, the turning point is found in at least
    80% of simulations for mean, std and var.
    """
    logs = log_cells(cells)
    if logs is None:
        return TurningPoint(None, PValue(None, NO_LOGARITHM))
    if len(logs) < 3:
        return TurningPoint(None, PValue(None, "fewer than three batch sizes have no place to turn"))
    if min(len(values) for _, values in logs) < FEWEST_FOR_AN_INTERVAL:
        return TurningPoint(None, PValue(None, ONE_SEED))
    places = range(1, len(logs) - 1)
    p = [max(_one_sided_p(logs[: k + 1], sign=-1), _one_sided_p(logs[k:], sign=1)) for k in places]
    smallest = int(np.argmin(p))
    value = min(1.0, p[smallest] * len(places))
    turn = logs[places[smallest]][0]
    return TurningPoint(turn if value <= 0.05 else None, PValue(value))


def _one_sided_p(cells: Sequence[tuple[float, Array]], sign: int) -> float:
    """The p of a slope in the direction of `sign`; degrees of freedom after Welch (1947)."""
    weights = _slope_weights(cells)
    estimate = sign * float(weights @ np.array([values.mean() for _, values in cells]))
    parts = np.array(
        [w**2 * values.var(ddof=1) / len(values) for w, (_, values) in zip(weights, cells, strict=True)]
    )
    variance = float(parts.sum())
    if variance == 0:
        return 0.0 if estimate > 0 else 1.0
    freedom = variance**2 / float(np.sum(parts**2 / np.array([len(values) - 1 for _, values in cells])))
    return float(stats.t.sf(estimate / math.sqrt(variance), freedom))


Growth = Literal["flat", "linear", "power", "exponential"]


@dataclass(frozen=True, slots=True)
class GrowthShape:
    """By which law a measure grows with the batch size B.

    flat: constant; linear: a + b B; power: a B^b, a constant factor per doubling; exponential: a exp(b B), a
    constant factor per image added to the batch. All with log-normal noise.
    """

    best: Growth | None
    weights: Mapping[Growth, float]
    """Akaike weights: the evidence for each law, summing to one."""
    fits: PValue
    """Lack of fit of the best law against the spread between seeds: if significant, it too is wrong."""
    reason: str = ""

    @property
    def exponential(self) -> bool | None:
        """Whether growth is exponential, as the study says; None where the data favour neither answer."""
        weight = self.weights.get("exponential")
        if weight is None or 0.05 < weight < 0.95:
            return None
        return weight >= 0.95


def growth_shape(cells: Cells) -> GrowthShape:
    """Compare flat, linear, power and exponential growth of a measure by their least-squares fits in the log.

    Akaike's criterion for small samples (Hurvich and Tsai 1989, Biometrika 76, 297-307) turned into weights
    (Burnham and Anderson 2002, Model Selection and Multimodel Inference, section 2.9). Only rising laws
    count. Lack of fit is the F test against pure error (Draper and Smith 1998, Applied Regression Analysis,
    section 2.1), where cells hold several seeds. Needs four batch sizes and six values.
    """
    logs = log_cells(cells)
    if logs is None:
        return GrowthShape(None, {}, PValue(None, NO_LOGARITHM), NO_LOGARITHM)
    n = sum(len(values) for _, values in logs)
    if len(logs) < 4 or n < 6:
        few = f"{len(logs)} batch sizes and {n} values cannot tell one law of growth from another"
        return GrowthShape(None, {}, PValue(None, few), few)
    levels = np.concatenate([np.full(len(values), level) for level, values in logs])
    measure = np.concatenate([values for _, values in logs])
    residuals = _residual_squares(levels, measure)
    parameters = {law: 2 if law == "flat" else 3 for law in residuals}
    criterion = {law: _akaike(residuals[law], n, k) for law, k in parameters.items()}
    lowest = min(criterion.values())
    evidence = {law: math.exp((lowest - value) / 2) for law, value in criterion.items()}
    weights = {law: value / sum(evidence.values()) for law, value in evidence.items()}
    winner = min(criterion, key=lambda law: criterion[law])
    return GrowthShape(winner, weights, _lack_of_fit(logs, residuals[winner], parameters[winner] - 1))


def _residual_squares(levels: Array, measure: Array) -> dict[Growth, float]:
    """Sum of squared residuals of the log measure under each law; a falling slope counts as flat."""
    scaled = levels / levels.max()

    def linear(log_offset: float) -> float:
        # log(a + b B) = log b + log(a / b + B): for a given ratio, log b is a mean
        return float(np.var(measure - np.log(math.exp(log_offset) + scaled)) * len(measure))

    grid = np.linspace(-12, 6, 73)
    start = int(np.argmin([linear(offset) for offset in grid]))
    bounds = (grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)])
    return {
        "flat": float(np.var(measure) * len(measure)),
        "linear": float(optimize.minimize_scalar(linear, bounds=bounds, method="bounded").fun),
        "power": _line(np.log2(levels), measure),
        "exponential": _line(scaled, measure),
    }


def _line(x: Array, y: Array) -> float:
    x, y = x - x.mean(), y - y.mean()
    rise = max(0.0, float(x @ y) / float(x @ x))
    return float(np.sum((y - rise * x) ** 2))


def _akaike(residual: float, n: int, parameters: int) -> float:
    tiny = 1e-300  # a perfect fit has no logarithm
    return n * math.log(max(residual, tiny) / n) + 2 * parameters * n / (n - parameters - 1)


def _lack_of_fit(cells: Sequence[tuple[float, Array]], residual: float, parameters: int) -> PValue:
    pure = sum(float(np.sum((values - values.mean()) ** 2)) for _, values in cells)
    freedom = sum(len(values) - 1 for _, values in cells)
    lack = len(cells) - parameters
    if freedom < len(cells) or pure == 0:
        return PValue(None, ONE_SEED)
    return PValue(float(stats.f.sf((residual - pure) / lack / (pure / freedom), lack, freedom)))
