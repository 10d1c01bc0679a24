"""Images some at a time, so that what is computed of them stays small whatever their size."""

from __future__ import annotations

from typing import Final

from torch import Tensor

BYTES_AT_ONCE: Final = 8 * 784 * 1_000
"""Of a float64 copy: that of a thousand MNIST images."""


def images_at_once(images: Tensor, most: int) -> int:
    """How many of the images [N, ...] go through at once: `most`, fewer where a float64 copy is large."""
    return max(1, min(most, BYTES_AT_ONCE // (8 * max(1, images[0].numel()))))


def pieces(images: Tensor, most: int) -> tuple[Tensor, ...]:
    """All of them, in order, so many at a time."""
    found: tuple[Tensor, ...] = images.split(images_at_once(images, most))
    return found
