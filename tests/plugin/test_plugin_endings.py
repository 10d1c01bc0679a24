"""However a session ends, what was finished is kept and what was not is accounted for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from bsr.plugin import session_end
from bsr.plugin.signals import Signals, Terminated
from bsr.records.reading import read
from plugin_support import (
    ONE_CASE,
    REPOSITORY,
    SMOKE,
    USUAL,
    Suite,
    assert_resumed_to_the_whole,
    interrupt,
    session_environment,
    suite,
    timeless,
)

__all__ = ["suite"]
JSON = "--benchmark-json=run.json"
SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "delay"), [(0, 0.05), (3, 0.02), (8, 0.01)])
def test_a_killed_session_is_resumed_to_the_same_whole(suite: Suite, lines: int, delay: float) -> None:
    ended = interrupt(suite, signal.SIGKILL, lines=lines, delay=delay, fresh=lines == 3)
    assert ended.code == -signal.SIGKILL
    assert_resumed_to_the_whole(suite)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_session_that_is_asked_to_end_writes_its_json_and_is_resumed_to_the_same_whole(
    suite: Suite, number: signal.Signals
) -> None:
    ended = interrupt(suite, number, lines=3, delay=0.05)
    assert ended.code == 2, ended.output
    study = suite.json()["bsr"]
    assert (study["planned"], study["finished"]) == (8, len(suite.json()["benchmarks"]))
    assert 2 <= study["finished"] < 8
    statuses = list(suite.statuses().values())
    assert statuses == ["ok"] * study["finished"] + ["interrupted"] + ["not_run"] * (7 - study["finished"])
    assert "bsr: go on with the same command and --bsr-resume" in ended.output
    assert_resumed_to_the_whole(suite)


def test_any_number_of_ctrl_c_does_not_keep_the_json_from_being_written(suite: Suite) -> None:
    session = suite.start(*SMOKE, JSON)
    session.until(lambda: suite.journal_lines() > 2, "two cases were recorded")
    while session.runs() and "run.json" not in suite.left_behind():
        session.send(signal.SIGINT)
        time.sleep(0.01)
    session.wait()
    assert suite.json()["bsr"]["planned"] == 8
    assert suite.json()["bsr"]["finished"] >= 2


def test_stopping_at_the_first_failure_accounts_for_the_rest(suite: Suite) -> None:
    ended = suite.run(*SMOKE, "--bsr-engine=faulty", "-x", JSON)
    assert ended.code == 1
    assert list(suite.statuses().values()) == ["ok", "out_of_memory"] + ["not_run"] * 6
    assert len(suite.json()["benchmarks"]) == 1
    assert "bsr: 1 of 8 cases finished, 6 not_run, 1 out_of_memory" in ended.output


BETWEEN_LINES = "exec(compile('raise KeyboardInterrupt', '', 'exec').replace(co_linetable=b''))"
"""As where a signal comes at an instruction of which CPython knows no line."""


@pytest.mark.parametrize(
    "leave",
    [
        "pytest.exit('enough')",
        "raise KeyboardInterrupt",
        "os.kill(os.getpid(), 15)",
        pytest.param(BETWEEN_LINES, id="between lines"),
    ],
)
def test_a_case_that_ends_the_session_loses_nothing(suite: Suite, tmp_path: Path, leave: str) -> None:
    (tmp_path / "test_leaving.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure):\n"
        f"    if run.task == 'std': {leave}\n"
        "    measure(run)\n"
    )
    ended = suite.run("test_leaving.py", *SMOKE, "--bsr-epochs=1", "-k", "bs256", JSON)
    assert ended.code == 2
    assert list(suite.statuses().values()) == ["ok", "not_run", "not_run", "not_run"]
    assert len(suite.json()["benchmarks"]) == 1


def test_a_lost_device_ends_the_session_with_everything_written(suite: Suite) -> None:
    line = ("--bsr-preset", "smoke", "--bsr-engine", "lost-device", "--bsr-epochs=1", "-k", "bs256", JSON)
    ended = suite.run(*line)
    assert ended.code == 2, ended.output
    assert "cuda:0 is lost to this process: CUDA error: an illegal memory access; what was" in ended.output
    assert list(suite.statuses().values()) == ["ok", "failed", "not_run", "not_run"]
    assert suite.journalled() == {"mean-bs256-seed256": "ok", "std-bs256-seed256": "failed"}
    ended = suite.run(*line, "--bsr-resume")
    assert ended.code == 0, ended.output
    assert list(suite.statuses().values()) == ["ok"] * 4


@pytest.mark.slow
def test_a_session_whose_output_nobody_reads_any_more_writes_its_json(suite: Suite) -> None:
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", *USUAL, f"{REPOSITORY}/benchmarks", *SMOKE, JSON],
        cwd=suite.folder,
        env=session_environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert session.stdout is not None
    for line in session.stdout:
        if b"bsr: journal" in line:
            break
    session.stdout.close()  # as `| head` does
    assert session.wait() != 0
    study = suite.json()["bsr"]
    assert study["planned"] == 8
    assert study["finished"] >= 1  # it ended with the first line that it could not write


@pytest.fixture(scope="module")
def finished_before(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A folder with a session of one case that came to its end."""
    suite = Suite(tmp_path_factory.mktemp("before"))
    assert suite.run(*ONE_CASE, JSON).code == 0
    return suite


