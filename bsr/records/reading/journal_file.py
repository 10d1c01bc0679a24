"""A journal as the record that its session would have exported: for one that never came to its JSON."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from bsr.experiments import DEFAULT_PRESET, EXPERIMENTS, PRESETS, Experiment, Grid, Preset
from bsr.experiments.grid import MOST_BYTES
from bsr.records import journal
from bsr.records.reading.check import RefusedError, check
from bsr.records.reading.json_file import refusing
from bsr.records.reading.recording import Recording
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result
from bsr.run import Run
from bsr.text import printable
from bsr.text.bounded_json import refuse_many

MOST_PARTS: Final = {b",": 6_000_000, b"[": 1_500_000, b"{": 1_500_000}
"""Of a journal, which has a header for every time that it was resumed: see bsr.text.bounded_json."""


def read(path: Path) -> Recording:
    """The last session of a journal, with the results of all. Raises RefusedError, one line."""
    name = printable(str(path))
    try:
        if not path.is_file():
            raise RefusedError(
                f"{name}: expected a journal of at most {MOST_BYTES // 2**20} MiB, got no such file"
            )
        with refusing(path):
            history = journal.read(path, MOST_BYTES, lambda content: refuse_many(content, MOST_PARTS))
    except (OSError, journal.JournalError) as error:
        raise RefusedError(printable(f"{name}: {error}".replace(f"{name}: {name}", name))) from error
    if history.header is None:
        raise RefusedError(f"{name}: expected a journal with a session in it, got an empty one; leave it out")
    session = session_of(history.header, history)
    with refusing(path):
        check(session)
    altered = (
        f"{name}, line {number}: another checksum, so it was altered since; it counts as not measured"
        for number in history.altered
    )
    return Recording(path=path, session=session, notes=tuple(altered))


def session_of(header: journal.Header, history: journal.History) -> SessionRecord:
    """What a session with that header and history would export. The history is of that header."""
    runs = {run.key: run for run in header.planned}
    runs |= {key: result.run for key, result in history.results.items()}
    named = cases_of((run for run in runs.values() if run.key not in header.cases), header.command)
    named |= header.cases
    cases = tuple(
        Case(key=key, cases=named[key], result=history.results.get(key, Result(run=run, status="not_run")))
        for key, run in runs.items()
    )
    ends = [result.finished_at for result in history.results.values() if result.finished_at]
    ended = max(ends, default=header.started_at)
    return replace(history, header=header).exported(
        cases,
        preset=header.preset or _option(header.command, "preset") or DEFAULT_PRESET,
        experiments=tuple(dict.fromkeys(name for case in cases for name in case.cases)),
        finished_at=ended,
        wall_seconds=_seconds_between(header.started_at, ended),
    )


def _seconds_between(start: str, end: str) -> float:
    """0 where it cannot be told."""
    try:
        return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def cases_of(runs: Iterable[Run], command: str) -> dict[str, dict[str, str]]:
    """Key -> experiment -> case id: which of the experiments that `command` asked for yield each Run.

    A Run that none yields as it is (a second look at the learning rate, training for longer alone) belongs to
    those that yield it but for what they vary.
    """
    runs = list(runs)
    epochs = min((run.epochs for run in runs), default=1)
    sizes = _batch_sizes(command)
    chosen = [name for name in experiments_of(command) if EXPERIMENTS[name].trains]
    found = {}
    for run in runs:
        yielded = {name: list(_around(run, EXPERIMENTS[name], epochs, sizes)) for name in chosen}
        names = [name for name, around in yielded.items() if run in around]
        names = names or [name for name, around in yielded.items() if _but_for_varied(run, name, around)]
        found[run.key] = {
            name: EXPERIMENTS[name].case_id(run) for name in names or chosen[:1] or [_OTHERWISE]
        }
    return found


_OTHERWISE: Final = next(iter(EXPERIMENTS))


def experiments_of(command: str) -> tuple[str, ...]:
    """The experiments that a pytest command line asks for: by name, for a second look, or with its preset."""
    names = tuple(name for name in (_option(command, "experiments") or "").split(",") if name in EXPERIMENTS)
    if not names and _option(command, "refine"):
        return ("learning-rate",)
    return names or _preset(command).experiments


def _preset(command: str) -> Preset:
    return PRESETS.get(_option(command, "preset") or DEFAULT_PRESET, PRESETS[DEFAULT_PRESET])


def _batch_sizes(command: str) -> tuple[int, ...]:
    named = (_option(command, "batch-sizes") or "").split(",")
    sizes = tuple(int(size) for size in named if re.fullmatch(r" *[0-9]{1,9} *", size))
    return sizes or _preset(command).grid.batch_sizes


def _option(command: str, name: str) -> str | None:
    """The value of `--bsr-NAME VALUE` or `--bsr-NAME=VALUE`, the last one given."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    option, found = f"--bsr-{name}", None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _around(run: Run, experiment: Experiment, epochs: int, sizes: Collection[int]) -> Iterator[Run]:
    """What an experiment yields over a grid of just this Run's task, batch size and seed."""
    yield from experiment.planned(
        Grid(
            tasks=(run.task,),
            batch_sizes=(run.batch_size,) if run.batch_size in sizes else (),
            seeds=(run.seed,),
            epochs=epochs,
            dataset=run.dataset,
            train_images=run.train_images,
            test_images=run.test_images,
            precision=run.precision,
            models=(run.model,),
        )
    )


def _but_for_varied(run: Run, experiment: str, around: Iterable[Run]) -> bool:
    varied = {name: getattr(run, name) for name in EXPERIMENTS[experiment].varies}
    return any(replace(like, **varied) == run for like in around)
