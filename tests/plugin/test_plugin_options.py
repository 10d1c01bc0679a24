"""What cannot be is refused before the first case, in one line: what, expected, got, remedy."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bsr.engines  # noqa: F401 - loads torch before pytester does, which would unload it, and no torch survives that
from bsr.plugin import options
from bsr.plugin.state import state
from plugin_support import ONE_CASE, SMOKE, Suite, suite

__all__ = ["suite"]
pytest_plugins = ["pytester"]


def configured(pytester: pytest.Pytester, *arguments: str) -> options.Options:
    """The options as the plugin reads them from a command line."""
    config = pytester.parseconfigure("-p", "bsr.plugin", *arguments)
    return state(config).options


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--bsr-preset=paperr", "one of smoke, quick, paper, extended, study"),
        ("--bsr-experiments=batch-sizes", "one or more of batch-size, std-at-0.01"),
        ("--bsr-tasks=mean,men", "one or more of mean, std, var, median"),
        ("--bsr-models=wide,wider", "one or more of study, wide, deep, or package.module:attribute"),
        ("--bsr-learning-rates=fast", "rates from 1e-30 to 1e+09, such as 0.001, or mean=0.001,std=0.002"),
        ("--bsr-tasks=", "a value, or the option left out"),
        ("--bsr-dask=", "a value, or the option left out"),
        ("--bsr-save-models= ", "a value, or the option left out"),
        ("--bsr-data=", "a value, or the option left out"),
        ("--bsr-epochs=1_6", "a whole number of at least 1 and at most 100000"),
        ("--bsr-epochs=\N{FULLWIDTH DIGIT ONE}6", "a whole number of at least 1"),
        ("--bsr-epochs=100001", "a whole number of at least 1 and at most 100000"),
        ("--bsr-runs=1000000000", "a whole number of at least 1 and at most 10000"),
        ("--bsr-batch-sizes=16,x", "whole numbers from 1 to 60000, separated by commas"),
        ("--bsr-batch-sizes=0", "whole numbers from 1 to 60000"),
        ("--bsr-batch-sizes=60001", "whole numbers from 1 to 60000"),
        ("--bsr-batch-sizes=16,,32", "whole numbers from 1 to 60000"),
        ("--bsr-runs=0", "a whole number of at least 1"),
        ("--bsr-runs=1.5", "a whole number of at least 1"),
        ("--bsr-seeds=-1", "whole numbers from 0 to 9223372036854775807"),
        ("--bsr-epochs=ten", "a whole number of at least 1"),
        ("--bsr-dataset=CIFAR10", "one of MNIST, FashionMNIST, KMNIST"),
        ("--bsr-device=gpu", "one of auto, cpu, cuda, cuda:N, mps"),
        ("--bsr-device=cuda:x", "one of auto, cpu, cuda, cuda:N, mps"),
        ("--bsr-device=cpu:1", "one of auto, cpu, cuda, cuda:N, mps"),
        ("--bsr-threads=0", "a whole number of at least 1 and at most 1024"),
        ("--bsr-threads=5000", "a whole number of at least 1 and at most 1024"),
        ("--bsr-precision=fp16", "one of float32, tf32, bfloat16"),
        ("--bsr-engine=quick", "one of eager"),
        ("--bsr-workers=-1", "a whole number of at least 0 and at most 1024"),
        ("--bsr-timeout=0", "a number of at least 0.001"),
        ("--bsr-timeout=nan", "a number of at least 0.001"),
        ("--bsr-timeout=inf", "a number of at least 0.001"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected_and_got(
    pytester: pytest.Pytester, argument: str, expected: str
) -> None:
    option, _, value = argument.partition("=")
    with pytest.raises(pytest.UsageError) as refused:
        configured(pytester, argument)
    message = str(refused.value)
    assert message.startswith(f"{option}: expected {expected}")
    assert f"got '{value.split(',')[-1]}" in message or f"got {value!r}" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--bsr-resume-elsewhere"],
            "--bsr-resume-elsewhere: expected --bsr-resume beside it, got 'it alone'",
        ),
        (
            ["--bsr-runs=2", "--bsr-seeds=1"],
            "--bsr-seeds: expected one of --bsr-runs and --bsr-seeds, not both",
        ),
        (
            ["--bsr-dask=local", "--bsr-workers=2"],
            "--bsr-workers: expected one of --bsr-dask and --bsr-workers",
        ),
        (
            ["--bsr-dask-wait=60"],
            "--bsr-dask-wait: expected --bsr-dask beside it, got '60'",
        ),
        (
            ["--bsr-dask=local", "--bsr-engine=auto"],
            "--bsr-engine: expected an engine by name with --bsr-dask",
        ),
        (
            ["--bsr-refine=none.json"],
            "--bsr-refine: none.json: expected a benchmark JSON file, got no such file",
        ),
        (
            ["--bsr-tasks=nowhere_own:task"],
            "--bsr-tasks: task 'nowhere_own:task': expected to import it on",
        ),
        (["--bsr-models=bsr.model:Net"], "--bsr-models: network 'bsr.model:Net': expected to import it on"),
        (["--bsr-dataset=nowhere:images"], "--bsr-dataset: data set 'nowhere:images': expected to import it"),
        (["--bsr-dataset=torch:rand"], "--bsr-dataset: data set 'torch:rand': expected a function without"),
        (
            ["--bsr-dataset=bsr.tasks:mean", "--bsr-data=."],
            "--bsr-data: expected it left out, since --bsr-da",
        ),
        (
            ["--bsr-learning-rates=men=1"],
            "expected a rate for some of the tasks mean, std, var, median, not for",
        ),
        (["--bsr-learning-rates=1,2"], "expected one rate, or TASK=RATE for each task, separated by commas"),
        (
            ["--bsr-learning-rates=1", "--bsr-experiments=optimiser"],
            "--bsr-learning-rates: expected an experiment beside it that does not try rates of its own",
        ),
        (
            ["--bsr-learning-rates=1", "--bsr-experiments=learning-rate,std-at-0.01"],
            "--bsr-learning-rates: expected an experiment beside it that does not try rates of its own",
        ),
        (["--bsr-run-images=4096"], "--bsr-run-images: expected an experiment beside it that trains for so"),
        (
            ["--bsr-test-images=10001"],
            "--bsr-test-images: expected a whole number of at least 1 and at most 10",
        ),
        (["--bsr-batch-sizes=8,16,8"], "--bsr-batch-sizes: expected each value once, got '8 twice'"),
        (["--bsr-tasks=mean,std, mean"], "--bsr-tasks: expected each value once, got 'mean twice'"),
        (
            [f"--bsr-batch-sizes={','.join(map(str, range(1, 50)))}"],
            "whole numbers from 1 to 60000, separated by commas, at most 48",
        ),
        (
            ["--bsr-runs=10000"],
            "bsr: expected a plan that one recording of 128 MiB holds, some ",
        ),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    pytester: pytest.Pytester, arguments: list[str], message: str
) -> None:
    with pytest.raises(pytest.UsageError, match=re.escape(message)):
        configured(pytester, *arguments)


TYPED = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.from_regex(
    r"[0-9]{1,5000}|-?[0-9]{1,3}([.,e][0-9]{0,3}){0,3}", fullmatch=True
)


def test_whatever_is_typed_for_a_number_is_one_in_its_bounds_or_refused_in_one_line(
    pytester: pytest.Pytester,
) -> None:
    config = pytester.parseconfigure("-p", "bsr.plugin")

    @given(
        st.sampled_from(
            ["batch_sizes", "runs", "seeds", "epochs", "test_images", "threads", "workers", "timeout"]
        ),
        TYPED,
    )
    @example("epochs", "9" * 4_000)
    def check(name: str, value: str) -> None:
        setattr(config.option, f"bsr_{name}", value)
        refusal, found = None, None
        try:
            found = options.read(config)
        except pytest.UsageError as error:
            refusal = str(error)
        setattr(config.option, f"bsr_{name}", None)
        if found is None:
            assert refusal is not None
            assert len(refusal.splitlines()) == 1
            assert len(refusal) < 500
        else:
            assert value.isascii()
            assert 1 <= sum(map(len, found.plan.values())) <= 11_000

    check()


def test_what_is_not_given_falls_through_to_the_preset(pytester: pytest.Pytester) -> None:
    found = configured(pytester, "--bsr-preset=smoke", "--bsr-epochs=7", "--bsr-batch-sizes=8,16")
    assert (found.grid.epochs, found.grid.batch_sizes) == (7, (8, 16))
    assert (found.grid.train_images, found.grid.runs) == (1024, 1)
    assert found.execution.engine == "auto"
    assert found.given == {"bsr_preset": "smoke", "bsr_epochs": "7", "bsr_batch_sizes": "8,16"}


def test_seeds_are_the_same_for_every_batch_size_and_runs_follow_the_studys_rule(
    pytester: pytest.Pytester,
) -> None:
    same = configured(pytester, "--bsr-preset=smoke", "--bsr-seeds=7,8", "--bsr-tasks=mean").plan[
        "batch-size"
    ]
    rule = configured(pytester, "--bsr-preset=smoke", "--bsr-runs=2", "--bsr-tasks=mean").plan["batch-size"]
    assert list(same) == ["mean-bs32-seed7", "mean-bs32-seed8", "mean-bs256-seed7", "mean-bs256-seed8"]
    assert list(rule) == ["mean-bs32-seed32", "mean-bs32-seed33", "mean-bs256-seed256", "mean-bs256-seed257"]


def test_the_hosts_table_keeps_what_the_user_chose_anywhere(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--benchmark-sort=max")
    pytester.makeini("[pytest]\naddopts = --benchmark-columns min,max")
    config = pytester.parseconfigure("-p", "bsr.plugin")
    assert config.option.benchmark_columns == ["min", "max"]
    assert config.option.benchmark_sort == "max"
    assert config.option.benchmark_time_unit == "s"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("run.jsn", "expected a path that ends in .json or .json.gz, got 'run.jsn'; rename it"),
        ("nowhere/run.json", "expected an existing folder, got no nowhere; make it first"),
        ("folder.json", "expected a file, got something else of that name; choose a new name"),
        ("other.json", "expected a benchmark JSON to replace, got another file; choose a new name"),
        ("notes.json", "expected a benchmark JSON to replace, got another file; choose a new name"),
    ],
)
def test_an_output_that_cannot_be_is_refused_and_nothing_is_touched(
    pytester: pytest.Pytester, path: str, message: str
) -> None:
    (pytester.path / "folder.json").mkdir()
    (pytester.path / "other.json").write_text('{"some": "configuration"}')
    (pytester.path / "notes.json").write_text("no JSON at all")
    before = sorted(pytester.path.iterdir())
    with pytest.raises(pytest.UsageError, match=re.escape(f"--benchmark-json={path}: {message}")):
        configured(pytester, f"--benchmark-json={path}")
    assert sorted(pytester.path.iterdir()) == before
    assert (pytester.path / "notes.json").read_text() == "no JSON at all"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere"
)
def test_a_folder_that_cannot_be_written_is_refused(pytester: pytest.Pytester) -> None:
    pytester.mkdir("locked").chmod(0o500)
    with pytest.raises(pytest.UsageError, match="expected a writable folder"):
        configured(pytester, "--benchmark-json=locked/run.json")


def test_a_module_is_not_overwritten_by_a_slip_of_the_finger(suite: Suite, tmp_path: Path) -> None:
    module = tmp_path / "test_mine.py"
    module.write_text("def test_mine(benchmark): benchmark(len, '')\n")
    ended = suite.run("test_mine.py", "--benchmark-json=test_mine.py")
    assert ended.code == 4
    (said,) = ended.errors
    assert said.startswith("--benchmark-json=test_mine.py: expected a path that ends in .json or .json.gz")
    assert module.read_text().startswith("def test_mine")


def test_json_without_a_path_shows_the_right_line(suite: Suite) -> None:
    ended = suite.run("--benchmark-json")
    assert ended.code == 4
    assert "pytest benchmarks --benchmark-json=benchmarks/results/mine.json" in ended.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bsr-device=cuda:99"], "--bsr-device: expected one of the"),
        (
            ["--bsr-precision=tf32", "--bsr-device=cpu"],
            "--bsr-precision: expected a CUDA device for tf32, got cpu",
        ),
        (["--bsr-save-models=file"], "--bsr-save-models=file: expected a writable folder, got"),
        (
            ["--benchmark-disable"],
            "--benchmark-disable: expected measured benchmarks since a JSON was asked for",
        ),
        (
            ["--benchmark-skip"],
            "--benchmark-skip: expected measured benchmarks since a JSON was asked for",
        ),
        (["-p", "no:benchmark"], "pytest-benchmark: expected it to measure the cases, got none"),
    ],
)
def test_what_only_a_session_can_know_is_refused_before_its_first_case(
    suite: Suite, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    output = () if "no:benchmark" in arguments else ("--benchmark-json=run.json",)
    ended = suite.run(*ONE_CASE, *output, *arguments)
    assert ended.code == 4, ended.output
    (error,) = ended.errors
    assert error.startswith(message)
    assert "run.json" not in suite.left_behind()
    assert suite.journal_lines() == 0


@pytest.mark.slow
@pytest.mark.parametrize("output", [(), ("--benchmark-json=run.json",)])
def test_xdist_is_refused(suite: Suite, output: tuple[str, ...]) -> None:
    pytest.importorskip("xdist")
    ended = suite.run(*ONE_CASE, "-n1", *output)
    assert ended.code == 4, ended.output
    (error,) = ended.errors
    assert error.startswith("pytest-xdist: expected one session, got several")
    assert error.endswith("leave out -n, and use --bsr-workers for many runs at once")
    assert not {"run.json", ".bsr"} & suite.left_behind()


def test_two_sessions_on_one_json_are_refused_until_the_first_is_gone(suite: Suite) -> None:
    first = suite.start(*SMOKE, "--bsr-epochs=1000", "--benchmark-json=run.json")
    first.until_it_says("bsr: journal")
    second = suite.run(*SMOKE, "--benchmark-json=run.json")
    assert second.code == 4
    (error,) = second.errors
    assert error.startswith(
        f"run.journal.jsonl: expected no other session there, got one that runs (process {first.pid} on "
    )
    (suite.folder / "link.json").symlink_to("run.json")
    through_a_link = suite.run(*SMOKE, "--benchmark-json=link.json")
    assert "expected no other session there" in through_a_link.errors[0]
    first.send(signal.SIGKILL)
    first.wait()
    third = suite.run(*ONE_CASE, "--benchmark-json=run.json", "--bsr-resume")  # the lock went with its owner
    assert "the journal has" in third.errors[0]
