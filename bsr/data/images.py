"""The images: bundled MNIST, and other data sets by name. The only importer of torchvision.

Whatever is used was verified in memory, after torchvision read it: torchvision itself checks only the
archives it downloads, never what it unpacked from them, and prefers legacy `processed/*.pt` files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import Tensor

from bsr.data.labels import labels
from bsr.data.raw_files import (
    MD5,
    RAW_BYTES,
    RAW_FILES,
    DataError,
    DatasetFolder,
    alone_in,
    md5,
    reason,
    supply,
    unpacked,
)
from bsr.named import IMPORT_PATH, NamedError, is_import_path, look_up
from bsr.run import Run

__all__ = [
    "MD5",
    "RAW_FILES",
    "DataError",
    "Images",
    "Split",
    "cache_folder",
    "load_images",
    "load_split",
]


@dataclass(frozen=True, slots=True)
class Images:
    """A data set's images, uint8 [N, H, W], raw pixels 0..255, on the CPU; verified where bsr knows it."""

    train: Tensor
    test: Tensor
    digest: str
    """SHA-256 over the pixels, 16 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Split:
    """What one Run trains and is tested on, on the CPU: images uint8 [N, H, W], labels float32 [N]."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    """The data set's, see Images."""
    task: str
    """Whose labels they are."""

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
                f"split: expected labels of {run.task!r}, got {self.task!r}; use load_split(run)"
            )
        for part, count in (("train", run.train_images), ("test", run.test_images)):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            for name, value, dtype, sizes in (
                ("images", images, torch.uint8, (count, "H", "W")),
                ("labels", labels, torch.float32, (count,)),
            ):
                shape = value.shape[:1] if name == "images" and value.ndim == 3 else value.shape
                if value.dtype != dtype or shape != (count,):
                    raise ValueError(
                        f"split.{part}_{name}: expected {dtype} [{', '.join(map(str, sizes))}], got "
                        f"{value.dtype} {list(value.shape)}; use load_split(run)"
                    )
            if not bool(labels.isfinite().all()):
                raise ValueError(f"split.{part}_labels: expected finite labels, got others; mend the task")


def load_split(run: Run, folder: str | None = None) -> Split:
    """What a Run trains and is evaluated on: images of its data set from the start of each split, and labels.

    For a validation Run the `test` part are the last `test_images` of the training split.

    `folder` holds `NAME/raw/` as torchvision lays it out, or the files themselves; None is the cache, into
    which bundled MNIST is unpacked. Raises DataError where the data cannot be had or are not genuine,
    NamedError, a LookupError, for an unknown task.
    """
    images = load_images(run.dataset, folder)
    if run.train_images > len(images.train) or run.test_images > len(images.test):
        raise DataError(
            f"{run.dataset}: expected at most {len(images.train)} train and {len(images.test)} test images, "
            f"got {run.train_images} and {run.test_images}; ask for fewer"
        )
    train_labels, test_labels = _labels(run.dataset, folder, run.task)
    test_images, count = images.test[: run.test_images], run.test_images
    if run.evaluate_on == "validation":
        if run.train_images + count > len(images.train):
            raise DataError(
                f"{run.dataset}: expected at most {len(images.train)} images to train and validate on, got "
                f"{run.train_images} and {count}; ask for fewer"
            )
        test_images, test_labels = images.train[-count:], train_labels[-count:]
    return Split(
        images.train[: run.train_images],
        train_labels[: run.train_images],
        test_images,
        test_labels[:count],
        images.digest,
        run.task,
    )


def load_images(dataset: str, folder: str | None = None) -> Images:
    """All images of a data set, verified; read once per process. Raises DataError.

    An import path, `package.module:attribute`, names a function without arguments that returns the training
    and the test images, uint8 [N, H, W], as tensors or NumPy arrays.

    `folder` as in load_split. What the cache lacks, or holds damaged, is made again there; in a named folder
    archives are unpacked and, but for MNIST, what is missing is downloaded.
    """
    return _images(dataset, folder)


@cache
def _images(dataset: str, folder: str | None) -> Images:
    if is_import_path(dataset):
        return _made(dataset)
    if dataset not in MD5:
        raise DataError(f"dataset: unknown {dataset!r}; expected one of {', '.join(MD5)}, or {IMPORT_PATH}")
    place = DatasetFolder(
        dataset, cache_folder() / "data" if folder is None else Path(folder), own=folder is None
    )
    reader = _reader(place)
    try:
        return _read(place, reader)
    except DataError:
        if not place.may_be_supplied:
            raise
    with alone_in(place):
        with contextlib.suppress(DataError):
            return _read(place, reader)  # another process supplied it in the meantime
        supply(place, reader)
        return _read(place, reader)


