"""The reference: one training loop for every engine, and the plain PyTorch learner it is proved with.

An engine is a Learner: it holds the weights and the images on its device, trains one epoch over a given
order, and evaluates. Everything that must not differ between engines is here, once: the initial weights, the
order of every batch, the clock, the statuses.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from bsr import machine
from bsr.data import Split
from bsr.experiment import Execution, Result, Run, Status
from bsr.model import RegressionCNN


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Errors over the whole test set, accumulated in float64; label units (mse: squared)."""

    mse: float
    mae: float
    prediction_spread: float
    """Population standard deviation of the predictions; 0 exactly when all are equal."""


class Learner(Protocol):
    """What an engine is made of. Construction moves weights and images to the device."""

    warmup_seconds: float
    """Spent on compilation, capture and warm-up steps during construction."""

    def __init__(self, model: RegressionCNN, run: Run, split: Split, execution: Execution) -> None: ...

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """One step per `run.batch_size` indices of `order`, int64 [n] on the CPU; the last batch is the rest.

        Returns the loss of every step, float32 [steps], on the CPU: each the mean over its batch, before the
        step. Raises Overtime once `time.monotonic()` passes `deadline`.
        """

    def evaluate(self) -> Evaluation:
        """Errors of the weights as they are."""

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights on the CPU, named as in RegressionCNN.state_dict()."""


class Overtime(Exception):  # noqa: N818 - it is a limit that was reached, not an error of the program
    """The Run's time limit passed between two steps."""


class EagerLearner:
    """Plain PyTorch, the fastest loop it gives: images on the device once, a batch is an index.

    Any device. channels_last and the fused Adam were the fastest of the memory formats and optimisers tried
    on CPU at every batch size.
    """

    warmup_seconds = 0.0

    def __init__(self, model: RegressionCNN, run: Run, split: Split, execution: Execution) -> None:
        device = torch.device(execution.device)
        self.run = run
        self.device = device
        self.images = split.train_images.unsqueeze(1).to(device)
        self.labels = split.train_labels.to(device)
        self.test_images = split.test_images.unsqueeze(1).to(device)
        self.test_labels = split.test_labels.to(device)
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = make_optimiser(run, self.model)
        self.loss = LOSSES[run.loss]
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bfloat16")

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """See Learner."""
        batches = order.to(self.device).split(self.run.batch_size)
        losses = torch.empty(len(batches), device=self.device)
        self.model.train()
        for step, index in enumerate(batches):
            if time.monotonic() > deadline:
                raise Overtime
            images = self.images.index_select(0, index).float()
            with self.autocast:
                prediction = self.model(images)
            loss = self.loss(prediction.float(), self.labels.index_select(0, index))
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self.optimiser.step()
            losses[step] = loss.detach()
        return losses.cpu()

    def evaluate(self) -> Evaluation:
        """See Learner."""
        self.model.eval()
        with torch.inference_mode(), self.autocast:
            predictions = [self.model(images.float()).float() for images in self.test_images.split(500)]
        return evaluation(torch.cat(predictions).cpu(), self.test_labels.cpu())

    def weights(self) -> dict[str, Tensor]:
        """See Learner."""
        return {
            name: value.detach().cpu().contiguous().clone() for name, value in self.model.state_dict().items()
        }


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
}


def make_optimiser(run: Run, model: RegressionCNN) -> torch.optim.Optimizer:
    """The Run's optimiser with PyTorch's defaults."""
    if run.optimiser == "adam":
        return torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
    return torch.optim.SGD(model.parameters(), lr=run.learning_rate, fused=True)


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


