"""A case: from a Run to a Result, pytest-benchmark's statistics and a status, whatever happens in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from bsr.experiments import controlled
from bsr.plugin.clock import CLOCK
from bsr.plugin.collection import case_id, experiment_of
from bsr.plugin.session import ProcessSpentError, Session, UnplannedError
from bsr.plugin.state import RUN, measured_session, state
from bsr.records.journal import Benchmark, Harness, JournalError, Labels, Noise
from bsr.records.schema import extra_info, group
from bsr.result import FINISHED, Result
from bsr.run import Run
from bsr.strict_json import one_line, plain
from bsr.text import printable

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from bsr.records.schema import HarnessTiming, LabelDistribution, NoiseScale


M = TypeVar("M", Labels, Harness)
LABELS_OF: Final = "train"
"""The split whose labels are described."""


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


@pytest.fixture
def describe_labels(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[str], LabelDistribution]:
    """`describe_labels(task)` computes a task's training labels and records how they lie."""
    session = measured_session(request.config)

    def described(task: str) -> Labels:
        dataset = session.options.grid.dataset
        if known := session.labels.get((dataset, task, LABELS_OF)):
            return known
        from bsr.probes.labels import label_distribution  # noqa: PLC0415 - loads torch

        began = time.perf_counter()
        found = label_distribution(dataset, session.header.execution.data, task, LABELS_OF)
        measured = Labels(labels=found, seconds=time.perf_counter() - began)
        session.record_labels(measured)
        return measured

    def describe(task: str) -> LabelDistribution:
        measured = _timed_by_the_clock(benchmark, partial(described, task))
        benchmark.extra_info.update(asdict(measured.labels))
        return measured.labels

    return describe


def _timed_by_the_clock(benchmark: BenchmarkFixture, measured: Callable[[], M]) -> M:
    """A case that trains nothing, with the seconds that it took when it was measured."""

    def advance() -> M:
        found = measured()
        CLOCK.advance(found.seconds)
        return found

    CLOCK.reset()
    with ending_the_session():
        found: M = benchmark.pedantic(advance, rounds=1, iterations=1)
    return found


@pytest.fixture
def time_harness(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[], list[HarnessTiming]]:
    """`time_harness()` times every loop of bsr.probes.loops in turn, and records the seconds."""
    tell, session = _teller(request), measured_session(request.config)

    def timed() -> Harness:
        grid, execution = session.options.grid, session.header.execution
        device = "cpu" if session.header.cluster else execution.device  # the loops run here, wherever Runs do
        images = min(grid.train_images, grid.loop_images)
        if session.harness is not None and session.harness.answers(
            device, images, grid.loop_rounds, grid.models, grid.dataset, compiled=grid.loop_compiled
        ):
            return session.harness
        from bsr.probes.loops import Loops  # noqa: PLC0415 - loads torch

        loops = Loops(
            images, grid.dataset, execution.data, device, models=grid.models, compiled=grid.loop_compiled
        )
        session.wait_for_pending()  # a loop is timed alone
        began = time.perf_counter()
        timings = loops.measure(grid.loop_rounds, tell)
        measured = Harness(timings=tuple(timings), seconds=time.perf_counter() - began)
        session.record_harness(measured)
        return measured

    def time_it() -> list[HarnessTiming]:
        timings = list(_timed_by_the_clock(benchmark, timed).timings)
        benchmark.extra_info["timings"] = [asdict(timing) for timing in timings]
        return timings

    return time_it


def _teller(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Shows a line while a case goes on."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.getfixturevalue("capfd")

    def tell(text: str) -> None:
        with capture.disabled():
            reporter.write_line(f"  {text}")

    return tell


@pytest.fixture
def measure_noise(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[str], list[NoiseScale]]:
    """`measure_noise(task)` trains the task with pauses in which the gradient's noise is measured."""
    tell, session = _teller(request), measured_session(request.config)

    def measured(run: Run) -> Noise:
        of = (run.dataset, run.task, run.batch_size, run.seed)
        if (known := session.noise.get(of)) and known.scale.answers(run):
            return known
        from bsr.data.images import load_split  # noqa: PLC0415 - loads torch
        from bsr.probes.noise import measure as noise_of  # noqa: PLC0415

        execution, began = session.header.execution, time.perf_counter()
        scale = noise_of(run, load_split(run, execution.data), execution)
        found = Noise(scale=scale, seconds=time.perf_counter() - began)
        session.record_noise(found)
        tell(f"{run.label}: noise scale {scale.last_cooled:.3g} at the end, cooled  {found.seconds:.1f} s")
        return found

    def measure_all(task: str) -> list[NoiseScale]:
        runs = list(controlled.noise_scale(session.options.grid, task))

        def advance() -> list[Noise]:
            found = [measured(run) for run in runs]
            CLOCK.advance(sum(one.seconds for one in found))
            return found

        CLOCK.reset()
        with ending_the_session():
            found = benchmark.pedantic(advance, rounds=1, iterations=1)
        scales = [one.scale for one in found]
        benchmark.extra_info["noise"] = [asdict(scale) for scale in scales]
        return scales

    return measure_all


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
        session.journal.append(Benchmark(benchmark=plain(measured.as_dict(include_data=True))))


def _account(session: Session, run: Run, error: BaseException) -> None:
    """A skip before the measurement, an exception anywhere."""
    measured = session.results.get(run.key)
    if isinstance(error, pytest.skip.Exception):
        if measured is None:
            session.note(run, "not_run", one_line(error))
    elif measured is None or measured.status == "ok":
        session.note(run, "failed", one_line(error))
