"""The journal: the truth about a session, one line per fact, each on the disk before anything else happens.

A file of JSON lines. A header opens every session that writes to it (what is planned, how it is computed,
on which machine); a line holds one Result, or what a case measured that trains nothing; an end line closes a
session that came to its planned end. The last line of a key wins. Each line ends in a checksum of itself: one
that was altered counts as not there, and is named.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from bsr.experiments.rates import TunedRate
from bsr.experiments.settings import TunedSetting
from bsr.records import durable
from bsr.records.schema import PROBES, Case, SessionRecord, sparse
from bsr.result import FINISHED, Result
from bsr.run import SCHEMA, Execution, Run
from bsr.text import Refused
from bsr.text.strict_json import plain


class JournalError(Refused):
    """The journal cannot be used as asked; the message says what, expected, got, remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a session set out to do."""

    kind: Literal["header"] = "header"
    schema: int = SCHEMA
    planned: tuple[Run, ...]
    cases: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key of a planned Run -> experiment -> the case's pytest id; empty in journals of earlier versions."""
    preset: str = ""
    kernel: str = ""
    """As in Result."""
    execution: Execution
    workers: int = 0
    cluster: bool = False
    """Whether the Runs train on a cluster's machines."""
    session: str = ""
    """Names the session that began the journal, also after it was resumed; empty in earlier versions."""
    dataset_digest: str
    environment: dict[str, Any]
    started_at: str
    command: str = ""
    rates: tuple[TunedRate, ...] = ()
    settings: tuple[TunedSetting, ...] = ()
    """As in SessionRecord."""

    @property
    def place(self) -> str:
        """Where the Runs train: times of different places never share a series."""
        if self.cluster or "--bsr-dask" in self.command:
            return "a cluster"
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return workers if self.workers else "the session's own process"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLine:
    """One Result, under its Run's key."""

    kind: Literal["result"] = "result"
    schema: int = SCHEMA
    key: str
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a case measured that trains nothing, and the seconds that it took."""

    kind: str
    """Of PROBES."""
    schema: int = SCHEMA
    rows: tuple[Any, ...]
    """One at least."""
    seconds: float

    @property
    def of(self) -> tuple[object, ...]:
        """Its kind, and what it is of: a later one of the same replaces it."""
        return self.kind, *(getattr(self.rows[0], name) for name in PROBES[self.kind].OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark of the user's own, as pytest-benchmark would export it; measured again when resumed."""

    kind: Literal["benchmark"] = "benchmark"
    schema: int = SCHEMA
    benchmark: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The fingerprint of a machine other than the session's own that trained some Runs."""

    kind: Literal["environment"] = "environment"
    schema: int = SCHEMA
    environment: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The session came to its planned end: every planned Run has a record."""

    kind: Literal["end"] = "end"
    schema: int = SCHEMA
    finished_at: str


@dataclass(slots=True)
class History:
    """What a journal says; a session that runs takes what it writes, and so knows what a reader would."""

    header: Header | None = None
    """Of the last session."""
    results: dict[str, Result] = field(default_factory=dict)
    measured: dict[tuple[object, ...], Measured] = field(default_factory=dict)
    """By `Measured.of`."""
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A user's own, by full name."""
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    altered: list[int] = field(default_factory=list)
    """Numbers of the lines whose checksum is another: what they held counts as not measured."""
    ended: bool = False
    whole_bytes: int = 0
    """Length up to the last whole line; what follows is torn."""

    def take(self, entry: Entry) -> None:
        """One more line. Raises ValueError for a result under another Run's key."""
        match entry:
            case Header():
                self.header, self.ended = entry, False
                self.environments[str(entry.environment["id"])] = entry.environment
            case ResultLine():
                if entry.key != entry.result.run.key:
                    raise ValueError(f"key {entry.key} on the record of Run {entry.result.run.key}")
                self.results[entry.key] = entry.result
            case Measured():
                self.measured[entry.of] = entry
            case Benchmark():
                self.benchmarks[str(entry.benchmark.get("fullname"))] = entry.benchmark
            case Environment():
                self.environments[str(entry.environment["id"])] = entry.environment
            case End():
                self.ended = True

    def rows(self, kind: str) -> tuple[Any, ...]:
        """All that was measured of one of PROBES."""
        return tuple(row for found in self.measured.values() if found.kind == kind for row in found.rows)

    def exported(self, cases: Sequence[Case], **said: Any) -> SessionRecord:
        """The `bsr` part of a JSON, whoever writes it; what `said` leaves out is as the header has it."""
        names = ("command", "dataset_digest", "started_at", "rates", "settings")
        told = {name: getattr(self.header, name) for name in names} if self.header is not None else {}
        rows = {kind: self.rows(kind) for kind in PROBES}
        return SessionRecord(
            planned=len(cases),
            finished=sum(case.result.status in FINISHED for case in cases),
            environments=self.environments,
            cases=tuple(cases),
            **told | rows | said,
        )


