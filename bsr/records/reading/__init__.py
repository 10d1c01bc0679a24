"""The one door to what sessions recorded: benchmark JSON and journals, bounded, strict, checked.

`bsr.read(path)` gives a Recording, typed and as tidy tables. Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bsr.records.reading import journal_file, json_file
from bsr.records.reading.check import RefusedError
from bsr.records.reading.json_file import is_benchmark_json, raw_document
from bsr.records.reading.recording import Recording

__all__ = ["Recording", "RefusedError", "is_benchmark_json", "raw_document", "read", "read_all"]


def read(path: str | os.PathLike[str]) -> Recording:
    """A recording: a benchmark JSON, or the journal of a session, whose name ends in .jsonl.

    Raises RefusedError, whose message is one line: name, expected, got, remedy.
    """
    if not isinstance(path, str | os.PathLike):
        raise RefusedError(f"path: expected that of a recording, got {type(path).__name__}; give its path")
    path = Path(path)
    return journal_file.read(path) if path.suffix == ".jsonl" else json_file.read(path)


def read_all(paths: Iterable[Path]) -> tuple[list[Recording], list[RefusedError]]:
    """Every file that can be read, and why each other one cannot: a bad file never stops a good one."""
    good, bad = [], []
    for path in paths:
        try:
            good.append(read(path))
        except RefusedError as refusal:
            bad.append(refusal)
    return good, bad
