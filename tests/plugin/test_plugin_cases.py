"""Which cases there are, how they are timed, and what a person sees of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bsr.experiments import EXPERIMENTS, PRESETS, plan
from bsr.plugin.estimate import duration
from plugin_support import ONE_CASE, REPOSITORY, SMOKE, Ended, Suite, suite
from synthetic import CONTROLLED

__all__ = ["suite"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite(tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def ended(folder: Suite) -> Ended:
    """Two experiments that share a Run: bs32 at the tuned rate and loss mse."""
    return folder.run(
        *SMOKE, "--bsr-experiments=batch-size,loss,label-distribution", "--bsr-tasks=mean", "--bsr-epochs=2",
        "--benchmark-json=run.json",
    )  # fmt: skip


@pytest.fixture
def benchmarks(folder: Suite, ended: Ended) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.output
    return [
        found
        for found in folder.json()["benchmarks"]
        if "task" in found["params"] and len(found["params"]) > 1
    ]


def collected(suite: Suite, *arguments: str) -> list[str]:
    output = suite.run("--collect-only", "-q", *arguments).output
    return re.findall(r"^\S+::(\S+)$", output, flags=re.MULTILINE)


def test_the_default_is_one_case_per_task_and_batch_size(suite: Suite) -> None:
    cases = collected(suite)
    assert len(cases) == 28 + 4 + 1  # and the labels of each task, and the loops
    assert cases[0] == "test_batch_size[mean-bs16-seed16]"
    assert {case.split("[")[0] for case in cases} == {
        "test_batch_size",
        "test_label_distribution",
        "test_harness",
    }


def test_every_experiment_of_the_study_is_collected_when_it_is_chosen(suite: Suite) -> None:
    cases = collected(suite, "--bsr-preset=study", "--bsr-runs=1")
    expected = plan(PRESETS["study"].experiments, PRESETS["study"].grid)
    names = {f"test_{name.replace('-', '_').replace('0.01', '001')}" for name in expected}
    assert {case.split("[")[0] for case in cases} == names
    assert set(EXPERIMENTS) - set(expected) == {"harness", *CONTROLLED}


def test_every_experiment_has_a_module() -> None:
    modules = {path.stem for path in (REPOSITORY / "benchmarks").glob("test_*.py")}
    assert modules == {f"test_{name.replace('-', '_').replace('0.01', '001')}" for name in EXPERIMENTS}


def test_looking_at_the_cases_leaves_nothing_behind(suite: Suite, tmp_path: Path) -> None:
    collected(suite, "--benchmark-json=run.json")
    suite.run("--setup-plan", "--benchmark-json=run.json")
    assert not {name for name in suite.left_behind() if "run" in name or name == ".bsr"}


def test_what_was_not_chosen_is_named_when_nothing_else_was(suite: Suite) -> None:
    ended = suite.run(f"{REPOSITORY}/benchmarks/test_loss.py", f"{REPOSITORY}/benchmarks/test_longer.py")
    assert ended.code == 5
    assert "bsr: not chosen: longer, loss; choose with --bsr-experiments" in ended.output


def test_an_experiment_of_which_no_run_is_left_is_named_with_what_left_none(suite: Suite) -> None:
    ended = suite.run("--bsr-preset=smoke", "--bsr-experiments=longer", "--bsr-tasks=mean")
    assert ended.code == 5
    assert (
        "bsr: longer: expected runs with tasks mean and batch sizes 32, 256, got none; choose others with "
        "--bsr-tasks or --bsr-batch-sizes"
    ) in ended.output.splitlines()


def test_what_an_option_names_and_no_experiment_trains_is_named(suite: Suite) -> None:
    ended = suite.run(
        "--bsr-preset=smoke",
        "--bsr-experiments=longer",
        "--bsr-tasks=mean,median",
        "--bsr-batch-sizes=100,128",
        "--collect-only",
    )
    both = "got none, since longer has those of"
    for line in (
        f"bsr: --bsr-tasks: expected runs of median, {both} mean alone",
        f"bsr: --bsr-batch-sizes: expected runs of 100, {both} 128 alone",
    ):
        assert line in ended.output.splitlines()


def test_an_experiment_without_a_module_is_named(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_mine(): ...\n")
    ended = suite.run("test_own.py", "--bsr-experiments=loss")
    assert (
        "bsr: loss: expected a test marked pytest.mark.experiment('loss'), got none among those read; "
        "see docs/adding.md"
    ) in ended.output.splitlines()


def test_nothing_is_said_of_what_a_preset_names_where_a_part_of_it_was_asked_for(suite: Suite) -> None:
    part = f"{REPOSITORY}/benchmarks/test_label_distribution.py"
    ended = suite.run("--collect-only", part, "--bsr-preset=study", "--bsr-tasks=mean")
    assert "got none" not in ended.output


def test_a_case_that_was_deselected_is_no_module_that_is_missing(suite: Suite) -> None:
    ended = suite.run("--bsr-experiments=loss", "-k", "none_of_that_name")
    assert ended.code == 5
    assert "expected a test marked" not in ended.output


def test_a_marker_with_an_unknown_experiment_is_refused(suite: Suite, tmp_path: Path) -> None:
    module = "import pytest\n@pytest.mark.experiment('bach-size')\ndef test_it(measure): ...\n"
    (tmp_path / "test_it.py").write_text(module)
    ended = suite.run("test_it.py")
    assert ended.code == 2
    assert "marker experiment: expected one of batch-size, std-at-0.01" in ended.output


def test_two_experiments_that_need_the_same_run_train_it_once(
    folder: Suite, benchmarks: list[dict[str, Any]]
) -> None:
    shared = [case for case in folder.cases() if len(case["cases"]) == 2]
    assert [case["cases"] for case in shared] == [
        {"batch-size": "mean-bs32-seed32", "loss": "mean-bs32-seed32-mse"}
    ]
    records = (folder.folder / "run.journal.jsonl").read_text().count(f'"key":"{shared[0]["key"]}"')
    assert records == 1
    both = [found for found in benchmarks if found["extra_info"]["key"] == shared[0]["key"]]
    assert len(both) == 2
    assert both[0]["stats"]["data"] == both[1]["stats"]["data"]


def test_a_run_that_two_experiments_need_counts_once_in_every_line(ended: Ended) -> None:
    assert "bsr: smoke: 3 cases" in ended.output
    assert [line for line in ended.output.splitlines() if line.startswith("  mean-")][-1].endswith("[3/3]")
    assert "bsr: 3 of 3 cases finished" in ended.output


def test_the_measured_time_is_the_training_time_and_nothing_else(
    folder: Suite, benchmarks: list[dict[str, Any]]
) -> None:
    assert len(benchmarks) == 4
    results = {case["key"]: case["result"] for case in folder.cases()}
    for benchmark in benchmarks:
        seconds = sum(results[benchmark["extra_info"]["key"]]["training_seconds"])
        assert benchmark["stats"]["data"] == [seconds]
        assert benchmark["extra_info"]["training_seconds"] == seconds


def test_the_timer_has_a_name_and_no_address(benchmarks: list[dict[str, Any]]) -> None:
    assert {benchmark["options"]["timer"] for benchmark in benchmarks} == {"training_seconds"}


def test_each_case_trains_once(benchmarks: list[dict[str, Any]]) -> None:
    assert {(found["stats"]["rounds"], found["stats"]["iterations"]) for found in benchmarks} == {(1, 1)}


def test_parameters_are_plain_values(benchmarks: list[dict[str, Any]]) -> None:
    assert benchmarks[0]["params"] == {"task": "mean", "batch_size": 32, "seed": 32}
    assert benchmarks[2]["params"] == {"task": "mean", "batch_size": 32, "seed": 32, "loss": "mse"}


def test_extra_info_begins_with_the_figures(folder: Suite, benchmarks: list[dict[str, Any]]) -> None:
    info = benchmarks[0]["extra_info"]
    assert list(info)[:5] == ["final_mse", "normalised_mse", "training_seconds", "seed", "status"]
    result = folder.cases()[0]["result"]
    assert info["final_mse"] == result["test_mse"][-1]
    assert [info["training_mse"]] == result["training_mse"]
    assert info["normalised_mse"] == info["final_mse"] / result["baseline_mse"]


def test_groups_name_the_task_the_engine_and_how_it_was_timed(benchmarks: list[dict[str, Any]]) -> None:
    assert {benchmark["group"] for benchmark in benchmarks} == {"mean, eager, timed alone"}


def test_label_distributions_are_recorded_without_training(folder: Suite, ended: Ended) -> None:
    (described,) = folder.json()["bsr"]["labels"]
    assert (described["task"], described["split"], described["count"]) == ("mean", "train", 60_000)
    assert described["mean"] == pytest.approx(33.318, abs=1e-3)


def test_the_header_says_which_part_of_the_study_it_is_and_how_long_it_takes(ended: Ended) -> None:
    assert "bsr: smoke: 3 cases, of the study's main experiment 2 of 280 runs, 2 of 10 epochs" in ended.output
    assert re.search(r"^bsr: expected time \d+ s$", ended.output, re.MULTILINE)
    assert "larger presets" not in ended.output  # what a part of the images takes says nothing of all
    assert "bsr: journal run.journal.jsonl" in ended.output


def test_our_table_stands_in_the_place_of_the_hosts(ended: Ended) -> None:
    assert "Name (time in s)" not in ended.output


def test_the_hosts_table_is_shown_beside_benchmarks_of_ones_own(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import pytest\n"
        "def test_mine(benchmark): benchmark(len, '')\n"
        "@pytest.mark.experiment('batch-size')\n"
        "def test_it(run, measure): measure(run)\n"
    )
    ended = suite.run("test_own.py", *ONE_CASE[:-2], "-k", "mine or mean-bs256")
    headings = [line.split() for line in ended.output.splitlines() if line.startswith("Name (time in s)")]
    assert headings == [["Name", "(time", "in", "s)", "Mean"]] * 2


def test_options_that_mean_nothing_of_one_round_are_named(suite: Suite) -> None:
    ended = suite.run(*ONE_CASE, "--benchmark-min-rounds=3")
    assert "bsr: --benchmark-min-rounds says nothing of cases that train once; for more runs: --bsr-runs" in (
        ended.output
    )


def test_the_tables_at_the_end_have_error_and_speed_per_batch_size(ended: Ended) -> None:
    table = ended.output[ended.output.index("batch-size: final test MSE") :]
    heading = "task  batch size  setting  seeds  MSE mean  median  min  max  normalised  seconds  images/s"
    assert table.splitlines()[1].split() == heading.split()
    assert table.splitlines()[2].split()[:3] == ["mean", "32", "1"]
    assert " mae " in table


def test_the_last_lines_say_where_everything_is_and_how_to_draw_it(ended: Ended) -> None:
    assert ended.output.splitlines()[-5:-1] == [
        "bsr: 3 of 3 cases finished",
        "bsr: journal run.journal.jsonl",
        "bsr: records run.json",
        "bsr: draw them with: python -m reports run.json",
    ]


def test_the_user_may_choose_other_columns_and_groups(suite: Suite) -> None:
    ended = suite.run(
        *SMOKE, "--bsr-epochs=1", "-k", "mean", "--benchmark-columns=min,rounds", "--benchmark-sort=min",
        "--benchmark-group-by=param:batch_size", PYTEST_ADDOPTS="--benchmark-time-unit=ms",
    )  # fmt: skip
    assert "benchmark 'batch_size=32'" in ended.output
    assert re.search(r"Name \(time in ms\)\s+Min\s+Rounds", ended.output)


def test_without_a_json_the_journal_lies_where_the_header_says(suite: Suite, tmp_path: Path) -> None:
    ended = suite.run(*ONE_CASE)
    journal = tmp_path / ".bsr" / "smoke.journal.jsonl"
    assert f"bsr: journal {journal}" in ended.output
    assert journal.exists()
    assert suite.run(*ONE_CASE).code == 0  # the same command twice
    assert len(list(journal.parent.glob("*.finished-*"))) == 1  # and no JSON has superseded the first


@pytest.mark.parametrize("flag", ["-q", "-v", "-s"])
def test_a_case_has_its_line_however_much_pytest_says(suite: Suite, flag: str) -> None:
    ended = suite.run(*ONE_CASE, flag)
    (line,) = [line for line in ended.output.splitlines() if line.startswith("  mean-bs256-seed256 ")]
    assert re.fullmatch(
        r"  mean-bs256-seed256 +MSE 191\.7 \(1\.66 of the best constant\)  \d\.\d\d s  \[1/1\]", line
    )


def test_benchmarks_may_be_switched_off_when_nothing_is_to_be_recorded(suite: Suite) -> None:
    ended = suite.run(*ONE_CASE, "--benchmark-disable")
    assert ended.code == 0
    assert "MSE 191.7" in ended.output


def test_skipping_all_benchmarks_begins_nothing(suite: Suite) -> None:
    ended = suite.run(*ONE_CASE, "--benchmark-skip")
    assert "1 skipped" in ended.output
    assert ".bsr" not in suite.left_behind()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (230, "3 min 50 s"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_number_of_the_last_table_is_cut_however_long_its_settings_are(suite: Suite) -> None:
    ended = suite.run(
        *SMOKE, "--bsr-experiments=tune", "-k", "std-bs256 and 586 or std-bs256 and 8steps-linear"
    )
    table = ended.output[ended.output.index("tune: final validation MSE") :].split("bsr: ")[0]
    assert "linear" in table
    assert "\N{HORIZONTAL ELLIPSIS}" not in table
