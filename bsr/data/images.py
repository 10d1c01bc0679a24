"""The images and labels that a Run names: bundled MNIST, other data sets by name, and a user's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from torch import Tensor

from bsr.data import image_data, rotated, torchvision_files
from bsr.data.image_data import ImageData, Images
from bsr.data.label_check import labels
from bsr.data.raw_files import BUNDLED, MD5, RAW_FILES, DataError, DatasetFolder, cache_folder, reason
from bsr.data.split import Split
from bsr.own.named import IMPORT_PATH, NamedError, is_import_path, look_up
from bsr.run import Run

__all__ = [
    "DATASETS",
    "MD5",
    "RAW_FILES",
    "DataError",
    "ImageData",
    "Images",
    "Split",
    "cache_folder",
    "labels_in",
    "load_images",
    "load_split",
    "takes",
]

ROTATED: Final = "Rotated"
DATASETS: Final = (*MD5, ROTATED)
"""Every data set by name."""


def load_split(run: Run, folder: str | None = None) -> Split:
    """What a Run trains and is evaluated on: images from the start of each part of its data set, and labels.

    For a validation Run the `test` part is the data set's own validation part, or where it has none the last
    `test_images` of the training part. Any other Run has those images as its `validation`, as many of them as
    there are and it does not train on.

    `folder` holds `NAME/raw/` as torchvision lays it out, or the files themselves; None is the cache, into
    which bundled MNIST is unpacked. Raises DataError where the data cannot be had or are not genuine,
    NamedError, a LookupError, for an unknown task.
    """
    images = load_images(run.dataset, folder)
    part, first = takes(run, images)
    chosen = slice(first, first + run.test_images)
    return Split(
        images.train[: run.train_images],
        _labels(run.dataset, folder, run.task, "train")[: run.train_images],
        images.part(part)[chosen],
        _labels(run.dataset, folder, run.task, part)[chosen],
        images.digest,
        run.task,
        _held_out(run, images, folder),
    )


def _held_out(run: Run, images: Images, folder: str | None) -> tuple[Tensor, Tensor] | None:
    if run.evaluate_on == "validation":
        return None
    own = images.validation is not None
    part, first = ("validation", 0) if own else ("train", run.train_images)
    held_out = images.part(part)[first:]
    chosen = slice(0, run.test_images) if own else slice(-run.test_images, None)
    labels_of = _labels(run.dataset, folder, run.task, part)[first:]
    return (held_out[chosen], labels_of[chosen]) if len(held_out) else None


def takes(run: Run, images: Images) -> tuple[str, int]:
    """The part on which a Run is evaluated, and the first image that it takes of it.

    Raises DataError where the data set has too few images.
    """
    train, count = len(images.train), run.test_images
    if run.evaluate_on == "validation" and images.validation is None:
        if run.train_images + count > train:
            raise DataError(
                f"{run.dataset}: expected at most {train} images to train and validate on, got "
                f"{run.train_images} and {count}; ask for fewer"
            )
        return "train", train - count
    part = run.evaluate_on
    evaluated = images.part(part)
    if run.train_images > train or count > len(evaluated):
        raise DataError(
            f"{run.dataset}: expected at most {train} train and {len(evaluated)} {part} images, "
            f"got {run.train_images} and {count}; ask for fewer"
        )
    return part, 0


def load_images(dataset: str, folder: str | None = None) -> Images:
    """All images of a data set, verified; read once per process. Raises DataError.

    An import path, `package.module:attribute`, names a function without arguments that returns bsr.ImageData,
    or a pair of a training and a test part as they stand in it.

    `folder` as in load_split. What the cache lacks, or holds damaged, is made again there; in a named folder
    archives are unpacked and, but for MNIST, what is missing is downloaded.
    """
    return _images(dataset, folder)


@cache
def _images(dataset: str, folder: str | None) -> Images:
    if is_import_path(dataset):
        return _made(dataset)
    if dataset not in {*MD5, ROTATED}:
        raise DataError(
            f"dataset: unknown {dataset!r}; expected one of {', '.join(DATASETS)}, or {IMPORT_PATH}"
        )
    if dataset == ROTATED:
        return _rotated(_images(BUNDLED, folder))
    return torchvision_files.images(
        DatasetFolder(
            dataset, cache_folder() / "data" if folder is None else Path(folder), own=folder is None
        )
    )


def _rotated(mnist: Images) -> Images:
    parts = rotated.load(mnist.train, mnist.test, cache_folder() / "data" / ROTATED / "images.uint8")
    (train, angles), (test, test_angles) = parts
    targets = {rotated.TARGET: {"train": angles, "test": test_angles}}
    return Images(train, test, rotated.DIGEST, targets=targets)


def _made(dataset: str) -> Images:
    """What a user's own function returns. Raises DataError."""
    what = f"data set {dataset!r}"
    try:
        return image_data.checked(look_up("data set", dataset, {})(), what)
    except NamedError as error:
        raise DataError(str(error)) from error
    except (DataError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit and its like too
        raise DataError(
            f"{what}: expected a function without arguments that returns train and test images, got "
            f"{type(error).__name__}: {reason(error)}"
        ) from error


def labels_in(images: Images, task: str, part: str) -> Tensor:
    """A task's labels, float32 [N], of `train`, `test` or `validation`: a data set's target, or computed.

    Raises as bsr.data.label_check.labels does.
    """
    if task in images.targets:
        return images.targets[task][part]
    return labels(images.part(part), task)


@cache
def _labels(dataset: str, folder: str | None, task: str, part: str) -> Tensor:
    return labels_in(load_images(dataset, folder), task, part)
