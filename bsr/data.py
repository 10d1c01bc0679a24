"""The images: bundled MNIST, and other data sets by name. The only importer of torchvision.

Whatever is used was verified in memory, after torchvision read it: torchvision itself checks only the
archives it downloads, never what it unpacked from them, and prefers legacy `processed/*.pt` files.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import platformdirs
import torch
from filelock import FileLock
from torch import Tensor

from bsr.experiment import Run
from bsr.tasks import TASKS

RAW_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MD5: Final[dict[str, tuple[str, ...] | None]] = {
    "MNIST": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    # unpacked from the archives whose MD5 torchvision publishes
    "FashionMNIST": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
    # no MD5 of the raw files is published: the archives are, and must lie beside them
    "KMNIST": None,
}
"""Data sets by torchvision's name, with the MD5 of each of RAW_FILES."""


class DataError(Exception):
    """The images are missing or not what they should be; the message says what, expected, got, remedy."""


@dataclass(frozen=True, slots=True)
class Images:
    """A data set's images, uint8 [N, 28, 28], raw pixels 0..255, on the CPU; verified."""

    train: Tensor
    test: Tensor
    digest: str
    """SHA-256 over the pixels, 16 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Split:
    """What one Run trains and is tested on, on the CPU: images uint8 [N, 28, 28], labels float32 [N]."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    digest: str
    """The data set's, see Images."""


def load_split(run: Run, folder: str | None = None) -> Split:
    """The first `train_images` and `test_images` of the Run's data set, with its task's labels.

    `folder` holds `NAME/raw/` as torchvision lays it out; None is the cache, into which bundled MNIST is
    unpacked. Raises DataError where the data cannot be had or are not genuine, KeyError for an unknown task.
    """
    images = load_images(run.dataset, folder)
    if run.train_images > len(images.train) or run.test_images > len(images.test):
        raise DataError(
            f"{run.dataset}: expected at most {len(images.train)} train and {len(images.test)} test images, "
            f"got {run.train_images} and {run.test_images}; ask for fewer"
        )
    train_labels, test_labels = _labels(run.dataset, folder, run.task)
    return Split(
        images.train[: run.train_images],
        train_labels[: run.train_images],
        images.test[: run.test_images],
        test_labels[: run.test_images],
        images.digest,
    )


@cache
def load_images(dataset: str, folder: str | None = None) -> Images:
    """All images of a data set, verified; read once per process. Raises DataError."""
    if dataset not in MD5:
        raise DataError(f"dataset: unknown {dataset!r}; expected one of {', '.join(MD5)}")
    bundled = dataset == "MNIST" and folder is None
    root = Path(folder) if folder is not None else cache_folder() / "data"
    raw = root / dataset / "raw"
    if bundled:
        with contextlib.suppress(DataError):
            return _read(dataset, root)
        _unpack_bundled(raw)
    elif missing := [name for name in RAW_FILES if not (raw / name).is_file()]:
        _fetch(dataset, root, missing)
    return _read(dataset, root)


@cache
def _labels(dataset: str, folder: str | None, task: str) -> tuple[Tensor, Tensor]:
    images = load_images(dataset, folder)
    return labels(images.train, task), labels(images.test, task)


def labels(images: Tensor, task: str) -> Tensor:
    """A task's labels, float32 [N], of images uint8 [N, H, W], some at a time to keep the memory small."""
    return torch.cat([TASKS[task](some) for some in images.split(5_000)])


def cache_folder() -> Path:
    """Where bsr keeps what it can make again: $BSR_CACHE, or the user's cache folder of the platform."""
    return Path(os.environ.get("BSR_CACHE") or platformdirs.user_cache_path("bsr"))


