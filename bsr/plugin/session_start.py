"""Before the first case: everything is checked, the journal opened, and said what is coming."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from bsr.experiments import controlled, square
from bsr.plugin import backend, checks, json_output, resume
from bsr.plugin.benchmark_options import without_meaning
from bsr.plugin.collection import experiment_of, planned, without_cases, without_runs
from bsr.plugin.options import Options
from bsr.plugin.session import Session
from bsr.plugin.signals import SIGNALS
from bsr.plugin.state import RUN, State, state
from bsr.records import durable
from bsr.records.journal import Header, History, JournalError, journal_path
from bsr.records.reading import journal_file
from bsr.records.reading import json_file as reading
from bsr.result import LESS
from bsr.run import Execution, Run

COMPILING: Final = (
    "still getting ready: on first use the C++ compiler builds the native engine; that takes seconds, and is "
    "stopped after 3 minutes"
)


def start(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Make the session ready to measure. Raises pytest.UsageError, one line, where it must not begin."""
    cases = [item for item in items if experiment_of(item)]
    if not cases or checks.only_looks(config):
        return
    known = state(config)
    checks.host(config, known.options)
    if checks.skips(config):
        return
    runs, ids = planned(cases)
    path = _journal_path(config, known.options)
    known.lock = checks.locked(path)
    if known.options.json is not None:
        durable.remove_unfinished(known.options.json)
        checks.rehearsed(known.options.json)
    with checks.usage_errors():
        known.session = _session(config, known.options, path, runs, ids)
    known.own_table &= all(experiment_of(item) for item in items if "benchmark" in _fixtures(item))
    known.session.untrained = {item.nodeid for item in cases if RUN not in item.stash}
    _show(config, known, known.session)


def say_what_has_no_case(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A line for each experiment that was asked for and has none, and for tasks and batch sizes likewise."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    lines = chain(without_cases(config, items), without_runs(config) if items else ())
    for line in lines if reporter is not None else ():
        reporter.write_line(f"bsr: {line}", yellow=True)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _journal_path(config: pytest.Config, options: Options) -> Path:
    if options.json is not None:
        link = options.json.is_symlink()
        return journal_path(Path(os.path.realpath(options.json)) if link else options.json)
    folder = config.rootpath / ".bsr"
    checks.writable(folder, f"journal folder {folder}", make=True)
    return folder / f"{options.preset}.journal.jsonl"


def _session(
    config: pytest.Config, options: Options, path: Path, runs: tuple[Run, ...], ids: dict[str, dict[str, str]]
) -> Session:
    """The Session with its journal open, its executor ready, and what is resumed taken over."""
    history = resume.history_at(path, resume=options.resume)  # what is refused at once needs no torch
    warned = state(config).notes
    if options.dask is None:
        checks.trainable(runs, options.execution.data)
    with _telling_what_is_waited_for(config, options) as waited:
        from bsr.compute.in_process import noted_warnings  # noqa: PLC0415 - loads torch

        with noted_warnings(warned):
            where = backend.backend_for(options, runs, waited, resume.engine_of(history, options))
    name = resume.session_name(history, options, datetime.now(UTC))
    header = Header(
        planned=runs,
        cases=ids,
        preset=options.preset,
        kernel=where.kernel,
        execution=_of_session(where.execution, name, options),
        workers=where.workers,
        cluster=options.dask is not None,
        session=name,
        dataset_digest=where.dataset_digest,
        environment=where.environment,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["pytest", *(str(argument) for argument in config.invocation_params.args)]),
        rates=controlled.rates_of(options.experiments, options.grid),
        settings=square.settings_of(options.experiments, options.grid),
    )
    _check_readable(header)
    SIGNALS.take_over()
    try:
        if options.resume:
            resume.check_identities(path, history, runs, where.identities)
        kept = resume.finished(history, runs, header.execution) if options.resume else {}
        checks.readable(header, replace(history, results=kept) if options.resume else History())
        session = Session(options, header, resume.open_journal(path, history, header, options))
    except (JournalError, pytest.UsageError):
        where.leave()
        raise
    session.notes += filter(None, [where.note])
    if where.workers or header.cluster:  # against which the answers of other processes are held
        session.identity |= where.identities()
    session.executor = where.executor(session.epoch)
    session.hear(session.executor)
    if options.resume:
        session.resume(kept, history)
        if any(result.says_less for result in session.results.values()):
            session.notes.append(f"the journal {LESS}")
    return session


def _check_readable(header: Header) -> None:
    """What the session will write is read at its end: not after hours, but now. Raises RefusedError."""
    with reading.refusing(Path("this session's recording")):
        if header.planned:
            reading.check_written(journal_file.session_of(header, History()))


@contextmanager
def _telling_what_is_waited_for(config: pytest.Config, options: Options) -> Iterator[Callable[[float], None]]:
    """The compiler, or the workers of a cluster; to be told for how many seconds there was none."""
    if options.dask is None:
        with checks.telling(config, COMPILING):
            yield lambda _seconds: None
        return
    from bsr.compute.cluster import WAIT_SECONDS  # noqa: PLC0415 - loads torch
    from bsr.plugin.progress import WaitingLine  # noqa: PLC0415

    line = WaitingLine(options.dask, options.dask_wait or WAIT_SECONDS)
    try:
        if line.live:
            yield line.waited
        else:
            with checks.telling(config, line.text):
                yield lambda _seconds: None
    finally:
        line.close()


def _of_session(execution: Execution, name: str, options: Options) -> Execution:
    """With a folder of the session's own for weights, so that two in one place overwrite nothing."""
    if execution.save_models is None:
        return execution
    recording = options.json.name if options.json is not None else "no JSON"
    folder = Path(execution.save_models) / name
    return replace(execution, save_models=str(folder), session=f"{name}, recorded in {recording}")


def _show(config: pytest.Config, known: State, session: Session) -> None:
    """The header, and who shows what happens from now on."""
    from bsr.plugin import summary  # noqa: PLC0415 - rich, and torch for the estimate
    from bsr.plugin.estimate import Forecast  # noqa: PLC0415
    from bsr.plugin.progress import Display  # noqa: PLC0415

    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    for option in without_meaning(config):
        reporter.write_line(f"bsr: {option} says nothing of cases that train once; for more runs: --bsr-runs")
    for number in session.history.altered:
        reporter.write_line(
            f"bsr: {session.journal.path}, line {number}: another checksum, so it was altered since; "
            "what it held counts as not measured",
            yellow=True,
        )
    estimate = Forecast(session.header.workers)
    if session.runs and session.options.dask is None:  # probing here says nothing of other machines
        from bsr.compute.in_process import noted_warnings  # noqa: PLC0415

        with noted_warnings([]):  # the Runs themselves will tell
            estimate.probe(session.header.execution, session.header.planned[0])
    reporter.write_line("")
    for line in summary.header(session, estimate):
        reporter.write_line(line)
    unlike = (
        summary.unlike_compared(compared, json_output.machine_info(session)) for compared in known.compared
    )
    for line in chain((f"bsr: {note}" for note in session.notes), *unlike):
        reporter.write_line(line, yellow=True)
    reporter.flush()  # a file or a pipe is read while the session goes on
    if session.runs:
        reporter.showfspath = False  # the cases have lines of their own
        known.display = Display(reporter, session, estimate)
        session.watcher = known.display
