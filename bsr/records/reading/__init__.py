"""The one door to what sessions recorded: benchmark JSON and journals, bounded, strict, checked.

`bsr.read(path)` gives a Recording, typed and as tidy tables. Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import escape, glob
from pathlib import Path

from bsr.records.reading import journal_file, json_file, several
from bsr.records.reading.check import RefusedError
from bsr.records.reading.json_file import is_benchmark_json, raw_document
from bsr.records.reading.recording import Recording
from bsr.text import printable

__all__ = ["Recording", "RefusedError", "is_benchmark_json", "raw_document", "read", "read_all"]


def read(path: str | os.PathLike[str], *, keep_first: bool = False) -> Recording:
    """A recording: a benchmark JSON, or the journal of a session, whose name ends in .jsonl.

    A pattern, `runs/*.json`, is every file of it as one study, as `python -m reports merge` makes one; with
    `keep_first`, of a Run that several of them trained to the same end, the first one's times are kept.
    Raises RefusedError, whose message is one line: name, expected, got, remedy.
    """
    if not isinstance(path, str | os.PathLike):
        raise RefusedError(f"path: expected that of a recording, got {type(path).__name__}; give its path")
    path = Path(path)
    if not _is_pattern(str(path)) or os.path.lexists(path):
        return journal_file.read(path) if path.suffix == ".jsonl" else json_file.read(path)
    found = [Path(name) for name in sorted(glob(str(path), recursive=True))]  # noqa: PTH207 - whole paths
    if not found:
        raise RefusedError(f"{printable(str(path))}: expected files of that pattern, got none; name others")
    return several.one_of([read(one) for one in found], path, keep_first=keep_first)


def _is_pattern(text: str) -> bool:
    return escape(text) != text


def read_all(paths: Iterable[Path]) -> tuple[list[Recording], list[RefusedError]]:
    """Every file that can be read, and why each other one cannot: a bad file never stops a good one."""
    good, bad = [], []
    for path in paths:
        try:
            good.append(read(path))
        except RefusedError as refusal:
            bad.append(refusal)
    return good, bad
