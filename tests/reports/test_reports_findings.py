"""Findings: what was planted is found, what is not there is not claimed, and what n cannot carry is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthetic
from bsr import stats
from bsr.experiments import Grid
from bsr.records.reading import Recording
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result, Status
from bsr.run import Run
from reports.analysis.study import Effects
from reports.cells import Cells
from reports.chapters import figures, findings, tables
from reports.chapters.answer import _part
from reports.text.table import Table
from reports.text.verdicts import Finding, Findings, trend_text

SIZES = (2, 8, 32, 128, 512, 2048)
GRID = Grid(tasks=("mean", "std", "var"), batch_sizes=SIZES, runs=8, epochs=4)


def of(session: SessionRecord) -> Findings:
    return findings(Cells(Recording(path=Path("run.json"), session=session)))


def one(found: Findings, name: str) -> Finding:
    return next(finding for finding in found.all if finding.name == name)


def planted(final: Callable[[Run], float], spread: float = 0.3) -> Callable[[Run], dict[str, Any]]:
    """Every run's curve ends at `final` of it, times log-normal noise; from 1000 down, halving each epoch."""

    def fields(run: Run) -> dict[str, Any]:
        noise = math.exp(spread * np.random.default_rng(int(run.key, 16)).normal())
        end = final(run) * noise
        curve = tuple(end * 2.0 ** (run.epochs - epoch) for epoch in range(run.epochs + 1))
        return {"test_mse": curve, "test_mae": curve}

    return fields


def rising(run: Run) -> float:
    return 0.3 * math.exp(0.2 * math.log(run.batch_size))


def flat(_run: Run) -> float:
    return 0.3


def valley(run: Run) -> float:
    return 0.2 * math.exp2(0.5 * abs(math.log2(run.batch_size / 32)))


def test_a_planted_rise_is_found_and_the_question_answered() -> None:
    found = of(synthetic.session(grid=GRID, circumstances=planted(rising)))
    assert found.answer.verdict == "shown"
    assert found.answer.sentence.startswith("After the same number of epochs, yes. Of batch sizes 2 to 2048 ")
    assert "one seed's noise is 1." in found.answer.sentence
    higher = one(found, "higher-error")
    assert (higher.verdict, higher.statistics[0].split(",")[1]) == ("shown", " p = 0.0001")
    assert "n = 8 seeds per batch size" in higher.sentence


def test_no_turning_point_is_named_where_the_error_only_rises() -> None:
    higher = one(of(synthetic.session(grid=GRID, circumstances=planted(rising))), "higher-error")
    assert all("no turning point found (p = " in line for line in higher.statistics[1:])


