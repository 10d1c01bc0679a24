"""The vocabulary: what identifies a Run, what a Result says, and exactly which Runs the study has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsr.experiments import EXPERIMENTS, PRESETS, Experiment, Grid, PlanTooLargeError, plan
from bsr.experiments.rates import TUNED_LEARNING_RATE
from bsr.result import Result
from bsr.run import FIRST_FIELDS, RUN_FIELDS, Execution, Run
from synthetic import CONTROLLED, RATES, settings_for

RUN = Run(task="mean", batch_size=32, seed=33, learning_rate=0.0015)
CHANGED: dict[str, Any] = {
    "task": "std",
    "batch_size": 64,
    "seed": 34,
    "learning_rate": 0.001,
    "epochs": 9,
    "dataset": "KMNIST",
    "train_images": 59_999,
    "test_images": 9_999,
    "optimiser": "sgd",
    "loss": "mae",
    "precision": "tf32",
}
LATER: dict[str, dict[str, Any]] = {
    "steps": {"steps": 586, "epochs": 0},
    "schedule": {"schedule": "linear"},
    "evaluate_on": {"evaluate_on": "validation"},
    "order_seed": {"order_seed": 0},
    "beta1": {"beta1": 0.8},
    "beta2": {"beta2": 0.99},
    "eps": {"eps": 1e-7},
    "model": {"model": "wide"},
    "warmup": {"warmup": 0.05},
    "decay": {"decay": 0.5},
    "first_evaluation": {"steps": 586, "epochs": 0, "first_evaluation": 8},
}
PAPER = PRESETS["paper"].grid
ONE_SEED = replace(PAPER, runs=1)


def result(run: Run = RUN, **values: Any) -> Result:
    return Result(run=run, status="ok", **values)


def runs_of(experiment: str, grid: Grid = PAPER) -> list[Run]:
    return list(plan([experiment], grid)[experiment].values())


# Run


def test_the_key_of_a_run_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Journals and reports of others are joined by it."""
    assert RUN.key == "386a8f6757c7b4a5"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"epochs": 30, "learning_rate": 1e-6}, "4ff48ae3655826bb"),
        ({"task": "median", "batch_size": 1024, "seed": 1033, "learning_rate": 0.1}, "f2bd7812d8ada9a4"),
        ({"optimiser": "sgd", "loss": "mae", "precision": "tf32", "dataset": "KMNIST"}, "14b431f248ae962a"),
        ({"train_images": 1024, "test_images": 512}, "6d7d6c8d9a735008"),
    ],
)
def test_keys_are_those_that_recordings_have(changes: dict[str, Any], key: str) -> None:
    assert replace(RUN, **changes).key == key


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterRun(Run):
    """A Run as a later version may have it."""

    weight_decay: float = 0.0


def test_a_field_added_later_changes_no_key_until_it_is_used() -> None:
    values = {field.name: getattr(RUN, field.name) for field in fields(RUN)}
    assert LaterRun(**values).key == RUN.key
    assert LaterRun(**values, weight_decay=10).key != RUN.key


def test_the_first_schema_s_fields_are_never_added_to() -> None:
    assert set(FIRST_FIELDS) == set(CHANGED)


def test_a_cell_is_a_run_less_its_seed() -> None:
    assert replace(RUN, seed=7).cell == RUN.cell
    assert replace(RUN, learning_rate=0.002).cell != RUN.cell


@pytest.mark.parametrize("name", RUN_FIELDS)
def test_every_field_of_a_run_is_in_its_key(name: str) -> None:
    changes = LATER.get(name) or {name: CHANGED[name]}
    assert replace(RUN, **changes).key != RUN.key


def test_the_same_values_are_the_same_run() -> None:
    again = Run(task="mean", batch_size=32, seed=33, learning_rate=15e-4)
    assert (again, again.key, hash(again)) == (RUN, RUN.key, hash(RUN))


def test_minus_zero_is_zero() -> None:
    minus, plus = replace(RUN, beta1=-0.0), replace(RUN, beta1=0.0)
    assert (minus, minus.key) == (plus, plus.key)


def test_a_run_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        RUN.seed = 1  # type: ignore[misc]


def test_a_run_has_a_name_for_people() -> None:
    assert RUN.label == "mean-bs32-seed33"


@given(images=st.integers(1, 100_000), batch_size=st.integers(1, 5000))
def test_the_last_smaller_batch_is_a_step(images: int, batch_size: int) -> None:
    run = replace(RUN, train_images=images, batch_size=batch_size)
    assert run.steps_per_epoch == len(range(0, images, batch_size))


def test_an_execution_changes_nothing_of_what_is_trained() -> None:
    assert not {field.name for field in fields(Execution)} & set(RUN_FIELDS)


# Result


@given(st.lists(st.floats(0, 1e9), max_size=12))
def test_the_final_error_is_that_after_the_last_epoch_or_none(errors: list[float]) -> None:
    found = result(test_mse=tuple(errors))
    assert found.final_mse == (errors[-1] if len(errors) == RUN.epochs + 1 else None)