_KINDS: Final[dict[str, Any]] = {
    "header": Header,
    "result": ResultLine,
    **dict.fromkeys(PROBES, Measured),
    "benchmark": Benchmark,
    "environment": Environment,
    "end": End,
}
MOST_UNTYPED: Final = 8 * 2**20
"""Bytes of fingerprints, benchmarks of one's own and what trains nothing, in a journal from anybody."""
_CHECKSUM: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')
"""The end of a line: over what is before it. Journals of earlier versions have none."""
_SUMMED: Final = len(',"crc":"00000000"}')
"""Bytes of that end."""
_BEGINNING: Final = b'{"kind":"header",'
"""Of every journal, so that a file of another kind is not taken for a torn one."""


def journal_path(json_path: Path) -> Path:
    """The journal beside a benchmark JSON: `run.json` has `run.journal.jsonl`."""
    return json_path.with_name(f"{durable.stem(json_path)}.journal.jsonl")


def read(path: Path, most: int | None = None, check: Callable[[bytes], None] = lambda _: None) -> History:
    """What the journal at `path` says; of no file, nothing. A torn last line is left out.

    So one that a session goes on writing is read up to its last whole line. A line that was altered is left
    out too, and its number kept. Raises JournalError for a corrupt line before the last, by file and line,
    for a record of another schema, for a file that is not a journal, and for more than `most` bytes. `check`
    sees the bytes before anything is made of them; with `most`, what no type describes is bounded too.
    """
    history = History()
    if path.exists() and not path.is_file():
        raise JournalError(f"{path}: expected a journal or nothing, got no regular file; move it away")
    try:
        content = durable.content_of(path, most) if path.exists() else b""
    except OSError as error:
        raise JournalError(f"{path}: expected a readable journal, got {error}") from error
    if not (content.startswith(_BEGINNING) or _BEGINNING.startswith(content) or not content.strip(b"\0")):
        raise JournalError(
            f"{path}: expected a bsr journal, got another file; nothing was overwritten: move it away"
        )
    if most is not None and len(content) > most:
        raise JournalError(
            f"{path}: expected a journal of at most {most // 2**20} MiB, got more; split the study"
        )
    check(content)
    summed, room = False, math.inf if most is None else MOST_UNTYPED
    for number, whole in enumerate(io.BytesIO(content), start=1):
        if not whole.endswith(b"\n"):
            break
        line = whole[:-1]
        as_written = _as_written(line)
        summed = summed or (number == 1 and as_written is not None)
        try:
            if number > 1 and as_written is False:
                history.altered.append(number)
            else:
                room -= _take(history, line, room)
                _check_sum(as_written=as_written, expected=summed)
        except _CORRUPT as error:
            raise JournalError(
                f"{path}, line {number}: expected a bsr journal record, got {error}; nothing was changed: "
                f"{_mending(number, line)}, or move the file away"
            ) from error
        history.whole_bytes += len(whole)
    return history


def _mending(number: int, line: bytes) -> str:
    """Without its header nothing after it can be read."""
    return "mend that line" if number == 1 or line.startswith(_BEGINNING) else "mend or remove that line"


_CORRUPT: Final = (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError)


def _as_written(line: bytes) -> bool | None:
    """Whether its checksum is as it should be; None of a line that has none."""
    found = _CHECKSUM.match(line[-_SUMMED:])
    return None if found is None else int(found[1], 16) == zlib.crc32(memoryview(line)[:-_SUMMED])


def _check_sum(*, as_written: bool | None, expected: bool) -> None:
    if as_written is False:
        raise ValueError("a header of another checksum")
    if expected and as_written is None:
        raise ValueError("a line without a checksum among others that have one")


