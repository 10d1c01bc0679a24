"""The files to merge, as they were written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsr.schema import SessionRecord
from reports.load import load, read_bounded
from reports.merge import journals
from reports.text import printable


@dataclass(frozen=True, slots=True)
class Source:
    """One file to merge."""

    path: Path
    session: SessionRecord
    document: dict[str, Any]
    """pytest-benchmark's document as it was written; empty for a journal."""

    @property
    def name(self) -> str:
        """For messages."""
        return printable(str(self.path))

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        """Fingerprints of the machines that gave its results, by identity."""
        used = {case.result.environment for case in self.session.cases} - {""}
        return {name: self.session.environments.get(name, {}) for name in sorted(used)}

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
    """A benchmark JSON, or a journal where the name ends in .jsonl. Raises RefusedError."""
    if path.suffix == ".jsonl":
        return Source(path, journals.read(path), {})
    session = load(path).session
    return Source(path, session, json.loads(read_bounded(path).decode("utf-8")))
