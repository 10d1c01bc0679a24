"""A kernel held against PyTorch before it trains: two blocks of images, predictions and gradient.

A network that was read wrongly, or a compiler's mistake, must not train as if it were the user's.
"""

from __future__ import annotations

from ctypes import CDLL
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn

from bsr.engines.generated import Kernel, kernel_library
from bsr.machine.compiler import KernelError
from bsr.run import Run
from bsr.tasks import batch_of

CLOSE: Final = 1e-4
"""Of the norm: how near two computations in float32 are expected to come."""
MOST_APART: Final = 1 / 8
"""Of the images: where two values of a window are equal, or a unit is at 0, float32 may decide otherwise."""
FAR_BELOW: Final = -1e30
"""A label: the slope of the absolute error is 1 for every prediction."""
_CHECKED: Final[set[tuple[type[nn.Module], CDLL]]] = set()
"""Networks, with their libraries, that were checked in this process."""


def check(text: str, model: nn.Module, images: Tensor, run: Run) -> None:
    """Once per process, without dropout. Raises KernelError where the kernel computes something else."""
    library = kernel_library(text)
    if (type(model), library) in _CHECKED:
        return
    few = images[: 2 * library.bsr_lanes()].contiguous()
    every = torch.arange(len(few))
    labels = torch.full((len(few),), FAR_BELOW)
    kernel = Kernel(text, model, few, labels, replace(run, loss="mae"), dropping=False)
    if _differs(kernel, model, few, every):
        apart = sum(_differs(kernel, model, few, index) for index in every.split(1))
        if apart > MOST_APART * len(few):
            raise KernelError(
                f"the native kernel computes {type(model).__name__} otherwise than PyTorch for {apart} of "
                f"{len(few)} images; use the eager engine"
            )
    _CHECKED.add((type(model), library))


def _differs(kernel: Kernel, model: nn.Module, images: Tensor, index: Tensor) -> bool:
    """Whether predictions, or the gradient of their mean, are others than PyTorch's."""
    training = model.training
    model.eval()
    predicted = model(batch_of(images[index]).to(torch.float32, copy=True))
    gradients = torch.autograd.grad(predicted.mean(), list(model.parameters()), materialize_grads=True)
    model.train(training)
    wanted = predicted.detach(), torch.cat([gradient.flatten() for gradient in gradients])
    found = kernel.predictions(images[index]), kernel.gradient(index)[0]
    return any(
        bool(its.isfinite().all()) and not float((own - its).norm()) <= CLOSE * float(its.norm())
        for own, its in zip(found, wanted, strict=True)
    )
