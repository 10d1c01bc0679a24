"""What is trained (Run) and how it is computed (Execution): plain values.

Nothing here imports torch, so that a report is drawn on a machine without it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Final, Literal

SCHEMA: Final = 1
"""Version of every record that holds a Run or a Result; raised when a field changes its meaning."""

SCHEDULES: Final = ("constant", "linear")
EVALUATED_ON: Final = ("test", "validation")
OPTIMISERS: Final = ("adam", "sgd")
LOSSES: Final = ("mse", "mae")
PRECISIONS: Final = ("float32", "tf32", "bfloat16")
DEVICES: Final = "auto, cpu, cuda, cuda:N, mps"
DEVICE: Final = r"auto|cpu|mps|cuda(:[0-9]{1,3})?"
MOST_IMAGES: Final = 2**31
MOST_EPOCHS: Final = 100_000
MOST_STEPS: Final = 10_000_000
STUDY_MODEL: Final = "study"
"""The network of a Run that names none."""
TEN_EPOCHS: Final = (586, 2_344, 9_375)
"""Steps of ten epochs, 600,000 images, at batch sizes 1024, 256 and 64, without partial batches."""
FIRST_EVALUATION: Final = 64
"""Updates before the first evaluation, where steps decide and nothing else is said."""
LARGEST_SEED: Final = 2**63 - 1
LEARNING_RATES: Final = (1e-30, 1e9)
SMALLEST_SHARE, LARGEST_DECAY = 1e-6, 1 - 1e-6
LONGEST_NAME: Final = 200
MOST_SHOWN: Final = 10**30
MOST_THREADS: Final = 1024
"""More than any machine has, few enough not to bring one down by a slip of the finger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, fully specified: the same Run gives the same result wherever it is computed.

    Images are raw pixels 0..255; `train_images` and `test_images` count from the start of each split. Epochs
    decide how long it trains, as in the study; or `steps` do, whatever the batch size, over an endless stream
    of reshuffled passes without a partial batch.
    """

    task: str
    batch_size: int
    seed: int
    learning_rate: float
    epochs: int = 10
    dataset: str = "MNIST"
    train_images: int = 60_000
    test_images: int = 10_000
    optimiser: Literal["adam", "sgd"] = "adam"
    loss: Literal["mse", "mae"] = "mse"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    steps: int = 0
    """Updates to make; 0 lets `epochs` decide, above it `epochs` is 0."""
    schedule: Literal["constant", "linear"] = "constant"
    """Of the learning rate: `linear` falls to zero over the whole training."""
    evaluate_on: Literal["test", "validation"] = "test"
    """Validation images are the last `test_images` of the training split, on which nothing trains."""
    order_seed: int | None = None
    """Of the order of the images, where another seed than that of the initial weights decides it."""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    """Adam's."""
    model: str = STUDY_MODEL
    """The network: a name in bsr.model.MODELS. Task, network and data set may also be an import path of a
    user's own, `package.module:attribute`; see docs/your-own.md."""
    warmup: float | None = None
    """Share of the updates, above 0 and at most 1, over which the rate rises to the one it would have."""
    decay: float | None = None
    """Share of the updates, between 0 and 1, at whose end the rate falls linearly to zero; of all of them is
    the schedule `linear`, of none `constant`, so that no training has two keys."""
    first_evaluation: int = FIRST_EVALUATION
    """Updates before the first evaluation, 1 to 64, where steps decide; early ones resolve easy errors."""

    def __post_init__(self) -> None:
        """Raises ValueError, one line, for a value that no Run can have.

        Whether task, data set and network exist is asked where they are looked up: a recording of a user's
        own is readable where they are not.
        """
        for name in ("task", "dataset", "model"):
            _check_name(f"Run.{name}", getattr(self, name))
        for name in ("batch_size", "train_images", "test_images"):
            _check_whole(f"Run.{name}", getattr(self, name), 1, MOST_IMAGES)
        _check_whole("Run.steps", self.steps, 0, MOST_STEPS)
        _check_whole("Run.epochs", self.epochs, *((0, 0) if self.steps else (1, MOST_EPOCHS)))
        earliest = 1 if self.steps else FIRST_EVALUATION
        _check_whole("Run.first_evaluation", self.first_evaluation, earliest, FIRST_EVALUATION)
        _check_whole("Run.seed", self.seed, 0, LARGEST_SEED)
        rate = _checked_number("Run.learning_rate", self.learning_rate, *LEARNING_RATES)
        object.__setattr__(self, "learning_rate", rate)  # 1 is 1.0: one Run, one key
        if self.order_seed is not None:
            _check_whole("Run.order_seed", self.order_seed, 0, LARGEST_SEED)
        for name, least, most in (("beta1", 0.0, 0.999999), ("beta2", 0.0, 0.999999), ("eps", 1e-30, 1.0)):
            number = _checked_number(f"Run.{name}", getattr(self, name), least, most)
            object.__setattr__(self, name, number)
        self._check_shares()
        for name, choices in (
            ("optimiser", OPTIMISERS),
            ("loss", LOSSES),
            ("precision", PRECISIONS),
            ("schedule", SCHEDULES),
            ("evaluate_on", EVALUATED_ON),
        ):
            _check_choice(f"Run.{name}", getattr(self, name), choices)

    def _check_shares(self) -> None:
        for name, most in (("warmup", 1.0), ("decay", LARGEST_DECAY)):
            if (share := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked_number(f"Run.{name}", share, SMALLEST_SHARE, most))
        if self.decay is not None and self.schedule != "constant":
            raise ValueError(
                f"Run.decay: expected none beside the schedule {self.schedule!r}, got {self.decay}; give one"
            )

    @property
    def key(self) -> str:
        """16 hexadecimal digits: the Run's identity in every record, for ever.

        A digest of the fields of schema 1, and of every later one that differs from its default.
        """
        said = {name: getattr(self, name) for name in (*FIRST_FIELDS, *self.later_fields)}
        return hashlib.sha256(_ENCODER.encode(said).encode()).hexdigest()[:16]

    @property
    def later_fields(self) -> tuple[str, ...]:
        """Fields that schema 1 did not have and that differ from their default, so that they matter."""
        later = _later_fields(type(self))  # type: ignore[arg-type] # mypy takes no class for hashable
        return tuple(name for name, usual in later if getattr(self, name) != usual)

    @property
    def cell(self) -> Run:
        """The Run less its seeds: Runs of one cell differ by them alone."""
        return replace(self, seed=0, order_seed=None)

    @property
    def label(self) -> str:
        """The Run's name for people: `mean-bs16-seed16`, and the network where it is not the study's."""
        network = "" if self.model == STUDY_MODEL else f"-{self.model}"
        return f"{self.task}-bs{self.batch_size}-seed{self.seed}{network}"

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch; the last, smaller batch counts."""
        return -(-self.train_images // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.steps or self.epochs * self.steps_per_epoch

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """After how many steps it is evaluated, not counting the time before the first: the ends of epochs.

        Where steps decide: half octaves of 64 from `first_evaluation`, quarter octaves beyond 2,344, and ten
        epochs' worth of the study's larger batch sizes, 586, 2,344 and 9,375, at which Runs of other batch
        sizes are compared.
        """
        if not self.steps:
            per_epoch = self.steps_per_epoch
            return tuple(per_epoch * epoch for epoch in range(1, self.epochs + 1))
        return _octaves(self.first_evaluation, self.steps)

    @property
    def evaluations(self) -> int:
        """How often it is evaluated once training has begun."""
        return len(self.evaluation_steps) if self.steps else self.epochs

    def images_until(self, evaluation: int) -> int:
        """Images trained on until that evaluation, counted from 1."""
        if not self.steps:
            return evaluation * self.train_images
        return self.evaluation_steps[evaluation - 1] * self.batch_size if evaluation else 0

    def rates(self, first: int, count: int) -> list[float]:
        """The learning rates of `count` steps, the first after `first` steps were made."""
        total, falls = self.total_steps, self.total_steps if self.schedule == "linear" else 0.0
        falls = total * self.decay if self.decay is not None else falls
        if not (falls or self.warmup):
            return [self.learning_rate] * count
        rises = math.ceil(total * (self.warmup or 0))
        return [
            self.learning_rate
            * (min(1.0, (total - step) / falls) if falls else 1.0)
            * (min(1.0, (step + 1) / rises) if rises else 1.0)
            for step in range(first, first + count)
        ]


@cache
def _octaves(first: int, steps: int) -> tuple[int, ...]:
    """See Run.evaluation_steps."""
    halves = (step for n in range(-12, 12) if (step := round(64 * 2 ** (n / 2))) >= first)
    quarters = (round(TEN_EPOCHS[1] * 2 ** (n / 4)) for n in range(1, 100))
    moments = {*halves, *itertools.takewhile(lambda step: step < steps, quarters), *TEN_EPOCHS}
    return tuple(sorted({step for step in moments if step < steps} | {steps}))


RUN_FIELDS: Final = tuple(field.name for field in fields(Run))
FIRST_FIELDS: Final = (
    "task",
    "batch_size",
    "seed",
    "learning_rate",
    "epochs",
    "dataset",
    "train_images",
    "test_images",
    "optimiser",
    "loss",
    "precision",
)
"""The fields of Run in schema 1. It never grows: a field added later needs a default, and keeps every key."""


@cache
def _later_fields(kind: type[Run]) -> tuple[tuple[str, object], ...]:
    """Those that schema 1 did not have, with their defaults."""
    return tuple((one.name, one.default) for one in fields(kind) if one.name not in FIRST_FIELDS)


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How and where Runs are computed. Nothing here changes what is trained.

    `timeout_seconds` bounds one Run's wall time; `threads` is PyTorch's, None its own choice.
    """

    engine: str = "eager"
    device: str = "cpu"
    threads: int | None = None
    deterministic: bool = False
    data: str | None = None
    timeout_seconds: float | None = None
    save_models: str | None = None
    """Folder to keep trained weights in, see bsr.training.weights."""
    session: str = ""
    """Of which session and recording they are, said in the weights' own headers; empty outside of one."""

    def __post_init__(self) -> None:
        """Raises ValueError, one line; whether the engine exists is asked where it is looked up."""
        _check_name("Execution.engine", self.engine)
        if not (isinstance(self.device, str) and re.fullmatch(DEVICE, self.device)):
            raise ValueError(f"Execution.device: expected one of {DEVICES}, got {_shown(self.device)}")
        if self.threads is not None:
            _check_whole("Execution.threads", self.threads, 1, MOST_THREADS)
        if self.timeout_seconds is not None:
            _checked_number("Execution.timeout_seconds", self.timeout_seconds, 1e-3, 1e9)


def _check_name(what: str, value: object) -> None:
    if not (isinstance(value, str) and 0 < len(value) <= LONGEST_NAME):
        raise ValueError(f"{what}: expected a name of 1 to {LONGEST_NAME} characters, got {_shown(value)}")


def _check_whole(what: str, value: object, least: int, most: int) -> None:
    if not (isinstance(value, int) and not isinstance(value, bool) and least <= value <= most):
        raise ValueError(f"{what}: expected a whole number from {least} to {most}, got {_shown(value)}")


def _checked_number(what: str, value: object, least: float, most: float) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and least <= value <= most):  # type: ignore[operator]
        raise ValueError(f"{what}: expected a number from {least:g} to {most:g}, got {_shown(value)}")
    return float(value) + 0.0  # type: ignore[arg-type]  # -0.0 is 0.0: one Run, one key


def _check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{what}: expected one of {', '.join(choices)}, got {_shown(value)}")


def _shown(value: object) -> str:
    """A value in a message, however long it is."""
    if isinstance(value, int) and abs(value) > MOST_SHOWN:
        return "a number of very many digits"
    text = repr(value)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
