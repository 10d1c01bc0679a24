"""Learning rates: the study's per task, and those tuned per batch size, budget of updates and schedule."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bsr.result import LARGEST
from bsr.run import LEARNING_RATES, LONGEST_NAME, MOST_IMAGES, MOST_STEPS, SCHEDULES, Run
from bsr.text import Refused, printable

TUNED_LEARNING_RATE: Final = {"mean": 0.0015, "median": 0.1, "std": 0.001, "var": 0.0015}
"""The study's learning rate per task, tuned once at batch size 32 (Lamon et al. 2021, table 1)."""
TUNED_FOR_A_TARGET: Final = {("Rotated", "angle"): 0.0015}
"""Data set and its target -> the rate, best of twelve for the study's network and protocol at batch size
32, on validation images, three seeds: benchmarks/results/cpu-rotated-rates.journal.jsonl.gz."""
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
MOST_SEEDS: Final = 10_000
"""Of one cell: that a session plans, or a rate was tuned with."""
WHOLE: Final = re.compile(r"[0-9]{1,19}")
NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?")
"""As tables spell them: what Python reads besides (`1_6`, digits of other scripts) is a slip."""

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

    def __post_init__(self) -> None:
        """Raises ValueError, one line, for what no tuning can find."""
        for fits, got in (
            (0 < len(self.task) <= LONGEST_NAME, f"the task {self.task[:40]!r}"),
            (self.schedule in SCHEDULES, f"the schedule {self.schedule[:40]!r}"),
            (
                LEARNING_RATES[0] <= self.learning_rate <= LEARNING_RATES[1],
                f"the learning rate {self.learning_rate:g}",
            ),
            (
                0 < self.batch_size <= MOST_IMAGES and 0 < self.steps <= MOST_STEPS,
                f"batch size {self.batch_size}, {self.steps} updates",
            ),
            (0 <= self.validation_mse <= LARGEST, f"the validation MSE {self.validation_mse:g}"),
            (0 < self.seeds <= MOST_SEEDS, f"{self.seeds} seeds"),
        ):
            if not fits:
                raise ValueError(f"expected a tuned rate, got {got}")

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
    name = printable(str(path))
    rows = _rows(name, _text(name, path))
    _, header = next(rows, (0, []))
    for column in COLUMNS:
        if (times := header.count(column)) != 1:
            raise RatesError(
                f"{name}: expected the tuned-rates.csv of a tuning session's report, got "
                + (f"{times} columns {column}" if times else f"no column {column}")
            )
    found = []
    for number, row in rows:
        try:
            found.append(_rate(header, row))
        except ValueError as error:
            raise RatesError(f"{name}, line {number}: {error}; mend or remove that line") from error
    for arm, count in Counter(rate.arm for rate in found).items():
        if count > 1:
            raise RatesError(
                f"{name}: expected one rate for {printable(str(arm))}, got {count}; leave all but one out"
            )
    return tuple(found)


def _text(name: str, path: Path) -> str:
    """Of a regular file of at most LARGEST_TABLE bytes, without the mark that spreadsheets begin one with."""
    try:
        if path.exists() and not path.is_file():
            raise RatesError(f"{name}: expected a table of rates, got no regular file; name one")
        with path.open("rb") as file:
            content = file.read(LARGEST_TABLE + 1)
        if len(content) > LARGEST_TABLE:
            raise RatesError(
                f"{name}: expected a table of rates of at most {LARGEST_TABLE // 2**20} MiB, got more; "
                "leave out what is none"
            )
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise RatesError(f"{name}: expected a readable table of rates, got {error}; name one") from error


def _rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows by number of their line; each has one to itself."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            try:
                yield number, next(csv.reader([line], strict=True))
            except csv.Error as error:
                raise RatesError(
                    f"{name}, line {number}: expected a row of a CSV table, got {error}; mend or remove it"
                ) from error


def _rate(header: list[str], cells: list[str]) -> TunedRate:
    """One row. Raises ValueError."""
    if len(cells) != len(header):
        raise ValueError(f"expected a tuned rate of {len(header)} cells, got {len(cells)}")
    row = {name: cell.strip(" ") for name, cell in zip(header, cells, strict=True)}
    return TunedRate(
        task=row["task"],
        batch_size=int(_spelt(WHOLE, row, "batch_size")),
        steps=int(_spelt(WHOLE, row, "updates")),
        schedule=row["schedule"],  # type: ignore[arg-type] # it is checked there
        learning_rate=float(_spelt(NUMBER, row, "learning_rate")),
        validation_mse=float(_spelt(NUMBER, row, "validation_mse")),
        seeds=int(_spelt(WHOLE, row, "seeds")),
        at_edge=bool(row["at_the_edge"]),
    )


def _spelt(number: re.Pattern[str], row: dict[str, str], column: str) -> str:
    """A cell that spells a number. Raises ValueError."""
    if not number.fullmatch(row[column]):
        words = column.replace("_", " ")
        raise ValueError(f"expected a tuned rate, got the {words} {printable(row[column], 40)}")
    return row[column]
