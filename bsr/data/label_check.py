"""A task's labels, of images that it gets some at a time, each held against what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from bsr.own.named import is_import_path, look_up
from bsr.tasks import TASKS, check_images

LABELS_AT_ONCE: Final = 1_000
"""Images whose labels are computed in one go, fewer where they are large: copies in float64 take memory."""
OTHER_PIECES: Final = (1, 7, 64)
"""Sizes in which the first images are labelled again."""
SAME: Final = 1e-5
"""Of the largest label: what sums of float32 may differ by where they are summed in another order."""


def labels(images: Tensor, task: str) -> Tensor:
    """A task's labels, float32 [N], of images [N, H, W] or [N, C, H, W]; some at a time, each time a copy.

    The first thousand of a user's own task are labelled again: one by one, in other pieces, in other orders.
    Raises NamedError for an unknown task, TypeError or ValueError for what is no batch of images, and where
    the task gives something else than a finite float32 per image that is the same among any other images.
    """
    check_images(images)
    found = _in_pieces(images, task, LABELS_AT_ONCE)
    few = LABELS_AT_ONCE if is_import_path(task) else 1
    for how, order, size in _otherwise(images[:few]):
        again = torch.empty(len(order))
        again[order] = _in_pieces(images[:few][order], task, size)
        unlike = (again - found[:few]).abs() > SAME * (again.abs() + found.abs().max())
        if bool(unlike.any()):
            first = int(unlike.nonzero()[0])
            raise ValueError(
                f"task {task!r}: expected an image to have the same label alone and among others, at every "
                f"call, got {found[first]:g} and, {how}, {again[first]:g} for image {first}; mend the task, "
                "or return the labels with the images, as a data set's targets"
            )
    return found


def _otherwise(images: Tensor) -> Iterator[tuple[str, Tensor, int]]:
    """(how, the order, the size of a piece) of each other way to label these images."""
    given = torch.arange(len(images))
    for size in OTHER_PIECES:
        yield "alone" if size == 1 else f"{size} at a time", given, size
        if len(images) == 1:
            return
    yield "in reverse", given.flip(0), LABELS_AT_ONCE
    yield "in another order", torch.randperm(len(images), generator=torch.Generator().manual_seed(0)), 256


def _in_pieces(images: Tensor, task: str, size: int) -> Tensor:
    """The labels of copies: who changes what it is given changes nothing for those who come later."""
    return torch.cat([_labels_of(some.clone(), task) for some in images.split(size)])


def _labels_of(images: Tensor, task: str) -> Tensor:
    count = len(images)
    found = look_up("task", task, TASKS)(images)
    if not issubclass(type(found), Tensor):
        raise TypeError(f"task {task!r}: expected a torch.Tensor of labels, got {type(found).__name__}")
    if found.shape != (count,) or found.dtype != torch.float32:
        raise TypeError(
            f"task {task!r}: expected float32 labels [{count}] of {count} images, "
            f"got {found.dtype} {list(found.shape)}; return one float32 per image"
        )
    if not bool(found.isfinite().all()):
        raise ValueError(f"task {task!r}: expected finite labels, got NaN or infinity; mend the task")
    return found.detach().to("cpu", copy=True)
