"""The regression tasks: a statistic of an image's raw pixels, computed per image.

Adding a task is one entry in TASKS: a function from images, [N, H, W] or [N, C, H, W], uint8 or floating, as
the data set has them (MNIST: raw pixels 0..255), to labels, float32 [N], in pixel units (variance: squared
pixel units), on the images' device; the label of an image does not depend on those beside it. It may name its
oracle by `checked_by`; `pytest -m labels` holds both together.

Source of the definitions: Lamon et al. 2021, section 3 (`torch.mean`, `torch.median`, `torch.std`,
`torch.var` over the 784 pixels of an image).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Task = Callable[[Tensor], Tensor]
Oracle = Callable[[NDArray[np.float64]], NDArray[Any]]
"""Images, float64 [N, H, W] or [N, C, H, W], to labels [N] of any number type, computed otherwise than the
task's own."""
Named = TypeVar("Named", bound=Task)


def checked_by(oracle: Oracle) -> Callable[[Named], Named]:
    """Name a task's oracle, in NumPy, against which `pytest -m labels` holds its labels."""

    def name(task: Named) -> Named:
        task.oracle = oracle  # type: ignore[attr-defined]
        return task

    return name


def oracle_of(task: Task) -> Oracle | None:
    """The oracle that a task names; None where it names none."""
    return getattr(task, "oracle", None)


def _lower_middle(images: NDArray[np.float64]) -> NDArray[Any]:
    pixels = images.reshape(len(images), -1)
    found: NDArray[Any] = np.sort(pixels, axis=1)[:, (pixels.shape[1] - 1) // 2]
    return found


@checked_by(lambda images: images.reshape(len(images), -1).mean(axis=1))
def mean(images: Tensor) -> Tensor:
    """Average pixel of each image.

    images [N, H, W] or [N, C, H, W], uint8 or floating; returns float32 [N]. Raises as `pixels` does.
    """
    return pixels(images).mean(dim=1).float()


@checked_by(_lower_middle)
def median(images: Tensor) -> Tensor:
    """Median pixel of each image: of an even number of pixels the lower of the two middle ones.

    images [N, H, W] or [N, C, H, W], uint8 or floating; returns float32 [N]. Raises as `pixels` does.
    """
    return pixels(images).median(dim=1).values.float()


@checked_by(lambda images: images.reshape(len(images), -1).std(axis=1, ddof=1))
def std(images: Tensor) -> Tensor:
    """Standard deviation of each image's pixels, unbiased (n - 1).

    images [N, H, W] or [N, C, H, W], uint8 or floating, at least two pixels; returns float32 [N]. Raises as
    `pixels` does.
    """
    return pixels(images, at_least=2).std(dim=1).float()


@checked_by(lambda images: images.reshape(len(images), -1).var(axis=1, ddof=1))
def var(images: Tensor) -> Tensor:
    """Variance of each image's pixels, unbiased (n - 1), in squared pixel units.

    images [N, H, W] or [N, C, H, W], uint8 or floating, at least two pixels; returns float32 [N]. Raises as
    `pixels` does.
    """
    return pixels(images, at_least=2).var(dim=1).float()


TASKS: Final[dict[str, Task]] = {"mean": mean, "std": std, "var": var, "median": median}


def pixels(images: Tensor, at_least: int = 1) -> Tensor:
    """The pixels of each image in a row, of all channels: float64 [N, C * H * W], sums of raw ones are exact.

    Raises as `check_images` does, and ValueError for fewer than `at_least` pixels.
    """
    check_images(images)
    count, size = len(images), images[0].numel()
    if size < at_least:
        raise ValueError(
            f"images: expected at least {at_least} pixel(s) per image, got {size}: n - 1 divides them"
        )
    # MPS has no float64; its float32 labels are checked by the same tests
    wide = torch.float32 if images.device.type == "mps" else torch.float64
    return images.reshape(count, size).to(wide)


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images.

    Raises TypeError for anything but a uint8 or floating tensor, ValueError for another rank than three or
    four, no image, no pixel, or pixels that are not finite.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images: expected a torch.Tensor, got {type(images).__name__}")
    if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
        raise TypeError(
            f"images: expected dtype uint8 or floating, got {images.dtype}; convert the raw pixels first"
        )
    if images.ndim not in {3, 4}:
        raise ValueError(
            f"images: expected shape [N, H, W] or [N, C, H, W], got {list(images.shape)}; drop or add an axis"
        )
    if 0 in images.shape:
        raise ValueError(f"images: expected at least one image of one pixel, got shape {list(images.shape)}")
    if images.dtype.is_floating_point and not bool(images.isfinite().all()):
        raise ValueError("images: expected finite pixels, got NaN or infinity; clean the images first")


def batch_of(images: Tensor) -> Tensor:
    """Images [N, H, W] or [N, C, H, W] with their channels, as a network takes them: [N, C, H, W]."""
    return images if images.ndim == 4 else images.unsqueeze(1)