def test_a_run_that_was_cut_short_does_not_keep_the_others_from_being_ordered() -> None:
    def one_too_long(run: Run) -> Status:
        return "timed_out" if (run.task, run.batch_size, run.seed) == ("mean", 32, 33) else "ok"

    def later(run: Run) -> dict[str, Any]:
        curve = tuple(0.5 if epoch > math.log2(run.batch_size) // 3 else 100.0 for epoch in range(5))
        cut = 3 if one_too_long(run) == "timed_out" else 5
        return {"test_mse": curve[:cut], "test_mae": curve[:cut]}

    found = of(synthetic.session(grid=GRID, disturb=one_too_long, circumstances=later))
    assert one(found, "slower-convergence-epochs").verdict == "shown"


def test_what_does_not_follow_the_batch_size_is_not_claimed_and_not_denied() -> None:
    found = of(synthetic.session(grid=GRID, circumstances=planted(flat)))
    assert found.answer.verdict == "not shown"
    assert "no evidence that there is no effect" in found.answer.sentence
    assert one(found, "higher-error").verdict == "not shown"


def test_a_valley_is_no_simple_rise_and_its_turning_points_are_named() -> None:
    higher = one(of(synthetic.session(grid=GRID, circumstances=planted(valley))), "higher-error")
    assert higher.verdict == "not shown"
    assert "it falls up to 32 (mean), 32 (std) and 32 (var), then rises" in higher.sentence


def test_the_best_batch_size_of_a_valley_is_within_the_claimed_range() -> None:
    best = one(of(synthetic.session(grid=GRID, circumstances=planted(valley, 0.1))), "best-batch-size")
    assert (best.verdict, best.sentence) == (
        "shown",
        "Final MSE by task: mean: lowest at 32; std: lowest at 32; var: lowest at 32.",
    )


def test_a_best_batch_size_at_the_edge_of_the_grid_is_flagged() -> None:
    grid = Grid(tasks=("mean",), batch_sizes=(16, 32, 256, 1024), runs=8, epochs=4)
    best = one(of(synthetic.session(grid=grid, circumstances=planted(rising, 0.02))), "best-batch-size")
    assert best.verdict == "cannot tell"
    assert "at the edge of what was measured" in best.statistics[0]


@pytest.mark.parametrize(
    ("law", "verdict"),
    [(lambda run: math.exp(run.batch_size / 400), "shown"), (rising, "not shown")],
    ids=["exponential", "power"],
)
def test_the_law_of_growth_is_told(law: Callable[[Run], float], verdict: str) -> None:
    found = of(synthetic.session(grid=GRID, circumstances=planted(law, 0.1)))
    assert one(found, "exponential").verdict == verdict


def test_one_seed_carries_a_rank_correlation_and_nothing_about_seeds() -> None:
    grid = Grid(tasks=("mean",), runs=1, epochs=4)
    found = of(synthetic.session(grid=grid, circumstances=planted(rising, 0.0)))
    higher = one(found, "higher-error")
    assert higher.statistics[0] == "All tasks: rank correlation 1.0, n = 7 cells, 7 runs"
    assert (higher.verdict, higher.sentence) == ("cannot tell", f"{higher.statistics[0]}.")
    said = (
        "Of batch sizes 16 to 1024 the worst ends with 2.3 times the error of the best. With each doubling "
    )
    assert found.answer.sentence.startswith(said)
    assert found.answer.verdict == "cannot tell"
    assert one(found, "asymmetry").verdict == "cannot tell"
    assert one(found, "best-batch-size").verdict == "cannot tell"


def test_one_batch_size_answers_nothing_about_batch_sizes() -> None:
    found = of(synthetic.session(grid=Grid(batch_sizes=(64,), runs=3, epochs=4)))
    names = (
        "question",
        "higher-error",
        "best-batch-size",
        "exponential",
        "less-time",
        "slower-convergence-epochs",
    )
    assert {one(found, name).verdict for name in names} == {"cannot tell"}


def test_a_degenerate_task_is_explained_last_and_supports_no_verdict_about_learning() -> None:
    both = of(synthetic.session(grid=Grid(tasks=("median", "mean"), runs=3, epochs=4)))
    alone = of(synthetic.session(grid=Grid(tasks=("mean",), runs=3, epochs=4)))
    (collapse,) = both.degenerate
    assert both.all[-1] is collapse
    assert "every test label is the same, so there is nothing to learn" in collapse.sentence
    names = (
        "question",
        "higher-error",
        "best-batch-size",
        "exponential",
        "slower-convergence-epochs",
        "asymmetry",
    )
    assert [one(both, name) for name in names] == [one(alone, name) for name in names]


def test_models_that_do_not_collapse_are_counted() -> None:
    def collapse(run: Run) -> dict[str, Any]:
        end = 0.0 if run.seed % 2 else 0.1
        return {"test_mse": (0.4, 0.2, end), "test_mae": (0.4, 0.2, end)}

    grid = Grid(tasks=("median",), batch_sizes=(16, 32), runs=4, epochs=2)
    (finding,) = of(synthetic.session(grid=grid, circumstances=collapse)).degenerate
    assert "4 of 8 models stay above an MSE of 0.001" in finding.sentence
    assert finding.verdict == "shown"
    assert finding.statistics == (
        "median: 4 of 8 models stay above an MSE of 0.001",
        "batch size 16: 2 of 4",
        "batch size 32: 2 of 4",
    )


def test_only_a_degenerate_task_leaves_every_conclusion_about_learning_open() -> None:
    found = of(synthetic.session(grid=Grid(tasks=("median",), runs=3, epochs=4)))
    assert {finding.verdict for finding in found.learning if finding.name != "less-time"} == {"cannot tell"}


def test_less_time_is_judged_within_each_way_of_timing() -> None:
    def busy_when_large(run: Run) -> dict[str, Any]:
        return {"beside": 3} if run.batch_size > 64 else {}

    less = one(
        of(synthetic.session(grid=Grid(tasks=("mean",), runs=4, epochs=4), circumstances=busy_when_large)),
        "less-time",
    )
    assert [line.partition(":")[0] for line in less.statistics] == [
        "eager, 2 threads, alone",
        "eager, 2 threads, in parallel with 3 other runs",
    ]
    assert less.verdict == "shown"


def test_a_difference_in_time_that_drift_explains_is_none() -> None:
    def drifting(run: Run) -> dict[str, Any]:
        return {"training_seconds": (1 - 0.002 * math.log2(run.batch_size),) * run.epochs}

    grid = Grid(tasks=("mean", "std"), runs=4, epochs=4)
    less = one(of(synthetic.session(grid=grid, circumstances=drifting)), "less-time")
    assert less.verdict == "not shown"
    assert "1.01 times as fast at 1024 as at 16" in less.sentence
    assert "p = 0.0001" in less.statistics[0]
    assert less.statistics[0].endswith("less than 1.05-fold is no more than a machine drifts in an hour")


def test_slower_convergence_in_epochs_is_found_and_steps_are_not_claimed() -> None:
    def later(run: Run) -> dict[str, Any]:
        reached = 2 + int(math.log2(run.batch_size)) // 3
        curve = tuple(0.5 if epoch >= reached else 100.0 for epoch in range(run.epochs + 1))
        return {"test_mse": curve, "test_mae": curve}

    grid = Grid(tasks=("mean",), batch_sizes=(2, 16, 128, 1024), runs=4, epochs=6)
    found = of(synthetic.session(grid=grid, circumstances=later))
    assert one(found, "slower-convergence-epochs").verdict == "shown"
    assert one(found, "slower-convergence-steps").verdict == "not shown"


def test_fluctuation_is_judged_at_each_rate() -> None:
    def shaky(run: Run) -> dict[str, Any]:
        stream = np.random.default_rng(int(run.key, 16))
        size = 0.05 * math.log2(run.batch_size) if run.learning_rate == 0.01 else 0.2
        curve = tuple(np.exp(size * stream.normal(size=run.epochs + 1)).tolist())
        return {"test_mse": curve, "test_mae": curve}

    grid = Grid(tasks=("std",), runs=6, epochs=10)
    found = of(synthetic.session(("batch-size", "std-at-0.01"), grid, circumstances=shaky))
    assert one(found, "std-fluctuates-std-at-0.01").verdict == "shown"
    assert one(found, "std-fluctuates-batch-size").verdict == "not shown"


def test_adam_is_compared_with_sgd_each_at_its_best_rate() -> None:
    adam = one(of(synthetic.session(("optimiser",), Grid(runs=8, epochs=4))), "adam")
    assert adam.verdict == "shown"
    assert "Adam at 0.001 against SGD at 10⁻" in adam.statistics[0]
    assert "8 pairs" in adam.statistics[0]
    assert "SGD 32 of 72" in adam.statistics[1]


def test_an_optimiser_that_always_diverged_is_reported_and_not_compared() -> None:
    def diverges(run: Run) -> Status:
        return "diverged" if run.optimiser == "sgd" else "ok"

    adam = one(of(synthetic.session(("optimiser",), Grid(runs=3, epochs=4), diverges)), "adam")
    assert adam.verdict == "cannot tell"
    assert "one of them has no run with a final MSE" in adam.sentence
    assert "SGD 27 of 27" in adam.statistics[0]


@pytest.mark.parametrize(("factor", "verdict"), [(1.6, "shown"), (1.0, "not shown")])
def test_the_losses_are_compared_on_both_measures(factor: float, verdict: str) -> None:
    def end(run: Run) -> float:
        return factor if run.loss == "mae" else 1.0

    loss = one(
        of(synthetic.session(("loss",), Grid(runs=8, epochs=4), circumstances=planted(end, 0.1))), "mse-loss"
    )
    assert loss.verdict == verdict
    assert sum("test MSE" in line for line in loss.statistics) == 3
    assert sum("test MAE" in line for line in loss.statistics) == 3


@pytest.mark.parametrize(("turn", "verdict"), [(1, "shown"), (-1, "not shown")])
def test_longer_training_is_judged_by_the_same_runs(turn: int, verdict: str) -> None:
    def bent(run: Run) -> dict[str, Any]:
        noise = np.random.default_rng(int(run.key, 16)).lognormal(0, 0.05, run.epochs + 1)
        curve = tuple(float(math.exp(turn * 0.05 * epoch) * noise[epoch]) for epoch in range(run.epochs + 1))
        return {"test_mse": curve, "test_mae": curve}

    grid = Grid(tasks=("mean",), batch_sizes=(16, 128), runs=4, epochs=4)
    longer = one(of(synthetic.session(("longer",), grid, circumstances=bent)), "overfitting")
    assert longer.verdict == verdict
    assert "8 pairs" in longer.statistics[0]


def test_seeds_that_reach_upwards_are_told_by_their_cells() -> None:
    spread = one(of(synthetic.session(grid=GRID, circumstances=planted(flat, 0.8))), "asymmetry")
    assert spread.verdict == "shown"
    assert "of 18 cells" in spread.sentence


def test_a_conclusion_that_was_not_measured_names_the_command() -> None:
    found = of(synthetic.session(grid=Grid(tasks=("mean",), runs=1, epochs=2), preset="quick"))
    missing = one(found, "mse-loss-loss")
    assert missing.verdict == "cannot tell"
    line = "pytest benchmarks --benchmark-json=run.json --bsr-experiments loss"
    assert missing.statistics == (f"Measure it: {line}",)


def test_every_conclusion_of_the_study_is_put_to_the_data() -> None:
    from bsr.published import CLAIMS

    whole = of(synthetic.session(synthetic.EPOCH_BASED, Grid(batch_sizes=(16, 128, 1024), runs=3)))
    for claim in CLAIMS.values():
        assert any(finding.claim.startswith(claim) for finding in whole.all), claim
    assert all(finding.statistics for finding in whole.all)


def table(session: SessionRecord, name: str) -> Table:
    made = tables(Cells(Recording(path=Path("run.json"), session=session)))
    return next(entry for entry in made if entry.name == name)


def test_a_table_row_is_the_arithmetic_of_its_runs() -> None:
    session = synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(16,), runs=3, epochs=2))
    results: list[Result] = [case.result for case in session.cases]
    finals = [result.final_mse for result in results if result.final_mse is not None]
    errors = table(session, "errors")
    row = dict(zip(errors.header, errors.rows[0], strict=True))
    assert row["mean MSE"] == pytest.approx(sum(finals) / 3)
    assert (row["lowest seed"], row["highest seed"], row["seeds"]) == (min(finals), max(finals), 3)
    assert row["normalised MSE"] == pytest.approx(sum(finals) / 3 / 124.442)
    times = table(session, "times")
    timed = dict(zip(times.header, times.rows[0], strict=True))
    assert timed["training s"] == pytest.approx(sum(result.total_training_seconds for result in results) / 3)


