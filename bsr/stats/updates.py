"""What doubling the batch size does to the error: at equal epochs, and at equal updates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bsr.stats.basis import (
    FEWEST_FOR_AN_INTERVAL,
    MOST_AT_ONCE,
    RESAMPLES,
    Array,
    Estimate,
    exponential,
    finite_exp,
    generator,
    percentiles,
)

EQUAL: Final = 0.01
"""How far apart two numbers of updates may be and count as equal."""


@dataclass(frozen=True, slots=True)
class Curves:
    """The runs of one batch size."""

    steps_per_epoch: int
    errors: Sequence[Sequence[float]]
    """[runs][epochs]: the test MSE after each epoch, from the first on."""
    seeds: Sequence[int] = ()
    """Of the runs, so that tasks are resampled together; empty: the first is the first of every task."""


@dataclass(frozen=True, slots=True)
class Doublings:
    """Of the error, with each doubling of the batch size: all doublings together, and one by one."""

    equal_epochs: Estimate
    equal_updates: Estimate
    pairs: Mapping[tuple[int, int], tuple[Estimate, Estimate]]
    """(smaller, larger batch size) -> at equal epochs, at equal updates."""


def doublings(
    *tasks: Mapping[int, Curves], level: float = 0.95, resamples: int = RESAMPLES
) -> Doublings | None:
    """Batch size B with 2B, after the last epoch and where both have made the same number of updates.

    Neighbours alone are compared. At equal updates that is a mean over epochs e of B with, nearly always, 2e
    of 2B, so over half of the training; a power law over all batch sizes at once would be biased by its
    curvature. Every pair and task counts alike. Whole seeds, with their curves of all tasks, are resampled
    within each batch size, so that a seed counts once however many epochs and tasks are compared. None where
    no two batch sizes of some task lie a doubling apart and are evaluated after the same number of updates,
    have two epochs each and errors above zero, or tasks share no seed.
    """
    each = [_logs(curves) for curves in tasks]
    pairs = sorted(set.intersection(*(_neighbours(curves) for curves in tasks))) if tasks else []
    if not pairs or not all(each):
        return None
    cells = {size: _shared([logs[size] for logs in each]) for pair in pairs for size in pair}
    if not all(len(values) for values in cells.values()):
        return None
    observed = _differences({size: values.mean(axis=0) for size, values in cells.items()}, pairs)
    few = min(map(len, cells.values())) < FEWEST_FOR_AN_INTERVAL
    freedom = sum(len(values) - 1 for values in cells.values())
    draws = {} if few else _differences(_resampled(cells, resamples), pairs)

    def factor(kind: int, of: Sequence[tuple[int, int]]) -> Estimate:
        centre = finite_exp(float(np.mean([observed[pair][kind] for pair in of])))
        if few:
            return Estimate(centre)
        sample = np.mean([draws[pair][kind] for pair in of], axis=0)
        return Estimate(centre, exponential(percentiles(sample, level, freedom)))

    return Doublings(
        equal_epochs=factor(0, pairs),
        equal_updates=factor(1, pairs),
        pairs={pair: (factor(0, [pair]), factor(1, [pair])) for pair in pairs},
    )


def unmatched(curves: Mapping[int, Curves]) -> set[tuple[int, int]]:
    """Batch sizes a doubling apart that are never evaluated after the same number of updates."""
    return _doubled(curves) - _neighbours(curves)


def _doubled(curves: Mapping[int, Curves]) -> set[tuple[int, int]]:
    trained = {size for size, one in curves.items() if one.errors}
    return {(size, 2 * size) for size in trained if 2 * size in trained}


def _neighbours(curves: Mapping[int, Curves]) -> set[tuple[int, int]]:
    """Batch sizes a doubling apart, evaluated after the same number of updates."""
    return {pair for pair in _doubled(curves) if _equal(curves, *pair)}


def _equal(curves: Mapping[int, Curves], smaller: int, larger: int) -> list[tuple[int, int]]:
    """The epochs of both after which they have made the same number of updates."""
    steps, fewer = curves[smaller].steps_per_epoch, curves[larger].steps_per_epoch
    epochs = _epochs(curves)
    found = ((epoch, round(epoch * steps / fewer)) for epoch in range(1, epochs + 1))
    return [
        (epoch, other)
        for epoch, other in found
        if 1 <= other <= epochs and math.isclose(epoch * steps, other * fewer, rel_tol=EQUAL)
    ]


def _epochs(curves: Mapping[int, Curves]) -> int:
    """As many as all were trained."""
    return min((len(row) for one in curves.values() for row in one.errors), default=0)


def _logs(curves: Mapping[int, Curves]) -> dict[int, dict[int, Array]]:
    """Batch size -> seed -> the last log error, its mean as the smaller of a pair, and as the larger.

    Over as many epochs as all were trained; empty where nothing can be compared.
    """
    errors = {size: np.array(one.errors, dtype=np.float64) for size, one in curves.items() if one.errors}
    epochs = _epochs(curves)
    if epochs < 2 or any((values <= 0).any() for values in errors.values()):
        return {}
    pairs = {pair: _equal(curves, *pair) for pair in _neighbours(curves)}
    found = {}
    for size, values in errors.items():
        logs = np.log(values)
        sides = (
            [epoch for epoch, _ in pairs.get((size, 2 * size), ())],
            [epoch for _, epoch in pairs.get((size // 2, size), ())],
        )
        means = (logs[:, np.array(side or [epochs]) - 1].mean(axis=1) for side in sides)
        rows = np.column_stack([logs[:, epochs - 1], *means])
        found[size] = dict(zip(curves[size].seeds or range(len(rows)), rows, strict=True))
    return found


def _shared(tasks: Sequence[Mapping[int, Array]]) -> Array:
    """[seeds, 3]: the mean over tasks, of the seeds that all have."""
    seeds = sorted(set.intersection(*map(set, tasks)))
    return np.array([np.mean([rows[seed] for rows in tasks], axis=0) for seed in seeds])


def _resampled(cells: Mapping[int, Array], resamples: int) -> dict[int, Array]:
    """Bootstrap means [3, resamples] of each batch size; deviations stretched as in resampled_means."""
    rng, means = generator(), {}
    for size in sorted(cells):
        centre, n = cells[size].mean(axis=0), len(cells[size])
        deviations = math.sqrt(n / (n - 1)) * (cells[size] - centre)
        drawn = np.empty((resamples, cells[size].shape[1]))
        for block in np.array_split(drawn, max(1, 2 * resamples * n // MOST_AT_ONCE)):
            block[:] = deviations[rng.integers(n, size=(len(block), n))].mean(axis=1)
        means[size] = (centre + drawn).T
    return means


def _differences(
    means: Mapping[int, Array], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], tuple[Any, Any]]:
    """Larger minus smaller, of log errors: at equal epochs, at equal updates."""
    sides = {pair: (means[pair[0]], means[pair[1]]) for pair in pairs}
    return {pair: (large[0] - small[0], large[2] - small[1]) for pair, (small, large) in sides.items()}
