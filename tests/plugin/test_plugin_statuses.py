"""Every planned case has a status in journal and JSON, whatever became of it, and the next ones run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bsr.machine import compiler
from bsr.machine.compiler import KernelError
from bsr.records.journal import read
from plugin_support import ONE_CASE, SMOKE, TWO_CASES, Ended, Suite, suite

__all__ = ["suite"]
FAULTY = (*SMOKE, "--bsr-engine=faulty", "--bsr-timeout=3", "--benchmark-json=run.json")
FATES = {
    "mean-bs32-seed32": "ok",
    "mean-bs256-seed256": "out_of_memory",
    "std-bs32-seed32": "failed",
    "std-bs256-seed256": "failed",
    "var-bs32-seed32": "diverged",
    "var-bs256-seed256": "dead",
    "median-bs32-seed32": "timed_out",
    "median-bs256-seed256": "ok",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite(tmp_path_factory.mktemp("statuses"))


@pytest.fixture(scope="module")
def ended(folder: Suite) -> Ended:
    """A session in which every case meets another fate, see faulty_engine."""
    return folder.run(*FAULTY)


@pytest.fixture
def results(folder: Suite, ended: Ended) -> dict[str, dict[str, Any]]:
    return {case["result"]["run"]["label"]: case["result"] for case in folder.cases()}


def test_every_case_has_its_status_in_the_json_and_in_the_journal(folder: Suite, ended: Ended) -> None:
    assert folder.statuses() == FATES
    assert folder.journalled() == FATES


def test_the_json_says_how_many_were_planned_and_how_many_finished(folder: Suite, ended: Ended) -> None:
    study = folder.json()["bsr"]
    assert (study["planned"], study["finished"]) == (8, 4)  # ok, diverged and dead
    assert "bsr: 4 of 8 cases finished, 2 failed, 1 out_of_memory, 1 timed_out" in ended.output


def test_divergence_and_death_are_results_and_the_others_failed_tests(ended: Ended) -> None:
    assert ended.code == 1
    assert "4 failed, 4 passed" in ended.output


def test_only_cases_with_a_whole_time_stand_in_the_benchmarks(folder: Suite, ended: Ended) -> None:
    timed = {
        benchmark["param"]: benchmark["extra_info"]["status"] for benchmark in folder.json()["benchmarks"]
    }
    assert timed == {name: status for name, status in FATES.items() if status in {"ok", "diverged", "dead"}}


def test_a_plugin_that_stops_a_training_fails_that_case_alone(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_stopped.py").write_text(
        "import pytest\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure, monkeypatch):\n"
        "    if run.task == 'std':\n"
        "        stop = lambda *_: pytest.fail('took too long')\n"
        "        monkeypatch.setattr('bsr.engines.eager.EagerLearner.train_epoch', stop)\n"
        "    measure(run)\n"
    )
    ended = suite.run("test_stopped.py", *TWO_CASES, "--benchmark-json=run.json")
    assert ended.code == 1, ended.output
    assert suite.statuses() == {"mean-bs256-seed256": "ok", "std-bs256-seed256": "failed"}
    assert "--bsr-resume" not in ended.output  # there is nothing to go on with


def test_out_of_memory_names_the_batch_size_and_the_allocators_words(results: dict[str, Any]) -> None:
    message = results["mean-bs256-seed256"]["message"]
    assert message == "batch size 256: CUDA out of memory. Tried to allocate 20 GiB"


def test_a_failure_names_the_exception_on_one_line(results: dict[str, Any]) -> None:
    assert results["std-bs32-seed32"]["message"] == "ValueError: first line second line ?"
    assert results["std-bs256-seed256"]["message"] == "SystemExit: a library left"


def test_divergence_names_the_first_step_that_was_not_finite(results: dict[str, Any]) -> None:
    assert results["var-bs32-seed32"]["diverged_at_step"] == 3
    assert "at step 3" in results["var-bs32-seed32"]["message"]


def test_a_dead_network_keeps_its_final_error(results: dict[str, Any]) -> None:
    assert len(results["var-bs256-seed256"]["test_mse"]) == 3
    assert "constant where the labels are not" in results["var-bs256-seed256"]["message"]


def test_what_ran_out_of_time_keeps_what_was_measured_before(results: dict[str, Any]) -> None:
    late = results["median-bs32-seed32"]
    assert late["message"] == "stopped after 3 s"
    assert len(late["test_mse"]) == 2  # untrained and after the first of two epochs
    assert len(late["training_seconds"]) == 1


def test_no_traceback_hides_the_one_line_that_matters(ended: Ended) -> None:
    assert "out_of_memory: batch size 256: CUDA out of memory." in ended.output
    assert "Traceback" not in ended.output
    assert "During handling" not in ended.output


def test_resuming_keeps_the_results_and_retries_the_rest(folder: Suite, ended: Ended) -> None:
    before = folder.cases()
    again = folder.run(*FAULTY, "--bsr-resume")
    after = folder.cases()
    finished = {name for name, status in FATES.items() if status in {"ok", "diverged", "dead"}}
    assert {case["result"]["run"]["label"] for case in after if case["resumed"]} == finished
    for old, new in zip(before, after, strict=True):
        if new["resumed"]:
            assert old["result"] == new["result"]  # the times too
    assert "bsr: resumed 4 finished cases, 4 to go" in again.output


def test_strict_makes_divergence_and_death_failed_tests_but_no_other_statuses(suite: Suite) -> None:
    ended = suite.run(*FAULTY, "--bsr-strict", "-k", "var")
    assert ended.code == 1
    assert "2 failed" in ended.output
    assert "(--bsr-strict)" in ended.output
    assert suite.statuses() == {"var-bs32-seed32": "diverged", "var-bs256-seed256": "dead"}


HOSTILE = """
import sys
import pytest