@pytest.mark.parametrize("more", [(), ("-x",)])
def test_a_module_that_cannot_be_imported_costs_nothing_that_was_recorded(
    finished_before: Suite, suite: Suite, more: tuple[str, ...]
) -> None:
    kept = ("run.json", "run.journal.jsonl")
    for name in kept:
        shutil.copy(finished_before.folder / name, suite.folder)
    (suite.folder / "test_broken.py").write_text("raise ImportError('no such thing')\n")
    ended = suite.run(f"{REPOSITORY}/benchmarks", "test_broken.py", *ONE_CASE, JSON, *more)
    assert "no such thing" in ended.output
    for name in kept:
        assert (suite.folder / name).read_bytes() == (finished_before.folder / name).read_bytes()


@pytest.mark.parametrize(
    "call", [pytest.param("write", marks=SLOW), pytest.param("fsync", marks=SLOW), "replace"]
)
def test_whichever_write_fails_the_json_is_whole_and_the_next_session_completes_it(
    finished_before: Suite, tmp_path: Path, call: str
) -> None:
    expected = timeless(finished_before.json())
    for number in count(1):
        suite = Suite(tmp_path / str(number))
        shutil.copytree(finished_before.folder, suite.folder, ignore=shutil.ignore_patterns("session-*"))
        old = (suite.folder / "run.json").read_bytes()
        ended = suite.run(*ONE_CASE, JSON, f"--fault={call}:{number}")
        if "fault-happened" not in suite.left_behind():
            break
        if (suite.folder / "run.json").read_bytes() != old:  # then the new one is there, and whole
            assert suite.statuses().keys() == {"mean-bs256-seed256"}
        assert not {name for name in suite.left_behind() if name.startswith(".run.json")}
        if ended.code != 0:
            assert "No space left on device" in ended.output
            again = suite.run(*ONE_CASE, JSON, "--bsr-resume")
            assert again.code == 0, again.output
        assert timeless(suite.json()) == expected
    assert number == {"write": 6, "fsync": 9, "replace": 3}[call]  # so many of each, and one more


def test_signals_come_into_force_at_the_end_of_what_holds_them() -> None:
    signals = Signals()
    signals.take_over()
    done = []
    try:
        with pytest.raises(Terminated, match="SIGTERM"), signals.held():
            with signals.held():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        signals.hold()
        os.kill(os.getpid(), signal.SIGINT)
        done.append("end")
    finally:
        signals.give_back()
    assert done == ["inner", "outer", "end"]


def test_signals_are_given_back_to_whom_they_belonged() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        signals = Signals()
        signals.take_over()
        signals.give_back()
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = Signals()
    try:
        signals.take_over()
        os.kill(os.getpid(), signal.SIGHUP)  # nohup
    finally:
        signals.give_back()
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("has_report", "rest"), [(True, ""), (False, " in a checkout of bsr, which has it")])
def test_where_the_report_is_not_installed_the_line_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, has_report: bool, rest: str
) -> None:
    monkeypatch.setattr(session_end, "find_spec", lambda _name: object() if has_report else None)
    line = session_end.how_to_draw(Path("run.json"))
    assert line == f"draw them with: python -m reports run.json{rest}"


REMOVING = """
import shutil
import pytest

@pytest.mark.experiment("batch-size")
def test_it(run, measure):
    measure(run)
    shutil.rmtree("out", ignore_errors=True)
"""


def test_what_is_in_memory_is_written_elsewhere_when_the_folder_was_removed_meanwhile(suite: Suite) -> None:
    (suite.folder / "test_removing.py").write_text(REMOVING)
    (suite.folder / "out").mkdir()
    ended = suite.run("test_removing.py", *SMOKE, "--bsr-epochs=1", "--benchmark-json=out/run.json")
    assert ended.code not in {0, 5}
    assert "run.journal.jsonl: expected to append a record, got a file that was removed" in ended.output
    found = re.search(r"was removed; what was measured is in (.*)", ended.output)
    assert found is not None, ended.output
    rescued = Path(found[1])
    statuses = [result.status for result in read(rescued).results]
    shutil.rmtree(rescued.parent)
    assert statuses == ["ok"] * 2 + ["not_run"] * 6
    assert "is in the journal" not in ended.output
    assert "go on with" not in ended.output
