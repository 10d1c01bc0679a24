"""The journal: the truth about a session, one line per fact, each on the disk before anything else happens.

A file of JSON lines. A header opens every session that writes to it (what is planned, how it is computed,
on which machine); a line holds one Result, or what a case measured that trains nothing; an end line closes a
session that came to its planned end. The last line of a key wins. Each line ends in a checksum of itself: one
that was altered counts as not there, and is named.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from bsr.experiments.rates import TunedRate
from bsr.records import durable
from bsr.records.schema import HarnessTiming, LabelDistribution, NoiseScale
from bsr.result import Result
from bsr.run import RUN_FIELDS, SCHEMA, Execution, Run
from bsr.strict_json import plain


class JournalError(Exception):
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
class Labels:
    """How a task's labels lie, and the seconds that it took."""

    kind: Literal["labels"] = "labels"
    schema: int = SCHEMA
    labels: LabelDistribution
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """The harness timed by itself, and the seconds that all of it took."""

    kind: Literal["harness"] = "harness"
    schema: int = SCHEMA
    timings: tuple[HarnessTiming, ...]
    seconds: float

    def answers(
        self, device: str, images: int, rounds: int, models: Sequence[str], dataset: str, *, compiled: bool
    ) -> bool:
        """Whether it was timed there, on epochs of so many images, in so many rounds, for those networks."""
        of_each = all(
            (timing.device, timing.train_images, len(timing.seconds), timing.dataset)
            == (device, images, rounds, dataset)
            for timing in self.timings
        )
        networks, loops = ({getattr(timing, name) for timing in self.timings} for name in ("model", "loop"))
        return of_each and networks == {*models} and ("compiled" in loops) == compiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise of the gradient along one training, and the seconds that it took."""

    kind: Literal["noise"] = "noise"
    schema: int = SCHEMA
    scale: NoiseScale
    seconds: float

    @property
    def of(self) -> tuple[str, str, int, int]:
        """Data set, task, batch size and seed."""
        return self.scale.dataset, self.scale.task, self.scale.batch_size, self.scale.seed


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
    """What a journal says."""

    header: Header | None = None
    """Of the last session."""
    results: dict[str, Result] = field(default_factory=dict)
    labels: dict[tuple[str, str, str], Labels] = field(default_factory=dict)
    """By data set, task and split."""
    harness: Harness | None = None
    noise: dict[tuple[str, str, int, int], Noise] = field(default_factory=dict)
    """By `Noise.of`."""
    benchmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A user's own, by full name."""
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    altered: list[int] = field(default_factory=list)
    """Numbers of the lines whose checksum is another: what they held counts as not measured."""
    ended: bool = False
    whole_bytes: int = 0
    """Length up to the last whole line; what follows is torn."""


_KINDS: Final[dict[str, Any]] = {
    "header": Header,
    "result": ResultLine,
    "labels": Labels,
    "harness": Harness,
    "noise": Noise,
    "benchmark": Benchmark,
    "environment": Environment,
    "end": End,
}
_CHECKSUM: Final = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')
"""The end of a line: over what is before it. Journals of earlier versions have none."""
_BEGINNING: Final = b'{"kind":"header",'
"""Of every journal, so that a file of another kind is not taken for a torn one."""


def journal_path(json_path: Path) -> Path:
    """The journal beside a benchmark JSON: `run.json` has `run.journal.jsonl`."""
    return json_path.with_name(f"{json_path.stem}.journal.jsonl")


def read(path: Path) -> History:
    """What the journal at `path` says; of no file, nothing. A torn last line is left out.

    A line that was altered is left out too, and its number kept. Raises JournalError for a corrupt line
    before the last, by file and line, for a record of another schema, and for a file that is not a journal.
    """
    history = History()
    if path.exists() and not path.is_file():
        raise JournalError(f"{path}: expected a journal or nothing, got no regular file; move it away")
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise JournalError(f"{path}: expected a readable journal, got {error}") from error
    if not (content.startswith(_BEGINNING) or _BEGINNING.startswith(content) or not content.strip(b"\0")):
        raise JournalError(
            f"{path}: expected a bsr journal, got another file; nothing was overwritten: move it away"
        )
    *lines, _torn = content.split(b"\n")
    summed = bool(lines) and _CHECKSUM.search(lines[0]) is not None
    for number, line in enumerate(lines, start=1):
        try:
            if number > 1 and _altered(line):
                history.altered.append(number)
            else:
                _take(history, line)
                _check_sum(line, expected=summed)
        except _CORRUPT as error:
            raise JournalError(
                f"{path}, line {number}: expected a bsr journal record, got {error}; nothing was changed: "
                "mend or remove that line, or move the file away"
            ) from error
        history.whole_bytes += len(line) + 1
    return history


_CORRUPT: Final = (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError)


def _altered(line: bytes) -> bool:
    """Whether its checksum, if it has one, is another than it should be."""
    found = _CHECKSUM.search(line)
    return found is not None and int(found[1], 16) != zlib.crc32(line[: found.start()])


