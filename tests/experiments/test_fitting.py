"""What fits into so many minutes: never more than 0.8 of them, and what is left out, in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bsr.experiments import PRESETS, Grid
from bsr.experiments.fitting import (
    FEWEST_UPDATES,
    FILLED,
    MOST_RUN_IMAGES,
    Costs,
    FittedPlan,
    PlanError,
    fitted,
    grid_of,
    reductions,
)
from bsr.result import Result
from bsr.run import Run

ONE_TASK = replace(PRESETS["answer"].grid, tasks=("mean",), part_images=50_000, validation_images=10_000)


def costs(per_image: float = 150e-6, *, evaluated: float = 1e-6, workers: int = 2) -> Costs:
    update = {size: per_image * size for size in (16, 64, 256, 1024)}
    return Costs(update=update, evaluated_image=evaluated, run=0.05, workers=workers)


def minutes_of(plan: FittedPlan) -> float:
    return plan.total / 60


@settings(max_examples=8)
@given(
    per_image=st.floats(2e-5, 2e-3),
    evaluated=st.floats(1e-7, 1e-3),
    minutes=st.floats(1, 2_000),
    workers=st.integers(1, 64),
)
def test_a_plan_fills_the_minutes_to_four_fifths_and_never_more(
    per_image: float, evaluated: float, minutes: float, workers: int
) -> None:
    try:
        plan = fitted(ONE_TASK, costs(per_image, evaluated=evaluated, workers=workers), minutes)
    except PlanError:
        assume(False)
    assert minutes_of(plan) <= FILLED * minutes
    whole = plan.seeds == 8 and plan.run_images > MOST_RUN_IMAGES - plan.batch_sizes[-1]
    assert whole or minutes_of(plan) > 0.98 * FILLED * minutes
    assert plan.run_images >= FEWEST_UPDATES * plan.batch_sizes[-1]


@settings(max_examples=8)
@given(minutes=st.floats(1, 500), more=st.floats(1, 20))
def test_more_minutes_never_answer_for_fewer_batch_sizes_or_seeds_over_the_same(
    minutes: float, more: float
) -> None:
    def planned(time: float) -> FittedPlan | None:
        try:
            return fitted(ONE_TASK, costs(), time)
        except PlanError:
            return None

    less, most = planned(minutes), planned(minutes * more)
    if less is not None:
        assert most is not None
        assert len(most.batch_sizes) >= len(less.batch_sizes)
        assert most.batch_sizes[-1] >= less.batch_sizes[-1]
        if most.batch_sizes == less.batch_sizes:
            assert most.seeds >= less.seeds


def test_the_largest_is_lowered_first_then_middle_ones_are_left_out() -> None:
    assert list(reductions((16, 32, 64, 128, 1024))) == [
        (16, 32, 64, 128, 1024),
        (16, 32, 64, 128, 512),
        (16, 32, 64, 128, 256),
        (16, 64, 128, 256),
        (16, 64, 256),
    ]


def test_two_batch_sizes_stay_two() -> None:
    assert list(reductions((32, 2048))) == [(32, 2048), (32, 1024), (32, 512)]


def test_what_the_largest_has_come_down_to_is_one_with_it() -> None:
    assert list(reductions((16, 64, 256, 1024))) == [
        (16, 64, 256, 1024),
        (16, 64, 256, 512),
        (16, 64, 256),
    ]


def test_a_quarter_of_an_hour_answers_for_256_and_not_for_1024() -> None:
    plan = fitted(replace(ONE_TASK, tasks=("mean", "std", "var")), costs(200e-6), 15)
    assert plan.batch_sizes == (16, 64, 256)
    (line,) = plan.left_out
    assert line.startswith("batch size 1024: to compare all that were asked for takes --minutes ")


def test_what_is_said_to_be_needed_is_enough_and_a_minute_less_is_not() -> None:
    with pytest.raises(PlanError) as refused:
        fitted(ONE_TASK, costs(), 1)
    needed = int(str(refused.value).split("at least ")[1].split(",")[0])
    assert fitted(ONE_TASK, costs(), needed).batch_sizes == (16, 64, 256)
    with pytest.raises(PlanError):
        fitted(ONE_TASK, costs(), needed - 1)


@pytest.mark.parametrize(("evaluated", "images"), [(1e-6, 10_000), (2e-4, 2_000)])
def test_test_images_are_cut_where_evaluating_them_takes_a_quarter(evaluated: float, images: int) -> None:
    plan = fitted(ONE_TASK, costs(evaluated=evaluated), 30)
    assert plan.test_images == images
    assert any("test images" in line for line in plan.left_out) == (images == 2_000)


def test_a_task_with_nothing_to_learn_is_refused() -> None:
    with pytest.raises(PlanError, match="--tasks: expected one with something to learn, got median"):
        fitted(replace(ONE_TASK, tasks=("median",)), costs(), 30)


def test_seeds_grow_to_five_and_eight() -> None:
    assert [fitted(ONE_TASK, costs(), minutes).seeds for minutes in (30, 60, 90)] == [3, 5, 8]


def result(size: int, seconds: float, **changes: Any) -> Result:
    run = Run(
        task="left",
        dataset="mine:discs",
        batch_size=size,
        seed=200,
        learning_rate=0.001,
        epochs=0,
        steps=2_048 // size,
        train_images=5_000,
        test_images=1_000,
    )
    evaluations = run.evaluations
    about: dict[str, Any] = {
        "status": "ok",
        "training_seconds": (seconds / evaluations,) * evaluations,
        "evaluation_seconds": (0.1,) * (evaluations + 1),
        "wall_seconds": seconds + 0.1 * (evaluations + 1) + 0.5,
        "beside": 1,
    }
    return Result(run=run, **{**about, **changes})


def test_costs_are_medians_of_short_trainings() -> None:
    trained = [result(16, seconds) for seconds in (1.28, 1.28, 9.0)] + [result(256, 0.8)]
    found = Costs.measured(trained)
    assert found.update == {16: pytest.approx(0.01), 256: pytest.approx(0.1)}
    assert found.evaluated_image == pytest.approx(1e-4)
    assert found.run == pytest.approx(0.5)
    assert found.workers == 2
    grid: Grid = grid_of(trained)
    assert (grid.tasks, grid.batch_sizes, grid.train_images) == (("left",), (16, 256), 5_000)


def test_what_could_not_be_trained_has_no_cost() -> None:
    broken = result(16, 1.0, status="failed", message="no luck", training_seconds=(), evaluation_seconds=())
    with pytest.raises(PlanError, match="left-bs16-seed200: expected it to train, got failed: no luck"):
        Costs.measured([broken])


def test_a_run_costs_its_updates_its_evaluations_and_what_begins_it() -> None:
    run = replace(result(64, 1.0).run, steps=100)
    assert costs(1e-4, evaluated=1e-5).of(run) == pytest.approx(100 * 64e-4 + 4 * 1_000 * 1e-5 + 0.05)