class _Line(msgspec.Struct):
    """What every line says first."""

    kind: str = ""
    schema: Any = None
    environment: msgspec.Raw = msgspec.Raw(b"")
    benchmark: msgspec.Raw = msgspec.Raw(b"")


def _take(history: History, line: bytes, room: float) -> int:
    """Returns how many of its bytes no type describes, at most `room`."""
    try:
        said = msgspec.json.decode(line, type=_Line)
    except msgspec.ValidationError:
        said = _Line()
    if said.kind not in _KINDS:
        raise ValueError("a line of no known kind")
    if said.schema != SCHEMA:
        raise ValueError(f"schema {said.schema!r} where this version of bsr has schema {SCHEMA}")
    untyped = sum(len(memoryview(part)) for part in (said.environment, said.benchmark))
    untyped = len(line) if said.kind in PROBES else untyped
    if untyped > room:
        raise ValueError(f"more than {MOST_UNTYPED // 2**20} MiB that no type describes")
    if said.kind in PROBES:
        history.take(_measured(said.kind, msgspec.json.decode(line)))
    else:
        history.take(msgspec.json.decode(line, type=_KINDS[said.kind]))
    return untyped


_ROWS: Final = ("rows", "labels", "timings", "scale")
"""Where a line has what was measured: the first, in journals of earlier versions by a name of its own."""


def _measured(kind: str, raw: dict[str, Any]) -> Measured:
    found: Any = next((raw[name] for name in _ROWS if name in raw), None)
    rows = [msgspec.convert(row, PROBES[kind]) for row in (found if isinstance(found, list) else [found])]
    if not rows:
        raise ValueError("no row of what was measured")
    return Measured(kind=kind, rows=tuple(rows), seconds=msgspec.convert(raw["seconds"], float))


Entry = Header | ResultLine | Measured | Benchmark | Environment | End


def line_of(entry: Entry) -> bytes:
    """A journal's line, its checksum last."""
    text = msgspec.json.encode(plain(sparse(entry)))[:-1]
    return text + f',"crc":"{zlib.crc32(text):08x}"}}\n'.encode()


class Journal:
    """The one writer. Every method returns when its line is on the disk; raises JournalError if it is not.

    The file itself is locked, so that it has one writer by whatever name it is reached. After a failure
    nothing more is appended: what follows a torn line could not be told from it.
    """

    def __init__(self, path: Path, whole_bytes: int = 0) -> None:
        """Open for appending, and cut what lies after `whole_bytes` off first (0 starts anew)."""
        self.path = path
        self._failure: JournalError | None = None
        try:
            self._file = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666
            )
            try:
                durable.lock(self._file)
                os.ftruncate(self._file, whole_bytes)
            except BaseException:
                os.close(self._file)
                raise
        except BlockingIOError as error:
            raise JournalError(
                f"{path}: expected a journal that no session writes, got one that another has open, if by "
                "another name; wait for it, or name another JSON"
            ) from error
        except OSError as error:
            raise JournalError(
                f"{path}: expected a writable journal, got {error}; choose another folder"
            ) from error
        durable.flush_folder(path.parent)

    @property
    def failed(self) -> bool:
        """Whether an append failed, so that it does not hold everything."""
        return self._failure is not None

    @property
    def gone(self) -> bool:
        """Whether no name leads to it any more, so that what it holds is lost with this process."""
        return os.fstat(self._file).st_nlink == 0

    def append(self, entry: Entry) -> None:
        """One line, fsynced."""
        if self._failure is not None:
            raise self._failure
        if self.gone:
            self._failure = JournalError(
                f"{self.path}: expected to append a record, got a file that was removed"
            )
            raise self._failure
        try:
            durable.append(self._file, line_of(entry))
        except OSError as error:
            self._failure = JournalError(
                f"{self.path}: expected to append a record, got {error}; every record before it is safe: "
                "make room, then run the same command with --bsr-resume"
            )
            raise self._failure from error

    def record(self, result: Result) -> None:
        """Append a Result."""
        self.append(ResultLine(key=result.run.key, result=result))

    def close(self) -> None:
        """Close the file; nothing is pending."""
        with contextlib.suppress(OSError):
            os.close(self._file)