def test_every_epoch_of_every_run_is_in_a_file() -> None:
    session = synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(16, 32), runs=2, epochs=3))
    epochs = table(session, "epochs")
    assert len(epochs.rows) == 2 * 2 * 4
    first = dict(zip(epochs.header, epochs.rows[0], strict=True))
    assert (first["epoch"], first["training loss"], first["training s"]) == (0, None, None)
    assert first["evaluated MSE"] == session.cases[0].result.test_mse[0]


def test_what_did_not_end_well_is_listed_with_its_message() -> None:
    session = synthetic.session(
        grid=Grid(tasks=("mean",), batch_sizes=(16,), runs=2, epochs=3),
        disturb=lambda run: "diverged" if run.seed == 16 else "ok",
    )
    (row,) = table(session, "not-ok").rows
    assert row[0] == "diverged"
    assert row[-1] == "a synthetic diverged case"


def test_an_effect_on_one_of_three_tasks_is_held_to_a_third_of_the_significance() -> None:
    p = stats.PValue(0.03)
    effect = stats.Effect(16, 64, stats.Estimate(2.0, p=p), 1.3, 0.5)
    assert _part(Effects("mean", effect, None), tasks=1).verdict == "shown"
    assert _part(Effects("mean", effect, None), tasks=3).verdict == "not shown"