def test_an_error_that_was_not_finite_is_no_final_error() -> None:
    assert result(replace(RUN, epochs=1), test_mse=(5.0, None)).final_mse is None


def test_the_normalised_error_is_over_the_best_constant() -> None:
    found = result(replace(RUN, epochs=1), test_mse=(9.0, 5.0), baseline_mse=20.0)
    assert found.normalised_mse == 0.25
    assert not found.degenerate


@pytest.mark.parametrize("baseline", [0.0, None])
def test_degenerate_labels_have_no_normalised_error(baseline: float | None) -> None:
    found = result(replace(RUN, epochs=1), test_mse=(9.0, 5.0), baseline_mse=baseline)
    assert found.normalised_mse is None
    assert found.degenerate == (baseline == 0)


def test_throughput_counts_the_images_of_the_epochs_trained() -> None:
    found = result(replace(RUN, train_images=500), training_seconds=(1.0, 3.0))
    assert found.total_training_seconds == 4
    assert found.images_per_second == 250


def test_nothing_trained_has_no_throughput() -> None:
    assert result().images_per_second is None


@pytest.mark.parametrize(
    ("circumstances", "timing"),
    [
        ({}, "alone"),
        ({"beside": 1}, "in parallel with 1 other run"),
        ({"cohort": 8}, "amortised over 8"),
        ({"cohort": 8, "beside": 1}, "amortised over 8"),
    ],
)
def test_times_say_under_which_circumstances_they_were_taken(
    circumstances: dict[str, Any], timing: str
) -> None:
    assert result(**circumstances).timing == timing


# The grids of the study


def test_the_paper_is_280_runs_of_ten_epochs() -> None:
    runs = runs_of("batch-size")
    assert len({run.key for run in runs}) == len(runs) == 280
    assert {run.epochs for run in runs} == {10}
    assert {(run.task, run.learning_rate) for run in runs} == set(TUNED_LEARNING_RATE.items())
    assert Counter(run.batch_size for run in runs) == dict.fromkeys((16, 32, 64, 128, 256, 512, 1024), 40)
    assert all(0 <= run.seed - run.batch_size < 10 for run in runs)
    assert {(run.optimiser, run.loss, run.precision) for run in runs} == {("adam", "mse", "float32")}
    assert {(run.train_images, run.test_images, run.dataset) for run in runs} == {(60_000, 10_000, "MNIST")}


@pytest.mark.parametrize(
    ("preset", "count", "epochs"), [("smoke", 8, 2), ("quick", 28, 10), ("extended", 440, 10)]
)
def test_a_preset_has_its_cases(preset: str, count: int, epochs: int) -> None:
    chosen = PRESETS[preset]
    more = ("label-distribution", "harness") if preset == "quick" else ()
    assert chosen.experiments == ("batch-size", *more)
    runs = runs_of("batch-size", chosen.grid)
    assert len(runs) == count
    assert {run.epochs for run in runs} == {epochs}


def test_the_study_is_every_experiment_but_the_harness_itself() -> None:
    assert set(PRESETS["study"].experiments) == set(EXPERIMENTS) - {"harness", *CONTROLLED}


def test_only_the_first_images_make_a_smoke_test() -> None:
    assert {run.train_images for run in runs_of("batch-size", PRESETS["smoke"].grid)} == {1024}


def test_the_same_seeds_for_every_batch_size_make_paired_comparisons() -> None:
    runs = runs_of("batch-size", replace(PAPER, seeds=(5, 6)))
    assert len(runs) == 56
    assert {run.seed for run in runs} == {5, 6}


def test_the_degenerate_task_comes_last() -> None:
    tasks = [run.task for run in runs_of("batch-size")]
    assert tasks[-70:] == ["median"] * 70


def test_std_is_looked_at_again_at_the_rate_of_the_published_difference() -> None:
    runs = runs_of("std-at-0.01", ONE_SEED)
    assert [(run.task, run.learning_rate) for run in runs] == [("std", 0.01)] * 7
    assert not runs_of("std-at-0.01", replace(PAPER, tasks=("mean",)))


@pytest.mark.parametrize(
    ("task", "second_look"),
    [
        ("mean", (0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.00175, 0.002)),
        ("median", (0.025, 0.05, 0.075, 0.1, 0.15, 0.175, 0.2)),
    ],
)
def test_the_learning_rates_are_those_that_the_study_tried(task: str, second_look: tuple[float, ...]) -> None:
    runs = runs_of("learning-rate", replace(ONE_SEED, tasks=(task,)))
    assert {run.learning_rate for run in runs} == {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, *second_look}
    assert len(runs) == 12  # the best of the first look is in both
    assert {run.batch_size for run in runs} == {32}


def test_a_second_look_is_taken_round_ones_own_best_rate() -> None:
    runs = runs_of("learning-rate", replace(ONE_SEED, refine_around=(("std", 0.01),)))
    assert {run.task for run in runs} == {"std"}
    assert [run.learning_rate for run in runs] == [0.0025, 0.005, 0.0075, 0.01, 0.015, 0.0175, 0.02]