def _check_sum(line: bytes, *, expected: bool) -> None:
    if _altered(line):
        raise ValueError("a header of another checksum")
    if expected and not _CHECKSUM.search(line):
        raise ValueError("a line without a checksum among others that have one")


def _take(history: History, line: bytes) -> None:
    raw = msgspec.json.decode(line)
    if not isinstance(raw, dict) or raw.get("kind") not in _KINDS:
        raise ValueError("a line of no known kind")
    if raw.get("schema") != SCHEMA:
        raise ValueError(f"schema {raw.get('schema')!r} where this version of bsr has schema {SCHEMA}")
    _keep(history, msgspec.convert(raw, _KINDS[raw["kind"]]))


def _keep(history: History, entry: Entry) -> None:
    match entry:
        case Header():
            history.header, history.ended = entry, False
            history.environments[str(entry.environment["id"])] = entry.environment
        case ResultLine():
            if entry.key != entry.result.run.key:
                raise ValueError(f"key {entry.key} on the record of Run {entry.result.run.key}")
            history.results[entry.key] = entry.result
        case Labels():
            history.labels[entry.labels.dataset, entry.labels.task, entry.labels.split] = entry
        case Harness():
            history.harness = entry
        case Noise():
            history.noise[entry.of] = entry
        case Benchmark():
            history.benchmarks[str(entry.benchmark.get("fullname"))] = entry.benchmark
        case Environment():
            history.environments[str(entry.environment["id"])] = entry.environment
        case End():
            history.ended = True


Entry = Header | ResultLine | Labels | Harness | Noise | Benchmark | Environment | End


def line_of(entry: Entry) -> bytes:
    """A journal's line, its checksum last."""
    text = msgspec.json.encode(plain(entry))[:-1]
    return text + f',"crc":"{zlib.crc32(text):08x}"}}\n'.encode()


class Journal:
    """The one writer. Every method returns when its line is on the disk; raises JournalError if it is not.

    After a failure nothing more is appended: what follows a torn line could not be told from it.
    """

    def __init__(self, path: Path, whole_bytes: int = 0) -> None:
        """Open for appending, and cut what lies after `whole_bytes` off first (0 starts anew)."""
        self.path = path
        self._failure: JournalError | None = None
        try:
            self._file = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666
            )
            os.ftruncate(self._file, whole_bytes)
        except OSError as error:
            raise JournalError(
                f"{path}: expected a writable journal, got {error}; choose another folder"
            ) from error
        durable.flush_folder(path.parent)

    @property
    def failed(self) -> bool:
        """Whether an append failed, so that it does not hold everything."""
        return self._failure is not None

    def append(self, entry: Entry) -> None:
        """One line, fsynced."""
        if self._failure is not None:
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


def differences(before: Header, now: Header, *, elsewhere: bool) -> list[str]:
    """What would be mixed if `now` went on where `before` stopped: `name: the journal has X, this session Y`.

    `elsewhere` allows another device, driver or torch, which are then recorded per result.
    """
    pairs: dict[str, tuple[object, object]] = {
        "dataset digest": (before.dataset_digest, now.dataset_digest),
        "engine": (before.execution.engine, now.execution.engine),
        "kernel": (before.kernel or "none recorded", now.kernel or "none recorded"),
        "threads": (before.environment.get("threads"), now.environment.get("threads")),
        "deterministic": (before.execution.deterministic, now.execution.deterministic),
        "trained in": (before.place, now.place),
    }
    if not elsewhere:
        moved = ("device",) if _kind_of_device(before) != _kind_of_device(now) else ()
        for name in (*moved, "device_name", "driver", "torch", "tf32_override", "cublas_tf32_override"):
            pairs[name] = (before.environment.get(name), now.environment.get(name))
    found = [_difference(name, old, new) for name, (old, new) in pairs.items() if old != new]
    for name in RUN_FIELDS:
        old_values, new_values = ({getattr(run, name) for run in header.planned} for header in (before, now))
        if old_values != new_values:
            found.append(_difference(name, _some(old_values - new_values), _some(new_values - old_values)))
    if not found and {run.key for run in before.planned} != {run.key for run in now.planned}:
        found.append(_difference("planned cases", *_unlike(before.planned, now.planned)))
    return found


def _kind_of_device(header: Header) -> str:
    """`cuda` for `cuda:1`: two GPUs of one model are one kind."""
    return str(header.environment.get("device")).partition(":")[0]


def _difference(name: str, old: object, new: object) -> str:
    return f"{name}: the journal has {old}, this session {new}"


def _some(values: Iterable[Any]) -> str:
    """The first few values that only one side has."""
    ordered = [str(value) for value in sorted(values, key=lambda value: (value is None, value))]
    if not ordered:
        return "no other"
    return ", ".join(ordered[:4]) + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")


def _unlike(before: Iterable[Run], now: Iterable[Run]) -> tuple[str, str]:
    """The cases that only one of two plans has."""
    old, new = ({run.key: run.label for run in runs} for runs in (before, now))
    return _some(old[key] for key in old.keys() - new.keys()), _some(
        new[key] for key in new.keys() - old.keys()
    )
