"""Learning rates: the study's per task, and those tuned per batch size, budget of updates and schedule."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bsr.run import LEARNING_RATES, MOST_IMAGES, MOST_STEPS, Run
from bsr.text import Refused

TUNED_LEARNING_RATE: Final = {"mean": 0.0015, "median": 0.1, "std": 0.001, "var": 0.0015}
"""The study's learning rate per task, tuned once at batch size 32 (Lamon et al. 2021, table 1)."""
TUNED_FOR_A_TARGET: Final = {("Rotated", "angle"): 0.002}
"""Data set and its target -> the rate, tuned for the study's network and protocol at batch size 32: TODO"""
DEFAULT_LEARNING_RATE: Final = 0.001
"""Adam's default in PyTorch: the rate of a task that nobody tuned yet."""
SHIPPED: Final = Path(__file__).with_name("tuned-rates.csv")
"""What was tuned for MNIST; its first lines say from which recording."""
COLUMNS: Final = (
    "task", "batch_size", "updates", "schedule", "learning_rate", "validation_mse", "seeds", "at_the_edge"
)  # fmt: skip
"""Of such a table, as the report of a tuning session writes it; it may have more."""
LARGEST_TABLE: Final = 2**20
"""Bytes: thousands of rates."""

Schedule = Literal["constant", "linear"]


def tuned_rate(task: str, batch_size: int, epochs: int, dataset: str = "MNIST") -> float:  # noqa: ARG001
    """The learning rate of a Run whose experiment does not vary it: the study's of the task.

    It was tuned per task, for whatever batch size and epochs, and is taken for any data set, but for a target
    that has its own.
    """
    own = TUNED_FOR_A_TARGET.get((dataset, task))
    return own or TUNED_LEARNING_RATE.get(task, DEFAULT_LEARNING_RATE)


class RatesError(Refused):
    """There is no such rate, or no such table; the message says what, expected, got, remedy."""


class Arm(NamedTuple):
    """What is trained alike but for rate and seed, so what a rate is tuned for."""

    task: str
    steps: int
    """The budget, updates."""
    schedule: Schedule
    batch_size: int

    @classmethod
    def of(cls, run: Run) -> Arm:
        """The arm that a Run belongs to, whatever its rate."""
        return cls(run.task, run.steps, run.schedule, run.batch_size)

    def __str__(self) -> str:
        """`mean at batch size 16, 586 updates, linear`."""
        return f"{self.task} at batch size {self.batch_size}, {self.steps:,} updates, {self.schedule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedRate:
    """The rate with the lowest validation error among those tried for one arm."""

    task: str
    batch_size: int
    steps: int
    """The budget for which it was tuned, updates."""
    schedule: Schedule
    learning_rate: float
    validation_mse: float
    """Geometric mean over the tuning seeds, squared label units."""
    seeds: int
    at_edge: bool
    """Whether nothing beyond it was tried, so that a better one may lie there."""

    @property
    def arm(self) -> Arm:
        """What it was tuned for."""
        return Arm(self.task, self.steps, self.schedule, self.batch_size)


@cache
def shipped() -> tuple[TunedRate, ...]:
    """The rates that come with the package; none where it comes without."""
    return read(SHIPPED) if SHIPPED.exists() else ()


def find(rates: Iterable[TunedRate], arm: Arm) -> TunedRate | None:
    """The rate of one arm; None where it was not tuned."""
    return next((rate for rate in rates if rate.arm == arm), None)


def read(path: Path) -> tuple[TunedRate, ...]:
    """The table at `path`: CSV with COLUMNS, lines that begin with # left out. Raises RatesError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(LARGEST_TABLE)
    except (OSError, UnicodeDecodeError) as error:
        raise RatesError(f"{path}: expected a readable table of rates, got {error}") from error
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise RatesError(
            f"{path}: expected the tuned-rates.csv of a tuning session's report, got no column {missing[0]}"
        )
    try:
        found = tuple(_rate(row) for row in rows)
    except (ValueError, TypeError, csv.Error) as error:
        raise RatesError(f"{path}, row {rows.line_num}: expected a tuned rate, got {error}") from error
    for arm, count in Counter(rate.arm for rate in found).items():
        if count > 1:
            raise RatesError(f"{path}: expected one rate for {arm}, got {count}; leave all but one out")
    return found


def _rate(row: dict[str, str]) -> TunedRate:
    """One row. Raises ValueError, TypeError."""
    schedule, rate = row["schedule"], float(row["learning_rate"])
    size, steps = int(row["batch_size"]), int(row["updates"])
    if schedule not in {"constant", "linear"}:
        raise ValueError(f"the schedule {schedule[:40]!r}")
    if not (LEARNING_RATES[0] <= rate <= LEARNING_RATES[1]):
        raise ValueError(f"the learning rate {rate:g}")
    if not (0 < size <= MOST_IMAGES and 0 < steps <= MOST_STEPS):
        raise ValueError(f"batch size {size}, {steps} updates")
    return TunedRate(
        task=row["task"],
        batch_size=size,
        steps=steps,
        schedule="linear" if schedule == "linear" else "constant",
        learning_rate=rate,
        validation_mse=float(row["validation_mse"]),
        seeds=int(row["seeds"]),
        at_edge=bool(row["at_the_edge"].strip()),
    )
