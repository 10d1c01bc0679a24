"""A recording is overwritten only by one that measured all of it again; an unfit target is refused."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from plugin_support import ONE_CASE, TWO_CASES, Suite, suite

__all__ = ["suite"]
JSON = "--benchmark-json=run.json"
ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)


def refused(suite: Suite, name: str = "run.json") -> str:
    """The one line with which a session on that JSON is refused before its first case."""
    ended = suite.run(*ONE_CASE, f"--benchmark-json={name}")
    assert ended.code == 4, ended.output
    assert "mean-bs256" not in ended.output
    (error,) = ended.errors
    return error


@pytest.mark.slow
def test_a_recording_that_holds_more_is_kept_with_its_journal_and_said_so(suite: Suite) -> None:
    suite.recorded(*TWO_CASES, JSON)
    before = (suite.folder / "run.json").read_bytes()
    ended = suite.run(*ONE_CASE, JSON)
    assert (suite.folder / "run.kept-1.json").read_bytes() == before
    assert len(suite.cases()) == 1
    assert "run.json held what was not measured again: it is kept as" in ended.output
    assert "an earlier journal holds what was not measured again" in ended.output
    assert (suite.folder / "run.journal.jsonl.finished-1").exists()


def test_a_recording_measured_again_in_full_gives_way(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    suite.run(*TWO_CASES, JSON)
    assert not [name for name in suite.left_behind() if "kept" in name or "finished" in name]
    assert len(suite.cases()) == 2


def test_the_same_runs_by_another_engine_are_not_the_same_measurement(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    suite.run(*ONE_CASE, "--bsr-engine=faulty", JSON)
    assert "run.kept-1.json" in suite.left_behind()


def test_benchmarks_of_somebody_else_are_kept(suite: Suite) -> None:
    document = {"benchmarks": [{"name": "test_theirs", "fullname": "test_theirs", "stats": {}}]}
    (suite.folder / "run.json").write_text(json.dumps(document))
    suite.run(*ONE_CASE, JSON)
    assert json.loads((suite.folder / "run.kept-1.json").read_text()) == document


def test_a_recording_stays_where_it_is_when_the_new_one_cannot_be_written(suite: Suite) -> None:
    suite.recorded(*TWO_CASES, JSON)
    before = (suite.folder / "run.json").read_bytes()
    ended = suite.run(*ONE_CASE, JSON, "--fault=replace:2")  # the first is the rehearsal
    assert "No space left on device" in ended.output
    assert (suite.folder / "run.json").read_bytes() == before
    assert not [name for name in suite.left_behind() if "kept" in name]


def test_a_file_that_is_read_only_is_refused(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    (suite.folder / "run.json").chmod(0o444)
    before = (suite.folder / "run.json").read_bytes()
    assert "--benchmark-json=run.json: expected a file to write, got one that is read-only" in refused(suite)
    assert (suite.folder / "run.json").read_bytes() == before


@ROOT
@pytest.mark.parametrize("name", ["run.json", "run.journal.jsonl"])
def test_a_file_of_another_user_is_refused(suite: Suite, name: str) -> None:
    suite.recorded(*ONE_CASE, JSON)
    os.chown(suite.folder / name, 12345, -1)
    before = (suite.folder / name).read_bytes()
    assert "expected a file of one's own, got one of user 12345; choose a new name" in refused(suite)
    assert (suite.folder / name).read_bytes() == before


def _dangling(folder: Path) -> str:
    (folder / "run.json").symlink_to(folder / "nowhere" / "run.json")
    return "run.json"


def _long_name(_folder: Path) -> str:
    return f"{'n' * 230}.json"


def _longer_name(_folder: Path) -> str:
    return f"{'n' * 245}.json"


def _fifo_for_a_journal(folder: Path) -> str:
    os.mkfifo(folder / "run.journal.jsonl")
    return "run.json"


def _fifo_for_a_lock(folder: Path) -> str:
    os.mkfifo(folder / "run.journal.jsonl.lock")
    return "run.json"


def _folder_for_a_journal(folder: Path) -> str:
    (folder / "run.journal.jsonl").mkdir()
    return "run.json"


TARGETS = (_dangling, _long_name, _longer_name, _fifo_for_a_journal, _fifo_for_a_lock, _folder_for_a_journal)


@pytest.mark.parametrize("prepare", TARGETS)
def test_a_target_on_which_the_end_would_fail_is_refused_at_the_start(suite: Suite, prepare) -> None:  # type: ignore[no-untyped-def]
    name = prepare(suite.folder)
    before = suite.left_behind()
    error = refused(suite, name)
    assert ": expected " in error
    assert ", got " in error
    new = suite.left_behind() - before
    assert not [left for left in new if not left.endswith((".lock", ".benchmarks"))], new


@ROOT
def test_a_file_that_cannot_be_renamed_onto_is_refused_at_the_start(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    path = suite.folder / "run.json"
    mounted = subprocess.run(["mount", "--bind", path, path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        assert "expected a path that can be written and renamed onto, got" in refused(suite)
    finally:
        subprocess.run(["umount", path], check=True)


def test_the_rehearsal_leaves_what_is_there_as_it_was(suite: Suite) -> None:
    suite.recorded(*ONE_CASE, JSON)
    path = suite.folder / "run.json"
    path.chmod(0o640)
    before = (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
    (suite.folder / "run.journal.jsonl").unlink()
    (suite.folder / "run.journal.jsonl").mkdir()
    refused(suite)
    assert (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) == before


def test_through_a_link_the_recording_stays_where_it_is_too(suite: Suite) -> None:
    suite.recorded(*TWO_CASES, JSON)
    before = (suite.folder / "run.json").read_bytes()
    (suite.folder / "elsewhere").mkdir()
    (suite.folder / "run.json").rename(suite.folder / "elsewhere" / "kept-here.json")
    (suite.folder / "run.json").symlink_to(Path("elsewhere") / "kept-here.json")
    ended = suite.run(*ONE_CASE, JSON, "--fault=replace:2")
    assert "No space left on device" in ended.output
    assert (suite.folder / "run.json").is_symlink()
    assert (suite.folder / "elsewhere" / "kept-here.json").read_bytes() == before