def _made(dataset: str) -> Images:
    """What a user's own function returns. Raises DataError."""
    try:
        parts = [_copied(part) for part in look_up("data set", dataset, {})()]
    except NamedError as error:
        raise DataError(str(error)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and its like too
        raise DataError(
            f"data set {dataset!r}: expected a function without arguments that returns train and "
            f"test images, got {type(error).__name__}: {reason(error)}"
        ) from error
    got = [f"{part.dtype} {list(part.shape)}" for part in parts]
    alike = len(parts) == 2 and all(
        part.dtype == torch.uint8 and part.ndim == 3 and part.numel() and part.shape[1:] == parts[0].shape[1:]
        for part in parts
    )
    if not alike:
        raise DataError(
            f"data set {dataset!r}: expected train and test images, uint8 [N, H, W] of one size, got "
            f"{' and '.join(got) or 'nothing'}; return those"
        )
    digest = hashlib.sha256(str(got).encode())
    for part in parts:
        digest.update(part.numpy().data)
    return Images(parts[0], parts[1], digest.hexdigest()[:16])


def _copied(part: Any) -> Tensor:
    """Of a tensor, or of an array that may be read-only, a tensor that nobody else changes."""
    made = part.detach().clone() if issubclass(type(part), Tensor) else torch.tensor(part)
    return made.cpu().contiguous()


def _reader(place: DatasetFolder) -> Any:
    """Torchvision's class, which reads from the place's folder. Raises DataError."""
    known = getattr(_torchvision_datasets(), place.dataset, None)
    if known is None:
        raise DataError(
            f"torchvision: expected a data set {place.dataset} in it, got none; install a newer torchvision"
        )
    if place.raw == place.root:
        return type(place.dataset, (known,), {"raw_folder": property(lambda _self: str(place.raw))})
    return known


@cache
def _labels(dataset: str, folder: str | None, task: str) -> tuple[Tensor, Tensor]:
    images = load_images(dataset, folder)
    return labels(images.train, task), labels(images.test, task)


def cache_folder() -> Path:
    """Where bsr keeps what it can make again: $BSR_CACHE, or the user's cache folder of the platform."""
    return Path(os.environ.get("BSR_CACHE") or platformdirs.user_cache_path("bsr"))


def _read(place: DatasetFolder, reader: Any) -> Images:
    """Both splits through torchvision, then verified as they lie in memory."""
    if all(path.is_file() for path in place.legacy):
        raise DataError(
            f"{place.legacy[0].parent}: expected none, got torchvision's legacy files, which it would read "
            "in place of the raw ones; remove that folder"
        )
    try:
        train, test = (reader(str(place.root), train=train) for train in (True, False))
    except Exception as error:
        if place.missing:
            got = f"no {' and no '.join(place.missing)}"
            raise DataError(
                f"{place.raw}: expected {', '.join(RAW_FILES)}, got {got}; {place.remedy}"
            ) from error
        for name in RAW_FILES:
            size = (place.raw / name).stat().st_size
            if size != RAW_BYTES[name]:
                raise DataError(
                    f"{place.raw / name}: expected the genuine file, {RAW_BYTES[name]:,} bytes, got {size:,} "
                    f"bytes; remove it and {place.remedy}"
                ) from error
        raise DataError(
            f"{place.raw}: expected {', '.join(RAW_FILES)}, got {reason(error)}; {place.remedy}"
        ) from error
    expected = MD5[place.dataset] or _archived_md5(place, reader)
    found = [_idx_md5(part) for split in (train, test) for part in (split.data, split.targets)]
    for name, want, got in zip(RAW_FILES, expected, found, strict=True):
        if want != got:
            raise DataError(
                f"{place.raw / name}: expected MD5 {want}, got {got} in what was read; {place.remedy}"
            )
    digest = hashlib.sha256(train.data.numpy())
    digest.update(test.data.numpy())
    return Images(train.data, test.data, digest.hexdigest()[:16])


def _idx_md5(values: Tensor) -> str:
    """MD5 of the IDX file that holds these values: magic number and sizes, big-endian, then the bytes."""
    sizes = (0x0800 + values.ndim, *values.shape)
    digest = hashlib.md5(b"".join(size.to_bytes(4, "big") for size in sizes), usedforsecurity=False)
    digest.update(values.to(torch.uint8).numpy().data)
    return digest.hexdigest()


def _archived_md5(place: DatasetFolder, reader: Any) -> tuple[str, ...]:
    """MD5 of each raw file, as it lies in an archive that has the MD5 torchvision publishes."""
    found = []
    for name, want in reader.resources:
        archive = place.raw / name
        if not archive.is_file():
            raise DataError(
                f"{archive}: expected the published archive, MD5 {want}, got no such file; put it there"
            )
        found.append(md5(unpacked(archive, place.dataset, reader, "put that there")))
    return tuple(found)


@cache
def _torchvision_datasets() -> Any:
    """torchvision.datasets, also where torchvision's compiled operators cannot load. Raises DataError."""
    try:
        _declare_missing_operators()
        from torchvision import datasets  # noqa: PLC0415 - only after the guard
    except Exception as error:
        raise DataError(
            f"torchvision: expected one that works beside torch {torch.__version__}, got {reason(error)}; "
            "install both from the same index"
        ) from error
    return datasets


_DECLARED: list[torch.library.Library] = []  # a Library undeclares its operators when it is collected


def _declare_missing_operators() -> None:
    """Let torchvision import beside a torch that its wheel was not built for, a CPU-only one say.

    Its own import registers gradients and shapes for two operators and fails where they do not exist
    (`operator torchvision::nms does not exist`). bsr needs neither, so their schemas are enough.
    """
    spec = find_spec("torchvision")
    if "torchvision" in sys.modules or spec is None or not spec.submodule_search_locations:
        return
    for library in Path(spec.submodule_search_locations[0]).glob("_C*"):
        with contextlib.suppress(OSError):
            torch.ops.load_library(library)
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        declarations = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            declarations.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(declarations)
