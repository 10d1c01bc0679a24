"""How a recording lies in a file: its name says whether it is a JSON or a journal, and compressed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

GZIPPED: Final = ".gz"
_LEVEL: Final = 6


def is_json(path: Path) -> bool:
    """Whether its name is a benchmark JSON's: `run.json`, `run.json.gz`."""
    return _plain(path).suffix == ".json"


def is_journal(path: Path) -> bool:
    """Whether its name is a journal's: `run.journal.jsonl`, `run.journal.jsonl.gz`."""
    return _plain(path).suffix == ".jsonl"


def stem(path: Path) -> str:
    """Its name without the endings: `run` of `run.json` and of `run.json.gz`."""
    return _plain(path).stem


def endings(path: Path) -> str:
    """What `stem` leaves out: `.json.gz`."""
    return path.name[len(stem(path)) :]


def packed(path: Path, content: bytes) -> bytes:
    """The bytes of a file of that name; the same for the same content, whenever they are packed."""
    return gzip.compress(content, _LEVEL, mtime=0) if path.suffix == GZIPPED else content


def unpacked(path: Path, most: int | None = None) -> bytes:
    """What a file of that name holds; of more than `most` bytes one more than those, whatever it unpacks to.

    Raises OSError where it cannot be read or unpacked.
    """
    try:
        with gzip.open(path) if path.suffix == GZIPPED else path.open("rb") as file:
            return file.read() if most is None else file.read(most + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(f"what no gzip unpacks: {error}") from error


def _plain(path: Path) -> Path:
    return path.with_suffix("") if path.suffix == GZIPPED else path
