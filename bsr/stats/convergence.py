"""How soon a curve reaches a stated value, and how much it fluctuates on its way.

Curves are test MSEs (or normalised MSEs) per epoch, [epochs + 1], the first before training; None where one
was not finite. A run that never reaches the value is censored: all that is known is that it takes longer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from bsr.stats.basis import MOST_AT_ONCE, RESAMPLES, Array, PValue, permutation_p

WINDOW: Final = 3
"""Evaluations in a row whose median must be there: a first crossing would reward noise."""


def first_epoch(curve: Sequence[float | None], target: float) -> int | None:
    """The first epoch whose value is at or below `target`, 0 before training; None if there is none."""
    return next((epoch for epoch, value in enumerate(curve) if value is not None and value <= target), None)


@dataclass(frozen=True, slots=True)
class Reached:
    """When a run reached its target, as far as a look after every epoch tells: later than `after`, by `by`.

    In epochs, steps or seconds. `by` is None for a run that never did: it takes longer than `after`, if it
    gets there at all. `looks` are the moments at which the curve was looked at.
    """

    after: float
    by: float | None
    looks: tuple[float, ...]


def reached(
    curve: Sequence[float | None], target: float, per_epoch: float | Sequence[float] = 1.0
) -> Reached:
    """When `curve` is first at or below `target`.

    `per_epoch` chooses the unit: 1 for epochs, steps per epoch for steps, or one duration per epoch for
    seconds. Raises ValueError where there are fewer durations than epochs.
    """
    epochs = len(curve) - 1
    durations = [per_epoch] * epochs if isinstance(per_epoch, int | float) else list(per_epoch)[:epochs]
    if len(durations) < epochs:
        raise ValueError(f"per_epoch: expected {epochs} durations, one per epoch, got {len(durations)}")
    looks = (0.0, *np.cumsum(durations).tolist())
    first = first_epoch(curve, target)
    if first is None:
        return Reached(looks[-1], None, looks)
    return Reached(looks[max(first - 1, 0)], looks[first], looks)


@dataclass(frozen=True, slots=True)
class Ordering:
    """Pairs of runs at different batch sizes, by which of the two reached the target later.

    Only certain orders count. `tau` is (larger_later - smaller_later) / pairs; `low` and `high` are what it
    would be if all undecided pairs fell one way or the other.
    """

    larger_later: int
    smaller_later: int
    tied: int
    """Pairs that reached it between the same two looks."""
    undecided: int
    """Pairs whose order the looks do not tell, or of which both never reached it."""
    never: int
    """Runs that never reached the target."""
    p: PValue

    @property
    def pairs(self) -> int:
        """All pairs of runs at different batch sizes."""
        return self.larger_later + self.smaller_later + self.tied + self.undecided

    @property
    def tau(self) -> float | None:
        """From -1 to 1; None where there is no pair, or none whose order is certain."""
        return (self.larger_later - self.smaller_later) / self.pairs if self.pairs > self.undecided else None

    @property
    def low(self) -> float | None:
        """`tau` if the smaller batch size were later in every undecided pair."""
        return None if self.tau is None else self.tau - self.undecided / self.pairs

    @property
    def high(self) -> float | None:
        """`tau` if the larger batch size were later in every undecided pair."""
        return None if self.tau is None else self.tau + self.undecided / self.pairs


def later_with_batch_size(cells: Mapping[int, Sequence[Reached]], resamples: int = RESAMPLES) -> Ordering:
    """Whether larger batches take longer to reach the target; runs that never do count for what they are.

    A pair has a certain order where one run's latest time is no later than the other's earliest (Gehan 1965,
    Biometrika 52, 203-223, for censored times; here also between two looks), and the p is that of Gehan's
    scores, permuted. It exists only where all runs were looked at at the same moments, as in epochs: in steps
    or seconds the looks themselves depend on the batch size, and so would the p. There, read `low` and
    `high`: both on one side of zero is certain of these runs, whatever the undecided pairs hide.
    """
    runs = [(float(level), run) for level in sorted(cells) for run in cells[level]]
    levels = np.array([level for level, _ in runs])
    after = np.array([run.after for _, run in runs])
    by = np.array([math.inf if run.by is None else run.by for _, run in runs])
    scores = np.zeros(len(runs))
    pairs = concordant = discordant = tied = 0
    for some in np.array_split(np.arange(len(runs)), 1 + len(runs) ** 2 // MOST_AT_ONCE):
        # [i, j]: 1 where i is certainly later than j, -1 where j is than i
        later = (by <= after[some, None]).astype(np.int8) - (by[some, None] <= after)
        larger = levels[some, None] > levels
        same = (after[some, None] == after) & (by[some, None] == by) & np.isfinite(by)
        scores[some] = later.sum(axis=1)
        pairs += int(np.sum(larger))
        concordant, discordant = (
            had + int(np.sum(larger & (later == sign))) for had, sign in ((concordant, 1), (discordant, -1))
        )
        tied += int(np.sum(same & larger))
    never = int(np.sum(~np.isfinite(by)))
    return Ordering(
        larger_later=concordant,
        smaller_later=discordant,
        tied=tied,
        undecided=pairs - concordant - discordant - tied,
        never=never,
        p=_ordering_p(levels, scores, [run.looks for _, run in runs], resamples),
    )


def _ordering_p(levels: Array, scores: Array, looks: Sequence[tuple[float, ...]], resamples: int) -> PValue:
    """Permutation p: a run's score is how many others it is later than, less how many are later than it."""
    if len(set(looks)) > 1:
        return PValue(None, "the runs were looked at at different moments, which depend on the batch size")
    sizes = np.unique(levels, return_counts=True)[1].tolist()
    if not scores.any() or len(sizes) < 2:  # of those in any order, the last has a score above zero
        return PValue(None, "no certain order between runs at two batch sizes")
    arrangements = math.factorial(len(levels)) // math.prod(math.factorial(size) for size in sizes)
    ranks = np.unique(levels, return_inverse=True)[1] - (len(sizes) - 1) / 2
    return permutation_p(scores, lambda rows: rows @ ranks, 2 / arrangements, [len(levels)], resamples)


def log_changes(curve: Sequence[float | None], skip: int = 1) -> list[float]:
    """Natural log ratios of consecutive epochs after the first `skip`; pairs without a ratio left out."""
    pairs = zip(curve[skip:], curve[skip + 1 :], strict=False)
    return [math.log(after / before) for before, after in pairs if before and after]


def fluctuation(curve: Sequence[float | None], skip: int = 1) -> float | None:
    """Standard deviation of the log changes from epoch to epoch; None below three changes.

    A steady descent, however steep, has none; 0.7 is a doubling or halving from one epoch to the next. The
    first epoch, a fall from the untrained network, is skipped.
    """
    changes = log_changes(curve, skip)
    return float(np.std(changes, ddof=1)) if len(changes) >= 3 else None


def swing(curve: Sequence[float | None], skip: int = 1) -> float | None:
    """Maximum minus minimum over the epochs of training: the study's "difference", in the MSE's units.

    It is mostly how far the curve fell, not how it fluctuated; see `fluctuation`.
    """
    values = [value for value in curve[skip:] if value is not None]
    return max(values) - min(values) if values else None


def first_steady(errors: Sequence[float | None], limit: float) -> int | None:
    """Index of the middle of the first three errors whose median is at most `limit`; None where none are.

    `errors` are those after training began; one that was not finite (None) is above every limit.
    """
    for first in range(len(errors) - WINDOW + 1):
        window = [math.inf if error is None else error for error in errors[first : first + WINDOW]]
        if median(window) <= limit:
            return first + WINDOW // 2
    return None
