"""Reading benchmark JSON that may come from anybody: bounded, strict, checked, and refused in one line.

A file is a regular file of bounded size, which is strict JSON (see strict); of the schema of
bsr.records.schema, checked with the path of the offending field; and consistent, so that everything drawn
from it means what its label says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bsr.experiments.grid import MOST_BYTES
from bsr.records.durable import content_of
from bsr.records.reading.check import FaultError, RefusedError, check
from bsr.records.reading.recording import Recording
from bsr.records.schema import SessionRecord, derived, plain_record
from bsr.run import SCHEMA
from bsr.text import printable
from bsr.text.bounded_json import check_strict

_RECORD: Final = "record one with: pytest benchmarks --benchmark-json=run.json"


class _Parts(msgspec.Struct):
    """What tells a benchmark JSON from any other."""

    bsr: msgspec.Raw = msgspec.Raw(b"null")
    benchmarks: msgspec.Raw = msgspec.Raw(b"null")


class _Version(msgspec.Struct):
    schema: Any = SCHEMA


class _Document(msgspec.Struct):
    """The parts of a pytest-benchmark document that the report reads."""

    bsr: SessionRecord
    machine_info: dict[str, Any] = {}
    commit_info: dict[str, Any] = {}
    version: str = ""


class _SaidOfResult(msgspec.Struct):
    """What a record says beside what it follows from; older ones leave it out."""

    final_mse: float | msgspec.UnsetType | None = msgspec.UNSET
    normalised_mse: float | msgspec.UnsetType | None = msgspec.UNSET


class _SaidOfCase(msgspec.Struct):
    result: _SaidOfResult


class _SaidOfSession(msgspec.Struct):
    cases: tuple[_SaidOfCase, ...]


class _Said(msgspec.Struct):
    bsr: _SaidOfSession


def read(path: Path) -> Recording:
    """One benchmark JSON. Raises RefusedError, whose message is one line."""
    with refusing(path):
        document = parse(read_bounded(path))
        check(document.bsr)
    machine = {name: value for name, value in document.machine_info.items() if name != "bsr"}
    return Recording(
        path=path,
        session=document.bsr,
        machine=machine,
        commit=document.commit_info,
        pytest_benchmark=document.version,
    )


def raw_document(path: Path) -> dict[str, Any]:
    """A benchmark JSON as it stands, with parts that are not ours. Raises RefusedError."""
    with refusing(path):
        content = read_bounded(path)
        check_strict(content)
        _parts(content)
        try:
            raw: dict[str, Any] = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise _not_strict(error) from error
    return raw


def is_benchmark_json(path: Path) -> bool:
    """Whether a file is one, of this suite or of another, that a new one may replace."""
    try:
        with refusing(path):
            content = read_bounded(path)
            check_strict(content)
            _parts(content)
    except RefusedError:
        return False
    return True


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What is wrong with a file becomes a RefusedError that names it."""
    try:
        yield
    except FaultError as fault:
        raise RefusedError(f"{printable(str(path))}: {printable(str(fault))}") from fault


def read_bounded(path: Path) -> bytes:
    """What a regular file holds, or unpacks to: at most MOST_BYTES."""
    try:
        if not path.is_file():
            raise FaultError(f"expected a benchmark JSON file, got {_what(path)}; {_RECORD}")
        content = content_of(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise FaultError(
            f"expected a readable file, got {error}; check the path and its permissions"
        ) from error
    _refuse_large(content)
    return content.removeprefix(b"\xef\xbb\xbf")


def _refuse_large(content: bytes) -> None:
    if len(content) > MOST_BYTES:
        raise FaultError(
            f"expected at most {MOST_BYTES // 2**20} MiB, got more; split the study into several files"
        )


def check_written(session: SessionRecord, content: bytes = b"") -> None:
    """Raises FaultError where this module would refuse a document with that session.

    `content` is the document's, where it is more than the session.
    """
    content = content or msgspec.json.encode({"benchmarks": [], "bsr": plain_record(session)})
    _refuse_large(content)
    check(parse(content).bsr)


def _what(path: Path) -> str:
    return "a folder" if path.is_dir() else "a special file" if path.exists() else "no such file"


def parse(content: bytes) -> _Document:
    """A document from the bytes of its JSON."""
    check_strict(content)
    _refuse_foreign(_parts(content).bsr)
    try:
        document = msgspec.json.decode(content, type=_Document)
        said = msgspec.json.decode(content, type=_Said)
    except msgspec.MsgspecError as error:
        raise FaultError(
            f"{named(str(error))}; record it again, or read it with the version that wrote it"
        ) from error
    for index, (case, beside) in enumerate(zip(document.bsr.cases, said.bsr.cases, strict=True)):
        _refuse_contradiction(f"$.bsr.cases[{index}].result", derived(case.result), beside.result)
    return document


def _refuse_contradiction(where: str, follows: dict[str, float | None], said: _SaidOfResult) -> None:
    for name, value in follows.items():
        if (beside := getattr(said, name)) is not msgspec.UNSET and beside != value:
            raise FaultError(
                f"{where}.{name}: expected {value}, which follows from its test_mse and status, got "
                f"{str(beside)[:40]}; record it again"
            )


def _parts(content: bytes) -> _Parts:
    """Raises FaultError for JSON of another kind."""
    try:
        parts = msgspec.json.decode(content, type=_Parts)
    except msgspec.ValidationError:
        parts = _Parts()
    except msgspec.DecodeError as error:
        raise _not_strict(error) from error
    if memoryview(parts.benchmarks)[0] != ord("["):
        raise FaultError(f"expected a benchmark JSON, got another kind of JSON; {_RECORD}")
    return parts


def _not_strict(error: Exception) -> FaultError:
    return FaultError(f"expected strict JSON, got {error}; record it again, or export it again")


def _refuse_foreign(part: msgspec.Raw) -> None:
    """What deserves a better sentence than the schema's."""
    try:
        schema = msgspec.json.decode(part, type=_Version).schema
    except msgspec.ValidationError as error:
        raise FaultError(
            f"expected a part `bsr` beside pytest-benchmark's own, got none; {_RECORD}"
        ) from error
    if schema != SCHEMA:
        raise FaultError(
            f"$.bsr.schema: expected {SCHEMA}, got {schema!r:.40}; use the version of bsr that wrote it"
        )


def named(message: str) -> str:
    """The schema's `what - at where`, the field first."""
    what, _, where = message.partition(" - at ")
    where = where.strip("`") or "$"
    if what.startswith("Run."):  # a Run says itself which of its fields is wrong
        return f"{where}.{what.removeprefix('Run.')}"
    return f"{where}: {what[:1].lower()}{what[1:]}"
