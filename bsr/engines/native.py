"""The engine for CPUs: C++ that is generated for a network, with a batch in the lanes of a register.

One Run, one core. The width follows the CPU (AVX-512, AVX2, NEON, SSE); the arithmetic is float32 with
PyTorch's formulas, and differs from PyTorch's only in the order of its sums and in what dropout draws.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

from bsr.data.images import Split, load_images
from bsr.engines import generated, self_check, source
from bsr.engines.generated import Kernel, Planned, image_of
from bsr.engines.layers import NotAChainError
from bsr.machine.compiler import KernelError
from bsr.model import MODELS
from bsr.own.named import look_up
from bsr.run import Execution, Run
from bsr.training.loop import Evaluation, TimeLimitReached, evaluation, initial_model

IMAGES_PER_CALL: Final = 2_048
"""Trained between two looks at the clock: some 20 ms of the study's network, 100 of larger ones."""


class NativeLearner:
    """A Learner on one core of the CPU; other threads run while it trains.

    Raises ValueError for a precision other than float32, another device than the CPU, a network that is no
    chain of the layers it knows, or tensors of another kind than a Split's; KernelError where the kernel
    cannot be compiled, or computes otherwise than PyTorch.
    """

    honours = (
        "steps", "schedule", "evaluate_on", "order_seed", "beta1", "beta2", "eps", "model", "warmup", "decay",
        "first_evaluation",
    )  # fmt: skip

    def __init__(self, model: nn.Module, run: Run, split: Split, execution: Execution) -> None:
        if reason := _elsewhere(run, execution):
            raise ValueError(f"the native engine {reason}; use the eager engine")
        self.run, self.taken = run, 0
        self.images, self.labels = _checked(split.train_images, split.train_labels)
        began = time.perf_counter()
        try:
            text = generated.read(model, *image_of(self.images))
        except NotAChainError as error:
            raise ValueError(f"the native engine {error}; use the eager engine") from error
        self_check.check(text, model, self.images, run)
        self.kernel = Kernel(text, model, self.images, self.labels, run)
        self.warmup_seconds = time.perf_counter() - began

    @staticmethod
    def unsupported_reason(run: Run, execution: Execution) -> str:
        """See bsr.engines. What is wrong with data set or network themselves is said where they are tried."""
        return _elsewhere(run, execution) or _planned(run, execution).refused

    @staticmethod
    def unavailable_reason(runs: Iterable[Run], execution: Execution) -> str:
        """See bsr.engines: every network of `runs` is compiled and held against PyTorch."""
        kinds = {(run.dataset, run.model): run for run in runs}.values()
        try:
            if not kinds:
                lanes()
            for run in kinds:
                if text := _planned(run, execution).source:
                    images = load_images(run.dataset, execution.data).train
                    self_check.check(text, initial_model(run.seed, run.model)[0], images, run)
        except KernelError as error:
            return str(error)
        return ""

    @staticmethod
    def source_digest(run: Run, images: Tensor) -> str:
        """See bsr.engines."""
        text = _of_images(run, images).source
        return source.digest(text) if text else ""

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """See bsr.training.loop.Learner; the deadline is looked at every 20 to 100 ms.

        Raises IndexError, TimeLimitReached.
        """
        order = self._checked_order(order)
        size = self.run.batch_size
        losses = torch.empty(-(-len(order) // size))
        rates = torch.tensor(self.run.rates(self.taken, len(losses)), dtype=torch.float64)
        self.taken += len(losses)
        steps = max(1, IMAGES_PER_CALL // max(size, source.WIDEST))  # a step of fewer images takes as long
        for step in range(0, len(losses), steps):
            if time.monotonic() > deadline:
                raise TimeLimitReached
            self.kernel.train(order[step * size : (step + steps) * size], rates[step:], losses[step:])
        return losses

    def gradient(self, order: Tensor) -> tuple[dict[str, Tensor], float]:
        """The gradient of the batch `order`, int64 [n], by parameter, and its loss; changes no weight."""
        found, loss = self.kernel.gradient(self._checked_order(order))
        return self.kernel.named(found), loss

    def predictions(self, images: Tensor) -> Tensor:
        """Float32 [N], label units. Raises ValueError for images of another kind than those to train on."""
        if (given := image_of(images)) != (known := image_of(self.images)):
            raise ValueError(f"images: expected {known}, as those to train on, got {given}; evaluate on such")
        return self.kernel.predictions(images.cpu().contiguous())

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """See bsr.training.loop.Learner. Raises ValueError as predictions does."""
        return evaluation(self.predictions(images), labels)

    def weights(self) -> dict[str, Tensor]:
        """See bsr.training.loop.Learner."""
        return self.kernel.named(self.kernel.parameters)

    def _checked_order(self, order: Tensor) -> Tensor:
        """The kernel follows indices blindly."""
        if not len(order) or int(order.min()) < 0 or int(order.max()) >= len(self.images):
            raise IndexError(f"order: expected indices 0..{len(self.images) - 1}, got none or others")
        return order.to(torch.int64).contiguous()


def lanes() -> int:
    """Images that a kernel trains at once. Raises KernelError."""
    return int(generated.kernel_library(generated.study()).bsr_lanes())


def _elsewhere(run: Run, execution: Execution) -> str:
    """Why it cannot train so, whatever the network."""
    if run.precision != "float32":
        return f"computes in float32; the precision is {run.precision}"
    return "" if execution.device == "cpu" else f"needs the CPU; the device is {execution.device}"


def _of_images(run: Run, images: Tensor) -> Planned:
    """A Run's network for such images."""
    return generated.read_by_name(look_up("network", run.model, MODELS), run.model, *image_of(images))


def _planned(run: Run, execution: Execution) -> Planned:
    """The same for its data set's images; neither source nor refusal where one of them cannot be had."""
    try:
        return _of_images(run, load_images(run.dataset, execution.data).train)
    except Exception:  # noqa: BLE001 - whatever a user's own network raises is said where it is tried
        return Planned()


def _checked(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The tensors as the kernel reads them: on the CPU, in one piece."""
    if images.ndim not in {3, 4} or images.dtype not in source.PIXELS or len(images) != len(labels):
        raise ValueError(
            f"images: expected uint8 or float32 [{len(labels)}, H, W] or [{len(labels)}, C, H, W], got "
            f"{images.dtype} {list(images.shape)}"
        )
    return images.cpu().contiguous(), labels.float().cpu().contiguous()
