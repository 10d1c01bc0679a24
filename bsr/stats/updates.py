"""What doubling the batch size does to the error: at equal epochs, and at equal updates."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bsr.stats.basis import (
    FEWEST_FOR_AN_INTERVAL,
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
    """Neighbours alone are compared: batch size B after epoch e with 2B after epoch 2e, and after the last.

    At equal updates that is a mean over e, so over half of the training; a power law over all batch sizes at
    once would be biased by its curvature. Every pair and task counts alike. Whole curves are resampled within
    each batch size, so that a run counts once however many of its epochs are compared. None where no two
    batch sizes of some task lie a doubling apart, have two epochs each and errors above zero.
    """
    parts = [part for part in map(_Task.of, tasks) if part is not None]
    if not parts:
        return None
    shared = sorted(set.intersection(*(set(part.pairs) for part in parts)))
    if not shared:
        return None
    rng = generator()
    few = min(part.fewest for part in parts) < FEWEST_FOR_AN_INTERVAL
    draws = [part.resampled(resamples, rng) for part in parts] if not few else []
    freedom = sum(part.freedom for part in parts)

    def factor(kind: int, pairs: Sequence[tuple[int, int]]) -> Estimate:
        centre = np.mean([part.observed[pair][kind] for part in parts for pair in pairs])
        if few:
            return Estimate(finite_exp(float(centre)))
        sample = np.mean([draw[pair][kind] for draw in draws for pair in pairs], axis=0)
        return Estimate(finite_exp(float(centre)), exponential(percentiles(sample, level, freedom)))

    return Doublings(
        equal_epochs=factor(0, shared),
        equal_updates=factor(1, shared),
        pairs={pair: (factor(0, [pair]), factor(1, [pair])) for pair in shared},
    )


_Logs = tuple[Array, Array, Array]
"""Per run of a cell: the last log error, its mean as the smaller of a pair, and as the larger."""


_Pair = tuple[Array, Array]
"""Differences of log errors, larger minus smaller: at equal epochs, at equal updates."""


def _three(what: Callable[[Array], Any], logs: _Logs) -> _Logs:
    return what(logs[0]), what(logs[1]), what(logs[2])


class _Task:
    """One task's runs in logarithms, for as many epochs as all batch sizes were trained."""

    def __init__(self, cells: dict[int, _Logs], pairs: list[tuple[int, int]]) -> None:
        self.cells = cells
        self.pairs = pairs
        self.fewest = min(len(logs[0]) for logs in cells.values())
        self.freedom = sum(len(logs[0]) - 1 for logs in cells.values())
        means = {size: _three(np.mean, logs) for size, logs in cells.items()}
        self.observed = {pair: _differences(means, pair) for pair in pairs}

    @classmethod
    def of(cls, curves: Mapping[int, Curves]) -> "_Task | None":
        """None where nothing can be compared."""
        usable = {
            size: (one.steps_per_epoch, np.array(one.errors, dtype=np.float64))
            for size, one in curves.items()
            if one.errors
        }
        epochs = min((errors.shape[1] for _, errors in usable.values()), default=0)
        if epochs < 2 or any((errors <= 0).any() for _, errors in usable.values()):
            return None
        halves = np.arange(1, epochs // 2 + 1)
        pairs = [
            (size, 2 * size)
            for size in sorted(usable)
            if 2 * size in usable and math.isclose(usable[size][0], 2 * usable[2 * size][0], rel_tol=EQUAL)
        ]
        involved = {size for pair in pairs for size in pair}
        cells = {}
        for size in involved:
            logs = np.log(usable[size][1])
            cells[size] = (
                logs[:, epochs - 1],
                logs[:, halves - 1].mean(axis=1),
                logs[:, 2 * halves - 1].mean(axis=1),
            )
        return cls(cells, pairs) if pairs else None

    def resampled(
        self, resamples: int, rng: np.random.Generator
    ) -> dict[tuple[int, int], tuple[Array, Array]]:
        """Bootstrap [resamples] of each pair's differences; deviations stretched as in resampled_means."""
        means = {}
        for size in sorted(self.cells):
            n = len(self.cells[size][0])
            chosen, stretch = rng.integers(n, size=(resamples, n)), math.sqrt(n / (n - 1))
            means[size] = _three(partial(_resampled, chosen=chosen, stretch=stretch), self.cells[size])
        return {pair: _differences(means, pair) for pair in self.pairs}


def _resampled(values: Array, chosen: NDArray[np.int64], stretch: float) -> Array:
    return np.asarray(values.mean() + stretch * (values - values.mean())[chosen].mean(axis=1))


def _differences(means: Mapping[int, _Logs], pair: tuple[int, int]) -> _Pair:
    smaller, larger = (means[size] for size in pair)
    return larger[0] - smaller[0], larger[2] - smaller[1]
