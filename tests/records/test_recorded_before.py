"""What an earlier version recorded (tests/recorded) is read, resumed, compared, merged and drawn as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bsr
from plugin_support import Suite, suite
from reports.__main__ import main

__all__ = ["suite"]
RECORDED = Path(__file__).parents[1] / "recorded"
RUNS = Path(__file__).parents[2] / "benchmarks" / "results"
JOURNAL, JSON = RECORDED / "first.journal.jsonl", RECORDED / "first.json"
AS_THEN = (
    "--bsr-preset=smoke",
    "--bsr-threads=1",
    "--bsr-epochs=1",
    "--bsr-tasks=mean,std",
    "--bsr-device=cpu",
    "--bsr-engine=eager",
)


def finals(path: Path) -> dict[str, float | None]:
    return {result.run.key: result.final_mse for result in bsr.read(path).results}


def test_its_journal_is_resumed_and_nothing_is_trained_again(suite: Suite) -> None:
    shutil.copy(JOURNAL, suite.folder / "run.journal.jsonl")
    ended = suite.run(*AS_THEN, "--benchmark-json=run.json", "--bsr-resume", "--bsr-resume-elsewhere")
    assert ended.code == 0, ended.output
    assert "resumed 3 finished cases, 1 to go" in ended.output
    before = finals(JOURNAL)
    assert {key: mse for key, mse in finals(suite.folder / "run.json").items() if before[key]} == {
        key: mse for key, mse in before.items() if mse
    }


@pytest.mark.parametrize("path", [JSON, pytest.param(JOURNAL, marks=pytest.mark.slow)])
def test_it_is_drawn(path: Path, tmp_path: Path) -> None:
    assert main([str(path), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "figures" / "convergence.png").exists()


@pytest.mark.slow
def test_it_is_compared_with_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(JSON), str(JOURNAL), "--output", str(tmp_path)]) == 0, capsys.readouterr().err


def test_its_journal_is_merged_with_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merged = tmp_path / "all.json"
    arguments = ["merge", str(JSON), str(JOURNAL), "--keep-first", "--output", str(merged)]
    assert main(arguments) == 0, capsys.readouterr().err
    assert finals(merged) == finals(JSON)


@pytest.mark.parametrize("path", sorted(RUNS.glob("cpu-*.json.gz")), ids=lambda path: path.stem)
def test_every_committed_recording_is_read_under_the_keys_it_was_written_with(path: Path) -> None:
    session = bsr.read(path).session
    cases = session.cases
    assert cases or session.harness
    assert [case.key for case in cases] == [case.result.run.key for case in cases]
