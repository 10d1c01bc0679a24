"""The statistics behind every sentence of the report: floats in, floats out.

Values are measures of single runs (final test MSE, seconds), grouped by level: `cells` maps a batch size or a
learning rate to one value per seed. Measures are compared as ratios, so most functions work on logarithms
and say so where a zero has none. Where n cannot carry a statement, the p-value or the interval is None and a
reason stands beside it; a test whose smallest attainable p is above 0.05 gives none. Random numbers are
seeded: the same values give the same statistic.

    basis         Interval, PValue, Estimate (a factor, with both)
                  mean_interval(values), geometric_mean(values)
    trend         rank_trend(*cells)      does it rise or fall: rho and p, pooled over tasks
                  slope(cells)            by which factor per doubling, with its interval
                  best(cells)             where it is lowest, and what ties with that within seed noise
                  turning_point(cells)    does it fall, then rise (two lines)
    growth        growth_shape(cells)     flat, linear, power or exponential
    convergence   first_epoch(curve, target), reached(curve, target, per_epoch)
                  first_steady(errors, limit)   when three in a row are there, as their median
                  later_with_batch_size(cells of reached)   censored runs counted for what they are
                  fluctuation(curve), swing(curve), log_changes(curve)
    spread        asymmetry(groups)       maximum - mean against mean - minimum
                  effect(cells)           size of a factor's effect against the noise of seeds
    difference    difference(first, second, paired=...)     two settings: ratio, interval, p
    comparison    agreement(first, second, margin)          two series: same, different, cannot tell
                  needed_replicates(variance, replicates, margin, ratio)
    updates       doublings(*tasks of curves)             per doubling, at equal epochs and equal updates
    decomposition decompose(*tasks of gaps)             the rate, the updates, the batch size itself
                  over_seeds(logs)          a factor with whole seeds as units
    critical      critical_batch_size(cells of steps)   S = S_min (1 + B_crit / B), misses counted
    soonest       over_reference(tasks, reference)      updates to a target, the arm chosen on other runs
    regret        student(logs, luck)                     mean of logs over seeds, with tuning's luck
    speed         speed_up(first, second)                   seconds per epoch: ratio and interval
"""

from bsr.stats.basis import SAME, SIGNIFICANCE, Estimate, Interval, PValue, geometric_mean, mean_interval
from bsr.stats.comparison import MARGIN, Agreement, agreement, needed_replicates
from bsr.stats.convergence import (
    Ordering,
    Reached,
    first_epoch,
    fluctuation,
    later_with_batch_size,
    log_changes,
    reached,
    swing,
)
from bsr.stats.critical import Critical, Steps, critical_batch_size
from bsr.stats.decomposition import CAUSES, Decomposition, Gaps, decompose, holm, over_seeds
from bsr.stats.difference import difference
from bsr.stats.growth import GrowthShape, growth_shape
from bsr.stats.regret import regrets, student
from bsr.stats.speed import speed_up
from bsr.stats.spread import Asymmetry, Effect, asymmetry, effect
from bsr.stats.trend import Best, RankTrend, TurningPoint, best, rank_trend, slope, turning_point
from bsr.stats.updates import EQUAL, Curves, Doublings, doublings, unmatched

__all__ = [
    "CAUSES", "EQUAL", "MARGIN", "SAME", "SIGNIFICANCE", "Agreement", "Asymmetry", "Best", "Critical",
    "Curves", "Decomposition", "Doublings", "Effect", "Estimate", "Gaps", "GrowthShape", "Interval",
    "Ordering", "PValue", "RankTrend", "Reached", "Steps", "TurningPoint", "agreement", "asymmetry", "best",
    "critical_batch_size", "decompose", "difference", "doublings", "effect", "first_epoch", "fluctuation",
    "geometric_mean", "growth_shape", "holm", "later_with_batch_size", "log_changes", "mean_interval",
    "needed_replicates", "over_seeds", "rank_trend", "reached", "regrets", "slope", "speed_up", "student",
    "swing", "turning_point", "unmatched",
]  # fmt: skip