def test_each_optimiser_is_tried_over_the_log_grid_and_sgd_below_it() -> None:
    tried = {(run.task, run.optimiser, run.learning_rate) for run in runs_of("optimiser", ONE_SEED)}
    lowest = {"adam": -6, "sgd": -9}
    assert tried == {("mean", name, 10.0**power) for name in lowest for power in range(lowest[name], 0)}


def test_each_loss_is_tried_at_the_tuned_rate() -> None:
    tried = {(run.task, run.loss, run.learning_rate) for run in runs_of("loss", ONE_SEED)}
    assert tried == {
        (task, loss, TUNED_LEARNING_RATE[task]) for task in ("mean", "std", "var") for loss in ("mse", "mae")
    }


def test_targets_of_ones_own_are_asked_whatever_the_study_asked_of_its_tasks() -> None:
    own = Grid(tasks=("left", "mean", "median"), runs=1)
    for name, asked in {
        "loss": ["mean", "left"],
        "longer": ["mean", "left"],
        "optimiser": ["mean", "left"],
        "std-at-0.01": [],
    }.items():
        assert list(dict.fromkeys(run.task for run in EXPERIMENTS[name].planned(own))) == asked


def test_longer_trainings_are_three_times_as_long() -> None:
    runs = runs_of("longer", ONE_SEED)
    assert {run.epochs for run in runs} == {30}
    assert {(run.task, run.batch_size) for run in runs} == {
        (task, size) for task in ("mean", "std", "var") for size in (16, 128, 1024)
    }


def test_what_two_experiments_need_is_one_run() -> None:
    study = plan(PRESETS["study"].experiments, PAPER)
    by_experiment = {name: {run.key for run in cases.values()} for name, cases in study.items()}
    shared = by_experiment["batch-size"] & by_experiment["loss"]
    assert len(shared) == 30  # three tasks at batch size 32, ten seeds
    assert by_experiment["optimiser"] & by_experiment["learning-rate"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_case_of_an_experiment_has_a_name_of_its_own(experiment: str) -> None:
    runs = EXPERIMENTS[experiment].runs
    if runs is None:
        assert not EXPERIMENTS[experiment].trains
        assert plan([experiment], PAPER) == {experiment: {}}
    else:
        grid = replace(WHY, settings=settings_for(WHY)) if experiment in CONTROLLED else PAPER
        every = list(runs(grid))
        assert len(plan([experiment], grid)[experiment]) == len({run.key for run in every}) == len(every)


def test_names_show_what_an_experiment_varies() -> None:
    assert EXPERIMENTS["batch-size"].case_id(RUN) == "mean-bs32-seed33"
    varied = replace(RUN, optimiser="sgd", learning_rate=1e-5)
    assert EXPERIMENTS["optimiser"].case_id(varied) == "mean-bs32-seed33-sgd-lr1e-05"


def test_a_task_that_nobody_tuned_has_adams_default_rate() -> None:
    assert {run.learning_rate for run in runs_of("batch-size", replace(ONE_SEED, tasks=("new",)))} == {0.001}


# Tuning


TUNE = PRESETS["tune"]
WHY = replace(PRESETS["why-first"].grid, rates=RATES)
TUNED = plan(TUNE.experiments, TUNE.grid)["tune"]


def test_tuning_never_looks_at_the_test_images_and_uses_no_reporting_seed() -> None:
    runs = TUNED.values()
    assert {run.evaluate_on for run in runs} == {"validation"}
    assert {(run.train_images, run.test_images) for run in runs} == {(50_000, 10_000)}
    assert {run.seed for run in runs} == {100, 101, 102}
    assert len(runs) == len({run.key for run in runs}) == 1_110


def test_tuning_stays_within_its_budget() -> None:
    full_register = 16  # images that a step takes the time of, at least
    epochs = sum(run.steps * max(run.batch_size, full_register) / 60_000 for run in TUNED.values())
    assert 4_500 < epochs <= 4_800


def test_each_arm_has_five_rates_a_factor_of_two_apart() -> None:
    arms: dict[tuple[Any, ...], set[float]] = {}
    for run in TUNED.values():
        arms.setdefault((run.task, run.batch_size, run.steps, run.schedule), set()).add(run.learning_rate)
    assert len(arms) == 3 * (12 + 10 + 4)
    for rates in arms.values():
        low, *rest = sorted(rates)
        assert [rate / low for rate in rest] == [2, 4, 8, 16]


def test_a_grid_narrows_tuning_as_it_does_everything() -> None:
    grid = replace(TUNE.grid, tasks=("std", "median"), batch_sizes=(1024,), runs=1, most_steps=8)
    found = runs_of("tune", grid)
    assert {(run.task, run.batch_size, run.steps) for run in found} == {("std", 1024, 8)}


def test_two_runs_under_one_case_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlike(grid: Grid) -> Iterator[Run]:
        run = grid.example
        yield from (run, replace(run, loss="mae"))

    monkeypatch.setitem(EXPERIMENTS, "unlike", Experiment("?", unlike))
    with pytest.raises(PlanTooLargeError, match="unlike: expected one run per case, got two called"):
        plan(("unlike",), PAPER)
