"""A case: from a Run to a Result, pytest-benchmark's statistics and a status, whatever happens in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bsr.journal import JournalError
from bsr.plugin.clock import CLOCK
from bsr.plugin.collection import case_id, experiment_of
from bsr.plugin.session import Session
from bsr.plugin.state import RUN, measured_session, state
from bsr.run import FINISHED, Result, Run
from bsr.schema import extra_info, group
from bsr.strict_json import one_line

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from bsr.schema import HarnessTiming, LabelDistribution


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
    with suppress(RunUnfinished), ending_without_a_journal():
        benchmark.pedantic(trained, rounds=1, iterations=1)
    result = session.results[run.key]
    if result.status not in FINISHED:
        pytest.fail(f"{result.status}: {result.message}", pytrace=False)
    if benchmark.stats is not None:
        benchmark.stats.group = group(result)
    if session.options.strict and result.status != "ok":
        pytest.fail(f"{result.status}: {result.message} (--bsr-strict)", pytrace=False)
    return result


@contextmanager
def ending_without_a_journal() -> Iterator[None]:
    """What cannot be recorded is not worth training: the session ends, and says why."""
    try:
        yield
    except JournalError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.INTERRUPTED)


@pytest.fixture
def describe_labels(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[str], LabelDistribution]:
    """`describe_labels(task)` computes a task's training labels and records how they lie."""

    def describe(task: str) -> LabelDistribution:
        from bsr.labels import label_distribution  # noqa: PLC0415 - loads torch

        session = measured_session(request.config)
        arguments = (session.options.grid.dataset, session.header.execution.data, task, "train")
        described: LabelDistribution = benchmark.pedantic(
            label_distribution, args=arguments, rounds=1, iterations=1
        )
        benchmark.extra_info.update(asdict(described))
        session.labels.append(described)
        return described

    return describe


@pytest.fixture
def time_harness(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[], list[HarnessTiming]]:
    """`time_harness()` times every loop of bsr.loops in turn, and records the seconds."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.getfixturevalue("capfd")

    def tell(text: str) -> None:
        with capture.disabled():
            reporter.write_line(f"  {text}")

    def timed() -> list[HarnessTiming]:
        from bsr.loops import Harness  # noqa: PLC0415 - loads torch

        session = measured_session(request.config)
        grid = session.options.grid
        harness = Harness(grid.train_images, grid.dataset, session.header.execution.data)
        timings: list[HarnessTiming] = benchmark.pedantic(
            harness.measure, kwargs={"tell": tell}, rounds=1, iterations=1
        )
        benchmark.extra_info["timings"] = [asdict(timing) for timing in timings]
        session.harness.extend(timings)
        return timings

    return timed


def settle(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """After each phase of a case: what ended it early becomes its Run's status, and a line is shown."""
    known = state(item.config)
    session = known.session
    if session is None or RUN not in item.stash:
        return
    run = item.stash[RUN]
    if call.excinfo is not None:
        with ending_without_a_journal():
            _account(session, run, call.excinfo.value)
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        if fixture is not None and report.failed:
            fixture.has_error = True  # pytest-benchmark leaves it out of its JSON
    if call.when == "call" and known.display is not None and run.key in session.results:
        known.shown.add(item.nodeid)
        known.display.case(case_id(item), session.results[run.key], resumed=run.key in session.resumed)


def _account(session: Session, run: Run, error: BaseException) -> None:
    """A skip before the measurement, an exception anywhere."""
    measured = session.results.get(run.key)
    if isinstance(error, pytest.skip.Exception):
        if measured is None:
            session.note(run, "not_run", one_line(error))
    elif measured is None or measured.status == "ok":
        session.note(run, "failed", one_line(error))
