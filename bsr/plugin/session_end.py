"""The end of a session, however it came: everything on the disk before anyone else has a say."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from bsr.plugin import json_output
from bsr.plugin.session import Session
from bsr.plugin.signals import SIGNALS
from bsr.plugin.state import STATE, State
from bsr.records import durable
from bsr.records import replacing as recordings
from bsr.records.journal import End, JournalError
from bsr.records.schema import SessionRecord
from bsr.result import FINISHED
from bsr.text.strict_json import one_line


def finish(config: pytest.Config) -> bool:
    """Record what is left, write the JSON, close the journal, once; whether all of it could be done.

    Each step is tried whatever became of the one before, and no signal comes between them.
    """
    known = config.stash.get(STATE, None)
    if known is None:
        return True
    SIGNALS.hold()
    if not known.finished:
        known.finished = True
        for step in (_stop, _verify_pixels, _write_json, _close_journal, _rescue):
            with _noted(known):
                step(config, known)
    SIGNALS.give_back()
    return not known.problems


@contextmanager
def _noted(known: State) -> Iterator[None]:
    """What goes wrong is told at the end, and does not keep the rest from being written."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a full disk, a closed terminal, another plugin's hook
        text = str(error) if isinstance(error, JournalError) else f"{one_line(error)}; {_remedy(known)}"
        if text not in known.problems:
            known.problems.append(text)


def _remedy(known: State) -> str:
    """What is safe, and what to do."""
    session = known.session
    if session is None:
        return "nothing of it was recorded: mend that, then run the same command again"
    if known.lost:
        return "mend that, then run the same command again"
    if session.journal.failed:
        return (
            "what was measured before is in the journal: make room, then run the same command with "
            "--bsr-resume"
        )
    return (
        "what was measured is in the journal: mend that, then run the same command with --bsr-resume, which "
        "measures again only benchmarks of your own"
    )


def _stop(_config: pytest.Config, known: State) -> None:
    """Nothing is trained or drawn any more."""
    if known.display is not None:
        known.display.stop()
    if known.session is not None:
        try:
            known.session.stop()
        finally:
            known.lost = known.session.journal.gone


def _verify_pixels(_config: pytest.Config, known: State) -> None:
    """What own code was given is as it was: else what came last may be of other images."""
    if known.session is not None and "bsr.compute.in_process" in sys.modules:
        from bsr.compute.in_process import check_unaltered  # noqa: PLC0415 - torch, loaded if anything was

        check_unaltered()


def _write_json(config: pytest.Config, known: State) -> None:
    path = known.options.json
    if path is None:
        return
    if known.session is None and not any(json_output.benchmarks(config)):
        return
    document = json_output.document(config)
    kept = recordings.replace(path, document, json_output.json_text(document))
    known.notes += recordings.kept_note(path, kept)


def _rescue(config: pytest.Config, known: State) -> None:
    """Where the journal is gone, and the JSON with it: what is in memory, wherever it can be written."""
    session = known.session
    if session is None or not known.lost or (known.options.json and known.options.json.is_file()):
        return
    document = json_output.document(config)
    folder = Path(tempfile.mkdtemp(prefix="bsr-rescued-"))
    path = folder / (known.options.json.name if known.options.json is not None else "run.json")
    durable.replace_file(path, durable.stored(path, json_output.json_text(document)))
    known.notes.append(f"the journal {session.journal.path} was removed; what was measured is in {path}")


def _close_journal(_config: pytest.Config, known: State) -> None:
    """Close it as complete if it is, and the JSON that exports it is there."""
    session = known.session
    if session is None:
        return
    try:
        if session.complete and not known.problems and not known.lost:
            session.log(End(finished_at=datetime.now(UTC).isoformat(timespec="seconds")))
            if known.options.json is not None:
                measured = recordings.measured_results(session.results.values())
                for journal in recordings.remove_superseded(session.journal.path, measured):
                    known.notes.append(
                        f"an earlier journal holds what was not measured again: kept as {journal}"
                    )
    finally:
        session.journal.close()


def release(config: pytest.Config) -> None:
    """Let the next session have the journal, and the signals their old handlers."""
    SIGNALS.give_back()
    known = config.stash.get(STATE, None)
    if known is not None and known.lock is not None:
        known.lock.release()


def hide_the_hosts_table(config: pytest.Config) -> None:
    """Where the figures that follow say it all, and nobody asked for pytest-benchmark's table."""
    known, host = config.stash[STATE], getattr(config, "_benchmarksession", None)
    if known.own_table and known.session is not None and known.session.results and host is not None:
        host.quiet = True


def say(reporter: pytest.TerminalReporter, known: State, width: int) -> None:
    """The figures, then where the records are and what to do with them; what went wrong first."""
    for problem in known.problems:
        reporter.write_line(f"bsr: {problem}", red=True)
    for note in known.notes:
        reporter.write_line(f"bsr: {note}", yellow=True)
    session = known.session
    if session is None:
        if known.unselected and not reporter.stats:
            names = ", ".join(sorted(known.unselected))
            reporter.write_line(f"bsr: not chosen: {names}; choose with --bsr-experiments")
        return
    from bsr.plugin import summary  # noqa: PLC0415 - rich and, for the estimate's type, torch

    if session.results:
        reporter.section("batch-size study", sep="-")
        reporter.write_line(summary.tables(session, width))
    for line in summary.best_rates_found(session):
        reporter.write_line(f"bsr: {line}")
    if timings := session.history.rows("harness"):
        from bsr.probes.loops import table  # noqa: PLC0415 - loads torch

        reporter.write_line(table(timings))
    for line in _where(session, known):
        reporter.write_line(f"bsr: {line}")


def _where(session: Session, known: State) -> Iterator[str]:
    """What finished, where it is, and what to do next."""
    record = session.as_record()
    yield f"{record.finished} of {record.planned} cases finished{_others(record)}"
    if not known.lost:
        yield f"journal {session.journal.path}"
    if known.options.json is not None and not known.problems:
        yield f"records {known.options.json}"
        nothing = "they hold nothing yet: mend what failed, then run the same command again"
        yield how_to_draw(known.options.json) if record.holds_something else nothing
    if known.lost:
        return
    if not session.complete:
        yield "go on with the same command and --bsr-resume"
    elif any(case.result.status == "timed_out" for case in record.cases):
        yield "try those again with --bsr-resume and a longer --bsr-timeout"


def how_to_draw(path: Path) -> str:
    """The line for it; an installed package has no report, a checkout does."""
    where = "" if find_spec("reports") else " in a checkout of bsr, which has it"
    return f"draw them with: python -m reports {path}{where}"


def _others(record: SessionRecord) -> str:
    """What became of those that did not finish: `, 1 failed, 3 not_run`."""
    counts = Counter(case.result.status for case in record.cases if case.result.status not in FINISHED)
    return "".join(f", {count} {status}" for status, count in sorted(counts.items()))
