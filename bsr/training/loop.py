"""The one training loop of every engine.

An engine is a Learner: it holds the weights and the images on its device, trains one epoch over a given
order, and evaluates. Everything that must not differ between engines is here, once: the initial weights, the
order of every batch, the clock, the statuses.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from bsr.data.images import Split
from bsr.machine import device as machine
from bsr.machine import nvml
from bsr.model import RegressionCNN, code_of, factory, network
from bsr.model import identity as network_identity
from bsr.result import Result
from bsr.run import STUDY_MODEL, Execution, Run
from bsr.text.strict_json import one_line, words
from bsr.training.log import Evaluation, TrainingLog, evaluation

__all__ = [
    "LOSSES",
    "Evaluation",
    "Learner",
    "TimeLimitReached",
    "baseline_mse",
    "data_order",
    "evaluation",
    "identity",
    "initial_model",
    "make_optimiser",
    "orders",
    "train",
]

T = TypeVar("T")


class Learner(Protocol):
    """What an engine is made of. Construction moves weights and images to the device.

    One that times its epochs by events on a device keeps those seconds in a list, `device_seconds`.
    """

    warmup_seconds: float
    """Spent on compilation, capture and warm-up steps during construction."""

    def __init__(self, model: nn.Module, run: Run, split: Split, execution: Execution) -> None: ...

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """Train until the next evaluation, an epoch where epochs decide.

        One step per `run.batch_size` indices of `order`, int64 [n] on the CPU; the last batch is the rest.
        The rates are the Run's, from where the last call stopped.

        Returns the loss of every step, float32 [steps], on the CPU: each the mean over its batch, before the
        step. Raises TimeLimitReached once `time.monotonic()` passes `deadline`.
        """

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """Errors of the weights as they are, in eval mode, on these images; changes nothing.

        Images as a Split's, on any device, not all of which need fit on the learner's at once; labels float32
        [N] on the CPU.
        """

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights on the CPU, named as in the network's state_dict()."""


class TimeLimitReached(Exception):  # noqa: N818 - it is a limit that was reached, not an error of the program
    """The Run's time limit passed between two steps."""


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
}


def make_optimiser(run: Run, model: nn.Module, **how: Any) -> torch.optim.Optimizer:
    """The Run's optimiser, else as PyTorch makes it; `how` are PyTorch's arguments of speed (`fused`)."""
    adam = {"betas": (run.beta1, run.beta2), "eps": run.eps} if run.optimiser == "adam" else {}
    return OPTIMISERS[run.optimiser](model.parameters(), **{"lr": run.learning_rate, **adam, **how})


@overload
def initial_model(seed: int) -> tuple[RegressionCNN, torch.Generator]: ...
@overload
def initial_model(seed: int, name: str) -> tuple[nn.Module, torch.Generator]: ...
def initial_model(seed: int, name: str = STUDY_MODEL) -> tuple[nn.Module, torch.Generator]:
    """The network that `torch.manual_seed(seed); Network()` builds, and the random stream after it.

    The caller's global random state is left as it was. Raises as bsr.model.network does.
    """
    factory(name)  # imported before a seed is set
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made = network(name)
        generator = torch.Generator()
        generator.set_state(torch.get_rng_state())
    return made, generator


@contextlib.contextmanager
def _drawing_from(generator: torch.Generator, run: Run, device: str) -> Iterator[None]:
    """What a network draws as it trains, for dropout, is the Run's own, whatever was drawn before.

    On the CPU it is the stream of the initial weights as they left it; on a GPU that of the seed. It is a
    copy: the order of the images is as without dropout. The caller's global state is left as it was.
    """
    kind = torch.device(device)
    on_cuda = kind.type == "cuda"
    with torch.random.fork_rng(devices=[kind] if on_cuda else []):
        torch.set_rng_state(generator.get_state())
        if on_cuda:
            with torch.cuda.device(kind):
                torch.cuda.manual_seed(run.seed)
        elif kind.type == "mps":
            torch.mps.manual_seed(run.seed)
        yield


def identity(run: Run, split: Split, made: nn.Module) -> dict[str, Any]:
    """The fields of Result by which labels and network are told from others of that name."""
    about = network_identity(run.model, made, split.train_images)._asdict()
    code = dict(about["code"]) | dict(code_of((run.task, run.dataset)))
    return {"labels_digest": split.labels_digest, **about, "code": tuple(sorted(code.items()))}


def orders(run: Run, generator: torch.Generator) -> Iterator[Tensor]:
    """The images to train on until each evaluation, int64 [n]: an epoch's, or a piece of the endless stream.

    `generator` is that of the initial weights, as they left it. The stream is the same for every batch size:
    a batch of 1024 is 64 consecutive batches of 16.
    """
    if run.order_seed is not None:
        generator = initial_model(run.order_seed, run.model)[1]
    passes = data_order(generator, run.train_images)
    if not run.steps:
        yield from itertools.islice(passes, run.epochs)
        return
    left = torch.empty(0, dtype=torch.int64)
    for before, step in itertools.pairwise((0, *run.evaluation_steps)):
        wanted = (step - before) * run.batch_size
        parts, found = [left], len(left)
        while found < wanted:
            parts.append(next(passes))
            found += run.train_images
        stretch = torch.cat(parts)
        yield stretch[:wanted]
        left = stretch[wanted:].clone()


