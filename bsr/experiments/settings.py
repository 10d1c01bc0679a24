"""Settings of a training: the learning rate, and how it rises and falls; which of them was tuned for what."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from bsr.experiments.rates import LARGEST_TABLE, RatesError
from bsr.result import Amount, Count
from bsr.run import STUDY_MODEL, Run
from bsr.text import printable

Decay = Annotated[float, msgspec.Meta(ge=0, le=1)]
Among = Literal["all", "falling", "constant"]
"""Which settings one was chosen among: all that were tried, those of decay 1, those of decay 0."""
AMONG: Final[tuple[Among, ...]] = ("all", "falling", "constant")
SHIPPED: Final = Path(__file__).with_name("tuned-settings.csv")
"""What was tuned for the second protocol of docs/why.md."""


class Problem(NamedTuple):
    """What a setting is tuned for: a Run less its setting and its seeds."""

    task: str
    batch_size: int
    steps: int
    """The budget, updates."""
    train_images: int
    dataset: str = "MNIST"
    model: str = STUDY_MODEL

    @classmethod
    def of(cls, run: Run) -> Problem:
        """The problem that a Run tries a setting of."""
        return cls(run.task, run.batch_size, run.steps, run.train_images, run.dataset, run.model)

    def run(self, learning_rate: float, seed: int = 0) -> Run:
        """A Run of it at a constant rate, evaluated on the test images."""
        return Run(
            task=self.task,
            batch_size=self.batch_size,
            seed=seed,
            learning_rate=learning_rate,
            epochs=0,
            steps=self.steps,
            train_images=self.train_images,
            dataset=self.dataset,
            model=self.model,
        )

    def __str__(self) -> str:
        """`mean at batch size 16, 586 updates on 50,000 images of MNIST, network study`."""
        named = f"{self.task} at batch size {self.batch_size}, {self.steps:,} updates"
        return f"{named} on {self.train_images:,} images of {self.dataset}, network {self.model}"


class Setting(NamedTuple):
    """How the weights are updated, where tuning chooses."""

    learning_rate: float
    decay: float = 1.0
    """Share of the updates at whose end the rate falls linearly to zero: 0 is constant."""
    warmup: float = 0.0
    """Share of the updates over which it rises."""
    beta2: float = 0.999

    @classmethod
    def of(cls, run: Run) -> Setting:
        """The setting that a Run trains with."""
        decay = float(run.schedule == "linear") if run.decay is None else run.decay
        return cls(run.learning_rate, decay, run.warmup or 0.0, run.beta2)

    def applied_to(self, run: Run) -> Run:
        """The Run under this setting; one training has one spelling, so that it has one key."""
        return replace(
            run,
            learning_rate=self.learning_rate,
            schedule="linear" if self.decay == 1 else "constant",
            decay=self.decay if 0 < self.decay < 1 else None,
            warmup=self.warmup or None,
            beta2=self.beta2,
        )

    def is_among(self, some: Among) -> bool:
        """Whether it is one of those that were chosen among."""
        return some == "all" or self.decay == float(some == "falling")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedSetting:
    """One row of a table of tuned settings."""

    dataset: str
    model: str
    train_images: Count
    task: str
    batch_size: Count
    updates: Count
    among: Among
    learning_rate: Amount
    decay: Decay
    warmup: Decay
    beta2: Decay
    validation_mse: Amount
    """Geometric mean over the tuning seeds, squared label units."""
    seeds: Count
    at_the_edge: str
    """`edge` where nothing beyond its rate was tried, so that a better one may lie there; else empty."""

    @classmethod
    def of(
        cls, problem: Problem, among: Among, setting: Setting, *, error: float, seeds: int, at_edge: bool
    ) -> TunedSetting:
        """The row that says what was chosen for a problem."""
        named = problem._asdict()
        return cls(
            updates=named.pop("steps"),
            **named,
            **setting._asdict(),
            among=among,
            validation_mse=error,
            seeds=seeds,
            at_the_edge="edge" if at_edge else "",
        )

    @property
    def problem(self) -> Problem:
        """What it was tuned for."""
        return Problem(self.task, self.batch_size, self.updates, self.train_images, self.dataset, self.model)

    @property
    def setting(self) -> Setting:
        """What was chosen."""
        return Setting(self.learning_rate, self.decay, self.warmup, self.beta2)


@cache
def shipped_settings() -> tuple[TunedSetting, ...]:
    """The settings that come with the package; none where it comes without."""
    return read(SHIPPED) if SHIPPED.exists() else ()


def read(path: Path) -> tuple[TunedSetting, ...]:
    """The table at `path`: CSV, lines that begin with # left out. Raises RatesError."""
    name = printable(str(path))
    expected = "expected the tuned-settings.csv of a tuning session's report"
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LARGEST_TABLE + 1)
        rows = list(csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#")))
        found = msgspec.convert(rows, list[TunedSetting], strict=False)
        for row in found:
            row.setting.applied_to(row.problem.run(row.learning_rate))  # whether a Run takes it
    except (OSError, ValueError, csv.Error, msgspec.ValidationError) as error:
        raise RatesError(f"{name}: {expected}, got {error}; name one") from error
    if len(text) > LARGEST_TABLE:
        raise RatesError(f"{name}: {expected}, got more than {LARGEST_TABLE:,} characters; name one")
    for (problem, among), count in Counter((row.problem, row.among) for row in found).items():
        if count > 1:
            raise RatesError(
                f"{name}: expected one setting for {problem}, {among}, got {count}; leave all but one out"
            )
    return tuple(found)


def setting_for(table: Iterable[TunedSetting], problem: Problem, among: Among) -> Setting:
    """What was tuned for a problem. Raises RatesError where it was not."""
    for row in table:
        if row.problem == problem and row.among == among:
            return row.setting
    raise RatesError(
        f"expected a tuned setting for {problem}, got none; tune it with --bsr-preset why-tune "
        "(why-data-tune, why-networks-tune), smaller budgets too, and give its recordings by --bsr-rates"
    )


COLUMNS: Final = tuple(field.name for field in fields(TunedSetting))
"""Of such a table, as the report of a tuning session writes it; it may have more."""