def test_a_correlation_of_nothing_is_0() -> None:
    trend = stats.RankTrend(5.2e-18, stats.PValue(1.0), 7, 7)
    assert trend_text(trend).startswith("rank correlation 0, ")


def test_the_best_batch_size_is_not_told_from_others_than_itself() -> None:
    found = of(synthetic.session(grid=GRID, circumstances=planted(lambda _run: 1.0, 0.3)))
    for line in one(found, "best-batch-size").statistics:
        best = line.split("lowest at ")[1].split(";")[0]
        assert best not in line.split("not told from it by these seeds: ")[1].replace(",", "").split()


def test_dead_runs_bring_the_median_beside_the_mean() -> None:
    def dies(run: Run) -> Status:
        return "dead" if (run.batch_size, run.seed) == (64, 65) else "ok"

    grid = Grid(tasks=("std",), batch_sizes=(32, 64, 128), runs=3, epochs=2)
    data = Cells(Recording(path=Path("run.json"), session=synthetic.session(grid=grid, disturb=dies)))
    found = findings(data)
    said = one(found, "higher-error").sentence
    assert "Dead runs count in the mean, so here is the median too. std at batch size 64: 1 of 3 dead" in said
    (errors,) = [table for table in tables(data) if table.name == "errors"]
    row = dict(zip(errors.header, errors.rows[1], strict=True))
    mean, median = (row[name] for name in ("mean MSE", "median MSE"))
    assert isinstance(mean, float)
    assert isinstance(median, float)
    assert mean > 5 * median
    content = next(figure for figure in figures() if figure.name == "final-mse").draw(data)
    assert content is not None
    assert "1 of 3 dead" in content.caption


def test_failed_and_exploded_runs_are_in_no_statistic_and_are_named() -> None:
    def change(case: Case) -> Case:
        seed = case.result.run.seed
        absurd: dict[int, dict[str, Any]] = {
            32: {"status": "failed", "test_mse": (1e5, 1e5, 1e5), "message": "an assertion afterwards"},
            33: {"test_mse": (1e5, 1e5, 1e34)},
        }
        return replace(case, result=replace(case.result, **absurd.get(seed, {})))

    session = synthetic.session(grid=Grid(tasks=("std",), batch_sizes=(32, 64), runs=4, epochs=2))
    session = replace(session, cases=tuple(map(change, session.cases)))
    data = Cells(Recording(path=Path("run.json"), session=session))
    cell = data.cells("std")[0]
    assert len(cell.finals) == 2
    assert max(cell.finals) < 1e5
    content = next(figure for figure in figures() if figure.name == "final-mse").draw(data)
    assert content is not None
    assert "left out: 1 diverged and 1 failed" in content.caption