def data_order(generator: torch.Generator, train_images: int) -> Iterator[Tensor]:
    """The order of each pass over the training images, int64 [train_images], as the usual loop draws it.

    The usual loop: `DataLoader(train, batch_size, shuffle=True)` iterated each epoch, and after it
    `DataLoader(test, batch_size, shuffle=True)` iterated once. Each pass draws one int64 base seed, then one
    int64 sampler seed; the order is `randperm` of a fresh generator with the sampler seed.
    """

    def draw() -> int:
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator).item())

    while True:
        draw()
        yield torch.randperm(train_images, generator=torch.Generator().manual_seed(draw()))
        draw()  # the evaluation's base seed
        draw()  # and its sampler seed: its order does not matter


def train(
    run: Run,
    split: Split,
    execution: Execution,
    learner: type[Learner],
    on_epoch: Callable[[int], None] = lambda _epoch: None,
    on_weights: Callable[[dict[str, Tensor]], None] | None = None,
) -> Result:
    """Train one Run from scratch and say what came out.

    `split` holds uint8 images [N, H, W] and float32 labels [N] of the Run's task (bsr.load_split).
    `on_epoch` is called with the number of finished epochs; `on_weights` with the final weights. Seconds are
    wall time with the device synchronised before and after.

    A training that diverges, dies, runs out of memory or time is a Result with that status and everything
    that was measured before; any other exception is raised, and ValueError for a split that is not the Run's
    (Split.check). What `on_weights` raises takes nothing from the Result: it becomes one of its notes.
    """
    split.check(run)
    began = time.perf_counter()
    record = TrainingLog()
    baseline = baseline_mse(split)
    notes: tuple[str, ...] = ()
    memory = 0
    gpu = nvml.Watch(execution.device)
    trained: dict[str, Any] = {}
    try:
        with machine.configured(run.precision, execution):
            memory = machine.reset_peak_memory(execution.device)
            made, generator = initial_model(run.seed, run.model)
            trained = identity(run, split, made)
            with _drawing_from(generator, run, execution.device):  # warming up draws too
                worker = learner(made, run, split, execution)
            machine.synchronise(execution.device)
            record.warmup_seconds = worker.warmup_seconds
            record.setup_seconds = time.perf_counter() - began - worker.warmup_seconds
            gpu.begin()
            with _drawing_from(generator, run, execution.device):
                _epochs(run, split, worker, generator, execution, record, on_epoch)
            notes = () if on_weights is None else _handed_over(worker, on_weights)
        status, message = record.verdict(baseline)
    except TimeLimitReached:
        status, message = "timed_out", f"stopped after {execution.timeout_seconds:g} s"
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not machine.is_out_of_memory(error):
            raise
        said = (words(error).splitlines() or [type(error).__name__])[0]
        status, message = "out_of_memory", f"batch size {run.batch_size}: {said}"
    seen = gpu.end()
    return Result(
        run=run,
        status=status,
        message=message,
        notes=(*notes, *gpu.notes),
        gpu=seen,
        device=execution.device,
        threads=execution.threads or torch.get_num_threads(),
        baseline_mse=baseline,
        dataset_digest=split.digest,
        wall_seconds=time.perf_counter() - began,
        peak_memory_bytes=machine.peak_memory_bytes(execution.device, memory),
        finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        **trained,
        **record.arguments(status),
    )


def _handed_over(worker: Learner, on_weights: Callable[[dict[str, Tensor]], None]) -> tuple[str, ...]:
    """The final weights, given away; a note where that failed: the Run is measured all the same."""
    try:
        on_weights(worker.weights())
    except Exception as error:  # noqa: BLE001 - a full disk, a device without room for a copy
        return (one_line(error),)
    return ()


def _epochs(
    run: Run,
    split: Split,
    learner: Learner,
    generator: torch.Generator,
    execution: Execution,
    record: TrainingLog,
    on_epoch: Callable[[int], None],
) -> None:
    """Evaluate, then train and evaluate each epoch, until the last or the first that is not finite."""
    limit = execution.timeout_seconds
    deadline = math.inf if limit is None else time.monotonic() + limit
    digest = hashlib.sha256()
    evaluate = partial(learner.evaluate, split.test_images, split.test_labels)
    record.evaluated(*_timed(evaluate, execution.device))
    if run.steps:
        _also_evaluated(learner, split, execution.device, record)
    for epoch, order in enumerate(orders(run, generator), start=1):
        digest.update(order.numpy().data)
        record.order_digest = digest.hexdigest()[:16]
        losses, seconds = _timed(partial(learner.train_epoch, order, deadline), execution.device)
        record.trained(losses, len(order), run.batch_size, seconds)
        record.device_seconds += getattr(learner, "device_seconds", ())[-1:]
        record.evaluated(*_timed(evaluate, execution.device))
        on_epoch(epoch)
        if not record.finite:
            return
        if run.steps or epoch == run.epochs:
            _also_evaluated(learner, split, execution.device, record)


def _also_evaluated(learner: Learner, split: Split, device: str, record: TrainingLog) -> None:
    """The errors of the same weights on images that they trained on, and on held-out ones; on no clock.

    A network that draws even where it is evaluated takes nothing from the stream that it trains with.
    """
    kind = torch.device(device)
    with torch.random.fork_rng(devices=[kind] if kind.type == "cuda" else []):
        record.evaluated_too(
            learner.evaluate(*split.trained_on), split.validation and learner.evaluate(*split.validation)
        )


def _timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    """What it gives, and its wall seconds, the device synchronised before and after."""
    machine.synchronise(device)
    began = time.perf_counter()
    found = work()
    machine.synchronise(device)
    return found, time.perf_counter() - began


def baseline_mse(split: Split) -> float:
    """MSE of the best constant predictor: the population variance of the test labels; 0 if degenerate."""
    labels = split.test_labels.double()
    return 0.0 if bool((labels == labels[0]).all()) else float(labels.var(correction=0))
