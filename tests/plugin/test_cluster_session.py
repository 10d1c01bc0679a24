"""A session whose Runs a Dask cluster computes; what the harness and a second look at rates need of one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import synthetic
from bsr.experiments import Grid
from bsr.experiments.original import LOG_GRID, REFINEMENT
from bsr.plugin.refinement import RefinementError, best_rates
from plugin_support import ONE_CASE, TWO_CASES, Suite, suite, timeless

__all__ = ["suite"]


@pytest.mark.slow
def test_a_session_on_a_cluster_records_what_one_in_this_process_does(suite: Suite) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    there = suite.run(*TWO_CASES, "--bsr-dask", "local", "--benchmark-json=there.json", fresh=True)
    assert there.code == 0, there.output
    assert suite.run(*TWO_CASES, "--benchmark-json=here.json").code == 0
    mine, theirs = (
        {case["key"]: case["result"] for case in suite.cases(name)} for name in ("here.json", "there.json")
    )
    assert mine.keys() == theirs.keys()
    for key, result in mine.items():
        assert timeless(theirs[key]["test_mse"]) == timeless(result["test_mse"])
        assert theirs[key]["order_digest"] == result["order_digest"]
    assert set(suite.journalled("there.json").values()) == {"ok"}


@pytest.mark.slow
def test_workers_and_a_cluster_are_not_asked_for_together(suite: Suite) -> None:
    ended = suite.run(*ONE_CASE, "--bsr-dask", "local", "--bsr-workers", "2")
    assert ended.errors == ["--bsr-workers: expected one of --bsr-dask and --bsr-workers, not both, got '2'"]


def recorded(folder: Path, **arguments: object) -> Path:
    return synthetic.write(folder / "rates.json", synthetic.session(**arguments))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_second_look_collects_the_study_s_multiples_of_the_best_rate(suite: Suite) -> None:
    grid = Grid(tasks=("mean", "std"), batch_sizes=(32,), runs=2, epochs=2)
    path = recorded(suite.folder, grid=grid, experiments=("learning-rate",))
    best = dict(best_rates(path))
    assert set(best) == {"mean", "std"}
    assert set(best.values()) <= set(LOG_GRID)
    ended = suite.run("--bsr-preset", "smoke", "--bsr-refine", str(path), "--collect-only", "-q")
    for task, rate in best.items():
        for factor in REFINEMENT:
            assert f"[{task}-bs32-seed32-lr{rate * factor:g}]" in ended.output
    assert "batch_size.py" not in ended.output


def test_a_second_look_begins_at_the_best_rate_of_the_batch_size_that_it_trains(tmp_path: Path) -> None:
    """Another batch size of the same file has a best rate of its own."""
    session = synthetic.session(("learning-rate",), Grid(tasks=("mean",), runs=2, epochs=2))
    moved = [replace(case.result.run, batch_size=1024) for case in session.cases]
    results = [
        replace(case.result, run=run, test_mse=(9.0, 9.0, 1e9 * run.learning_rate))
        for case, run in zip(session.cases, moved, strict=True)
    ]
    worse = tuple(
        replace(case, key=result.run.key, result=result)
        for case, result in zip(session.cases, results, strict=True)
    )
    alone = synthetic.write(tmp_path / "alone.json", session)
    both = synthetic.write(tmp_path / "both.json", replace(session, cases=(*worse, *session.cases)))
    assert best_rates(both) == best_rates(alone)


def test_a_second_look_without_a_log_grid_says_how_to_record_one(suite: Suite, tmp_path: Path) -> None:
    path = recorded(tmp_path, grid=Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=2))
    with pytest.raises(RefinementError, match="expected a finished log grid of learning rates, got none"):
        best_rates(path)
    ended = suite.run("--bsr-refine", str(tmp_path / "none.json"), "--collect-only")
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(f"--bsr-refine: {tmp_path / 'none.json'}: expected a benchmark JSON")


def test_the_advice_where_a_file_has_no_log_grid_does_not_overwrite_it(tmp_path: Path) -> None:
    path = recorded(tmp_path, grid=Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=1))
    with pytest.raises(RefinementError, match="got none; record one with: pytest benchmarks") as refused:
        best_rates(path)
    assert "--benchmark-json=rates-rates.json" in str(refused.value)
    assert f"--benchmark-json={path}" not in str(refused.value)
