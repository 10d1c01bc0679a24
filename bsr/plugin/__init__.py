"""The pytest glue: options to Runs, Runs to cases, Results to pytest-benchmark's table and JSON.

It decides nothing about training. Load it from a root conftest.py: `pytest_plugins = ["bsr.plugin"]`.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from bsr import journal
from bsr.experiment import EXPERIMENTS, FINISHED, Execution, Result, Run
from bsr.plugin import checks, options
from bsr.plugin import session as sessions
from bsr.plugin.clock import TrainingClock

if TYPE_CHECKING:
    from filelock import FileLock
    from pytest_benchmark.fixture import BenchmarkFixture

    from bsr.document import LabelDistribution
    from bsr.plugin.terminal import Display

OPTIONS = pytest.StashKey[options.Options]()
SESSION = pytest.StashKey[sessions.Session]()
DISPLAY = pytest.StashKey["Display"]()
LOCK = pytest.StashKey["FileLock"]()
ASIDE = pytest.StashKey[list[Path]]()
CLOSING = pytest.StashKey[list[str]]()
RUN = pytest.StashKey[Run]()
CLOCK = TrainingClock()


class RunUnfinished(Exception):  # noqa: N818 - a status, raised past pytest-benchmark so that it drops the case
    """The Run has no time that could stand in a table."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: the session ends as on Ctrl-C, everything written."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options; take the JSON over from the host, which would write it in place at the very end."""
    config.addinivalue_line("markers", "experiment(name): a module of the study; see bsr.EXPERIMENTS")
    config.stash[OPTIONS] = options.read(config)
    config.stash[CLOSING] = []
    config.option.benchmark_json = None
    said = " ".join(str(argument) for argument in config.invocation_params.args)
    for name, value in {"columns": ["mean"], "sort": "name", "time-unit": "s"}.items():
        if f"--benchmark-{name}" not in said:
            setattr(config.option, f"benchmark_{name.replace('-', '_')}", value)


def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[pytest.Item] | None:
    """Collect nothing of an experiment that was not selected, or that has no Run in this grid."""
    chosen = collector.config.stash[OPTIONS]
    for mark in getattr(obj, "pytestmark", []):
        if mark.name == "experiment":
            name = mark.args[0]
            if name not in chosen.experiments or (EXPERIMENTS[name].trains and not chosen.plan[name]):
                return []
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per Run of the function's experiment, its parameters plain values."""
    marker = metafunc.definition.get_closest_marker("experiment")
    if marker is None:
        return
    experiment, chosen = EXPERIMENTS[marker.args[0]], metafunc.config.stash[OPTIONS]
    if not experiment.trains:
        if "task" in metafunc.fixturenames:
            metafunc.parametrize("task", chosen.grid.tasks)
        return
    names = _parameters(marker.args[0])
    metafunc.fixturenames.extend(name for name in names if name not in metafunc.fixturenames)
    runs = chosen.plan[marker.args[0]]
    metafunc.parametrize(names, [tuple(getattr(run, name) for name in names) for run in runs.values()], ids=list(runs))


def _parameters(experiment: str) -> tuple[str, ...]:
    return ("task", "batch_size", "seed", *EXPERIMENTS[experiment].varies)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every case its Run and the training clock."""
    chosen = config.stash[OPTIONS]
    for item in items:
        marker = item.get_closest_marker("experiment")
        if marker is None or not EXPERIMENTS[marker.args[0]].trains:
            continue
        names = _parameters(marker.args[0])
        wanted = tuple(item.callspec.params[name] for name in names)  # type: ignore[attr-defined]
        item.stash[RUN] = _by_parameters(chosen, marker.args[0])[wanted]
        item.add_marker(pytest.mark.benchmark(timer=CLOCK))


@cache
def _by_parameters(chosen: options.Options, experiment: str) -> dict[tuple[Any, ...], Run]:
    names = _parameters(experiment)
    return {tuple(getattr(run, name) for name in names): run for run in chosen.plan[experiment].values()}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first case: check everything, open the journal, say what is coming."""
    config = session.config
    cases = [item for item in session.items if item.get_closest_marker("experiment")]
    if not cases or config.option.collectonly:
        return
    chosen = config.stash[OPTIONS]
    checks.host(config, chosen)
    if chosen.json is not None:
        checks.output(chosen.json)
    triples = [
        (item.get_closest_marker("experiment").args[0], item.callspec.id, item.stash[RUN])  # type: ignore[union-attr,attr-defined]
        for item in cases
        if RUN in item.stash
    ]
    planned, by_key = sessions.planned_cases(triples)
    path = _journal_path(config, chosen)
    config.stash[LOCK] = checks.locked(path)
    study = sessions.Session(chosen, _header(config, chosen, planned), by_key)
    try:
        config.stash[ASIDE] = sessions.open_journal(study, path)
    except journal.JournalError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[SESSION] = study
    _prepare(config, study)


