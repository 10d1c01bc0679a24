"""Rotated: MNIST's digits, each turned by an angle of [-45, 45) degrees, the target: a textbook's regression.

The same to the last bit on every machine, whatever its libraries: angles come from SHAKE-256, and everything
else is integers. Cosine and sine are Taylor polynomials in fixed point, a pixel is the bilinear mean of the
four round the place that it comes from, black beyond the border.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bsr.data.raw_files import DataError
from bsr.records.durable import replace_file

TARGET: Final = "angle"
DIGEST: Final = "ecff4793f8836806"
"""SHA-256 over images and angles of the training, then of the test part, 16 hexadecimal digits."""
AT_ONCE: Final = 1_000
"""Images that are turned in one go: a few copies of them in int64."""
BITS: Final = 28
"""Of a fraction in cosines and sines."""
ONE: Final = 1 << BITS
PI: Final = 843_314_857
"""Of these fractions: round(pi * 2**28)."""
STEPS: Final = 32_768
"""Of angles between 0 and 45 degrees."""
PIXEL_BITS: Final = 10
"""Of a fraction of a pixel."""
PADDING: Final = 2
"""Black pixels round an image, so that neighbours of its border need no special case."""

Integers = NDArray[np.int64]
Part = tuple[Tensor, Tensor]
"""Images, uint8 [N, H, W], and angles, float32 [N], degrees; anticlockwise where they are above 0."""


def load(train: Tensor, test: Tensor, cache: Path) -> tuple[Part, Part]:
    """Both parts, of MNIST's images; taken from the file `cache` where it holds them, else kept there.

    Raises DataError where this machine makes others.
    """
    turns = {"train": _turns("train", len(train)), "t10k": _turns("t10k", len(test))}
    angles = [torch.from_numpy((of * 45 / STEPS).astype(np.float32)) for of in turns.values()]
    with contextlib.suppress(OSError, ValueError):  # another file, or a torn one: made again
        parts = _parts(np.fromfile(cache, np.uint8).reshape(-1, *train.shape[1:]), angles)
        if _digest(*parts) == DIGEST:
            return parts
    made = [_turned(each.numpy(), of) for each, of in zip((train, test), turns.values(), strict=True)]
    images = np.concatenate(made)
    parts = _parts(images, angles)
    if (got := _digest(*parts)) != DIGEST:
        raise DataError(
            f"Rotated: expected images and angles with digest {DIGEST}, got {got}; report it with NumPy "
            f"{np.__version__} and this machine's processor"
        )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds the next time
        cache.parent.mkdir(parents=True, exist_ok=True)
        replace_file(cache, images.tobytes())
    return parts


def _digest(*parts: Part) -> str:
    """SHA-256 over the images and angles of each part, 16 hexadecimal digits."""
    found = hashlib.sha256()
    for images, angles in parts:
        found.update(images.numpy().data)
        found.update(angles.numpy().astype("<f4").data)
    return found.hexdigest()[:16]


def _parts(images: NDArray[np.uint8], angles: list[Tensor]) -> tuple[Part, Part]:
    """Raises ValueError for another number of images."""
    if len(images) != sum(map(len, angles)):
        raise ValueError
    train, test = torch.from_numpy(images).split([len(of) for of in angles])
    return (train, angles[0]), (test, angles[1])


def _turns(part: str, count: int) -> Integers:
    """Of each image, from -STEPS to STEPS - 1: its angle is that many times 45 / STEPS degrees."""
    drawn = hashlib.shake_256(f"bsr Rotated {part}".encode()).digest(2 * count)
    return np.frombuffer(drawn, "<u2").astype(np.int64) - STEPS


def _turned(images: NDArray[np.uint8], turns: Integers) -> NDArray[np.uint8]:
    """Images [N, H, W], each turned about its centre."""
    pieces = range(0, len(images), AT_ONCE)
    return np.concatenate([_some(images[at : at + AT_ONCE], turns[at : at + AT_ONCE]) for at in pieces])


def _some(images: NDArray[np.uint8], turns: Integers) -> NDArray[np.uint8]:
    count, height, width = images.shape
    padded = np.pad(images.astype(np.int64), [(0, 0), (PADDING, PADDING), (PADDING, PADDING)])
    across = width + 2 * PADDING
    x, y = _sources(turns, height, width)
    (column, right), (row, below) = (
        (np.clip((at >> PIXEL_BITS) + PADDING, 0, size + PADDING), at & ((1 << PIXEL_BITS) - 1))
        for at, size in ((x, width), (y, height))
    )
    left, above = (1 << PIXEL_BITS) - right, (1 << PIXEL_BITS) - below
    pixels, corner = padded.reshape(count, -1), (row * across + column).reshape(count, -1)

    def neighbour(offset: int) -> Integers:
        found: Integers = np.take_along_axis(pixels, corner + offset, axis=1).reshape(count, height, width)
        return found

    upper = neighbour(0) * left + neighbour(1) * right
    lower = neighbour(across) * left + neighbour(across + 1) * right
    half = 1 << 2 * PIXEL_BITS - 1
    mean: Integers = (upper * above + lower * below + half) >> 2 * PIXEL_BITS
    return mean.astype(np.uint8)


def _sources(turns: Integers, height: int, width: int) -> tuple[Integers, Integers]:
    """From where each pixel comes, x and y [N, H, W], in 2**-PIXEL_BITS of a pixel."""
    cosine, sine = (of[:, None, None] for of in _cosine_and_sine(turns))
    x = (2 * np.arange(width, dtype=np.int64) - (width - 1))[None, None, :]  # from the centre, in half pixels
    y = (2 * np.arange(height, dtype=np.int64) - (height - 1))[None, :, None]
    half, unit = 1 << BITS - PIXEL_BITS, BITS + 1 - PIXEL_BITS
    return (
        (cosine * x - sine * y + ((width - 1) << BITS) + half) >> unit,
        (sine * x + cosine * y + ((height - 1) << BITS) + half) >> unit,
    )


def _cosine_and_sine(turns: Integers) -> tuple[Integers, Integers]:
    """In 1 / ONE: 1 - x**2/2 (1 - x**2/12 (...)), and x times 1 - x**2/6 (1 - x**2/20 (...))."""
    x = turns * PI // (4 * STEPS)
    square = (x * x) >> BITS

    def series(*divisors: int) -> Integers:
        found = np.full_like(square, ONE)
        for divisor in divisors:
            found = ONE - ((square * found) >> BITS) // divisor
        return found

    return series(132, 90, 56, 30, 12, 2), (x * series(156, 110, 72, 42, 20, 6)) >> BITS
