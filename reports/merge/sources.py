"""The files to merge, as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsr.records.durable import is_journal
from bsr.records.reading import Recording, raw_document
from bsr.records.reading import read as read_recording
from reports.text import printable


@dataclass(frozen=True, slots=True)
class Source:
    """One file to merge."""

    recording: Recording
    document: dict[str, Any]
    """pytest-benchmark's document as it was written; empty for a journal."""

    @property
    def name(self) -> str:
        """For messages."""
        return printable(str(self.recording.path))

    @property
    def measured(self) -> list[dict[str, Any]]:
        """Every entry of `benchmarks[]`."""
        made = self.document.get("benchmarks")
        return [one for one in made if isinstance(one, dict)] if isinstance(made, list) else []

    def part(self, name: str) -> dict[str, Any]:
        """`machine_info` or `commit_info`; empty where there is none."""
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}


def read(path: Path) -> Source:
    """A benchmark JSON, or by its name a journal. Raises RefusedError."""
    return Source(read_recording(path), {} if is_journal(path) else raw_document(path))
