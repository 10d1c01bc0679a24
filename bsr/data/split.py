"""What one Run trains and is tested on: images, and the labels of its task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from bsr.data import image_data
from bsr.data.image_data import DTYPES, ImageData
from bsr.run import Run

TRAINED_ON: Final = 10_000
"""Images, at most, on which the error of a training is taken that trained on them."""


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
    validation: tuple[Tensor, Tensor] | None = None
    """Images and labels that are held out, where the Run is evaluated on others and there are any."""

    @classmethod
    def of(
        cls,
        images: Any,
        targets: Any,
        test_images: Any,
        test_targets: Any,
        task: str = "target",
        validation: tuple[Any, Any] | None = None,
    ) -> Split:
        """One of your own: images as in bsr.ImageData, targets float32 [N]; the Run says `task`, too.

        `validation` are held-out images and their targets. Splits of the same images are of one data set,
        whatever their targets. Raises DataError, one line, for anything else.
        """
        data = ImageData(
            train=(images, {task: targets}),
            test=(test_images, {task: test_targets}),
            validation=validation and (validation[0], {task: validation[1]}),
        )
        found = image_data.checked(data, "split")
        labels = found.targets[task]
        held_out = None if found.validation is None else (found.validation, labels["validation"])
        digest = image_data.digest_of_pixels(found)
        return cls(found.train, labels["train"], found.test, labels["test"], digest, task, held_out)

    @property
    def trained_on(self) -> tuple[Tensor, Tensor]:
        """The first of the images to train on, and their labels: those that the training error is of."""
        return self.train_images[:TRAINED_ON], self.train_labels[:TRAINED_ON]

    @property
    def labels_digest(self) -> str:
        """SHA-256 over the labels to train and to be tested on, 16 hexadecimal digits."""
        digest = hashlib.sha256(self.train_labels.cpu().numpy().data)
        digest.update(self.test_labels.cpu().numpy().data)
        return digest.hexdigest()[:16]

    def check(self, run: Run) -> None:
        """Raises ValueError, one line, where this is not what `run` trains and is tested on."""
        if self.task != run.task:
            raise ValueError(
                f"split: expected labels of {run.task!r}, got {self.task!r}; use load_split(run) or Split.of"
            )
        parts = {
            "train": (self.train_images, self.train_labels, run.train_images),
            "test": (self.test_images, self.test_labels, run.test_images),
        }
        if self.validation is not None:
            parts["validation"] = (*self.validation, len(self.validation[0]))
        for part, (images, labels, count) in parts.items():
            sizes = f"[{count}, H, W] or [{count}, C, H, W]"
            if images.dtype not in DTYPES or images.ndim not in {3, 4} or len(images) != count:
                _refuse(f"{part}_images", f"torch.uint8 or torch.float32 {sizes}", images)
            if labels.dtype != torch.float32 or labels.shape != (count,):
                _refuse(f"{part}_labels", f"torch.float32 [{count}]", labels)
            if not bool(labels.isfinite().all()):
                raise ValueError(f"split.{part}_labels: expected finite labels, got others; mend the task")
            if (images.dtype, images.shape[1:]) != (self.train_images.dtype, self.train_images.shape[1:]):
                alike = f"{self.train_images.dtype} {list(self.train_images.shape)}"
                _refuse(
                    f"{part}_images", f"images of one type and size with those to train on, {alike}", images
                )


def _refuse(what: str, expected: str, got: Tensor) -> None:
    raise ValueError(
        f"split.{what}: expected {expected}, got {got.dtype} {list(got.shape)}; "
        "use load_split(run) or Split.of"
    )
