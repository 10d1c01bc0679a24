"""A data set's files, read by torchvision, which only this imports; verified as they lie in memory.

Torchvision itself checks only the archives that it downloads, never what it unpacked from them, and prefers
legacy `processed/*.pt` files.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bsr.data.image_data import Images
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


def images(place: DatasetFolder) -> Images:
    """All images of a data set whose files lie there, or are put there. Raises DataError."""
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
