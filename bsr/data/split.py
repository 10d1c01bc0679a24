"""What one Run trains and is tested on: images, and the labels of its task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bsr.data import image_data
from bsr.data.image_data import DTYPES, ImageData
from bsr.run import Run


@dataclass(frozen=True, slots=True)
class Split:
    """What one Run trains and is tested on, on the CPU.

    Images uint8 or float32, [N, H, W] or [N, C, H, W], labels float32 [N].
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    """The data set's, see Images."""
    task: str
    """Whose labels they are."""

    @classmethod
    def of(
        cls, images: Any, targets: Any, test_images: Any, test_targets: Any, task: str = "target"
    ) -> Split:
        """One of your own: images as in bsr.ImageData, targets float32 [N]; the Run says `task`, too.

        Raises DataError, one line, for anything else.
        """
        data = ImageData(train=(images, {task: targets}), test=(test_images, {task: test_targets}))
        found = image_data.checked(data, "split")
        labels = found.targets[task]
        return cls(found.train, labels["train"], found.test, labels["test"], found.digest, task)

    @property
    def labels_digest(self) -> str:
        """SHA-256 over the labels of both parts, 16 hexadecimal digits."""
        digest = hashlib.sha256(self.train_labels.cpu().numpy().data)
        digest.update(self.test_labels.cpu().numpy().data)
        return digest.hexdigest()[:16]

    def check(self, run: Run) -> None:
        """Raises ValueError, one line, where this is not what `run` trains and is tested on."""
        if self.task != run.task:
            raise ValueError(
                f"split: expected labels of {run.task!r}, got {self.task!r}; use load_split(run) or Split.of"
            )
        for part, count in (("train", run.train_images), ("test", run.test_images)):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            sizes = f"[{count}, H, W] or [{count}, C, H, W]"
            if images.dtype not in DTYPES or images.ndim not in {3, 4} or len(images) != count:
                _refuse(f"{part}_images", f"torch.uint8 or torch.float32 {sizes}", images)
            if labels.dtype != torch.float32 or labels.shape != (count,):
                _refuse(f"{part}_labels", f"torch.float32 [{count}]", labels)
            if not bool(labels.isfinite().all()):
                raise ValueError(f"split.{part}_labels: expected finite labels, got others; mend the task")
        if self.train_images.dtype != self.test_images.dtype or (
            self.train_images.shape[1:] != self.test_images.shape[1:]
        ):
            alike = f"{self.train_images.dtype} {list(self.train_images.shape)}"
            _refuse(
                "test_images",
                f"images of one type and size with those to train on, {alike}",
                self.test_images,
            )


def _refuse(what: str, expected: str, got: Tensor) -> None:
    raise ValueError(
        f"split.{what}: expected {expected}, got {got.dtype} {list(got.shape)}; "
        "use load_split(run) or Split.of"
    )