@pytest.fixture
def unusable(run):
    if run.task == "var":
        raise OSError("no such instrument")

@pytest.mark.experiment("batch-size")
def test_hostile(run, measure, unusable):
    if run.task == "median":
        pytest.skip("not today")
    if run.task == "std":
        sys.exit("leaving")
    assert measure(run).final_mse < 0, "worse than perfect"

@pytest.mark.experiment("loss")
def test_friendly(run, measure):
    measure(run)
    if run.task == "std":
        pytest.skip("enough")
    if run.task == "var":
        pytest.fail("does not suit me")
"""


def test_what_a_case_does_around_its_measurement_is_accounted_for(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_hostile.py").write_text(HOSTILE)
    ended = suite.run(
        "test_hostile.py", *SMOKE, "--bsr-experiments=batch-size", "-k", "bs256", "--benchmark-json=run.json"
    )
    assert ended.code == 1
    results = {case["result"]["run"]["task"]: case["result"] for case in suite.cases()}
    assert results["mean"]["status"] == "failed"
    assert results["mean"]["message"].startswith("AssertionError: worse than perfect assert 123.1")
    assert len(results["mean"]["test_mse"]) == 3  # what was measured before the assertion stays
    del results["mean"]
    assert {task: (result["status"], result["message"]) for task, result in results.items()} == {
        "std": ("failed", "SystemExit: leaving"),
        "var": ("failed", "OSError: no such instrument"),
        "median": ("not_run", "Skipped: not today"),
    }
    assert suite.json()["benchmarks"] == []  # nothing is shown as if it were good
    assert read(tmp_path / "run.journal.jsonl").ended  # every case had its turn


def test_a_case_that_fails_or_skips_after_its_measurement(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_hostile.py").write_text(HOSTILE)
    suite.run("test_hostile.py", *SMOKE, "--bsr-experiments=loss", "-k", "mse", "--benchmark-json=run.json")
    results = {case["result"]["run"]["task"]: case["result"] for case in suite.cases()}
    assert (results["var"]["status"], results["var"]["message"]) == ("failed", "Failed: does not suit me")
    assert results["std"]["status"] == results["mean"]["status"] == "ok"
    assert {benchmark["params"]["task"] for benchmark in suite.json()["benchmarks"]} == {"mean", "std"}


def test_weights_are_kept_by_key_and_give_the_recorded_error(suite: Suite, tmp_path: Path) -> None:
    assert suite.run(*TWO_CASES, "--bsr-save-models=models", "--benchmark-json=run.json").code == 0
    import torch
    from safetensors.torch import load_file

    from bsr import RegressionCNN, Run, load_split

    for case in suite.cases():
        (folder,) = (tmp_path / "models").iterdir()  # the session's own
        weights = load_file(folder / f"{case['key']}-eager.safetensors")
        model = RegressionCNN()
        model.load_state_dict(weights)
        case["result"]["run"].pop("label")
        split = load_split(Run(**case["result"]["run"]))
        with torch.inference_mode():
            predictions = model(split.test_images.unsqueeze(1).float()).double()
        mse = float((predictions - split.test_labels.double()).square().mean())
        assert mse == pytest.approx(case["result"]["test_mse"][-1], rel=1e-5)


def test_resuming_trains_again_what_has_no_weights_where_they_are_to_be_kept(
    suite: Suite, tmp_path: Path
) -> None:
    arguments = (*TWO_CASES, "--bsr-save-models=models", "--benchmark-json=run.json")
    suite.run(*arguments)
    lost, kept = sorted((tmp_path / "models").glob("*/*"))
    lost.unlink()
    suite.run(*arguments, "--bsr-resume")
    again = {f"{case['key']}-eager": case["resumed"] for case in suite.cases()}
    assert again == {lost.stem: False, kept.stem: True}
    assert lost.exists()


def test_weights_say_what_they_are_of_and_two_sessions_overwrite_nothing(
    suite: Suite, tmp_path: Path
) -> None:
    from safetensors import safe_open

    for name in ("first", "second"):
        suite.run(*ONE_CASE, "--bsr-save-models=models", f"--benchmark-json={name}.json")
    headers = []
    for path in sorted((tmp_path / "models").glob("*/*")):
        with safe_open(str(path), "pt") as file:
            headers.append(file.metadata())
    assert {header["session"].partition(", ")[2] for header in headers} == {
        "recorded in first.json",
        "recorded in second.json",
    }
    assert {(header["engine"], header["task"], header["batch_size"]) for header in headers} == {
        ("eager", "mean", "256")
    }


def test_weights_that_cannot_be_kept_take_nothing_from_the_measurement(suite: Suite, tmp_path: Path) -> None:
    # the first replace of a session is the rehearsal of its JSON, the third the weights'
    ended = suite.run(*ONE_CASE, "--bsr-save-models=models", "--benchmark-json=run.json", "--fault=replace:2")
    assert ended.code == 0, ended.output
    (case,) = suite.cases()
    assert (case["result"]["status"], len(case["result"]["test_mse"])) == ("ok", 2)
    (note,) = case["result"]["notes"]
    assert ".safetensors: expected to keep the weights there, got [Errno 28] No space left on device" in note
    assert note in ended.output.replace("\n", "")


def test_a_warning_inside_a_training_is_a_note_and_never_fatal(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_warning.py").write_text(
        "import pytest, warnings\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure, monkeypatch):\n"
        "    from bsr.engines.eager import EagerLearner\n"
        "    usual = EagerLearner.train_epoch\n"
        "    def warn(*given):\n"
        "        warnings.warn('your driver is too old', UserWarning)\n"
        "        return usual(*given)\n"
        "    monkeypatch.setattr(EagerLearner, 'train_epoch', warn)\n"
        "    measure(run)\n"
    )
    ended = suite.run("test_warning.py", *ONE_CASE, "--benchmark-json=run.json", "-W", "error")
    assert ended.code == 0, ended.output
    (case,) = suite.cases()
    assert case["result"]["status"] == "ok"
    assert case["result"]["notes"] == ["UserWarning: your driver is too old"]
    assert "UserWarning: your driver is too old" in ended.output


@pytest.mark.slow
def test_a_slow_compiler_is_waited_for_with_a_word(suite: Suite, tmp_path: Path) -> None:
    try:
        real = compiler.command()[0]
    except KernelError as error:
        pytest.skip(str(error))
    slow = tmp_path / "slow-c++"
    slow.write_text(f'#!/bin/sh\nsleep 6\nexec {real} "$@"\n')
    slow.chmod(0o755)
    native = [word if word != "eager" else "native" for word in ONE_CASE]
    ended = suite.run(*native, CXX=str(slow), BSR_CACHE=str(tmp_path / "cache"))
    assert ended.code == 0, ended.output
    assert "bsr: still getting ready: on first use the C++ compiler builds the native engine" in ended.output
