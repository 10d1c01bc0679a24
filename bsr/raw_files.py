"""Puts a data set's raw files where torchvision reads them: from the package, from archives, or by download.

One process at a time writes, the others wait, and each file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import gzip
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

from bsr.durable import replace_file

RAW_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
BUNDLED: Final = "MNIST"
"""The data set whose archives are in the package."""


class DataError(Exception):
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
        """The folder of the raw files and of their archives."""
        return self.root / self.dataset / "raw"

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
    """One process at a time; the others wait. Raises DataError where nothing can be written there."""
    try:
        place.raw.mkdir(parents=True, exist_ok=True)
        with FileLock(place.raw.parent / "unpacking.lock"):
            yield
    except OSError as error:
        raise DataError(
            f"{place.raw}: expected a folder to unpack {place.dataset} in, got {reason(error)}; "
            "make room there or make it writable, or name another with BSR_CACHE or --bsr-data"
        ) from error


def supply(place: DatasetFolder, reader: Any) -> None:
    """Put the raw files there; `reader` is torchvision's class. Raises DataError, OSError (see alone_in)."""
    bundled = place.own and place.dataset == BUNDLED
    if place.own:
        for path in (*place.legacy, *(place.raw / name for name in RAW_FILES)):
            path.unlink(missing_ok=True)
    for name in place.missing:
        archive = (files("bsr") / "mnist" if bundled else place.raw) / f"{name}.gz"
        if archive.is_file():
            replace_file(
                place.raw / name, _unpacked(archive, "install bsr again" if bundled else place.remedy)
            )
    if place.missing and place.dataset != BUNDLED:
        _download(place, reader)


def _unpacked(archive: Any, remedy: str) -> bytes:
    try:
        return gzip.decompress(archive.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{archive}: expected a gzip archive, got {reason(error)}; {remedy}") from error


def _download(place: DatasetFolder, reader: Any) -> None:
    """What is missing, through torchvision into a folder beside, since it writes in place."""
    missing = ", ".join(place.missing)
    try:
        with (
            tempfile.TemporaryDirectory(dir=place.raw.parent) as fresh,
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
    return " ".join(str(error).split())[:160] or type(error).__name__
