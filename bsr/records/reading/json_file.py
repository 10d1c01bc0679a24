"""Reading benchmark JSON that may come from anybody: bounded, strict, checked, and refused in one line.

A file is a regular file of bounded size and nesting depth; strict JSON in UTF-8 without NaN, Infinity,
numbers too large for a float, or duplicate keys; of the schema of bsr.records.schema, checked with the path
of the offending field; and consistent, so that everything drawn from it means what its label says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import numpy as np

from bsr.experiments.grid import MOST_BYTES
from bsr.records.reading.check import FaultError, RefusedError, check
from bsr.records.reading.recording import Recording
from bsr.records.schema import SessionRecord, derived, plain_record
from bsr.run import SCHEMA
from bsr.text import printable

MAX_DEPTH: Final = 64
MOST_PARTS: Final = {b'"': 4_000_000, b",": 3_000_000, b"[": 400_000, b"{": 200_000}
"""Of a file: half as many again as one of MOST_BYTES that a session wrote. Each costs memory when read."""
_RECORD: Final = "record one with: pytest benchmarks --benchmark-json=run.json"
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class _Document(msgspec.Struct):
    """The parts of a pytest-benchmark document that the report reads."""

    bsr: SessionRecord
    machine_info: dict[str, Any] = {}
    commit_info: dict[str, Any] = {}
    version: str = ""


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
        raw: dict[str, Any] = _strict(read_bounded(path))
        _refuse_other_json(raw)
    return raw


def is_benchmark_json(path: Path) -> bool:
    """Whether a file is one, of this suite or of another, that a new one may replace."""
    try:
        raw_document(path)
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
    """The bytes of a regular file of at most MOST_BYTES."""
    try:
        if not path.is_file():
            raise FaultError(f"expected a benchmark JSON file, got {_what(path)}; {_RECORD}")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
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
    raw = _strict(content)
    _refuse_other_json(raw)
    _refuse_foreign(raw)
    del raw["benchmarks"]  # says again what `bsr` says
    try:
        document = msgspec.convert(raw, _Document)
    except msgspec.ValidationError as error:
        raise FaultError(
            f"{named(str(error))}; record it again, or read it with the version that wrote it"
        ) from error
    for index, (case, said) in enumerate(zip(document.bsr.cases, raw["bsr"]["cases"], strict=True)):
        _refuse_contradiction(f"$.bsr.cases[{index}].result", derived(case.result), said["result"])
    return document


def _refuse_contradiction(where: str, follows: dict[str, float | None], said: dict[str, Any]) -> None:
    """What a record says beside what it follows from; older ones leave it out."""
    for name, value in follows.items():
        if said.get(name, value) != value:
            raise FaultError(
                f"{where}.{name}: expected {value}, which follows from its test_mse and status, got "
                f"{str(said[name])[:40]}; record it again"
            )


def _strict(content: bytes) -> Any:
    """JSON from its bytes; nothing is built before size, number of parts and depth are known."""
    for part, most in MOST_PARTS.items():
        if (count := content.count(part)) > most:
            raise FaultError(
                f"expected at most {most:,} of {part.decode()} in a benchmark JSON, got {count:,}; "
                "split the study into several files"
            )
    if (depth := nesting(content)) > MAX_DEPTH:
        raise FaultError(
            f"expected JSON nested at most {MAX_DEPTH} deep, got {depth}; it is no benchmark JSON; {_RECORD}"
        )
    try:
        raw = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_finite,
        )
        _refuse_lone_surrogates(content, raw)
    except (ValueError, OverflowError) as error:
        raise FaultError(f"expected strict JSON, got {error}; record it again, or export it again") from error
    return raw


def nesting(content: bytes) -> int:
    """How deep the brackets of JSON text are nested outside its strings; linear time, no recursion."""
    brackets = np.frombuffer(_STRING.sub(b"", content).translate(None, _NOT_BRACKETS), dtype=np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    steps = np.where(opening, np.int8(1), np.int8(-1))
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:80]!r} twice in one object")
    return found


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def _finite(text: str) -> float:
    if not np.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:40]}, too large for a float")
    return value


def _refuse_lone_surrogates(content: bytes, raw: object) -> None:
    """Half a character, which JSON can spell and no file can hold."""
    if b"\\ud" in content or b"\\uD" in content:
        json.dumps(raw, ensure_ascii=False).encode()


def _refuse_other_json(raw: object) -> None:
    if not isinstance(raw, dict) or not isinstance(raw.get("benchmarks"), list):
        raise FaultError(f"expected a benchmark JSON, got another kind of JSON; {_RECORD}")


def _refuse_foreign(raw: dict[str, Any]) -> None:
    """What deserves a better sentence than the schema's."""
    if not isinstance(part := raw.get("bsr"), dict):
        raise FaultError(f"expected a part `bsr` beside pytest-benchmark's own, got none; {_RECORD}")
    if (schema := part.get("schema", SCHEMA)) != SCHEMA:
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
