"""What trains nothing (labels, the harness, benchmarks of one's own) is journalled like everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bsr.records import journal
from plugin_support import ONE_CASE, SMOKE, Suite, suite

__all__ = ["suite"]
JSON = "--benchmark-json=run.json"
LABELS = (*SMOKE, "--bsr-experiments=label-distribution", "--bsr-tasks=mean,std")
OWN = """
def test_mine(benchmark):
    benchmark(len, "")
"""


def test_labels_of_a_session_whose_json_was_lost_are_not_measured_again(suite: Suite) -> None:
    ended = suite.run(*LABELS, JSON, "--fault=replace:2")
    assert "No space left on device" in ended.output
    assert "what was measured is in the journal" in ended.output
    before = journal.read(suite.folder / "run.journal.jsonl").measured
    assert set(before) == {("labels", "MNIST", task, "train") for task in ("mean", "std")}
    again = suite.run(*LABELS, JSON, "--bsr-resume")
    assert again.code == 0, again.output
    after = journal.read(suite.folder / "run.journal.jsonl").measured
    assert after == before
    document = suite.json()
    assert [labels["task"] for labels in document["bsr"]["labels"]] == ["mean", "std"]
    seconds = {entry["param"]: entry["stats"]["mean"] for entry in document["benchmarks"]}
    assert seconds == {task: before["labels", "MNIST", task, "train"].seconds for task in ("mean", "std")}


@pytest.mark.slow
def test_the_harness_of_a_session_whose_json_was_lost_is_not_timed_again(suite: Suite) -> None:
    harness = (*SMOKE, "--bsr-experiments=harness")
    ended = suite.run(*harness, JSON, "--fault=replace:2")
    assert "No space left on device" in ended.output
    before = journal.read(suite.folder / "run.journal.jsonl").measured["harness",]
    again = suite.run(*harness, JSON, "--bsr-resume")
    assert again.code == 0, again.output
    assert "harness: round" not in again.output
    document = suite.json()
    recorded = [tuple(timing["seconds"]) for timing in document["bsr"]["harness"]]
    assert recorded == [timing.seconds for timing in before.rows]
    assert {timing.get("device", "cpu") for timing in document["bsr"]["harness"]} == {"cpu"}
    assert document["benchmarks"][0]["stats"]["mean"] == before.seconds


@pytest.mark.slow
def test_the_noise_of_a_session_whose_json_was_lost_is_not_measured_again(suite: Suite) -> None:
    noise = (*SMOKE, "--bsr-experiments=noise-scale", "--bsr-tasks=mean", "--bsr-batch-sizes=16", JSON)
    ended = suite.run(*noise, "--fault=replace:2")
    assert "No space left on device" in ended.output
    before = journal.read(suite.folder / "run.journal.jsonl").measured
    assert set(before) == {("noise", "MNIST", "mean", 16, seed) for seed in (200,)}
    again = suite.run(*noise, "--bsr-resume")
    assert again.code == 0, again.output
    assert "noise scale" not in again.output
    (scale,) = suite.json()["bsr"]["noise"]
    assert [point["step"] for point in scale["points"]] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert all(point["trace"] > 0 for point in scale["points"])


def test_a_session_that_stops_before_its_labels_goes_on_with_them(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_leaving.py").write_text(
        "import pytest\n"
        "@pytest.mark.experiment('label-distribution')\n"
        "def test_it(task, describe_labels):\n"
        "    if task == 'std' and not __import__('os').path.exists('again'): raise KeyboardInterrupt\n"
        "    describe_labels(task)\n"
    )
    ended = suite.run("test_leaving.py", *LABELS, JSON)
    assert "bsr: go on with the same command and --bsr-resume" in ended.output
    (tmp_path / "again").touch()
    again = suite.run("test_leaving.py", *LABELS, JSON, "--bsr-resume")
    assert again.code == 0, again.output
    assert [labels["task"] for labels in suite.json()["bsr"]["labels"]] == ["mean", "std"]


def test_a_session_that_measured_nothing_does_not_say_draw_it(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(
        "import pytest\n"
        "@pytest.mark.experiment('label-distribution')\n"
        "def test_it(task, describe_labels): raise ValueError(task)\n"
    )
    ended = suite.run("test_failing.py", *LABELS, JSON)
    assert ended.code == 1
    assert "bsr: they hold nothing yet: mend what failed, then run the same command again" in ended.output
    assert "draw them with" not in ended.output


def test_a_benchmark_of_ones_own_is_in_the_journal(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        OWN + "import pytest\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure): measure(run)\n"
    )
    ended = suite.run("test_own.py", *ONE_CASE[:-2], "-k", "mine or mean-bs256", JSON, "--fault=replace:2")
    assert "measures again only benchmarks of your own" in ended.output
    (own,) = journal.read(tmp_path / "run.journal.jsonl").benchmarks.values()
    assert own["name"] == "test_mine"
    assert own["stats"]["rounds"] == len(own["stats"]["data"])


def test_a_session_without_a_journal_promises_none(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    ended = suite.run("test_own.py", JSON, "--fault=replace:1")
    assert "No space left on device" in ended.output
    assert "in the journal" not in ended.output
    assert "nothing of it was recorded: mend that, then run the same command again" in ended.output


def test_a_run_that_nobody_planned_is_refused_by_name(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import pytest\n"
        "from dataclasses import replace\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure): measure(replace(run, seed=999))\n"
    )
    ended = suite.run("test_other.py", *ONE_CASE, JSON)
    assert ended.code == 1
    assert (
        "measure: expected the Run of a case, as the fixture `run` gives it, got Run(task='mean'"
        in ended.output
    )


def test_escapes_in_a_message_do_not_reach_the_terminal(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_evil.py").write_text(
        "import pytest\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure): raise ValueError('\\x1b[2Jgone\\x07')\n"
    )
    ended = suite.run("test_evil.py", *ONE_CASE, JSON, "--tb=no")
    (line,) = [line for line in ended.output.splitlines() if "failed: ValueError" in line]
    assert "\\x1b[2Jgone\\x07" in line
    assert "\x1b" not in line


def test_a_timed_out_run_is_told_how_to_be_tried_again(suite: Suite) -> None:
    ended = suite.run(*SMOKE, "-k", "mean-bs32", "--bsr-epochs=2000", "--bsr-timeout=0.2", JSON)
    assert "1 timed_out" in ended.output
    assert "bsr: try those again with --bsr-resume and a longer --bsr-timeout" in ended.output
