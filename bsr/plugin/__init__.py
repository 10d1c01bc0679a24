"""The pytest glue: options to Runs, Runs to cases, Results to pytest-benchmark's table and JSON.

Every hook is here, in the order in which pytest calls them; what they do is in the modules that they name.
Nothing here decides anything about training. Loaded by `-p bsr.plugin` or, from a root conftest.py, by
`pytest_plugins = ["bsr.plugin"]`.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from typing import Any

import pytest

from bsr.plugin import (
    benchmark_options,
    checks,
    collection,
    fixtures,
    json_output,
    options,
    session_end,
    session_start,
)
from bsr.plugin.fixtures import measure, run
from bsr.plugin.signals import with_lines
from bsr.plugin.state import STATE, State, state
from bsr.plugin.untrained import describe_labels, measure_noise, probe, time_harness

__all__ = ["describe_labels", "measure", "measure_noise", "probe", "run", "time_harness"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options; take the JSON over from the host, which would write it in place at the very end."""
    checks.benchmarks_here(config)
    config.addinivalue_line("markers", "experiment(name): a module of the study; see bsr.EXPERIMENTS")
    config.stash[STATE] = State(options.read(config))
    state(config).own_table = benchmark_options.reduce_table(config)
    benchmark_options.let_it_warn(config)
    path = state(config).options.json
    if path is not None:
        checks.xdist(config)
        checks.output(path)
        config.option.benchmark_json = None


def pytest_pycollect_makeitem(collector: pytest.Collector, obj: object) -> list[pytest.Item] | None:
    """Collect nothing of an experiment that was not chosen."""
    return [] if collection.is_unselected(collector.config, obj) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per Run."""
    collection.parametrise(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every case its Run."""
    collection.assign_runs(config, items)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Before the first case, after deselection: check everything, open the journal, say what is coming.

    Not where the collection failed: then nothing is measured, and what was recorded before stays.
    """
    collected = yield
    if not session.testsfailed or session.config.option.continue_on_collection_errors:
        session_start.say_what_has_no_case(session.config, session.items)
        session_start.start(session.config, session.items)
    return collected


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """In the session that only hands out: refuse what others were about to measure."""
    if collection.among_cases(node.config, ids):
        checks.xdist(node.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """However the cases end, everything is written before anyone else does anything."""
    try:
        return (yield)
    except KeyboardInterrupt as ended:
        raise ended.with_traceback(with_lines(ended.__traceback__)) from None
    finally:
        session_end.finish(session.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Every case gets a status and a line."""
    report = yield
    fixtures.settle(item, call, report)
    return report


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """No letters among the cases' own lines."""
    if report.when == "call" and report.outcome != "skipped" and report.nodeid in state(config).shown:
        return report.outcome, "", report.outcome.upper()
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Write everything before the host does, where the session ended before its first case."""
    if not session_end.finish(session.config):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True, optionalhook=True)
def pytest_benchmark_generate_json(
    config: pytest.Config, benchmarks: list[Any]
) -> Generator[None, dict[str, Any], dict[str, Any]]:
    """Drop what was started and never measured, over which the host stumbles; make its files strict too."""
    benchmarks[:] = [benchmark for benchmark in benchmarks if benchmark]
    return json_output.strict((yield), state(config))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """The fingerprint, where GPUs are told apart."""
    session = state(config).session
    if session is not None:
        machine_info["bsr"] = json_output.machine_info(session)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_benchmark_compare_machine_info(config: pytest.Config, compared_benchmark: dict[str, Any]) -> None:
    """Keep the fingerprint back: the host asks before ours is known, and would always find a difference."""
    state(config).compared.append(compared_benchmark["machine_info"].pop("bsr", {}))


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, None, None]:
    """After all tables, even where the host's raises: the figures, where the records are, how to draw."""
    session_end.hide_the_hosts_table(config)
    try:
        return (yield)
    finally:
        session_end.say(terminalreporter, state(config), max(110, shutil.get_terminal_size().columns))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the next session begin."""
    session_end.release(config)
