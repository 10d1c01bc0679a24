"""Where a recording may be written, and whether it takes an old one's place: only where it has all of it."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from bsr.records import durable, journal
from bsr.records.reading import RefusedError, is_benchmark_json, raw_document
from bsr.records.schema import PROBES, row_fields
from bsr.result import FINISHED, Result

Measured = frozenset[tuple[str, ...]]
"""What a recording holds: each Run by key, engine and machine, what else was measured by its name."""


def check_target(path: Path, what: str) -> None:
    """Raises RefusedError, which begins with `what`, for a path that no recording must be written to."""
    if not durable.is_json(path):
        raise RefusedError(
            f"{what}: expected a path that ends in .json or .json.gz, got {path.name!r}; rename it"
        )
    check_file_name(path, what)
    if not path.parent.is_dir():
        raise RefusedError(f"{what}: expected an existing folder, got no {path.parent}; make it first")
    if path.exists() and not path.is_file():
        raise RefusedError(f"{what}: expected a file, got something else of that name; choose a new name")
    if path.exists() and path.stat().st_size and not is_benchmark_json(path):
        raise RefusedError(
            f"{what}: expected a benchmark JSON to replace, got another file; choose a new name"
        )
    check_replaceable(path, what)


def check_file_name(path: Path, what: str) -> None:
    """Raises RefusedError for a name that no file here can have."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise RefusedError(
            f"{what}: expected a name that a file can have, got {error}; choose another"
        ) from error


def check_replaceable(path: Path, what: str) -> None:
    """What is there is one's own, to be written by him; root may more, and must not. Raises RefusedError."""
    if not path.exists():
        return
    about = path.stat()
    if not about.st_mode & 0o222:
        raise RefusedError(f"{what}: expected a file to write, got one that is read-only; choose another")
    if hasattr(os, "geteuid") and about.st_uid != os.geteuid():
        raise RefusedError(
            f"{what}: expected a file of one's own, got one of user {about.st_uid}; choose a new name"
        )


def replace(path: Path, new: dict[str, Any], content: bytes) -> Path | None:
    """Let `path` hold the `new` document, whose bytes `content` is, whole or not at all.

    Returns the name under which a recording is kept that held more. Raises OSError where it cannot be
    written; then everything is as it was. A name that ends in .gz has them compressed.
    """
    kept = set_aside(path, new)
    try:
        durable.replace_file(path, durable.stored(path, content))
    except BaseException:
        if kept is not None:
            kept.replace(path.resolve())  # of a link, what it points to
        raise
    return kept


def kept_note(path: Path, kept: Path | None) -> list[str]:
    """A line on what `replace` returned."""
    return [] if kept is None else [f"{path.name} held what was not measured again: it is kept as {kept}"]


def set_aside(path: Path, new: dict[str, Any]) -> Path | None:
    """Rename a recording that holds more than the `new` document to a free name, which is returned."""
    path = Path(path).resolve()
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        superseded = measured(raw_document(path)) <= measured(new)
    except (RefusedError, LookupError, TypeError, AttributeError):  # of another version, or of somebody else
        superseded = False
    if superseded:
        return None
    number = 1
    while (name := path.with_name(f"{durable.stem(path)}.kept-{number}{durable.endings(path)}")).exists():
        number += 1
    path.rename(name)
    return name


def measured(document: dict[str, Any]) -> Measured:
    """What a document holds."""
    return frozenset(_measured(document))


def _measured(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    part = document.get("bsr")
    part = part if isinstance(part, dict) else {}
    for case in part.get("cases", ()):
        result = case["result"]
        if result["status"] in FINISHED:
            yield "run", case["key"], result.get("engine", ""), result.get("environment", "")
    for kind, row_type in PROBES.items():
        usual = {one.name: one.default for one in fields(row_type)}
        for row in part.get(kind, ()):
            yield kind, *(str(row.get(name, usual[name])) for name in row_fields(kind))
    for entry in document.get("benchmarks", ()):
        if "key" not in (entry.get("extra_info") or {}):
            yield "benchmark", str(entry.get("name"))


def measured_results(results: Iterable[Result]) -> Measured:
    """What these Results are."""
    return frozenset(
        ("run", result.run.key, result.engine, result.environment)
        for result in results
        if result.status in FINISHED
    )


def remove_superseded(path: Path, now: Measured) -> Iterator[Path]:
    """Remove the finished journals that were set aside for `path` and say nothing more; yields the others."""
    for old in sorted(path.parent.glob(f"{glob.escape(path.name)}.finished-*")):
        try:
            superseded = measured_results(journal.read(old).results.values()) <= now
        except journal.JournalError:
            superseded = False
        if superseded:
            old.unlink(missing_ok=True)
        else:
            yield old
