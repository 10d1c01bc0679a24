"""The published figures: complete, as published, and labelled with what they may be compared with."""

import math
import subprocess
import sys

import pytest

from bsr import published
from bsr.experiments.grid import BATCH_SIZES, EXTENDED_BATCH_SIZES, STUDY_TASKS
from bsr.experiments.original import REFINED_AROUND, REFINEMENT
from bsr.experiments.rates import TUNED_LEARNING_RATE
from bsr.stats import fluctuation, swing


def curve(task: str, batch_size: int, learning_rate: float) -> published.PublishedCurve:
    key = (task, batch_size, learning_rate)
    (found,) = (c for c in published.convergence() if (c.task, c.batch_size, c.learning_rate) == key)
    return found


def test_final_mses_cover_every_task_at_every_batch_size_once() -> None:
    cells = [(cell.task, cell.batch_size) for cell in published.final_mse()]
    assert sorted(cells) == sorted((task, size) for task in STUDY_TASKS for size in EXTENDED_BATCH_SIZES)


def test_final_mses_were_taken_after_nine_epochs_and_those_of_var_after_ten() -> None:
    assert {(cell.task, cell.epoch) for cell in published.final_mse()} == {
        ("mean", 9),
        ("median", 9),
        ("std", 9),
        ("var", 10),
    }


def test_final_mses_are_of_ten_runs_at_the_tuned_rate_and_in_order() -> None:
    for cell in published.final_mse():
        assert cell.runs == 10
        assert cell.learning_rate == TUNED_LEARNING_RATE[cell.task]
        assert 0 <= cell.min_mse <= cell.mean_mse <= cell.max_mse


def test_a_final_mse_reads_as_published() -> None:
    cell = next(cell for cell in published.final_mse() if (cell.task, cell.batch_size) == ("var", 1024))
    assert (cell.min_mse, cell.mean_mse, cell.max_mse) == (35_190, 39_350, 50_530)


def test_the_published_medians_go_down_to_1e_90() -> None:
    assert min(cell.mean_mse for cell in published.final_mse() if cell.mean_mse) == 4.909e-90


def test_the_spread_between_seeds_follows_from_the_range_of_ten() -> None:
    cell = next(cell for cell in published.final_mse() if (cell.task, cell.batch_size) == ("mean", 16))
    assert cell.log_spread == pytest.approx(math.log(0.642 / 0.1093) / 3.078)


def test_a_cell_whose_minimum_is_zero_has_no_log_spread() -> None:
    cell = next(cell for cell in published.final_mse() if (cell.task, cell.batch_size) == ("median", 16))
    assert cell.log_spread is None


@pytest.mark.parametrize(
    ("measured", "overlap"),
    [((0.0, 0.1), "no"), ((0.0, 0.2), "yes"), ((0.6, 9.0), "yes"), ((0.7, 9.0), "no")],
)
def test_ranges_overlap_where_they_share_a_value(measured: tuple[float, float], overlap: str) -> None:
    cell = next(cell for cell in published.final_mse() if (cell.task, cell.batch_size) == ("mean", 16))
    assert cell.overlaps(*measured) is (overlap == "yes")


def test_convergence_has_ten_epochs_per_curve_and_the_std_at_both_rates() -> None:
    assert {len(curve.test_mse) for curve in published.convergence()} == {10}
    rates = {(curve.task, curve.learning_rate) for curve in published.convergence()}
    assert rates == {*TUNED_LEARNING_RATE.items(), ("std", 0.01)}
    for task, rate in rates:
        sizes = {c.batch_size for c in published.convergence() if (c.task, c.learning_rate) == (task, rate)}
        assert sizes == {*BATCH_SIZES} | ({2048} if task == "var" else set())


def test_the_difference_of_1300_is_the_swing_of_std_at_the_untuned_rate() -> None:
    swings = [swing(curve("std", size, 0.01).test_mse, skip=0) or 0 for size in BATCH_SIZES]
    assert max(swings) == pytest.approx(1312, abs=1)
    assert max(swing(curve("std", size, 0.001).test_mse, skip=0) or 0 for size in BATCH_SIZES) < 30


def test_at_the_tuned_rate_large_batches_fluctuate_less_in_ratio() -> None:
    small, large = (fluctuation(curve("std", size, 0.001).test_mse, skip=0) or 0 for size in (16, 1024))
    assert large < small / 3


def test_seconds_were_published_for_three_tasks_and_fall_from_11_to_7() -> None:
    rows = published.seconds_per_epoch()
    assert {row.task for row in rows} == {"mean", "median", "std"}
    assert [row.batch_size for row in rows] == [*BATCH_SIZES] * 3
    assert all(6.9 < row.median_seconds_per_epoch < 11.2 for row in rows)


def test_learning_rates_are_the_refinement_of_each_task() -> None:
    for task in STUDY_TASKS:
        curves = [curve for curve in published.learning_rates() if curve.task == task]
        expected = [REFINED_AROUND[task] * factor for factor in REFINEMENT]
        assert [curve.learning_rate for curve in curves] == pytest.approx(expected)
        assert {curve.batch_size for curve in curves} == {64 if task == "mean" else 32}
        assert {len(curve.test_mse) for curve in curves} == {10}


def test_losses_are_of_mse_and_mae_with_the_epochs_that_were_published() -> None:
    lengths = {(row.task, row.loss): len(row.test_value) for row in published.loss()}
    assert lengths == {
        (task, loss): 9 if task == "mean" else 10
        for task in ("mean", "std", "var")
        for loss in ("mse", "mae")
    }


def test_a_loss_is_in_the_unit_of_what_it_was_trained_on() -> None:
    final = {(row.task, row.loss): row.test_value[-1] for row in published.loss()}
    assert final["var", "mse"] == 10_840
    assert final["var", "mae"] == 81.99


def test_every_set_of_figures_names_its_figure_its_runs_and_what_to_compare() -> None:
    sources = (
        published.CONVERGENCE,
        published.SECONDS,
        published.SPREAD,
        published.LEARNING_RATE,
        published.LOSS,
    )
    assert [source.figure for source in sources] == [f"figure {n}" for n in (5, 6, 9, 12, 4)]
    assert all(source.runs and source.compare for source in sources)


def test_published_figures_load_without_numpy_and_torch() -> None:
    load = "import sys; from bsr import published; published.final_mse()"
    code = f"{load}; print({{'numpy', 'torch'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
