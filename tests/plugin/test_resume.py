"""A session goes on where another stopped, mixes nothing unlike, and destroys nothing unfinished."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.plugin.options import Options
from bsr.plugin.resume import finished, history_at, open_journal
from bsr.plugin.session import Session
from bsr.records.journal import End, Header, read
from bsr.result import Result
from bsr.run import Execution, Run
from plugin_support import (
    ONE_CASE,
    SMOKE,
    TWO_CASES,
    Suite,
    assert_resumed_to_the_whole,
    interrupt,
    suite,
    timeless,
    uninterrupted,
)

__all__ = ["suite"]
JSON = "--benchmark-json=run.json"
RUNS = tuple(batch_size(PRESETS["smoke"].grid))
MACHINE = {"id": "0123", "device": "cpu", "threads": 1}


class Computed(NamedTuple):
    result: Result
    environment: dict[str, Any]
    spent: str = ""


class Canned:
    """An executor that trains nothing, and counts what it was asked for."""

    capacity = 1
    workers = 0

    def __init__(self) -> None:
        self.asked: list[Run] = []

    def compute(self, run: Run, execution: Execution) -> Future[Any]:
        self.asked.append(run)
        future: Future[Any] = Future()
        result = Result(
            run=run,
            status="ok",
            test_mse=(3.0, 2.0, 1.0),
            test_mae=(3.0, 2.0, 1.0),
            training_loss=(2.0, 1.0),
            training_seconds=(1.0, float(run.seed)),
            baseline_mse=4.0,
        )
        future.set_result(Computed(replace(result, environment="0123"), MACHINE))
        return future

    def epochs(self) -> Iterable[tuple[str, int]]:
        return ()

    def news(self) -> Iterable[str]:
        return ()

    def refuse(self, future: Future[Any], why: str) -> bool:
        return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def options(*, resume: bool) -> Options:
    return Options(
        preset="smoke", experiments=("batch-size",), grid=PRESETS["smoke"].grid, execution=Execution(),
        json=None, dask=None, dask_wait=None, workers=0, resume=resume, elsewhere=False, strict=False,
        given={}, plan={},
    )  # fmt: skip


def begun(path: Path, *, resume: bool) -> tuple[Session, Canned]:
    """A session over the smoke grid, as the plugin begins one."""
    chosen = options(resume=resume)
    header = Header(
        planned=RUNS,
        cases={run.key: {} for run in RUNS},
        execution=Execution(),
        dataset_digest="",
        environment=MACHINE,
        started_at="",
    )
    history = history_at(path, resume=resume)
    session = Session(chosen, header, open_journal(path, history, header, chosen))
    session.executor = executor = Canned()
    if resume:
        session.resume(finished(history, RUNS, Execution()), history)
    return session, executor


def run_through(session: Session, cases: int = len(RUNS)) -> None:
    for run in RUNS[:cases]:
        session.result_of(run)
    if session.complete:
        session.journal.append(End(finished_at=""))
    session.journal.close()


@pytest.mark.slow
def test_the_journal_cut_at_every_byte_of_its_last_record_is_resumed_to_the_same_grid_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "fsync", lambda _descriptor: None
    )  # thousands of them, and nothing here is cut off
    path = tmp_path / "run.journal.jsonl"
    session, _ = begun(path, resume=False)
    run_through(session, cases=3)
    whole = session.results
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(content)):
        path.write_bytes(content[:length])
        again, executor = begun(path, resume=True)
        assert executor.asked == []
        run_through(again, cases=4)  # and then it is killed a second time, in the middle of its last record
        assert executor.asked == list(RUNS[2:4])
        path.write_bytes(path.read_bytes()[: -1 - length % 100])
        final, executor = begun(path, resume=True)
        run_through(final)
        assert executor.asked == list(RUNS[3:])
        assert list(final.results) == [run.key for run in RUNS]
        assert {key: final.results[key] for key in whole} == whole
        assert read(path).results == final.results
        assert read(path).ended


@pytest.fixture
def cut(suite: Suite, request: pytest.FixtureRequest) -> Suite:
    """A folder with the journal of a whole smoke session, its end and a part of its last record cut off."""
    content = (uninterrupted().folder / "run.journal.jsonl").read_bytes()
    last_record = content.index(b'{"kind":"end"')
    (suite.folder / "run.journal.jsonl").write_bytes(content[: last_record - request.param])
    return suite


@pytest.mark.parametrize("cut", [pytest.param(1, marks=pytest.mark.slow), 700], indirect=True)
def test_a_torn_journal_is_resumed_and_resumed_again_after_a_second_kill(cut: Suite) -> None:
    before = cut.journal_lines()
    killed = interrupt(cut, signal.SIGKILL, "--bsr-resume", lines=before + 1, delay=0.05)
    assert killed.code == -signal.SIGKILL
    assert_resumed_to_the_whole(cut)


def test_the_same_command_twice_simply_works_and_leaves_one_journal(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    assert suite.run(*ONE_CASE, JSON).code == 0
    assert not suite.cases()[0]["resumed"]
    assert suite.left_behind() - {".benchmarks"} == {
        "run.json",
        "run.journal.jsonl",
        "run.journal.jsonl.lock",
    }


def test_an_unfinished_session_is_neither_used_nor_destroyed_without_being_asked(suite: Suite) -> None:
    interrupt(suite, signal.SIGKILL, lines=3)
    before = (suite.folder / "run.journal.jsonl").read_bytes()
    ended = suite.run(*SMOKE, JSON)
    assert ended.code == 4
    (error,) = ended.errors
    done = sum(status == "ok" for status in suite.journalled().values())
    assert error == (
        f"run.journal.jsonl: expected no unfinished session there, got one with {done} of 8 cases finished; "
        "go on from it with --bsr-resume, or remove that file to start anew"
    )
    assert (suite.folder / "run.journal.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_finished_journal_is_kept_until_a_new_session_has_come_to_its_end(suite: Suite) -> None:
    shutil.copy(uninterrupted().folder / "run.journal.jsonl", suite.folder)
    shutil.copy(uninterrupted().folder / "run.json", suite.folder)
    kept = "run.journal.jsonl.finished-1"
    interrupt(suite, signal.SIGINT, lines=2)
    assert kept in suite.left_behind()  # its JSON was replaced by one with fewer cases
    original = uninterrupted().folder / "run.journal.jsonl"
    assert (suite.folder / kept).read_bytes() == original.read_bytes()
    assert_resumed_to_the_whole(suite)
    assert kept not in suite.left_behind()


def test_resuming_a_finished_session_writes_its_json_again_and_trains_nothing(suite: Suite) -> None:
    shutil.copy(uninterrupted().folder / "run.journal.jsonl", suite.folder)
    assert_resumed_to_the_whole(suite)
    assert all(case["resumed"] for case in suite.cases())
    assert {found["extra_info"]["resumed"] for found in suite.json()["benchmarks"]} == {True}
    for benchmark in suite.json()["benchmarks"]:
        assert benchmark["stats"]["data"] == [benchmark["extra_info"]["training_seconds"]]


def test_resuming_where_there_is_nothing_begins(suite: Suite) -> None:
    ended = suite.run(*ONE_CASE, JSON, "--bsr-resume")
    assert ended.code == 0
    assert "bsr: resumed 0 finished cases, 1 to go" in ended.output


@pytest.fixture
def after(suite: Suite) -> Suite:
    """A folder with a session of two cases that came to its end."""
    suite.recorded(*TWO_CASES, JSON)
    return suite


def test_what_was_resumed_is_marked_with_the_time_recorded_then(after: Suite) -> None:
    before = after.cases()
    ended = after.run(*TWO_CASES, JSON, "--bsr-resume")
    assert ended.output.count("(resumed)") == 2
    assert [case["result"] for case in after.cases()] == [case["result"] for case in before]


@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (
            ["--bsr-epochs=2"],
            "epochs: the journal has 1, this session 2; resume it as it was started: pytest ",
        ),
        (["-k", "std-bs256"], "task: the journal has mean, this session no other"),
        (["--bsr-engine=faulty"], "engine: the journal has eager, this session faulty"),
        (["--bsr-threads=2"], "threads: the journal has 1, this session 2"),
        (
            ["--bsr-workers=1"],
            "trained in: the journal has the session's own process, this session 1 worker",
        ),
    ],
)
def test_unlike_results_are_not_mixed(after: Suite, arguments: list[str], difference: str) -> None:
    before = (after.folder / "run.journal.jsonl").read_bytes()
    ended = after.run(*TWO_CASES, JSON, "--bsr-resume", *arguments)
    assert ended.code == 4
    (error,) = ended.errors
    assert f"--bsr-resume would mix unlike results: {difference}" in error
    assert (after.folder / "run.journal.jsonl").read_bytes() == before


def test_another_machine_needs_a_word_and_is_recorded_per_result(after: Suite) -> None:
    journal = after.folder / "run.journal.jsonl"
    lines = [
        json.loads(line) for line in journal.read_text().splitlines()[:2]
    ]  # a header and one of two results
    here = lines[0]["environment"]["id"]
    lines[0]["environment"] |= {"id": "elsewhere", "torch": "1.0"}
    lines[1]["result"]["environment"] = "elsewhere"
    for line in lines:
        del line["crc"]  # as an earlier version wrote it
    journal.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    refused = after.run(*TWO_CASES, JSON, "--bsr-resume")
    assert refused.code == 4
    assert "torch: the journal has 1.0, this session" in refused.errors[0]
    assert refused.errors[0].endswith("add --bsr-resume-elsewhere to allow it")
    assert after.run(*TWO_CASES, JSON, "--bsr-resume", "--bsr-resume-elsewhere").code == 0
    assert [case["result"]["environment"] for case in after.cases()] == ["elsewhere", here]
    assert after.json()["bsr"]["environments"].keys() == {"elsewhere", here}


def _another_digit(found: re.Match[bytes]) -> bytes:
    return found[0][:-1] + (b"8" if found[1] == b"7" else b"7")


def test_an_altered_record_is_named_and_its_case_trained_again(suite: Suite) -> None:
    interrupt(suite, signal.SIGKILL, lines=3)
    journal = suite.folder / "run.journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    changed = re.sub(rb'"test_mse":\[(\d)', _another_digit, lines[1], count=1)
    assert changed != lines[1]
    journal.write_bytes(b"".join([lines[0], changed, *lines[2:]]))
    ended = suite.run(*SMOKE, JSON, "--bsr-resume")
    assert ended.code == 0, ended.output
    assert "run.journal.jsonl, line 2: another checksum, so it was altered since" in ended.output
    assert timeless(suite.json()) == timeless(uninterrupted().json())


def test_a_corrupt_record_in_the_middle_stops_the_session_and_stays(suite: Suite) -> None:
    interrupt(suite, signal.SIGKILL, lines=3)
    journal = suite.folder / "run.journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:100] + b"\n"
    journal.write_bytes(b"".join(lines))
    for arguments in ((), ("--bsr-resume",)):
        ended = suite.run(*SMOKE, JSON, *arguments)
        assert ended.code == 4
        assert "run.journal.jsonl, line 2: expected a bsr journal record, got" in ended.errors[0]
        assert journal.read_bytes() == b"".join(lines)


CHANGED = tuple(({name: "aa"}, {name: "bb"}) for name in ("labels_digest", "dataset_digest"))
"""What a second Result says otherwise than the first."""


@pytest.mark.parametrize("digests", CHANGED, ids=["labels", "data set"])
def test_a_result_of_code_or_data_that_changed_meanwhile_is_failed_and_not_mixed_in(
    tmp_path: Path, digests: tuple[dict[str, str], ...]
) -> None:
    session, executor = begun(tmp_path / "run.journal.jsonl", resume=False)
    left = iter(digests)

    def compute(run: Run, execution: Execution) -> Future[Any]:
        future: Future[Any] = Future()
        result = Result(run=run, status="ok", environment="0123", **next(left))  # type: ignore[arg-type]
        future.set_result(Computed(result, MACHINE))
        return future

    executor.compute = compute  # type: ignore[method-assign]
    first, second = (run for run in RUNS if run.task == "mean")
    assert session.result_of(first).status == "ok"
    result = session.result_of(second)
    assert result.status == "failed"
    assert re.search(r": expected aa, as before, got bb; the code or the data changed", result.message)
