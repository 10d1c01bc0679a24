"""How much seeds differ, and what an effect is worth beside that."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bsr.stats.basis import (
    FEWEST_FOR_A_MEAN,
    RESAMPLES,
    SIGNIFICANCE,
    Array,
    ByLevel,
    Estimate,
    Interval,
    PValue,
    finite_exp,
    log_cells,
    permutation_p,
    standard_error,
    tails_of,
)
from bsr.stats.difference import signs_p
from bsr.stats.trend import ONE_SEED


@dataclass(frozen=True, slots=True)
class Asymmetry:
    """In how many cells the seeds reach further up than down: maximum - mean > mean - minimum."""

    up: int
    down: int
    p: PValue


def asymmetry(groups: Iterable[Iterable[tuple[float, float, float]]]) -> Asymmetry:
    """Sign test over groups of cells, each the (minimum, mean, maximum) over seeds, in the measure's units.

    Cells of a group share their seeds, as the tasks of a batch size do, and change sides together: all signs
    of whole groups (of groups of one cell the two-sided exact binomial, Conover 1999, Practical Nonparametric
    Statistics, section 3.4). Cells whose mean is in the middle take no side, as those of one or two seeds
    never do. Six groups at least.
    """
    sides = [[_side(*cell) for cell in group] for group in groups]
    up, down = (sum(row.count(side) for row in sides) for side in (1, -1))
    sums = np.array([sum(row) for row in sides if any(row)], dtype=np.float64)
    if 2 * 0.5 ** len(sums) > SIGNIFICANCE:
        reason = f"seeds of {len(sums)} batch sizes: even if all agreed, chance would do so too"
        return Asymmetry(up, down, PValue(None, reason))
    return Asymmetry(up, down, signs_p(sums))


def _side(low: float, mean: float, high: float) -> int:
    """1 where they reach further up, -1 down, 0 neither."""
    rounding = 1e-9 * (high - low)  # the mean of two seeds is in the middle, but for the last bits
    further = high + low - 2 * mean
    return int(further > rounding) - int(further < -rounding)


@dataclass(frozen=True, slots=True)
class Effect:
    """The size of a factor's effect on a measure, beside the noise of seeds."""

    lowest: float
    highest: float
    """The levels with the lowest and the highest geometric mean."""
    size: Estimate
    """Highest geometric mean over lowest: 3.5 means 3.5 times the error at the worst level. The interval is
    wide enough to allow for picking the two levels out of all; the p is that of the permuted analysis of
    variance: whether the levels matter at all."""
    seed_factor: float | None
    """One pooled standard deviation between seeds of one level, as a factor; None with one seed each."""
    share: float | None
    """Share of the variance of the log measure that the levels explain, 0 to 1, corrected for chance."""


def effect(cells: ByLevel, level: float = 0.95, resamples: int = RESAMPLES) -> Effect | None:
    """How much a factor (batch size, learning rate) changes a measure; None where a value is not positive.

    The interval of the ratio is Welch's at a level divided by the number of pairs of levels (Bonferroni): the
    extremes of many equal levels differ by chance, and only so does it not call that an effect; of fewer than
    five seeds per level it would span decades, so there is none. The share is
    omega squared (Hays 1963, Statistics for Psychologists), not below 0; F is permuted (Manly 2007,
    Randomization, Bootstrap and Monte Carlo Methods in Biology, chapter 7). Call it for batch sizes and for
    learning rates, and compare the two ratios with each other and with the seed factor.
    """
    logs = log_cells(cells)
    if logs is None or len(logs) < 2:
        return None
    groups = [values for _, values in logs]
    means = np.array([values.mean() for values in groups])
    low, high = int(np.argmin(means)), int(np.argmax(means))
    lowest, highest, ratio = logs[low][0], logs[high][0], finite_exp(float(means[high] - means[low]))
    within, freedom = _within(groups)
    if freedom < len(groups) or within == 0:
        return Effect(lowest, highest, Estimate(ratio, p=PValue(None, ONE_SEED)), None, None)
    interval = None
    if min(len(values) for values in groups) >= FEWEST_FOR_A_MEAN:
        pairs = math.comb(len(groups), 2)
        interval = _ratio_interval(groups[low], groups[high], 1 - (1 - level) / pairs, level)
    noise = within / freedom
    everything = np.concatenate(groups)
    total = float(np.var(everything) * len(everything))
    share = max(0.0, (total - within - (len(groups) - 1) * noise) / (total + noise))
    p = _variance_p(everything, [len(values) for values in groups], resamples)
    return Effect(lowest, highest, Estimate(ratio, interval, p), finite_exp(math.sqrt(noise)), share)


def _ratio_interval(low: Array, high: Array, single: float, stated: float) -> Interval:
    """Welch's interval at level `single` of the ratio of geometric means, labelled as `stated`."""
    error, freedom = standard_error([low, high], np.array([-1.0, 1.0]))
    centre, reach = float(high.mean() - low.mean()), error * float(tails_of(single, freedom)[1])
    return Interval(finite_exp(centre - reach), finite_exp(centre + reach), stated)


def _within(groups: Sequence[Array]) -> tuple[float, int]:
    """Sum of squares within the groups and its degrees of freedom."""
    squares = sum(float(np.sum((values - values.mean()) ** 2)) for values in groups)
    return squares, sum(len(values) - 1 for values in groups)


def _variance_p(values: Array, sizes: Sequence[int], resamples: int) -> PValue:
    """Permutation p of the sum of squares between groups, which orders arrangements as F does."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    centred = values - values.mean()

    def between(rows: Array) -> Array:
        return np.asarray(np.sum(np.add.reduceat(rows, starts, axis=1) ** 2 / np.array(sizes), axis=1))

    arrangements = math.factorial(len(values)) // math.prod(math.factorial(size) for size in sizes)
    return permutation_p(centred, between, 1 / arrangements, [len(values)], resamples)