def _read(dataset: str, root: Path) -> Images:
    """Both splits through torchvision, then verified as they lie in memory."""
    raw = root / dataset / "raw"
    reader = getattr(_torchvision_datasets(), dataset)
    try:
        splits = [reader(str(root), train=train) for train in (True, False)]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{raw}: expected the files of {dataset}, got {reason}; {_remedy(dataset)}") from error
    expected = MD5[dataset] or _archived_md5(reader, raw)
    found = [_idx_md5(part) for split in splits for part in (split.data, split.targets)]
    for name, want, got in zip(RAW_FILES, expected, found, strict=True):
        if want != got:
            raise DataError(f"{raw / name}: expected MD5 {want}, got {got} in what was read; {_remedy(dataset)}")
    train, test = (split.data.contiguous() for split in splits)
    digest = hashlib.sha256(train.numpy().tobytes() + test.numpy().tobytes()).hexdigest()[:16]
    return Images(train, test, digest)


def _remedy(dataset: str) -> str:
    folders = "--bsr-data" if dataset != "MNIST" else "--bsr-data (without it the bundled files are used)"
    return f"remove the folders raw/ and processed/ beside it, or name another folder with {folders}"


def _idx_md5(values: Tensor) -> str:
    """MD5 of the IDX file that holds these values: magic number and sizes, big-endian, then the bytes."""
    header = (0x0800 + values.ndim).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return hashlib.md5(header + values.to(torch.uint8).numpy().tobytes(), usedforsecurity=False).hexdigest()


def _archived_md5(reader: Any, raw: Path) -> tuple[str, ...]:  # noqa: ANN401 - torchvision is untyped
    """MD5 of each raw file, as it lies in an archive that has the MD5 torchvision publishes."""
    found = []
    for archive, want in reader.resources:
        path = raw / archive
        packed = path.read_bytes() if path.is_file() else b""
        got = hashlib.md5(packed, usedforsecurity=False).hexdigest()
        if got != want:
            what = f"MD5 {got}" if packed else "no such file"
            raise DataError(f"{path}: expected the published archive, MD5 {want}, got {what}; put it there")
        found.append(hashlib.md5(gzip.decompress(packed), usedforsecurity=False).hexdigest())
    return tuple(found)


def _unpack_bundled(raw: Path) -> None:
    """The package's own MNIST into the cache: one process unpacks, the others wait; files appear whole."""
    archives = files("bsr") / "mnist"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw.parent / "unpacking.lock"):
            for name, want in zip(RAW_FILES, MD5["MNIST"] or (), strict=True):
                path = raw / name
                if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == want:
                    continue
                _write_whole(path, gzip.decompress((archives / f"{name}.gz").read_bytes()))
            _set_legacy_aside(raw.parent / "processed")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{raw}: expected to unpack the bundled MNIST there, got {error}; "
            "free or make writable that folder, or name another with BSR_CACHE or --bsr-data"
        ) from error


def _set_legacy_aside(processed: Path) -> None:
    """Files of torchvision before 0.9, which it would read in place of the raw ones."""
    if processed.exists():
        processed.rename(processed.with_name(f"processed.unverified.{os.getpid()}"))


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside it, flush to the disk, rename: the file is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            file.close()
            Path(file.name).unlink(missing_ok=True)
            raise


def _fetch(dataset: str, root: Path, missing: list[str]) -> None:
    """Unpack the archives that lie in the folder, or download them, through torchvision."""
    raw = root / dataset / "raw"
    reader = getattr(_torchvision_datasets(), dataset)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{dataset}.lock"):
            for name in missing:
                if (raw / f"{name}.gz").is_file():
                    _write_whole(raw / name, gzip.decompress((raw / f"{name}.gz").read_bytes()))
            with contextlib.redirect_stdout(sys.stderr):
                reader(str(root), download=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{raw}: expected {', '.join(missing)} or their .gz archives, got no usable ones, and no download "
            f"({reason}); put the files there and name {root} with --bsr-data"
        ) from error


@cache
def _torchvision_datasets() -> Any:  # noqa: ANN401 - torchvision is untyped
    """torchvision.datasets, also where torchvision's compiled operators cannot load."""
    _declare_missing_operators()
    from torchvision import datasets  # noqa: PLC0415 - only after the guard

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
