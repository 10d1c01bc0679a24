"""A task's labels, of images that it gets some at a time, each held against what it promises."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from bsr.data.pieces import pieces
from bsr.named import look_up
from bsr.tasks import TASKS, check_images

LABELS_AT_ONCE: Final = 1_000
"""Images whose labels are computed in one go, fewer where they are large: copies in float64 take memory."""


def labels(images: Tensor, task: str) -> Tensor:
    """A task's labels, float32 [N], of images [N, H, W] or [N, C, H, W]; some at a time, for little memory.

    Raises NamedError for an unknown task, TypeError or ValueError for what is no batch of images, and where
    the task gives something else than a finite float32 per image that is its own, whatever lies beside it.
    """
    check_images(images)
    found = torch.empty(len(images))
    start = 0
    for some in pieces(images, LABELS_AT_ONCE):
        found[start : start + len(some)] = _labels_of(some, task)
        start += len(some)
    alone = _labels_of(images[:1], task)
    if not torch.allclose(found[:1], alone, rtol=1e-4, atol=1e-4 * float(found.abs().max())):
        raise ValueError(
            f"task {task!r}: expected an image to have the same label alone and among others, got "
            f"{alone[0]:g} and {found[0]:g} for the first; mend the task"
        )
    return found


def _labels_of(images: Tensor, task: str) -> Tensor:
    found, count = look_up("task", task, TASKS)(images), len(images)
    if not isinstance(found, Tensor):
        raise TypeError(f"task {task!r}: expected a torch.Tensor of labels, got {type(found).__name__}")
    if found.shape != (count,) or found.dtype != torch.float32:
        raise TypeError(
            f"task {task!r}: expected float32 labels [{count}] of {count} images, "
            f"got {found.dtype} {list(found.shape)}; return one float32 per image"
        )
    if not bool(found.isfinite().all()):
        raise ValueError(f"task {task!r}: expected finite labels, got NaN or infinity; mend the task")
    return found
