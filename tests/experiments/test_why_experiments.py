"""The controlled experiments: what they train, at which rates, and within which budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from bsr.experiments import PRESETS, Grid, controlled, plan, rates
from bsr.experiments.controlled import BUDGETS, TEN_EPOCHS_AT
from bsr.plugin.refinement import RefinementError, beyond_edges, tuned_in
from bsr.records.reading import Recording
from bsr.run import Run
from bsr.writing import write
from reports.cells import Cells
from reports.chapters.tuning import CHAPTER

FULL_REGISTER = 16
"""Images that a step takes the time of, at least."""


def planned(preset: str) -> dict[str, dict[str, Run]]:
    return plan(PRESETS[preset].experiments, replace(PRESETS[preset].grid, rates=synthetic.RATES))


WHY = planned("why-first")


def once(experiments: dict[str, dict[str, Run]]) -> list[Run]:
    return list({run.key: run for runs in experiments.values() for run in runs.values()}.values())


def run_epochs(runs: Iterable[Run]) -> float:
    return sum(run.steps * max(run.batch_size, FULL_REGISTER) / 60_000 for run in runs)


def test_why_stays_within_its_budget() -> None:
    noise = 540  # of the gradient's noise, which trains no Run
    assert 7_000 < run_epochs(once(WHY)) + noise <= 9_000
    assert 500 < run_epochs(once(planned("why-quick"))) <= 800


def test_reporting_seeds_are_new_common_to_all_arms_and_look_at_test_images() -> None:
    runs = once(WHY)
    assert {run.seed for run in runs} == set(range(200, 210))
    assert {run.evaluate_on for run in runs} == {"test"}
    for size in PRESETS["why-first"].grid.batch_sizes:
        assert {run.seed for run in runs if run.batch_size == size} == set(range(200, 210))


def test_equal_epochs_are_ten_at_every_batch_size() -> None:
    found = {(run.batch_size, run.steps) for run in WHY["equal-epochs"].values()}
    assert found == set(TEN_EPOCHS_AT.items())
    assert all(abs(size * steps - 600_000) < 1_024 for size, steps in found)


def test_equal_updates_reach_from_batch_size_1_to_1024() -> None:
    sizes = {
        budget: {run.batch_size for run in once(WHY) if run.steps == budget and run.schedule == "linear"}
        for budget in BUDGETS
    }
    assert sizes == {586: {1, 4, 16, 64, 256, 1024}, 2_344: {1, 4, 16, 64, 256, 1024}}


def test_a_constant_run_at_the_study_s_rate_is_evaluated_at_every_smaller_budget() -> None:
    (longest,) = {
        run.evaluation_steps
        for run in WHY["study-rate"].values()
        if (run.batch_size, run.schedule) == (16, "constant")
    }
    assert {*BUDGETS, 9_375, 37_500} <= set(longest)


def test_tuned_runs_take_the_rate_of_their_arm() -> None:
    for run in WHY["equal-epochs"].values():
        expected = rates.find(synthetic.RATES, rates.Arm.of(run))
        assert expected is not None
        assert run.learning_rate == expected.learning_rate


def test_an_arm_that_was_not_tuned_is_named_with_its_remedy() -> None:
    grid = replace(PRESETS["why-first"].grid, rates=synthetic.RATES[1:])
    missing = synthetic.RATES[0]
    with pytest.raises(rates.RatesError, match=f"{missing.task} at batch size {missing.batch_size}.*tune"):
        plan(("equal-epochs", "equal-updates"), grid)


@pytest.mark.parametrize("other", [{"dataset": "FashionMNIST"}, {"models": ("study", "wide")}])
def test_rates_that_ship_are_for_no_other_images_or_networks(other: dict[str, Any]) -> None:
    grid = replace(PRESETS["why-first"].grid, **other)
    with pytest.raises(rates.RatesError, match="got those that ship, of MNIST and study; tune with"):
        plan(("equal-epochs",), grid)
    assert plan(("equal-epochs",), replace(grid, rates=synthetic.RATES))
    assert plan(("study-rate",), grid)


def test_rules_of_thumb_scale_the_study_s_rate_from_32() -> None:
    found = {(run.batch_size, run.learning_rate) for run in WHY["rate-rules"].values() if run.task == "mean"}
    assert found == {(256, 0.012), (256, 0.00424264), (1024, 0.048), (1024, 0.00848528)}


def test_a_shorter_memory_is_compared_with_runs_that_differ_in_nothing_else() -> None:
    usual = {run.key for run in WHY["study-rate"].values()}
    for run in WHY["adam-memory"].values():
        assert run.beta2 == 0.99
        assert replace(run, beta2=0.999).key in usual


grids = st.builds(
    lambda images, sizes, tasks, own: Grid(
        tasks=tuple(tasks),
        batch_sizes=tuple(size for size in sizes if size <= images) or (1,),
        runs=2,
        dataset="mine:pictures",
        part_images=images + 10,
        train_images=images,
        test_images=10,
        validation_images=10 * own,
        models=("mine:Net",),
    ),
    st.integers(64, 100_000),
    st.lists(
        st.sampled_from([1, 3, 4, 8, 16, 24, 32, 64, 128, 500, 1024]), min_size=1, max_size=6, unique=True
    ),
    st.lists(st.sampled_from(["age", "size", "mean", "median"]), min_size=1, max_size=3, unique=True),
    st.booleans(),
)


def tuned_for(grid: Grid) -> tuple[rates.TunedRate, ...]:
    """What the report of a tuning of this grid would say, if each third rate were best."""
    arms: dict[rates.Arm, list[float]] = {}
    for run in plan(("tune",), grid)["tune"].values():
        arms.setdefault(rates.Arm.of(run), []).append(run.learning_rate)
    return tuple(
        rates.TunedRate(
            **arm._asdict(), learning_rate=sorted({*tried})[2], validation_mse=1, seeds=2, at_edge=False
        )
        for arm, tried in arms.items()
    )


@given(grid=grids)
def test_what_was_tuned_is_all_that_why_asks_for_whatever_is_trained(grid: Grid) -> None:
    found = plan(PRESETS["why-first"].experiments, replace(grid, rates=tuned_for(grid)))
    assert {run.task for run in once(found)} == set(grid.tasks)
    assert {run.batch_size for run in once(found)} <= set(grid.batch_sizes)
    for experiment in ("study-rate", "equal-epochs"):
        for run in found[experiment].values():
            assert 0 <= run.steps * run.batch_size - 10 * min(grid.part_images, 60_000) < run.batch_size
    equal = found["equal-updates"].values()
    assert {run.steps for run in equal} <= set(controlled.budgets(grid))
    for steps in controlled.budgets(grid):
        linear = {run.batch_size for run in once(found) if (run.steps, run.schedule) == (steps, "linear")}
        assert linear == set(grid.batch_sizes)


@given(grid=grids)
def test_nothing_that_tunes_looks_at_test_images_and_nothing_else_at_validation_images(grid: Grid) -> None:
    held_out = 0 if grid.validation_images else grid.held_out
    for run in plan(("tune",), grid)["tune"].values():
        assert (run.evaluate_on, run.test_images) == ("validation", grid.held_out)
        assert run.train_images + held_out <= grid.part_images
    for run in plan(("study-rate",), grid)["study-rate"].values():
        assert (run.evaluate_on, run.test_images) == ("test", grid.test_images)
        assert run.train_images + held_out <= grid.part_images


def test_equal_epochs_of_so_many_images_are_those_at_every_batch_size() -> None:
    grid = replace(PRESETS["answer"].grid, batch_sizes=(8, 64, 256), run_images=65_536, tasks=("mean",))
    tuning = once(plan(("tune",), grid))
    found = plan(PRESETS["answer"].experiments[:3], replace(grid, rates=tuned_for(grid)))
    assert {run.schedule for run in (*tuning, *once(found))} == {"linear"}
    equal = {(8, 8_192), (64, 1_024), (256, 256)}
    assert {(run.batch_size, run.steps) for run in found["equal-epochs"].values()} == equal
    assert {(run.batch_size, run.steps) for run in found["study-rate"].values()} == equal - {(64, 1_024)}
    assert {run.steps for run in found["equal-updates"].values()} == {256}
    tried = {run.learning_rate for run in tuning if (run.batch_size, run.steps) == (64, 1_024)}
    assert tried == {0.0015 / 4, 0.0015, 0.0015 * 4}


def test_a_window_of_rates_lies_round_the_one_that_was_given() -> None:
    grid = replace(PRESETS["tune"].grid, tasks=("std",), batch_sizes=(1024,), learning_rates=(("std", 0.02),))
    tried = {run.learning_rate for run in plan(("tune",), grid)["tune"].values()}
    assert tried == {0.02 * 2**power for power in range(5)}


def test_the_median_of_mnist_alone_is_left_out() -> None:
    for dataset, tasks in (("MNIST", {"std"}), ("FashionMNIST", {"median", "std"})):
        grid = replace(PRESETS["why-first"].grid, tasks=("median", "std"), dataset=dataset)
        assert {run.task for run in plan(("study-rate",), grid)["study-rate"].values()} == tasks


def test_a_budget_at_which_no_longer_run_is_evaluated_is_trained_apart() -> None:
    grid = Grid(
        tasks=("age",), batch_sizes=(24, 96), runs=1, dataset="mine:a", part_images=1_000, train_images=1_000,
        learning_rates=(("age", 0.005),),
    )  # fmt: skip
    grid = replace(grid, rates=tuned_for(grid))
    assert controlled.budgets(grid) == (105,)
    usual = [
        run for run in plan(("equal-updates",), grid)["equal-updates"].values() if run.learning_rate == 0.005
    ]
    assert {(run.batch_size, run.steps, run.schedule) for run in usual} == {
        (24, 105, "constant"), (24, 105, "linear"),
    }  # fmt: skip


def tuned(best: float) -> Cells:
    """A tuning session in which the error grows with the distance from the rate `best`."""
    grid = replace(PRESETS["tune"].grid, tasks=("std",), batch_sizes=(1024,), runs=2)
    session = synthetic.session(("tune",), grid)
    cases = tuple(
        replace(
            case,
            result=replace(
                case.result,
                test_mse=(9.0,) * case.result.run.evaluations
                + (max(case.result.run.learning_rate / best, best / case.result.run.learning_rate),),
            ),
        )
        for case in session.cases
    )
    return Cells(Recording(path=Path("tune.json"), session=replace(session, cases=cases)))


def test_what_lies_beyond_an_edge_is_planned_alone(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "tune.json", tuned(best=0.1).session)
    beyond = beyond_edges(path)
    assert {(arm.task, arm.batch_size, rate) for arm, rate in beyond} == {("std", 1024, 0.032)}
    grid = replace(PRESETS["tune"].grid, beyond=beyond)
    runs = plan(("tune",), grid)["tune"].values()
    assert {(run.steps, run.schedule) for run in runs} == {
        (steps, schedule) for steps in BUDGETS for schedule in ("constant", "linear")
    }
    assert {run.learning_rate for run in runs} == {0.032}
    assert {run.seed for run in runs if run.steps == 586} == {100, 101, 102}


def test_a_tuning_of_wider_steps_goes_as_far_beyond_its_edge(tmp_path: Path) -> None:
    few = tuned(best=0.1).session
    kept = tuple(c for c in few.cases if c.result.run.learning_rate in {0.001, 0.004, 0.016})
    path = synthetic.write(tmp_path / "tune.json", replace(few, cases=kept, planned=len(kept)))
    assert {rate for _, rate in beyond_edges(path)} == {0.064}


def test_the_recordings_of_a_tuning_are_taken_for_its_table(tmp_path: Path) -> None:
    (table,) = CHAPTER.tables(tuned(best=0.004))
    csv, path = tmp_path / "tuned-rates.csv", tmp_path / "tune.json"
    csv.write_bytes(table.csv())
    assert set(tuned_in([synthetic.write(path, tuned(best=0.004).session)])) == set(rates.read(csv))


def test_a_recording_without_a_tuning_has_no_rates(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "run.json", synthetic.session(("batch-size",), Grid(runs=1)))
    with pytest.raises(RefinementError, match="expected recordings of the experiment tune"):
        tuned_in([path])


def test_a_tuning_without_an_edge_has_nothing_to_extend(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "tune.json", tuned(best=0.004).session)
    with pytest.raises(RefinementError, match="inside the ones that were tried; nothing to extend"):
        beyond_edges(path)


def test_the_table_of_a_tuning_report_is_what_why_takes(tmp_path: Path) -> None:
    (table,) = CHAPTER.tables(tuned(best=0.004))
    path = tmp_path / "tuned-rates.csv"
    path.write_bytes(b"# chosen by a test\n" + table.csv())
    found = rates.read(path)
    assert {rate.learning_rate for rate in found} == {0.004}
    assert {(rate.task, rate.batch_size, rate.seeds, rate.at_edge) for rate in found} == {
        ("std", 1024, 2, False),
        ("std", 1024, 1, False),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task,updates\n", "no column batch_size"),
        ("{header}\nmean,16,586,cosine,0.1,1,3,\n", "the schedule 'cosine'"),
        ("{header}\nmean,16,586,linear,nan,1,3,\n", "the learning rate nan"),
        ("{header}\nmean,0,586,linear,0.1,1,3,\n", "batch size 0"),
        ("{header}\nmean,16\n", "expected a tuned rate"),
        (
            "{header}\n" + "mean,16,586,linear,0.1,1,3,\n" * 2,
            "one rate for mean at batch size 16, 586 updates, linear, got 2",
        ),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(text.format(header=",".join(rates.COLUMNS)))
    with pytest.raises(rates.RatesError, match=said) as refused:
        rates.read(path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_smoke_tuning_s_table_is_taken_in_smoke() -> None:
    """Its budgets are cut short, so its arms are of fewer updates than those that ship."""
    smoke = PRESETS["smoke"].grid
    assert plan(("equal-epochs",), replace(smoke, batch_sizes=(256,)))  # at the rates that ship
    arms = {rates.Arm.of(run) for run in plan(("tune",), replace(smoke, batch_sizes=(256,)))["tune"].values()}
    assert {arm.steps for arm in arms} == {smoke.most_steps}
    table = tuple(
        replace(synthetic.RATES[0], **arm._asdict(), learning_rate=0.0123 + index / 1e4)
        for index, arm in enumerate(sorted(arms))
    )
    runs = plan(("equal-epochs",), replace(smoke, batch_sizes=(256,), rates=table))["equal-epochs"].values()
    assert runs
    for run in runs:
        assert run.learning_rate == next(r.learning_rate for r in table if r.arm == rates.Arm.of(run))


@pytest.mark.parametrize(
    "other",
    [{"steps": 0, "epochs": 2}, {"evaluate_on": "test"}],
)
def test_runs_that_are_no_tuning_are_none_whatever_they_are_called(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    run = Run(
        task="mean", batch_size=16, seed=1, learning_rate=0.001, epochs=0, steps=8, evaluate_on="validation"
    )
    tried = [replace(run, learning_rate=rate, seed=seed) for rate in (0.001, 0.002) for seed in (1, 2)]
    for case, is_none in ((tried, False), ([replace(each, **other) for each in tried], True)):
        path = write(tmp_path / f"{is_none}.json", map(synthetic.result, case), experiment="tune")
        if is_none:
            with pytest.raises(RefinementError, match="expected a tuning, runs of so many updates judged on"):
                beyond_edges(path)
        else:
            assert [arm.steps for arm, _ in beyond_edges(path)] == [8]


def test_what_lies_beyond_any_rate_is_not_planned(tmp_path: Path) -> None:
    run = Run(
        task="mean", batch_size=16, seed=1, learning_rate=1e9, epochs=0, steps=8, evaluate_on="validation"
    )
    path = write(tmp_path / "most.json", [synthetic.result(run)], experiment="tune")
    with pytest.raises(RefinementError, match="nothing to extend"):
        beyond_edges(path)
