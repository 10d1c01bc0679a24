"""What is trained (Run), how it is computed (Execution) and what came out (Result): plain values.

Nothing here imports torch, so that a report is drawn on a machine without it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

SCHEMA: Final = 1
"""Version of every record that holds a Run or a Result; raised when a field changes its meaning."""

Status = Literal[
    "ok",  # trained to the last epoch
    "diverged",  # a training loss was not finite
    "dead",  # the predictions are constant where the labels are not
    "failed",  # an exception, or an assertion after the measurement
    "out_of_memory",
    "timed_out",
    "interrupted",
    "not_run",  # planned; the session ended before its turn
]
FINISHED: Final[frozenset[Status]] = frozenset({"ok", "diverged", "dead"})
"""Statuses that are results of the training itself; a resumed session retries all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, fully specified: the same Run gives the same result wherever it is computed.

    Images are raw pixels 0..255; `train_images` and `test_images` count from the start of each split.
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

    @property
    def key(self) -> str:
        """16 hexadecimal digits: the Run's identity in every record, for ever.

        A digest of the fields of schema 1, and of every later one that differs from its default.
        """
        said = {name: getattr(self, name) for name in (*FIRST_FIELDS, *self.later_fields)}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def later_fields(self) -> tuple[str, ...]:
        """Fields that schema 1 did not have and that differ from their default, so that they matter."""
        later = (field for field in fields(self) if field.name not in FIRST_FIELDS)
        return tuple(field.name for field in later if getattr(self, field.name) != field.default)

    @property
    def cell(self) -> Run:
        """The Run less its seed (0): Runs of one cell differ by seed alone."""
        return replace(self, seed=0)

    @property
    def label(self) -> str:
        """The Run's name for people: `mean-bs16-seed16`."""
        return f"{self.task}-bs{self.batch_size}-seed{self.seed}"

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch; the last, smaller batch counts."""
        return -(-self.train_images // self.batch_size)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one Run. Sequences over epochs stop where the training stopped.

    A number that was not finite is None, and `status` says why.
    """

    run: Run
    status: Status
    message: str = ""
    engine: str = ""
    device: str = ""
    threads: int = 0
    environment: str = ""
    """Identity of the fingerprint of the machine that trained it (see bsr.machine)."""
    beside: int = 0
    """How many other Runs the session let train on this machine at the same time."""
    cohort: int = 1
    """Runs trained at once on one device; above 1, training seconds are the cohort's, shared out."""
    cohort_seconds: float | None = None
    test_mse: tuple[float | None, ...] = ()
    """[epochs + 1], the first before training; squared label units, accumulated in float64."""
    test_mae: tuple[float | None, ...] = ()
    """[epochs + 1], label units."""
    training_loss: tuple[float | None, ...] = ()
    """[epochs], the mean over the epoch's images of the loss that was trained on."""
    training_seconds: tuple[float, ...] = ()
    """[epochs], the devices synchronised before and after; no loading, evaluation or compilation."""
    evaluation_seconds: tuple[float, ...] = ()
    """[epochs + 1]."""
    setup_seconds: float = 0.0
    warmup_seconds: float = 0.0
    """Compilation, capture and warm-up steps; 0 where an engine has none."""
    wall_seconds: float = 0.0
    """Of the whole Run, set-up to last evaluation."""
    steps: int = 0
    diverged_at_step: int | None = None
    """The first step (from 1) whose loss was not finite."""
    baseline_mse: float | None = None
    """MSE of the best constant predictor: the population variance of the test labels."""
    prediction_spread: float | None = None
    """Standard deviation of the last predictions on the test set, label units."""
    order_digest: str = ""
    """SHA-256 over the order of every training batch, 16 hexadecimal digits."""
    peak_memory_bytes: int | None = None
    finished_at: str = ""
    """UTC, ISO 8601."""

    @property
    def final_mse(self) -> float | None:
        """Test MSE after the last epoch; None where the training did not get there."""
        return self.test_mse[-1] if len(self.test_mse) == self.run.epochs + 1 else None

    @property
    def degenerate(self) -> bool:
        """Whether the test labels do not vary, so that there is nothing to learn."""
        return self.baseline_mse == 0

    @property
    def normalised_mse(self) -> float | None:
        """Final MSE over the best constant predictor's (1 - R squared); None on degenerate labels."""
        if self.final_mse is None or not self.baseline_mse:
            return None
        return self.final_mse / self.baseline_mse

    @property
    def total_training_seconds(self) -> float:
        """Seconds over all epochs trained."""
        return sum(self.training_seconds)

    @property
    def images_per_second(self) -> float | None:
        """Training images per second of training time."""
        if not self.total_training_seconds:
            return None
        return self.run.train_images * len(self.training_seconds) / self.total_training_seconds

    @property
    def timing(self) -> str:
        """Under which circumstances it was timed; times of different modes never share a series."""
        if self.cohort > 1:
            return f"amortised over {self.cohort}"
        return f"beside {self.beside}" if self.beside else "alone"
