"""The JSON is strict and whole, and pytest-benchmark's own ways with it go on working."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bsr
from bsr.records.reading import RefusedError
from plugin_support import ONE_CASE, REPOSITORY, TWO_CASES, Ended, Suite, strict_json, suite

__all__ = ["suite"]
FOREIGN = """
import math

def test_foreign(benchmark):
    endless = []
    endless += [endless, endless]
    benchmark.extra_info.update(
        {"nan": math.nan, "object": object(), "endless": endless, (1, 2): "a pair", "surrogate": "\\udcff"}
    )
    benchmark.extra_info.update({"huge": 10**5000, 1: "a number", "1": "its text", "last": "kept"})
    benchmark(len, "text")
"""
WIDE = """
def test_foreign(benchmark):
    wide = [1]
    for _ in range(45):
        wide = [wide, wide]
    benchmark.extra_info["wide"] = wide
    benchmark(len, "text")
"""
BOTH = (
    f"{REPOSITORY}/benchmarks/test_batch_size.py",
    "test_foreign.py",
    *TWO_CASES[:-1],
    f"({TWO_CASES[-1]}) or foreign",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder = tmp_path_factory.mktemp("json")
    (folder / "test_foreign.py").write_text(FOREIGN)
    return Suite(folder)


@pytest.fixture(scope="module")
def ended(folder: Suite) -> Ended:
    return folder.run(*BOTH, "--benchmark-json=run.json", "--benchmark-save=first")


@pytest.fixture
def document(folder: Suite, ended: Ended) -> dict[str, Any]:
    assert ended.code == 0, ended.output
    return folder.json()


def test_a_strangers_values_that_json_has_no_words_for_do_not_spoil_it(document: dict[str, Any]) -> None:
    (foreign,) = [found for found in document["benchmarks"] if found["name"] == "test_foreign"]
    info = foreign["extra_info"]
    assert info["nan"] is None
    assert info["object"] == "object"
    assert info["(1, 2)"] == "a pair"
    assert info["endless"] == ["(holds itself)", "(holds itself)"]
    assert info["huge"] == "(an integer of 5,001 digits)"
    assert {info["1"], info["1 (str 1)"]} == {"a number", "its text"}
    assert info["last"] == "kept"
    assert foreign["stats"]["rounds"] > 1  # its own way of measuring is its own
    assert foreign["options"]["timer"] == "perf_counter"


@pytest.mark.slow
def test_a_strangers_value_of_endless_many_parts_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text(WIDE)
    ended = Suite(tmp_path).run("test_foreign.py", "--benchmark-json=run.json")
    assert ended.code == 0, ended.output
    assert (tmp_path / "run.json").stat().st_size < 2**26


def test_what_is_not_kept_as_it_came_is_named_by_benchmark_and_key(ended: Ended) -> None:
    assert "bsr: test_foreign: extra_info.huge: an integer of 5,001 digits, kept as text" in ended.output
    assert "bsr: test_foreign: extra_info.object: an object of which only the type is kept" in ended.output
    assert "bsr: test_foreign: extra_info.1 (str 1): another key of the same text, renamed" in ended.output


def test_the_file_that_pytest_benchmark_saves_is_strict_too(folder: Suite, ended: Ended) -> None:
    (saved,) = (folder.folder / ".benchmarks").rglob("*_first.json")
    benchmarks = strict_json(saved.read_text())["benchmarks"]
    assert [found["name"] for found in benchmarks] == [found["name"] for found in folder.json()["benchmarks"]]


def test_machine_info_tells_machines_apart(document: dict[str, Any]) -> None:
    about = document["machine_info"]["bsr"]
    assert about["device"] == "cpu"
    assert about["threads"] == 1
    assert about["precision"] == "float32"
    assert len(about["dataset_digest"]) == 16
    asked = {
        "device_name",
        "memory_bytes",
        "compute_capability",
        "driver",
        "torch",
        "cuda",
        "cudnn",
        "deterministic",
    }
    assert asked <= about.keys()


def test_every_planned_case_is_there_with_its_cases_and_its_machine(document: dict[str, Any]) -> None:
    study = document["bsr"]
    assert (study["planned"], study["finished"]) == (2, 2)
    assert [case["cases"] for case in study["cases"]] == [
        {"batch-size": "mean-bs256-seed256"},
        {"batch-size": "std-bs256-seed256"},
    ]
    for case in study["cases"]:
        assert study["environments"][case["result"]["environment"]]["device"] == "cpu"
        assert len(case["key"]) == 16
        assert len(case["result"]["test_mse"]) == len(case["result"]["training_seconds"]) + 1 == 2


def test_the_command_and_options_that_made_it_are_recorded(document: dict[str, Any]) -> None:
    study = document["bsr"]
    assert "--bsr-preset smoke" in study["command"]
    assert study["options"] == {
        "bsr_preset": "smoke",
        "bsr_engine": "eager",
        "bsr_threads": "1",
        "bsr_epochs": "1",
    }


def compared(folder: Path, *arguments: str) -> str:
    """What pytest-benchmark's own command says."""
    line = [sys.executable, "-m", "pytest_benchmark", "compare", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_pytest_benchmark_compares_it_by_any_parameter(folder: Suite, document: dict[str, Any]) -> None:
    document["benchmarks"] = [found for found in document["benchmarks"] if found["params"]]
    (folder.folder / "own.json").write_text(json.dumps(document))
    output = compared(folder.folder, "own.json", "--group-by=param:batch_size", "--columns=mean")
    assert "benchmark 'batch_size=256': 2 tests" in output
    assert "test_batch_size[std-bs256-seed256]" in output


@pytest.mark.slow
def test_a_later_session_is_compared_with_a_saved_one_and_fails_as_asked(folder: Suite, ended: Ended) -> None:
    (saved,) = (folder.folder / ".benchmarks").rglob("*_first.json")
    document = json.loads(saved.read_text())
    for benchmark in document["benchmarks"]:
        benchmark["stats"]["mean"] = 1e-9
    document["machine_info"]["bsr"]["device_name"] = "H200"
    document["machine_info"]["node"] = "elsewhere"
    saved.write_text(json.dumps(document))
    later = folder.run(
        *BOTH, "--benchmark-json=later.json", "--benchmark-compare=0001", "--benchmark-compare-fail=mean:5%"
    )
    assert "(0001_firs" in later.output
    assert "bsr: compared with device_name H200, here" in later.output
    assert "Benchmark machine_info is different" in later.output
    assert "Performance has regressed" in later.output
    assert later.code != 0
    assert "bsr: records later.json" in later.output  # it is there all the same
    assert folder.json("later.json")["bsr"]["finished"] == 2


def test_a_failing_end_of_the_host_does_not_lose_our_file(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("not a folder")
    ended = suite.run(
        *ONE_CASE, "--benchmark-json=run.json", "--benchmark-save=x", "--benchmark-storage=storage"
    )
    assert ended.code != 0
    assert suite.json()["bsr"]["finished"] == 1
    assert len(suite.json()["benchmarks"]) == 1


def test_a_strangers_failing_hook_keeps_the_old_file_and_the_journal(suite: Suite, tmp_path: Path) -> None:
    suite.run(*ONE_CASE, "--benchmark-json=run.json")
    before = (tmp_path / "run.json").read_bytes()
    (tmp_path / "stranger.py").write_text(
        "def pytest_benchmark_update_json(output_json): output_json['none']\n"
    )
    ended = suite.run(*ONE_CASE, "--benchmark-json=run.json", "-p", "stranger")
    assert ended.code == 3
    assert "bsr: KeyError: 'none'; what was measured is in the journal: mend that, then run" in ended.output
    assert (tmp_path / "run.json").read_bytes() == before
    assert suite.run(*ONE_CASE, "--benchmark-json=run.json", "--bsr-resume").code == 0
    assert suite.cases()[0]["resumed"]


def test_other_benchmarks_alone_are_written_as_strictly(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_foreign.py").write_text(FOREIGN)
    assert suite.run("test_foreign.py", "--benchmark-json=run.json").code == 0
    assert "bsr" not in suite.json()
    assert len(suite.json()["benchmarks"]) == 1


def test_a_session_that_measures_nothing_leaves_the_old_file(suite: Suite, tmp_path: Path) -> None:
    suite.run(*ONE_CASE, "--benchmark-json=run.json")
    before = (tmp_path / "run.json").read_bytes()
    assert suite.run(*ONE_CASE[:-1], "none_of_that_name", "--benchmark-json=run.json").code == 5
    (tmp_path / "test_broken.py").write_text("import nothing_of_that_name\n")
    assert suite.run("test_broken.py", "--benchmark-json=run.json").code == 2
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_file_that_pytest_benchmark_saved_is_a_recording_and_the_last_lines_are_there(
    suite: Suite, tmp_path: Path
) -> None:
    ended = suite.run(*ONE_CASE, "--benchmark-autosave")
    assert ended.code == 0, ended.output
    assert "bsr: 1 of 1 cases finished" in ended.output
    (saved,) = (tmp_path / ".benchmarks").rglob("*.json")
    recording = bsr.read(saved)
    assert [result.status for result in recording.results] == ["ok"]


def test_a_final_error_that_contradicts_the_rest_of_its_record_is_refused(
    suite: Suite, tmp_path: Path
) -> None:
    suite.run(*ONE_CASE, "--benchmark-json=run.json")
    document = suite.json()
    result = document["bsr"]["cases"][0]["result"]
    assert result["final_mse"] == result["test_mse"][-1]
    assert result["normalised_mse"] == result["final_mse"] / result["baseline_mse"]
    result["final_mse"] /= 2
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(RefusedError, match=r"\$.bsr.cases\[0\].result.final_mse: expected .* which follows"):
        bsr.read(tmp_path / "run.json")
