"""Puts a data set's raw files where torchvision reads them: from the package, from archives, or by download.

One process at a time writes, the others wait, and each file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import platformdirs
from filelock import FileLock

from bsr.records.durable import remove_unfinished, replace_file
from bsr.text import Refused
from bsr.text.strict_json import words

DOWNLOADED: Final = ".download."
"""How the name of a folder begins into which a data set is downloaded."""
RAW_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
RAW_BYTES: Final = dict(zip(RAW_FILES, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))
"""Of each raw file: 60,000 and 10,000 images of 28 by 28 pixels, and their classes."""
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
BUNDLED: Final = "MNIST"
"""The data set whose archives are in the package."""


class DataError(Refused):
    """The images are missing or not what they should be; one line: what, expected, got, remedy."""


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """Where a data set's files lie, as torchvision lays them out."""

    dataset: str
    root: Path
    own: bool
    """Whether it is bsr's cache, in which anything wrong is made again."""

    @property
    def raw(self) -> Path:
        """The folder of the raw files and archives: torchvision's, or the root where they lie there."""
        usual = self.root / self.dataset / "raw"
        names = (*RAW_FILES, *(f"{name}.gz" for name in RAW_FILES))
        flat = not self.own and not usual.is_dir() and any((self.root / name).is_file() for name in names)
        return self.root if flat else usual

    @property
    def lock(self) -> Path:
        """Of who writes there. Beside a person's own files none is left: it is where temporary files are."""
        if self.own:
            return self.root / self.dataset / "unpacking.lock"
        name = hashlib.sha256(os.path.realpath(self.raw).encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else ""
        return Path(tempfile.gettempdir()) / f"bsr-{user}-{name}.lock"

    @property
    def legacy(self) -> list[Path]:
        """The files of torchvision before 0.9, which it reads in place of the raw ones where both exist."""
        return [self.root / self.dataset / "processed" / name for name in ("training.pt", "test.pt")]

    @property
    def missing(self) -> list[str]:
        """The raw files that are not there."""
        return [name for name in RAW_FILES if not (self.raw / name).is_file()]

    @property
    def may_be_supplied(self) -> bool:
        """Whether `supply` may write there; to a named folder, only what is missing and can be had."""
        archived = any((self.raw / f"{name}.gz").is_file() for name in self.missing)
        can_be_had = archived or (self.dataset != BUNDLED and self.root.is_dir())
        return self.own or (bool(self.missing) and can_be_had)

    @property
    def remedy(self) -> str:
        """What a person can do where the files are not what they should be."""
        if self.own:
            return f"remove {self.root / self.dataset}, or name another folder with BSR_CACHE or --bsr-data"
        otherwise = ", or leave --bsr-data out to use the bundled ones" if self.dataset == BUNDLED else ""
        return f"put the genuine files or their .gz archives there{otherwise}"


@contextlib.contextmanager
def alone_in(place: DatasetFolder) -> Iterator[None]:
    """One process at a time; the others wait. Raises DataError where nothing can be written there.

    Folders that were made for nothing are removed again.
    """
    made = [folder for folder in (place.raw, *place.raw.parents) if not folder.exists()]
    try:
        place.raw.mkdir(parents=True, exist_ok=True)
        place.lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.lock):
            yield
    except OSError as error:
        raise DataError(
            f"{place.raw}: expected a folder to unpack {place.dataset} in, got {reason(error)}; "
            "make room there or make it writable, or name another with BSR_CACHE or --bsr-data"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # one that holds something
            for folder in made:
                folder.rmdir()


def supply(place: DatasetFolder, reader: Any) -> None:
    """Put the raw files there; `reader` is torchvision's class. Raises DataError, OSError (see alone_in)."""
    bundled = place.own and place.dataset == BUNDLED
    _remove_unfinished(place)
    if place.own:
        for path in (*place.legacy, *(place.raw / name for name in RAW_FILES)):
            path.unlink(missing_ok=True)
    for name in place.missing:
        archive = (files("bsr") / "data" / "mnist" if bundled else place.raw) / f"{name}.gz"
        if archive.is_file():
            remedy = "install bsr again" if bundled else f"replace it by the genuine {archive.name}"
            replace_file(place.raw / name, unpacked(archive, place.dataset, reader, remedy))
    if place.missing and place.dataset != BUNDLED:
        _download(place, reader)


def _remove_unfinished(place: DatasetFolder) -> None:
    """What a kill in the middle of supplying left there; whoever supplies is alone."""
    for name in RAW_FILES:
        remove_unfinished(place.raw / name)
    for left in place.root.glob(f"{DOWNLOADED}{place.dataset}.*"):
        shutil.rmtree(left, ignore_errors=True)


def unpacked(archive: Any, dataset: str, reader: Any, remedy: str) -> bytes:
    """A raw file from its archive, in memory, no more than it can be, and genuine. Raises DataError."""
    name = archive.name.removesuffix(".gz")
    most = RAW_BYTES[name]
    with archive.open("rb") as file:
        packed = file.read(most + 1)
    published = dict(reader.resources).get(archive.name) if MD5[dataset] is None else None
    if published not in {None, md5(packed)}:
        raise DataError(
            f"{archive}: expected the published archive, MD5 {published}, got {md5(packed)}; {remedy}"
        )
    try:
        content = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(most + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: expected a gzip archive, got {reason(error)}; {remedy}") from error
    if len(content) > most:
        raise DataError(f"{archive}: expected {most:,} bytes in it, got more; {remedy}")
    sums = MD5[dataset]
    want = sums[RAW_FILES.index(name)] if sums is not None else None
    if want not in {None, md5(content)}:
        raise DataError(f"{archive}: expected {name}, MD5 {want}, in it, got MD5 {md5(content)}; {remedy}")
    return content


def cache_folder() -> Path:
    """Where bsr keeps what it can make again: $BSR_CACHE, or the user's cache folder of the platform."""
    return Path(os.environ.get("BSR_CACHE") or platformdirs.user_cache_path("bsr"))


def md5(content: bytes) -> str:
    """The checksum by which the data sets are published."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _download(place: DatasetFolder, reader: Any) -> None:
    """What is missing, through torchvision into a folder beside, since it writes in place."""
    missing = ", ".join(place.missing)
    try:
        with (
            tempfile.TemporaryDirectory(dir=place.root, prefix=f"{DOWNLOADED}{place.dataset}.") as fresh,
            contextlib.redirect_stdout(sys.stderr),
        ):
            reader(fresh, download=True)
            for path in (Path(fresh) / place.dataset / "raw").iterdir():
                if not (place.raw / path.name).exists():
                    path.replace(place.raw / path.name)
    except Exception as error:
        where = f"; put the files in {place.dataset}/raw of a folder and name that with --bsr-data"
        raise DataError(
            f"{place.raw}: expected {missing} or their .gz archives, got neither, and no download "
            f"({reason(error)}){where if place.own else '; put the files there'}"
        ) from error


def reason(error: BaseException) -> str:
    """An exception in one short line."""
    return " ".join(words(error).split())[:160] or type(error).__name__