def _journal_path(config: pytest.Config, chosen: options.Options) -> Path:
    if chosen.json is not None:
        return journal.journal_path(chosen.json)
    folder = config.rootpath / ".bsr"
    folder.mkdir(exist_ok=True)
    return folder / f"{chosen.preset}.journal.jsonl"


def _header(config: pytest.Config, chosen: options.Options, planned: tuple[Run, ...]) -> journal.Header:
    execution, workers = checks.execution(chosen)
    images = [(run.train_images, run.test_images) for run in planned] or [(1, 1)]
    digest = checks.data(chosen.grid.dataset, execution.data, max(images)[0], max(images)[1])
    from bsr import machine  # noqa: PLC0415 - loads torch, so only where something is trained

    return journal.Header(
        planned=planned,
        execution=execution,
        workers=workers,
        dataset_digest=digest,
        environment=machine.fingerprint(execution),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["pytest", *(str(argument) for argument in config.invocation_params.args)]),
    )


def _prepare(config: pytest.Config, study: sessions.Session) -> None:
    """The executor and what is shown; loads torch."""
    from bsr.plugin import terminal  # noqa: PLC0415
    from bsr.plugin.estimate import Estimate  # noqa: PLC0415

    reporter = config.pluginmanager.getplugin("terminalreporter")
    if study.header.planned:
        estimate = Estimate(study.header.execution, study.header.planned[0], study.header.workers)
        reporter.showfspath = False  # the cases have lines of their own
        reporter.write_line("")
        for line in terminal.header(study, estimate):
            reporter.write_line(line)
        config.stash[DISPLAY] = display = terminal.Display(reporter, study, estimate)
        study.watcher = display
    _open_executor(study)
    with contextlib.suppress(ValueError):  # not in the main thread: nobody sends signals there
        signal.signal(signal.SIGTERM, _terminate)


def _open_executor(study: sessions.Session) -> None:
    """Where the Runs will be computed, and by what."""
    if study.header.workers:
        from bsr.workers import Workers, compute_in_worker  # noqa: PLC0415 - loads torch

        study.executor, study.compute = Workers(study.header.workers), compute_in_worker
        return
    from bsr.executors import Computed, Here, compute  # noqa: PLC0415

    def observed(run: Run, execution: Execution) -> Computed:
        def observe(epoch: int) -> None:
            if study.watcher is not None:
                study.watcher.epoch(run, epoch)

        observe(0)
        return compute(run, execution, observe)

    study.executor, study.compute = Here(), observed


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated("SIGTERM")


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """The Run of this case."""
    return request.node.stash[RUN]


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Iterator[Callable[[Run], Result]]:
    """`measure(run)` trains the Run, or takes its Result where it is already known, and records it.

    The case's time is the training time alone. A Run that failed fails the case; one that diverged or died
    is a result, unless --bsr-strict.
    """
    config = request.config
    yield partial(_measure, config, benchmark, request.node)


@pytest.fixture
def describe_labels(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[str], LabelDistribution]:
    """`describe_labels(task)` computes a task's training labels and records how they lie."""
    config = request.config

    def describe(task: str) -> LabelDistribution:
        from bsr.labels import label_distribution  # noqa: PLC0415 - loads torch

        study = config.stash[SESSION]
        grid, folder = study.options.grid, study.header.execution.data
        arguments = (grid.dataset, folder, task, "train")
        described: LabelDistribution = benchmark.pedantic(label_distribution, args=arguments, rounds=1, iterations=1)
        benchmark.extra_info.update(asdict(described))
        study.labels.append(described)
        return described

    return describe


