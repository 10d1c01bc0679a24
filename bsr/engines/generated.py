"""A network's kernel: read from the network, generated, compiled, and the memory that it works in."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from bsr.engines import build, layers, source
from bsr.engines.layers import NotAChainError, Shape
from bsr.model import MODELS
from bsr.run import STUDY_MODEL, Run
from bsr.training.loop import initial_model

LOSSES: Final = {"mse": 0, "mae": 1}
OPTIMISERS: Final = {"sgd": 0, "adam": 1}
ALIGNMENT: Final = 4_096
"""Bytes: of a page, and so of the widest register."""
LARGEST_WORKSPACE: Final = 64 << 20
"""Bytes that a block of images may touch: far beyond any second-level cache."""


class Planned(NamedTuple):
    """The source of a network's kernel, or why there is none."""

    source: str = ""
    refused: str = ""


def read(model: nn.Module, shape: Shape, dtype: torch.dtype) -> str:
    """The source of the kernel for a network and images of that shape and dtype.

    Raises NotAChainError; what the network itself raises passes through.
    """
    if dtype not in source.PIXELS:
        raise NotAChainError(f"takes images of uint8 or float32, here {dtype}")
    chain = source.fused(layers.read(model, shape))
    if (needed := source.workspace_bytes(chain)) > LARGEST_WORKSPACE:
        raise NotAChainError(
            f"computes networks whose activations for {source.WIDEST} images fit into "
            f"{LARGEST_WORKSPACE >> 20} MiB, here {needed / 2**20:.0f} in {type(model).__name__}"
        )
    return source.text(chain, dtype)


@lru_cache(maxsize=64)
def read_by_name(_made: Callable[..., object], name: str, shape: Shape, dtype: torch.dtype) -> Planned:
    """The same by a network's name; what `_made` it tells it from one defined anew."""
    try:
        return Planned(read(initial_model(0, name)[0], shape, dtype))
    except NotAChainError as error:
        return Planned(refused=str(error))


def study() -> str:
    """The same of the study's network, for MNIST."""
    return read_by_name(MODELS[STUDY_MODEL], STUDY_MODEL, (1, 28, 28), torch.uint8).source


def image_of(images: Tensor) -> tuple[Shape, torch.dtype]:
    """Shape and dtype of one of images [N, H, W] or [N, C, H, W]."""
    channels, rows, columns = images.shape[1:] if images.ndim == 4 else (1, *images.shape[1:])
    return (channels, rows, columns), images.dtype


class _Training(ctypes.Structure):
    """`Training` of kernel/training.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weights", "mean", "square", "work", "images", "labels")),
        *((name, ctypes.c_int64) for name in ("batch_size", "step", "drawn")),
        ("seed", ctypes.c_uint64),
        *((name, ctypes.c_double) for name in ("beta1", "beta2", "eps")),
        *((name, ctypes.c_int32) for name in ("loss", "optimiser", "dropping")),
    )


def kernel_library(text: str) -> ctypes.CDLL:
    """The compiled source, its functions with their types. Raises KernelError."""
    training, pointer, count = ctypes.POINTER(_Training), ctypes.c_void_p, ctypes.c_int64
    functions = {
        "bsr_lanes": (count, []),
        "bsr_workspace_bytes": (count, []),
        "bsr_train": (None, [training, pointer, count, pointer, pointer]),
        "bsr_gradient": (ctypes.c_float, [training, pointer, count, pointer]),
        "bsr_predict": (None, [training, pointer, count, pointer]),
    }
    library = build.library(text)
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Kernel:
    """A network's kernel with weights, Adam's moments, images and labels of its own.

    It follows indices and shapes blindly: whoever calls it has checked them. Raises KernelError.
    """

    def __init__(
        self, text: str, model: nn.Module, images: Tensor, labels: Tensor, run: Run, *, dropping: bool = True
    ) -> None:
        self._library = kernel_library(text)
        self.shapes = {name: value.shape for name, value in model.named_parameters()}
        self.parameters = torch.cat([value.detach().cpu().flatten() for value in model.parameters()])
        held = {"weights": self.parameters, "images": images, "labels": labels}
        held |= {moment: torch.zeros_like(self.parameters) for moment in ("mean", "square")}
        work = torch.zeros(self._library.bsr_workspace_bytes() + ALIGNMENT, dtype=torch.uint8)
        self._held = held, work
        self._training = _Training(
            **{name: tensor.data_ptr() for name, tensor in held.items()},
            **{name: getattr(run, name) for name in ("batch_size", "seed", "beta1", "beta2", "eps")},
            work=-(-work.data_ptr() // ALIGNMENT) * ALIGNMENT,
            loss=LOSSES[run.loss],
            optimiser=OPTIMISERS[run.optimiser],
            dropping=dropping,
        )

    def train(self, order: Tensor, rates: Tensor, losses: Tensor) -> None:
        """A step per batch of `order`, int64 [n], at `rates`, float64 [steps]; writes `losses` [steps]."""
        self._library.bsr_train(
            self._training, order.data_ptr(), len(order), rates.data_ptr(), losses.data_ptr()
        )

    def gradient(self, order: Tensor) -> tuple[Tensor, float]:
        """The gradient of the batch `order`, flat, and its loss."""
        found = torch.zeros_like(self.parameters)
        loss = self._library.bsr_gradient(self._training, order.data_ptr(), len(order), found.data_ptr())
        return found, loss

    def predictions(self, images: Tensor) -> Tensor:
        """Float32 [N], without dropout."""
        found = torch.empty(len(images))
        self._library.bsr_predict(self._training, images.data_ptr(), len(found), found.data_ptr())
        return found

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Copies of numbers [parameters], by parameter."""
        parts = iter(flat.split([shape.numel() for shape in self.shapes.values()]))
        return {name: next(parts).view(shape).clone() for name, shape in self.shapes.items()}
