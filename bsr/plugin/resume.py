"""What may become of a journal that is already there: gone on from, set aside, or left alone."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bsr.records.agreement import Unlike, unlike, unlike_sessions
from bsr.records.journal import Header, History, Journal, JournalError, read
from bsr.result import FINISHED, Result, Trait
from bsr.run import Execution, Run

if TYPE_CHECKING:
    from bsr.plugin.options import Options


def history_at(path: Path, *, resume: bool) -> History:
    """What is there. Raises JournalError where it is an unfinished session's that nobody asked to resume."""
    history = read(path)
    if history.header is not None and not history.ended and not resume:
        done = sum(result.status in FINISHED for result in history.results.values())
        raise JournalError(
            f"{path}: expected no unfinished session there, got one with {done} of "
            f"{len(history.header.planned)} cases finished; "
            "go on from it with --bsr-resume, or remove that file to start anew"
        )
    return history


def open_journal(path: Path, history: History, header: Header, options: Options) -> Journal:
    """The session's journal with its header: after what is there, or anew with a finished one set aside.

    Raises JournalError where going on would mix unlike results.
    """
    if options.resume and history.header is not None:
        _check(path, history.header, header, elsewhere=options.elsewhere)
    elif history.header is not None:
        _set_aside(path)
    journal = Journal(path, history.whole_bytes if options.resume else 0)
    journal.append(header)
    return journal


def _check(path: Path, before: Header, now: Header, *, elsewhere: bool) -> None:
    if found := unlike_sessions(before, now, elsewhere=elsewhere):
        only_machine = not elsewhere and not unlike_sessions(before, now, elsewhere=True)
        remedy = (
            "add --bsr-resume-elsewhere to allow it"
            if only_machine
            else f"resume it as it was started: {_resuming(before.command)}"
        )
        raise _would_mix(path, found, remedy)


def _would_mix(path: Path, found: Iterable[Unlike], remedy: str) -> JournalError:
    said = "; ".join(f"{name}: the journal has {one}, this session {other}" for name, one, other in found)
    return JournalError(f"{path}: --bsr-resume would mix unlike results: {said}; {remedy}")


def check_identities(
    path: Path, history: History, planned: Iterable[Run], now: Callable[[], dict[str, Trait]]
) -> None:
    """Labels and networks are those with which the finished Runs were trained. Raises JournalError.

    `now` says what they are today; it is asked where anything was finished.
    """
    results = [history.results[run.key] for run in planned if run.key in history.results]
    before: dict[str, Trait] = {name: value for result in results for name, value in result.identity.items()}
    today = now() if before else {}
    if found := unlike(before, today):
        raise _would_mix(path, found, "undo the change, or name another JSON")


def _resuming(command: str) -> str:
    return command if "--bsr-resume" in command.split() else f"{command} --bsr-resume"


def _set_aside(path: Path) -> None:
    """Keep a finished journal under a name that is free."""
    number = 1
    while (name := path.with_name(f"{path.name}.finished-{number}")).exists():
        number += 1
    try:
        path.rename(name)
    except OSError as error:
        raise JournalError(
            f"{path}: expected to keep it as {name.name}, got {error}; move it away"
        ) from error


def finished(history: History, planned: Iterable[Run], execution: Execution) -> dict[str, Result]:
    """Results of planned Runs that need no training: finished, and their weights there if they are kept."""
    from bsr.training.weights import weights_path  # noqa: PLC0415 - loads torch

    folder = execution.save_models
    return {
        run.key: history.results[run.key]
        for run in planned
        if run.key in history.results
        and history.results[run.key].status in FINISHED
        and (folder is None or weights_path(folder, run, execution.engine).is_file())
    }


def engine_of(history: History, options: Options) -> str:
    """The engine that a resumed recording keeps where `auto` is asked for; empty where there is none."""
    kept = options.resume and history.header is not None and options.execution.engine == "auto"
    return history.header.execution.engine if kept and history.header is not None else ""


def session_name(history: History, options: Options, now: datetime) -> str:
    """`2026-11-26T113410-4f1c`: of the session that began the journal, where that is gone on from."""
    if options.resume and history.header is not None and history.header.session:
        return history.header.session
    return f"{now:%Y-%m-%dT%H%M%S}-{secrets.token_hex(2)}"
