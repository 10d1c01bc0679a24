"""A case: from a Run to a Result, pytest-benchmark's statistics and a status, whatever happens in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bsr.plugin.clock import CLOCK
from bsr.plugin.collection import case_id, experiment_of
from bsr.plugin.session import ProcessSpentError, Session, UnplannedError
from bsr.plugin.state import RUN, measured_session, state
from bsr.records.journal import Benchmark, JournalError
from bsr.records.schema import extra_info, group
from bsr.result import FINISHED, Result
from bsr.run import Run
from bsr.text import printable
from bsr.text.strict_json import one_line, plain

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


class RunUnfinished(Exception):  # noqa: N818 - a status, raised past pytest-benchmark so that it drops the case
    """The Run has no time that could stand in a table."""


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """The Run of this case."""
    this: Run = request.node.stash[RUN]
    return this


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Callable[[Run], Result]:
    """`measure(run)` trains the Run, or takes its Result where it is already known, and records it.

    The case's time is the training time alone. A Run that failed fails the case; one that diverged or died
    is a result, unless --bsr-strict.
    """
    return partial(_measure, request, benchmark)


def _measure(request: pytest.FixtureRequest, benchmark: BenchmarkFixture, run: Run) -> Result:
    session = measured_session(request.config)
    experiment = experiment_of(request.node) or ""

    def trained() -> Result:
        result = session.result_of(run)
        benchmark.extra_info.update(extra_info(result, experiment, resumed=run.key in session.resumed))
        if result.status not in FINISHED:
            raise RunUnfinished
        CLOCK.advance(result.total_training_seconds)
        return result

    CLOCK.reset()
    try:
        with suppress(RunUnfinished), ending_the_session():
            benchmark.pedantic(trained, rounds=1, iterations=1)
    except UnplannedError as error:
        pytest.fail(str(error), pytrace=False)
    result = session.results[run.key]
    if result.status not in FINISHED:
        pytest.fail(printable(f"{result.status}: {result.message}"), pytrace=False)
    if benchmark.stats is not None:
        benchmark.stats.group = group(result)
    if session.options.strict and result.status != "ok":
        pytest.fail(printable(f"{result.status}: {result.message} (--bsr-strict)"), pytrace=False)
    return result


@contextmanager
def ending_the_session() -> Iterator[None]:
    """The session ends, and says why, where nothing more can be recorded or trained."""
    try:
        yield
    except (JournalError, ProcessSpentError, BrokenExecutor) as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.INTERRUPTED)


def settle(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """After each phase of a case: what ended it early becomes its Run's status, and a line is shown."""
    known = state(item.config)
    session = known.session
    if session is None:
        return
    if RUN not in item.stash:
        with ending_the_session():
            _settle_untrained(session, item, call, report)
        return
    run = item.stash[RUN]
    if call.excinfo is not None:
        with ending_the_session():
            _account(session, run, call.excinfo.value)
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        if fixture is not None and report.failed:
            fixture.has_error = True  # pytest-benchmark leaves it out of its JSON
    if call.when == "call" and known.display is not None and run.key in session.results:
        known.shown.add(item.nodeid)
        known.display.case(case_id(item), session.results[run.key], resumed=run.key in session.resumed)


def _settle_untrained(
    session: Session, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
) -> None:
    """A case that trains nothing came to its end; what a user's own benchmark measured is journalled."""
    if call.when == "teardown" and not (call.excinfo and isinstance(call.excinfo.value, KeyboardInterrupt)):
        session.untrained.discard(item.nodeid)
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    measured = getattr(benchmark, "stats", None)
    if call.when == "call" and report.passed and measured and experiment_of(item) is None:
        session.log(Benchmark(benchmark=plain(measured.as_dict(include_data=True))))


def _account(session: Session, run: Run, error: BaseException) -> None:
    """A skip before the measurement, an exception anywhere."""
    measured = session.results.get(run.key)
    if isinstance(error, pytest.skip.Exception):
        if measured is None:
            session.note(run, "not_run", one_line(error))
    elif measured is None or measured.status == "ok":
        session.note(run, "failed", one_line(error))