def initial_model(seed: int) -> tuple[RegressionCNN, torch.Generator]:
    """The model that `torch.manual_seed(seed); RegressionCNN()` builds, and the random stream after it.

    The caller's global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = RegressionCNN()
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
    return model, generator


def data_order(generator: torch.Generator, train_images: int, epochs: int) -> Iterator[Tensor]:
    """The order of each epoch's training images, int64 [train_images], as the usual loop draws it.

    The usual loop: `DataLoader(train, batch_size, shuffle=True)` iterated each epoch, and after it
    `DataLoader(test, batch_size, shuffle=True)` iterated once. Each pass draws one int64 base seed, then one
    int64 sampler seed; the order is `randperm` of a fresh generator with the sampler seed.
    """

    def draw() -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())

    for _ in range(epochs):
        draw()
        yield torch.randperm(train_images, generator=torch.Generator().manual_seed(draw()))
        draw()  # the evaluation's base seed
        draw()  # and its sampler seed: its order does not matter


@dataclass(slots=True)
class _Record:
    """What a training has shown so far."""

    test_mse: list[float | None] = field(default_factory=list)
    test_mae: list[float | None] = field(default_factory=list)
    training_loss: list[float | None] = field(default_factory=list)
    training_seconds: list[float] = field(default_factory=list)
    evaluation_seconds: list[float] = field(default_factory=list)
    prediction_spread: float | None = None
    steps: int = 0
    diverged_at_step: int | None = None
    digest: str = ""


def train(
    run: Run,
    split: Split,
    execution: Execution | None = None,
    learner: type[Learner] = EagerLearner,
    observe: Callable[[int], None] = lambda _epoch: None,
    keep: Callable[[dict[str, Tensor]], None] | None = None,
) -> Result:
    """Train one Run from scratch and say what came out.

    `split` holds uint8 images [N, 28, 28] and float32 labels [N] of the Run's task (bsr.load_split).
    `observe` is called with the number of finished epochs; `keep` with the final weights. Seconds are wall
    time with the device synchronised before and after.

    A training that diverges, dies, runs out of memory or time is a Result with that status and everything
    that was measured before; any other exception is raised.
    """
    execution = execution or Execution()
    began = time.perf_counter()
    record = _Record()
    result = Result(run=run, status="ok", device=execution.device, baseline_mse=baseline_mse(split))
    setup_seconds = warmup_seconds = 0.0
    status: Status
    try:
        with machine.configured(run.precision, execution):
            machine.reset_peak_memory(execution.device)
            model, generator = initial_model(run.seed)
            worker = learner(model, run, split, execution)
            machine.synchronise(execution.device)
            warmup_seconds = worker.warmup_seconds
            setup_seconds = time.perf_counter() - began - warmup_seconds
            _epochs(run, worker, generator, execution, record, observe)
            if keep is not None:
                keep(worker.weights())
        status, message = _verdict(record, result.baseline_mse)
    except Overtime:
        status, message = "timed_out", f"stopped after {execution.timeout_seconds:g} s"
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not machine.is_out_of_memory(error):
            raise
        status, message = "out_of_memory", f"batch size {run.batch_size}: {str(error).splitlines()[0]}"
    return replace(
        result,
        status=status,
        message=message,
        threads=execution.threads or torch.get_num_threads(),
        test_mse=tuple(record.test_mse),
        test_mae=tuple(record.test_mae),
        training_loss=tuple(record.training_loss),
        training_seconds=tuple(record.training_seconds),
        evaluation_seconds=tuple(record.evaluation_seconds),
        setup_seconds=setup_seconds,
        warmup_seconds=warmup_seconds,
        wall_seconds=time.perf_counter() - began,
        steps=record.steps,
        diverged_at_step=record.diverged_at_step,
        prediction_spread=record.prediction_spread,
        order_digest=record.digest,
        peak_memory_bytes=machine.peak_memory_bytes(execution.device),
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _epochs(
    run: Run,
    learner: Learner,
    generator: torch.Generator,
    execution: Execution,
    record: _Record,
    observe: Callable[[int], None],
) -> None:
    """Evaluate, then train and evaluate each epoch, until the last or the first that is not finite."""
    limit = execution.timeout_seconds
    deadline = math.inf if limit is None else time.monotonic() + limit
    sizes = torch.full((run.steps_per_epoch,), run.batch_size, dtype=torch.float64)
    sizes[-1] = run.train_images - run.batch_size * (run.steps_per_epoch - 1)
    digest = hashlib.sha256()
    _evaluate(learner, execution.device, record)
    for epoch, order in enumerate(data_order(generator, run.train_images, run.epochs), start=1):
        digest.update(order.numpy().tobytes())
        record.digest = digest.hexdigest()[:16]
        machine.synchronise(execution.device)
        began = time.perf_counter()
        losses = learner.train_epoch(order, deadline)
        machine.synchronise(execution.device)
        record.training_seconds.append(time.perf_counter() - began)
        record.steps += len(losses)
        record.training_loss.append(_finite(float((losses.double() * sizes).sum() / run.train_images)))
        _evaluate(learner, execution.device, record)
        observe(epoch)
        diverged = (~losses.isfinite()).nonzero()
        if len(diverged):
            record.diverged_at_step = record.steps - len(losses) + int(diverged[0]) + 1
        if record.diverged_at_step or record.test_mse[-1] is None:
            return


def _evaluate(learner: Learner, device: str, record: _Record) -> None:
    began = time.perf_counter()
    measured = learner.evaluate()
    machine.synchronise(device)
    record.evaluation_seconds.append(time.perf_counter() - began)
    record.test_mse.append(_finite(measured.mse))
    record.test_mae.append(_finite(measured.mae))
    record.prediction_spread = _finite(measured.prediction_spread)


def _verdict(record: _Record, baseline: float | None) -> tuple[Status, str]:
    if record.diverged_at_step is not None:
        return "diverged", f"the training loss was not finite at step {record.diverged_at_step}"
    if record.test_mse[-1] is None:
        return "diverged", f"the test MSE was not finite after step {record.steps}"
    if baseline and record.prediction_spread == 0:
        return "dead", "the predictions are constant where the labels are not"
    return "ok", ""


def baseline_mse(split: Split) -> float:
    """MSE of the best constant predictor: the population variance of the test labels; 0 if degenerate."""
    labels = split.test_labels.double()
    return 0.0 if bool((labels == labels[0]).all()) else float(labels.var(correction=0))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
