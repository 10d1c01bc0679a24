"""What a training shows as it goes on, and how that becomes a Result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from bsr.result import EXPLODED, TRAINED, Status


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Errors over the whole test set, accumulated in float64; label units (mse: squared)."""

    mse: float
    mae: float
    prediction_spread: float
    """Population standard deviation of the predictions; 0 exactly when all are equal."""


def evaluation(predictions: Tensor, labels: Tensor) -> Evaluation:
    """Errors of predictions [N] against labels [N], float64 whatever they came in."""
    predictions = predictions.double()
    error = predictions - labels.double()
    constant = bool((predictions == predictions[0]).all())
    return Evaluation(
        mse=float(error.square().mean()),
        mae=float(error.abs().mean()),
        prediction_spread=0.0 if constant else float(predictions.std(correction=0)),
    )


@dataclass(slots=True)
class TrainingLog:
    """What a training has shown so far, under the names of Result's fields."""

    test_mse: list[float | None] = field(default_factory=list)
    test_mae: list[float | None] = field(default_factory=list)
    training_loss: list[float | None] = field(default_factory=list)
    training_seconds: list[float] = field(default_factory=list)
    device_seconds: list[float] = field(default_factory=list)
    evaluation_seconds: list[float] = field(default_factory=list)
    training_mse: list[float | None] = field(default_factory=list)
    validation_mse: list[float | None] = field(default_factory=list)
    setup_seconds: float = 0.0
    warmup_seconds: float = 0.0
    prediction_spread: float | None = None
    steps: int = 0
    diverged_at_step: int | None = None
    order_digest: str = ""

    def trained(self, losses: Tensor, images: int, batch_size: int, seconds: float) -> None:
        """So many images, with the loss of each step; a smaller last batch weighs less in their mean."""
        sizes = torch.full((len(losses),), batch_size, dtype=torch.float64)
        sizes[-1] = images - batch_size * (len(losses) - 1)
        self.training_seconds.append(seconds)
        self.training_loss.append(_finite(float((losses.double() * sizes).sum() / images)))
        diverged = (~losses.isfinite()).nonzero()
        if len(diverged):
            self.diverged_at_step = self.steps + int(diverged[0]) + 1
        self.steps += len(losses)

    def evaluated(self, measured: Evaluation, seconds: float) -> None:
        """One pass over the test set."""
        self.evaluation_seconds.append(seconds)
        self.test_mse.append(_finite(measured.mse))
        self.test_mae.append(_finite(measured.mae))
        self.prediction_spread = _finite(measured.prediction_spread)

    def evaluated_too(self, trained_on: Evaluation, held_out: Evaluation | None) -> None:
        """The same weights on images that they trained on and, if there are any, on held-out ones."""
        self.training_mse.append(_finite(trained_on.mse))
        if held_out is not None:
            self.validation_mse.append(_finite(held_out.mse))

    @property
    def finite(self) -> bool:
        """Whether everything was finite so far, so that there is something to train on."""
        return self.diverged_at_step is None and self.test_mse[-1] is not None

    def verdict(self, baseline: float | None) -> tuple[Status, str]:
        """Status and message of a training that came to its end."""
        if self.diverged_at_step is not None:
            return "diverged", f"the training loss was not finite at step {self.diverged_at_step}"
        if not self.finite:
            return "diverged", f"the test MSE was not finite after step {self.steps}"
        last = self.test_mse[-1]
        if baseline and last is not None and last > EXPLODED * baseline:
            return "diverged", f"the test MSE is {last / baseline:.2g} times that of the best constant"
        if baseline and self.prediction_spread == 0:
            return "dead", "the predictions are constant where the labels are not"
        return "ok", ""

    def arguments(self, status: Status) -> dict[str, Any]:
        """As arguments of Result; beside the test errors there are others of those alone that came to one."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if status not in TRAINED:
            values |= {"training_mse": [], "validation_mse": []}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