def _measure(config: pytest.Config, benchmark: BenchmarkFixture, item: pytest.Item, run: Run) -> Result:
    study = config.stash[SESSION]

    def trained() -> Result:
        result = study.result_of(run)
        resumed = run.key in study.resumed
        benchmark.extra_info.update(sessions.extra_info(result, resumed=resumed))
        if result.status not in FINISHED:
            raise RunUnfinished(result.message)
        CLOCK.advance(result.total_training_seconds)
        return result

    CLOCK.reset()
    try:
        result: Result = benchmark.pedantic(trained, rounds=1, iterations=1)
    except RunUnfinished:
        failed = study.results[run.key]
        pytest.fail(f"{failed.status}: {failed.message}", pytrace=False)
    if benchmark.stats is not None:
        benchmark.stats.group = f"{run.task}, {result.engine}, timed {result.timing}"
    if config.stash[OPTIONS].strict and result.status != "ok":
        pytest.fail(f"{result.status}: {result.message} (--bsr-strict)", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A case that failed after its measurement is recorded as failed and leaves the host's file."""
    report = yield
    study = item.config.stash.get(SESSION, None)
    if study is None or RUN not in item.stash:
        return report
    run = item.stash[RUN]
    if report.failed and call.excinfo is not None:
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        if fixture is not None:
            fixture.has_error = True
        if run.key in study.results and study.results[run.key].status == "ok":
            study.fail(run, f"{call.excinfo.typename}: {call.excinfo.value}".splitlines()[0])
    if call.when == "call" and run.key in study.results:
        case_id: str = item.callspec.id  # type: ignore[attr-defined]
        item.config.stash[DISPLAY].case(case_id, study.results[run.key], resumed=run.key in study.resumed)
    return report


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """No dots among the cases' own lines."""
    if SESSION in config.stash and report.when == "call" and report.passed and not config.option.verbose:
        return "passed", "", "PASSED"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_generate_json(benchmarks: list[Any]) -> None:
    """Drop what was started and never measured, over which the host would stumble."""
    benchmarks[:] = [benchmark for benchmark in benchmarks if benchmark]


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The fingerprint, where GPUs are told apart."""
    if SESSION in config.stash:
        study = config.stash[SESSION]
        machine_info["bsr"] = study.header.environment | {
            "precision": study.options.grid.precision,
            "dataset_digest": study.header.dataset_digest,
        }


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Write everything before the host does anything, however the session ended."""
    with _undisturbed():
        try:
            _finish(session.config)
        except (OSError, journal.JournalError) as error:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            session.config.stash[CLOSING].append(f"bsr: {error}; run the same command with --bsr-resume")
    return (yield)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No second Ctrl-C in the middle of the writing."""
    kept = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):
            kept[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler if number == signal.SIGINT else signal.SIG_DFL)


def _finish(config: pytest.Config) -> None:
    from bsr.plugin import writing  # noqa: PLC0415

    study = config.stash.get(SESSION, None)
    if study is not None:
        study.stop()
    if DISPLAY in config.stash:
        config.stash[DISPLAY].stop()
    chosen = config.stash.get(OPTIONS, None)
    measured = study is not None or any(config._benchmarksession.benchmarks)  # type: ignore[attr-defined] # noqa: SLF001
    if chosen is not None and chosen.json is not None and measured:
        writing.write(chosen.json, writing.document(config, study.study() if study is not None else None))
    if study is not None and study.journal is not None:
        if study.complete:
            study.journal.append(journal.End(finished_at=datetime.now(UTC).isoformat(timespec="seconds")))
        study.journal.close()
        if chosen is not None and chosen.json is not None:
            for path in config.stash[ASIDE]:
                path.unlink(missing_ok=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the next session have the journal."""
    if LOCK in config.stash:
        config.stash[LOCK].release()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures, then where the records are and how to draw them."""
    study = config.stash.get(SESSION, None)
    for line in config.stash[CLOSING]:
        terminalreporter.write_line(line, red=True)
    if study is None or study.journal is None:
        return
    from bsr.plugin.terminal import summary  # noqa: PLC0415

    if study.results:
        terminalreporter.section("batch-size study", sep="-")
        terminalreporter.write_line(summary(study, max(110, shutil.get_terminal_size().columns)))
    counts = study.study()
    terminalreporter.write_line(f"bsr: {counts.finished} of {counts.planned} cases finished")
    terminalreporter.write_line(f"bsr: journal {study.journal.path}")
    if study.options.json is not None and not config.stash[CLOSING]:
        terminalreporter.write_line(f"bsr: records {study.options.json}")
        terminalreporter.write_line(f"bsr: draw them with: python -m reports {study.options.json}")
    if not study.complete:
        terminalreporter.write_line("bsr: go on with the same command and --bsr-resume")
