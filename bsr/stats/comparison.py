"""Two series of runs: whether they are the same, different, or cannot be told apart yet."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

import numpy as np
from scipy import stats

from bsr.stats.basis import SIGNIFICANCE, Interval, PValue, finite_exp, logarithms
from bsr.stats.difference import Contrast, combined, contrast

MARGIN: Final = 0.2
"""Two series within 20% of each other count as the same; ten seeds at the published spread can show that."""
POWER: Final = 0.8

Cell = TypeVar("Cell", bound=Hashable)
Replicate = TypeVar("Replicate", bound=Hashable)
Replicates: TypeAlias = Mapping[Cell, Mapping[Replicate, float]]
"""Cell (task, batch size) -> replicate (seed) -> value, one per run."""


Sameness = Literal["same", "different", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two series agree in a measure, pooled over the cells that both have."""

    verdict: Sameness
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
    """Replicates per cell that would tell with 80% power, were the series truly equal; where there are as
    many already, were their ratio the measured one. None where the spread is unknown."""
    left_out: int = 0
    """Cells of both series that were not compared: no values, or a zero, which has no logarithm."""

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


def agreement(
    first: Replicates[Cell, Replicate], second: Replicates[Cell, Replicate], margin: float = MARGIN
) -> Agreement:
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
    left_out = len(first.keys() & second.keys()) - len(contrasts)
    if not contrasts:
        nothing = PValue(None, "the series share no cell with positive values")
        return Agreement("cannot tell", None, None, None, nothing, margin, 0, 0, 0, None, left_out)
    pooled = _pooled(contrasts)
    replicates = float(np.mean(counts))
    wide, narrow = pooled.interval(0.95), pooled.interval(0.90)
    return Agreement(
        verdict=_verdict(wide, narrow, margin, spread=pooled.variance > 0),
        ratio=finite_exp(pooled.estimate),
        interval=wide,
        equivalence=narrow,
        p=PValue(pooled.p, "" if pooled.p is not None else "the replicates carry no spread"),
        margin=margin,
        cells=len(contrasts),
        paired_cells=paired,
        replicates=replicates,
        needed=_needed(pooled, replicates, margin),
        left_out=left_out,
    )


def _needed(pooled: Contrast, replicates: float, margin: float) -> int | None:
    if not pooled.variance:
        return None
    needed = needed_replicates(pooled.variance, replicates, margin)
    if needed > replicates:
        return needed
    return needed_replicates(pooled.variance, replicates, margin, finite_exp(pooled.estimate))


def _per_cell(
    first: Replicates[Cell, Replicate], second: Replicates[Cell, Replicate]
) -> tuple[list[Contrast], int, list[int]]:
    """The contrast of every shared cell, how many are paired, and the values on their smaller side."""
    contrasts, paired, counts = [], 0, []
    for cell in [cell for cell in first if cell in second]:
        shared = [key for key in first[cell] if key in second[cell]]
        pair = len(shared) >= 2
        a = logarithms(first[cell][key] for key in (shared if pair else first[cell]))
        b = logarithms(second[cell][key] for key in (shared if pair else second[cell]))
        if a is None or b is None or not len(a) or not len(b):
            continue
        contrasts.append(contrast(b - a) if pair else contrast(b, a))
        paired += pair
        counts.append(min(len(a), len(b)))
    return contrasts, paired, counts


def _pooled(contrasts: Sequence[Contrast]) -> Contrast:
    estimates = np.array([contrast.estimate for contrast in contrasts])
    if all(contrast.freedom for contrast in contrasts):
        scale = len(contrasts) ** 2
        parts = [(contrast.variance / scale, contrast.freedom) for contrast in contrasts]
        return combined(float(estimates.mean()), parts)
    return contrast(estimates)


def _verdict(wide: Interval | None, narrow: Interval | None, margin: float, *, spread: bool) -> Sameness:
    if wide is None or narrow is None:
        return "cannot tell"
    if narrow.within(1 / (1 + margin), 1 + margin):
        return "same"
    return "different" if spread and wide.excludes(1.0) else "cannot tell"


def needed_replicates(variance: float, replicates: float, margin: float = MARGIN, ratio: float = 1.0) -> int:
    """Replicates per cell that tell two series the same, or different, in 80% of comparisons.

    `variance` is the squared standard error of the pooled log difference at `replicates` per cell, `ratio`
    the true one. Normal approximation of the power of two one-sided tests, and of the two-sided test (Chow,
    Shao and Wang 2008, Sample Size Calculations in Clinical Research, section 3.2); never below two.
    """
    apart = abs(math.log(ratio))
    same = (
        float(stats.norm.ppf(1 - SIGNIFICANCE) + stats.norm.ppf((1 + POWER) / 2)),
        math.log1p(margin) - apart,
    )
    different = float(stats.norm.ppf(1 - SIGNIFICANCE / 2) + stats.norm.ppf(POWER)), apart
    ways = [(reach / distance) ** 2 for reach, distance in (same, different) if distance > 0]
    return max(2, math.ceil(replicates * variance * min(ways)))
