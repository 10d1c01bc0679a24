"""Up to which batch size fewer steps reach the same error: S = S_min (1 + B_crit / B)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bsr.stats.basis import Array, Interval

GRID: Final = np.exp(np.linspace(math.log(0.05), math.log(1e5), 241))
"""Critical batch sizes that are tried, images: from far below 1 to all images."""
Flags: TypeAlias = NDArray[np.bool_]
ROUNDS: Final = 200
CONVERGED: Final = 1e-4
"""Change of the log steps' centre, at which the fit has settled."""
LEAST_SPREAD: Final = 0.05
"""Standard deviation of log steps: probes lie no closer."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps to a target at one batch size, one value per run that got there; the others stopped at `cap`."""

    reached: Sequence[float]
    missed: int
    cap: float


@dataclass(frozen=True, slots=True)
class Critical:
    """A fit of S = S_min (1 + B_crit / B): at B_crit a batch needs twice the fewest steps."""

    fewest_steps: float
    batch_size: float
    interval: Interval
    """95%, by the profile of the likelihood; its ends are those of GRID where it is open there."""
    runs: int

    @property
    def open_below(self) -> bool:
        """Whether the data set no lower end, so that only `below` can be said."""
        return bool(self.interval.low <= GRID[0] * 1.001)

    @property
    def open_above(self) -> bool:
        """Whether they set no upper end: doubling halves the steps as far as was measured."""
        return bool(self.interval.high >= GRID[-1] * 0.999)


def critical_batch_size(cells: Mapping[int, Steps]) -> Critical | None:
    """From the steps of all runs; a miss counts as more than its cap (a Tobit likelihood of log steps).

    None with fewer than three batch sizes at which some run got there. The form is McCandlish et al. (2018),
    equation 2.7; misses in the likelihood instead of being dropped, since a large cap would bias the fit.
    """
    if sum(bool(cell.reached) for cell in cells.values()) < 3:
        return None
    sizes, logs, missed = _flat(cells)
    expected = np.log1p(GRID[:, None] / sizes[None, :])  # [grid, runs], less log S_min
    likelihood, centre = _profile(logs[None, :] - expected, missed)
    best = int(likelihood.argmax())
    return Critical(
        fewest_steps=math.exp(float(centre[best])),
        batch_size=float(GRID[best]),
        interval=_above(likelihood, best, float(likelihood[best] - special.chdtri(1, 0.05) / 2)),
        runs=len(logs),
    )


def _above(likelihood: Array, best: int, limit: float) -> Interval:
    """Where the profile falls to `limit` on either side of its top, between the points of GRID."""
    logs = np.log(GRID)
    left, right = likelihood[: best + 1], likelihood[best:]
    low, high = logs[0], logs[-1]
    if left.min() < limit:
        last = int(np.flatnonzero(left < limit)[-1])
        low = np.interp(limit, left[last : last + 2], logs[last : last + 2])
    if right.min() < limit:
        first = best + int(np.flatnonzero(right < limit)[0])
        high = np.interp(limit, likelihood[first : first - 2 : -1], logs[first : first - 2 : -1])
    return Interval(math.exp(float(low)), math.exp(float(high)))


def _flat(cells: Mapping[int, Steps]) -> tuple[Array, Array, Flags]:
    rows = [
        (float(size), math.log(value), float(lost))
        for size, cell in cells.items()
        for lost, values in ((0, cell.reached), (1, [cell.cap] * cell.missed))
        for value in values
    ]
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2].astype(bool)


def _profile(residuals: Array, missed: Flags) -> tuple[Array, Array]:
    """Log likelihood and centre per row, the spread fitted too; censored ones by expectation-maximisation."""
    n = residuals.shape[1]
    centre = residuals.mean(axis=1)
    spread = np.maximum(residuals.std(axis=1), LEAST_SPREAD)
    for _ in range(ROUNDS if missed.any() else 1):
        before = centre
        filled, extra = residuals.copy(), np.zeros_like(centre)
        if missed.any():
            below = (residuals[:, missed] - centre[:, None]) / spread[:, None]
            hazard = np.exp(-(below**2) / 2 - 0.5 * math.log(2 * math.pi) - special.log_ndtr(-below))
            filled[:, missed] = centre[:, None] + spread[:, None] * hazard
            extra = (spread[:, None] ** 2 * np.maximum(1 + below * hazard - hazard**2, 0)).sum(axis=1)
        centre = filled.mean(axis=1)
        variance = (((filled - centre[:, None]) ** 2).sum(axis=1) + extra) / n
        spread = np.maximum(np.sqrt(variance), LEAST_SPREAD)
        if np.abs(centre - before).max() < CONVERGED:
            break
    standard = (residuals - centre[:, None]) / spread[:, None]
    seen = -(standard[:, ~missed] ** 2) / 2 - np.log(spread[:, None])
    return seen.sum(axis=1) + special.log_ndtr(-standard[:, missed]).sum(axis=1), centre
