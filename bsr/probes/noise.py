"""The noise of the gradient along a training, and after a short cooling (McCandlish et al. 2018).

A batch's gradient is the full gradient G plus noise whose variance falls as 1/B. The noise scale
tr(S) / |G|^2 is the batch size at which both are equally large: the critical batch size that it predicts. At
a constant rate |G|^2 swings along the steep directions, so one moment says little: the trajectory is printed,
and what is left after COOLING_STEPS more updates at a rate that falls to zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Protocol

import torch
from torch import Tensor

from bsr import engines
from bsr.data.images import Split
from bsr.engines.eager import EagerLearner
from bsr.machine import device as machine
from bsr.records.schema import NoisePoint, NoiseScale
from bsr.run import Execution, Run
from bsr.training.loop import Learner, initial_model, orders

CHECKPOINTS: Final = 8
"""After the last update, half of them, a quarter, ..."""
SAMPLES: Final = 400
SAMPLE: Final = 32
"""Gradients, and images in each, from which their variance is taken."""
PIECE: Final = 5_000
"""Images of the full gradient that are added up in float32; pieces are, in float64."""
COOLING_STEPS: Final = 100
COOLING_BATCH_SIZE: Final = 256


class GradientLearner(Learner, Protocol):
    """An engine that gives gradients, too."""

    def gradient(self, order: Tensor) -> tuple[dict[str, Tensor], float]:
        """Of the mean loss over the training images `order`, int64 [n], by parameter, and that loss."""


def measure(run: Run, split: Split, execution: Execution) -> NoiseScale:
    """Train `run` and say how noisy its gradient is at CHECKPOINTS moments, and after cooling from each.

    `split` is the Run's (bsr.load_split). Raises EngineError, and ValueError for a split of another Run.
    """
    split.check(run)
    execution = engines.placed(execution, [run])
    kind = _kind(execution)
    with machine.configured(run.precision, execution):
        model, generator = initial_model(run.seed, run.model)
        learner = kind(model, run, split, execution)
        stream = torch.cat(list(orders(run, generator)))
        points: list[NoisePoint] = []
        before = 0
        for step in checkpoints(run.steps):
            learner.train_epoch(stream[before * run.batch_size : step * run.batch_size], math.inf)
            before = step
            points.append(_point(learner, run, step, cooled=False))
            cold = _cooled(learner, run, split, execution)
            points.append(_point(cold, run, step, cooled=True))
    return NoiseScale(
        dataset=run.dataset,
        task=run.task,
        batch_size=run.batch_size,
        seed=run.seed,
        learning_rate=run.learning_rate,
        train_images=run.train_images,
        engine=execution.engine if kind is not EagerLearner else "eager",
        points=tuple(points),
    )


def checkpoints(steps: int) -> list[int]:
    """After how many updates the noise is measured, rising to `steps`."""
    return sorted({max(1, steps >> halvings) for halvings in range(CHECKPOINTS)})


def _kind(execution: Execution) -> type[GradientLearner]:
    kind = engines.learner(execution.engine)
    return kind if hasattr(kind, "gradient") else EagerLearner  # type: ignore[return-value]


def _cooled(learner: Learner, run: Run, split: Split, execution: Execution) -> GradientLearner:
    """A learner with these weights, cooled, its moments begun anew; the other one is left as it was."""
    steps = min(COOLING_STEPS, run.steps)
    cooling = replace(run, batch_size=COOLING_BATCH_SIZE, steps=steps, schedule="linear")
    model, generator = initial_model(run.seed, run.model)
    model.load_state_dict(learner.weights())
    cold = _kind(execution)(model, cooling, split, execution)
    cold.train_epoch(torch.cat(list(orders(cooling, generator))), math.inf)
    return cold


def _point(learner: GradientLearner, run: Run, step: int, *, cooled: bool) -> NoisePoint:
    """The gradient and its noise, at the weights as they are."""
    full = _mean_gradient(learner, torch.arange(run.train_images).split(PIECE))
    chosen = torch.randperm(run.train_images, generator=torch.Generator().manual_seed(run.seed + step))
    samples = chosen[: SAMPLES * SAMPLE].split(SAMPLE)
    total, squares, norms = torch.zeros_like(full), torch.zeros_like(full), 0.0
    for sample in samples:
        found = _flat(learner, sample)
        total += found
        squares += found.square()
        norms += float(found.square().sum())
    n = len(samples)
    mean = total / n
    noise = SAMPLE * (squares - n * mean.square()) / (n - 1)  # of one image, by parameter
    expected = full.square() + noise / run.batch_size  # what Adam's second moment tends to
    weight = torch.where(expected > 0, expected.rsqrt(), 0.0)
    large, small = float(mean.square().sum()), norms / n
    return NoisePoint(
        step=step,
        cooled=cooled,
        trace=float(noise.sum()),
        square=float(full.square().sum()),
        trace_two_batches=(small - large) / (1 / SAMPLE - 1 / (n * SAMPLE)),
        square_two_batches=(n * large - small) / (n - 1),
        trace_adam=float((noise * weight).sum()),
        square_adam=float((full.square() * weight).sum()),
    )


def _mean_gradient(learner: GradientLearner, pieces: tuple[Tensor, ...]) -> Tensor:
    images = sum(map(len, pieces))
    parts: Iterator[Tensor] = (_flat(learner, piece) * (len(piece) / images) for piece in pieces)
    return torch.stack(list(parts)).sum(dim=0)


def _flat(learner: GradientLearner, order: Tensor) -> Tensor:
    """Float64 [parameters]."""
    gradient, _ = learner.gradient(order)
    return torch.cat([part.flatten() for part in gradient.values()]).double()
