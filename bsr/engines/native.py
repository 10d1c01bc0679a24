"""The engine for CPUs: a kernel in C++ that trains as many images at once as a vector register has lanes.

One Run, one core. The width follows the CPU (AVX-512, AVX2, NEON, SSE); the arithmetic is float32 with
PyTorch's formulas, and differs from PyTorch's only in the order of its sums.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from typing import Final

import torch
from torch import Tensor, nn

from bsr.data.images import Split
from bsr.engines import build
from bsr.engines.build import KernelError
from bsr.model import IMAGE_SIZE
from bsr.run import Execution, Run
from bsr.training.loop import Evaluation, TimeLimitReached, evaluation

LOSSES: Final = {"mse": 0, "mae": 1}
OPTIMISERS: Final = {"sgd": 0, "adam": 1}
IMAGES_PER_CALL: Final = 2_048
"""Trained between two looks at the clock: some 40 ms."""
FULL_REGISTER: Final = 16
"""Images that the widest register holds; a step of fewer takes as long."""
ALIGNMENT: Final = 64
"""Bytes of that register."""
SHAPES: Final = {
    "conv1.weight": (10, 1, 5, 5),
    "conv1.bias": (10,),
    "conv2.weight": (20, 10, 5, 5),
    "conv2.bias": (20,),
    "fc1.weight": (50, 320),
    "fc1.bias": (50,),
    "fc2.weight": (1, 50),
    "fc2.bias": (1,),
}
"""The weights as kernel.cpp has them, one after the other."""


class _Training(ctypes.Structure):
    """`Training` of kernel.cpp."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("mean", ctypes.c_void_p),
        ("square", ctypes.c_void_p),
        ("work", ctypes.c_void_p),
        ("images", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("batch_size", ctypes.c_int64),
        ("step", ctypes.c_int64),
        ("beta1", ctypes.c_double),
        ("beta2", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("loss", ctypes.c_int32),
        ("optimiser", ctypes.c_int32),
    )


class NativeLearner:
    """A Learner on one core of the CPU; other threads run while it trains.

    Raises ValueError for a precision other than float32, another device than the CPU, another network than
    the study's or tensors of another kind than a Split's, KernelError where the kernel cannot be compiled.
    """

    honours = ("steps", "schedule", "evaluate_on", "order_seed", "beta1", "beta2", "eps", "warmup", "decay")

    def __init__(self, model: nn.Module, run: Run, split: Split, execution: Execution) -> None:
        if reason := self.unsupported_reason(run, execution):
            raise ValueError(f"the native engine {reason}; use the eager engine")
        began = time.perf_counter()
        self.kernel = kernel()
        self.warmup_seconds = time.perf_counter() - began
        self.run = run
        self.taken = 0
        self.shapes = _checked_shapes(model)
        self.images, self.labels = _checked(split.train_images, split.train_labels)
        self.test_images, self.test_labels = _checked(split.test_images, split.test_labels)
        self.parameters = torch.cat([value.detach().cpu().flatten() for value in model.state_dict().values()])
        self.moments = torch.zeros(2, len(self.parameters))
        self.work = torch.zeros(self.kernel.bsr_workspace_bytes() + ALIGNMENT, dtype=torch.uint8)
        self.training = _Training(
            weights=self.parameters.data_ptr(),
            mean=self.moments[0].data_ptr(),
            square=self.moments[1].data_ptr(),
            work=-(-self.work.data_ptr() // ALIGNMENT) * ALIGNMENT,
            images=self.images.data_ptr(),
            labels=self.labels.data_ptr(),
            batch_size=run.batch_size,
            beta1=run.beta1,
            beta2=run.beta2,
            epsilon=run.eps,
            loss=LOSSES[run.loss],
            optimiser=OPTIMISERS[run.optimiser],
        )

    @staticmethod
    def unsupported_reason(run: Run, execution: Execution) -> str:
        """See bsr.engines."""
        if run.precision != "float32":
            return f"computes in float32; the precision is {run.precision}"
        return "" if execution.device == "cpu" else f"needs the CPU; the device is {execution.device}"

    @staticmethod
    def unavailable_reason() -> str:
        """See bsr.engines."""
        return available()

    @staticmethod
    def source_digest() -> str:
        """See bsr.engines."""
        return build.source_digest()

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """See bsr.training.loop.Learner; the deadline is looked at every 40 ms.

        Raises IndexError, TimeLimitReached.
        """
        order = self._checked_order(order)
        size = self.training.batch_size
        losses = torch.empty(-(-len(order) // size))
        rates = torch.tensor(self.run.rates(self.taken, len(losses)), dtype=torch.float64)
        self.taken += len(losses)
        steps = max(1, IMAGES_PER_CALL // max(size, FULL_REGISTER))
        for step in range(0, len(losses), steps):
            if time.monotonic() > deadline:
                raise TimeLimitReached
            some = order[step * size : (step + steps) * size]
            self.kernel.bsr_train(
                self.training, some.data_ptr(), len(some), rates[step:].data_ptr(), losses[step:].data_ptr()
            )
        return losses

    def gradient(self, order: Tensor) -> tuple[dict[str, Tensor], float]:
        """The gradient of the batch `order`, int64 [n], by parameter, and its loss; changes nothing."""
        order = self._checked_order(order)
        found = torch.empty_like(self.parameters)
        loss = self.kernel.bsr_gradient(self.training, order.data_ptr(), len(order), found.data_ptr())
        return self._named(found), loss

    def predictions(self) -> Tensor:
        """For the test images, float32 [N], label units."""
        found = torch.empty(len(self.test_images))
        self.kernel.bsr_predict(self.training, self.test_images.data_ptr(), len(found), found.data_ptr())
        return found

    def evaluate(self) -> Evaluation:
        """See bsr.training.loop.Learner."""
        return evaluation(self.predictions(), self.test_labels)

    def weights(self) -> dict[str, Tensor]:
        """See bsr.training.loop.Learner."""
        return self._named(self.parameters.clone())

    def _named(self, flat: Tensor) -> dict[str, Tensor]:
        parts = flat.split([shape.numel() for shape in self.shapes.values()])
        return {
            name: part.view(shape).clone()
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def _checked_order(self, order: Tensor) -> Tensor:
        """The kernel follows indices blindly."""
        if not len(order) or int(order.min()) < 0 or int(order.max()) >= len(self.images):
            raise IndexError(f"order: expected indices 0..{len(self.images) - 1}, got none or others")
        return order.to(torch.int64).contiguous()


@cache
def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with its functions' types."""
    training, pointer, count = ctypes.POINTER(_Training), ctypes.c_void_p, ctypes.c_int64
    functions = {
        "bsr_lanes": (count, []),
        "bsr_workspace_bytes": (count, []),
        "bsr_train": (None, [training, pointer, count, pointer, pointer]),
        "bsr_gradient": (ctypes.c_float, [training, pointer, count, pointer]),
        "bsr_predict": (None, [training, pointer, count, pointer]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def kernel() -> ctypes.CDLL:
    """The compiled kernel, ready to be called. Raises KernelError."""
    return _declared(build.library())


def available() -> str:
    """Why the kernel cannot be used on this machine, in one line; empty where it can. Compiles it."""
    try:
        kernel()
    except KernelError as error:
        return str(error)
    return ""


def lanes() -> int:
    """Images that the kernel trains at once. Raises KernelError."""
    return int(kernel().bsr_lanes())


def _checked_shapes(model: nn.Module) -> dict[str, torch.Size]:
    """The network's own; the kernel reads weights at fixed places, whatever lies there."""
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if list(shapes.items()) != list(SHAPES.items()):
        wanted, got = (
            ", ".join(f"{name} {list(shape)}" for name, shape in one.items()) for one in (SHAPES, shapes)
        )
        raise ValueError(
            f"network: expected the study's weights, {wanted}, got {got[:300]}; use the eager engine"
        )
    return shapes


def _checked(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The tensors as the kernel reads them: on the CPU, in one piece."""
    shape = (len(labels), IMAGE_SIZE, IMAGE_SIZE)
    if images.shape != shape or images.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8 {list(shape)}, got {images.dtype} {list(images.shape)}")
    return images.cpu().contiguous(), labels.float().cpu().contiguous()
