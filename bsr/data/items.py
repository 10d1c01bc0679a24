"""A map-style torch Dataset, read once into memory: item by item, as a DataLoader would."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from bsr.data.raw_files import DataError
from bsr.machine.capacity import usable_memory_bytes

READ_TWICE: Final = 16
"""Items, spread over the data set: one that augments at random gives another image the second time."""
USUAL_TARGET: Final = "target"
"""The name of a target that was given without one."""
PATIENT_SECONDS: Final = 3.0
"""Between two lines of progress, and before the first."""

Check = Callable[[object, str], None]
"""Refuses what are no images; is told which data set."""


def is_map_style(value: object) -> bool:
    """Whether it has items by number, and is none of the other things that a part may be."""
    others = (Tensor, np.ndarray, tuple, list, str, bytes, Mapping, IterableDataset)
    return not isinstance(value, others) and hasattr(value, "__getitem__") and hasattr(value, "__len__")


def read(dataset: Any, what: str, check: Check) -> Any:
    """Its images, or the pair of its images and its targets by name, float32.

    Each item is an image, [H, W] or [C, H, W], or a pair of an image and a number, or numbers by name. Raises
    DataError for items of several shapes or types, and for those that are others when they are read again.
    """
    count = len(dataset)
    if not count:
        raise DataError(f"{what}: expected at least one item, got an empty {type(dataset).__name__}")
    first, targets = _item(dataset, 0, what)
    check(first.unsqueeze(0), what)
    check_room(count * first.nbytes, what)
    images = torch.empty((count, *first.shape), dtype=first.dtype)
    found = {name: torch.empty(count) for name in targets}
    told = time.monotonic()
    for index in range(count):
        image, targets = (first, targets) if index == 0 else _item(dataset, index, what)
        if image.shape != first.shape or image.dtype != first.dtype or targets.keys() != found.keys():
            raise DataError(
                f"{what}, item {index}: expected {_shown(first, found)}, as in item 0, got "
                f"{_shown(image, targets)}; resize or convert the images in the Dataset"
            )
        images[index] = image
        for name, value in targets.items():
            found[name][index] = value
        if time.monotonic() - told > PATIENT_SECONDS:
            told = time.monotonic()
            _tell(f"{what}: {index + 1:,} of {count:,} images read")
    _check_again(dataset, images, found, what)
    return (images, found) if found else images


def _check_again(dataset: Any, images: Tensor, targets: Mapping[str, Tensor], what: str) -> None:
    count = len(images)
    for index in {number * (count - 1) // (READ_TWICE - 1) for number in range(READ_TWICE)}:
        image, values = _item(dataset, index, what)
        before = [images[index], *(of[index] for of in targets.values())]
        now = [image, *(torch.tensor(values[name]) for name in targets)]
        pairs = zip(before, now, strict=True)
        if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs):
            raise DataError(
                f"{what}, item {index}: expected the same item each time, got another when read again; "
                "leave random augmentation out: images are read once and trained on as they are"
            )


def _item(dataset: Any, index: int, what: str) -> tuple[Tensor, dict[str, float]]:
    item = dataset[index]
    image, target = item if isinstance(item, tuple | list) and len(item) == 2 else (item, {})
    if not isinstance(image, Tensor | np.ndarray):
        raise DataError(
            f"{what}, item {index}: expected an image, or an image and its target, as tensor or array, got "
            f"{type(image).__name__}; end the transforms with torchvision's PILToTensor() or ToTensor()"
        )
    named = target if isinstance(target, Mapping) else {USUAL_TARGET: target}
    values = {name: _number(value, f"{what}, item {index}, target {name!r}") for name, value in named.items()}
    found = image.detach().as_subclass(Tensor).cpu() if isinstance(image, Tensor) else np.array(image)
    return torch.as_tensor(found), values


def _number(value: Any, what: str) -> float:
    """A floating number: classes, which are whole ones, are no target of a regression."""
    floating = isinstance(value, float | np.floating) or (
        isinstance(value, Tensor | np.ndarray)
        and len(value.shape) == 0
        and str(value.dtype).removeprefix("torch.").startswith("float")
    )
    if not floating:
        got = f"{value.dtype} {list(value.shape)}" if hasattr(value, "shape") else type(value).__name__
        raise DataError(f"{what}: expected a floating number, got {got}; convert it, float(target)")
    return float(value)


def check_room(needed: int, what: str) -> None:
    """Raises DataError where the memory that is left does not hold so many bytes."""
    free = usable_memory_bytes()
    if free is not None and needed > free:
        raise DataError(
            f"{what}: expected room for {needed // 10**6:,} MB, got {free // 10**6:,} MB free; take "
            "fewer or smaller images, or uint8 in place of float32"
        )


def _shown(image: Tensor, targets: Mapping[str, object]) -> str:
    return f"{image.dtype} {list(image.shape)} with targets {', '.join(targets) or 'none'}"


def _tell(line: str) -> None:
    """On the terminal, of the session's own process alone: workers read the same at the same time."""
    if multiprocessing.parent_process() is None:
        print(f"bsr: {line}", file=sys.stderr, flush=True)
