"""The tuning of settings, played to its end against errors that a formula gives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsr.experiments import EXPERIMENTS, PRESETS, settings, square, tuning
from bsr.experiments.rates import RatesError
from bsr.experiments.settings import AMONG, Among, Problem, Setting
from bsr.run import Run
from synthetic import settings_for

SHORT = Problem("mean", 64, 586, 50_000)
LONG = Problem("mean", 1024, 2_344, 50_000)
LONGEST = Problem("mean", 1024, 9_375, 50_000)
USUAL = 0.0015

Error = Callable[[Setting, int], float]


def valley(best: float, *, seeds: float = 0.0, of_decay: float = 0.1) -> Error:
    """An error that is lowest at one rate, falling better than constant, and differs between seeds.

    Warm-up and another beta2 make it a little worse.
    """

    def error(setting: Setting, seed: int) -> float:
        away = math.log2(setting.learning_rate / best) ** 2
        away += 0.1 * ((setting.warmup > 0) + (setting.beta2 < 0.999))
        return math.exp(0.2 * away + of_decay * (1 - setting.decay) + seeds * math.sin(seed))

    return error


def played(
    problem: Problem,
    error: Error,
    rows: tuple[Among, ...] = tuning.ROWS,
    offered: tuple[Setting, ...] | None = (),
    *,
    few: bool = False,
) -> tuning.Tried:
    """The tuning of a problem to its end."""
    tried: dict[Setting, dict[int, float]] = {}
    for _ in range(20):
        looked = tuning.wanted(problem, USUAL, tried, rows, offered, few=few)
        for setting, seed in looked:
            assert seed not in tried.get(setting, {}), "trained twice"
            tried.setdefault(setting, {})[seed] = error(setting, seed)
        if not looked:
            return tried
    raise AssertionError("it never ends")


def runs(tried: tuning.Tried) -> int:
    return sum(map(len, tried.values()))


def middle(problem: Problem) -> float:
    return USUAL * 2.0 ** (tuning.lowest_power(problem) + 2)


OFFERED = (Setting(0.003, warmup=0.05, beta2=0.99), Setting(0.003, 0.0, warmup=0.05))


@pytest.mark.parametrize(
    ("problem", "rows", "count"),
    [(SHORT, AMONG[:1], 44), (SHORT, tuning.ROWS, 66), (LONG, tuning.ROWS, 20), (LONGEST, tuning.ROWS, 8)],
)
def test_a_tuning_has_as_many_runs_as_the_protocol_says(
    problem: Problem, rows: tuple[Among, ...], count: int
) -> None:
    assert runs(played(problem, valley(middle(problem)), rows, OFFERED)) == count


@pytest.mark.parametrize(
    ("problem", "offered", "count"), [(SHORT, (), 16), (SHORT, OFFERED, 20), (LONGEST, OFFERED, 8)]
)
def test_few_points_are_those_of_a_long_run_or_fewer(
    problem: Problem, offered: tuple[Setting, ...], count: int
) -> None:
    error = valley(middle(problem))
    assert runs(played(problem, error, offered=offered, few=True)) == count


@pytest.mark.parametrize("of_decay", [-1.0, 1.0])
def test_falling_and_constant_rates_are_sought_alike_whichever_is_better(of_decay: float) -> None:
    def error(setting: Setting, seed: int) -> float:
        return valley(middle(SHORT), of_decay=of_decay)(setting, seed) * (0.7 if setting.warmup else 1)

    for row in tuning.ROWS:
        found = tuning.choice(played(SHORT, error), row)
        assert found is not None
        assert found.setting.warmup, row
        assert found.seeds == len(tuning.SEEDS), row


def test_a_long_run_takes_what_serves_the_next_smaller_batch_size_and_seeks_its_rate() -> None:
    """Twice as high as there."""

    def error(setting: Setting, seed: int) -> float:
        return valley(middle(LONG))(setting, seed) * (0.7 if setting.warmup else 1)

    wanted: list[tuple[Problem, Among, Setting]] = [
        *((LONG, row, setting) for row, setting in zip(tuning.ROWS, OFFERED, strict=True)),
        (LONGEST, "falling", OFFERED[0]),
    ]
    for problem, row, taken in wanted:
        found = tuning.choice(played(problem, error, offered=OFFERED), row)
        assert found is not None
        assert found.setting == taken._replace(learning_rate=2 * taken.learning_rate)
        assert not found.untried


def test_a_long_run_waits_for_the_tuning_of_the_next_smaller_batch_size() -> None:
    assert runs(played(LONGEST, valley(middle(LONGEST)), offered=None)) == 5


def test_what_is_offered_is_what_was_chosen_for_the_next_smaller_batch_size() -> None:
    grid = replace(PRESETS["why-tune"].grid, tasks=("mean",))
    short = Problem("mean", 256, 2_344, 50_000)

    def error(setting: Setting, seed: int) -> float:
        return valley(0.003)(setting, seed) * (0.7 if setting.warmup else 1)

    def of_long(*tried: tuple[Problem, tuning.Tried], steps: int = 2_344) -> set[Setting]:
        runs = EXPERIMENTS["why-tune"].planned(replace(grid, tried=tried))
        return {Setting.of(run) for run in runs if (run.batch_size, run.steps) == (1024, steps)}

    longest = played(LONGEST, error, offered=None)
    assert of_long((LONGEST, longest), steps=9_375) == set()  # no second seed before what is offered is tried
    waits = Problem("mean", 256, 9_375, 50_000)  # for 64, which was not begun
    waiting = played(waits, error, offered=None)
    assert of_long((LONGEST, longest), (waits, waiting), steps=9_375) == set()
    own, smaller = played(LONG, error), played(short, error)
    chosen = {found.setting for row in tuning.ROWS if (found := tuning.choice(smaller, row))}
    assert of_long((LONG, own)) == set()  # it waits
    assert of_long((LONG, own), (short, smaller)) == chosen


@pytest.mark.parametrize("problem", [SHORT, LONG, LONGEST])
def test_the_best_rate_is_found_and_no_edge_named(problem: Problem) -> None:
    found = tuning.choice(played(problem, valley(middle(problem))), "falling")
    assert found is not None
    assert found.setting.learning_rate == pytest.approx(middle(problem))
    assert not found.untried


def test_an_edge_is_extended_until_the_best_lies_inside() -> None:
    tried = played(SHORT, valley(middle(SHORT) * 2**4))
    found = tuning.choice(tried, "falling")
    assert found is not None
    assert found.setting.learning_rate == pytest.approx(middle(SHORT) * 2**4)
    assert not found.untried


def test_a_rate_that_lies_beyond_three_extensions_is_named() -> None:
    found = tuning.choice(played(SHORT, valley(middle(SHORT) * 2**9)), "constant")
    assert found is not None
    assert found.untried


@pytest.mark.parametrize(("plain", "warm"), [(1, 4), (1, 1 / 2), (2, 8)])
def test_what_was_chosen_is_extended_among_the_rates_with_all_else_alike(plain: float, warm: float) -> None:
    """With a warm-up another rate is best, be it one that the grid tried without."""

    def error(setting: Setting, seed: int) -> float:
        best = middle(SHORT) * (warm if setting.warmup else plain)
        return valley(best)(setting, seed) * (0.7 if setting.warmup else 1)

    found = tuning.choice(played(SHORT, error), "falling")
    assert found is not None
    assert found.setting.warmup
    assert found.setting.learning_rate == pytest.approx(middle(SHORT) * warm)
    assert not found.untried
    assert found.seeds == len(tuning.SEEDS)


def test_the_last_look_gives_the_best_four_of_each_row_five_seeds() -> None:
    for rows, counts in ((AMONG[:1], [2, *[5] * 4]), (tuning.ROWS, [2, *[5] * 8])):
        tried = played(SHORT, valley(middle(SHORT), seeds=0.3), rows)
        assert sorted(map(len, tried.values()))[-len(counts) :] == counts


def test_a_setting_that_lost_a_training_is_never_chosen() -> None:
    def error(setting: Setting, seed: int) -> float:
        lost = setting.learning_rate == pytest.approx(middle(SHORT)) and seed == tuning.FIRST[1]
        return math.inf if lost else valley(middle(SHORT))(setting, seed)

    found = tuning.choice(played(SHORT, error), "all")
    assert found is not None
    assert found.setting.learning_rate != pytest.approx(middle(SHORT))


def test_where_all_trainings_were_lost_nothing_is_chosen() -> None:
    assert tuning.choice(played(LONG, lambda *_: math.inf), "all") is None


@given(st.floats(-6, 6), st.floats(-1, 1), st.floats(0, 1), st.sampled_from([SHORT, LONG, LONGEST]))
def test_every_tuning_ends_and_trains_nothing_twice(
    away: float, decay: float, seeds: float, problem: Problem
) -> None:
    tried = played(problem, valley(middle(problem) * 2**away, seeds=seeds, of_decay=decay))
    assert runs(tried) <= 66 + (2 * 2 + 3 * 5) * tuning.EXTENSIONS
    assert tuning.choice(tried, "falling") is not None


def test_the_longest_problem_takes_what_it_did_not_try_from_the_next_smaller_budget() -> None:
    tried = {
        LONG: played(LONG, valley(middle(LONG), of_decay=-1)),  # constant is best
        LONGEST: played(LONGEST, valley(middle(LONGEST) * 2)),
    }
    rows = {(row.problem, row.among): row for row in square.tuned(tried)}
    assert len(rows) == 2 * len(AMONG)
    assert rows[LONGEST, "falling"].setting.learning_rate == pytest.approx(middle(LONGEST) * 2)
    assert rows[LONGEST, "constant"].setting == rows[LONG, "constant"].setting
    assert rows[LONGEST, "all"].setting == rows[LONG, "all"].setting


@pytest.mark.parametrize(
    "setting",
    [Setting(0.001), Setting(0.001, 0.0), Setting(0.002, 0.5, 0.05, 0.99), Setting(0.001, warmup=0.05)],
)
def test_a_run_says_the_setting_that_it_was_given(setting: Setting) -> None:
    run = Run(task="mean", batch_size=16, seed=1, learning_rate=1.0, epochs=0, steps=100)
    assert Setting.of(setting.applied_to(run)) == setting


# Plans


def planned(preset: str) -> dict[str, list[Run]]:
    grid = PRESETS[preset].grid
    grid = replace(grid, settings=settings_for(grid))
    return {name: list(EXPERIMENTS[name].planned(grid)) for name in PRESETS[preset].experiments}


def test_the_square_is_every_batch_size_at_every_budget_but_the_longest() -> None:
    found = {(run.batch_size, run.steps) for run in planned("why")["square"]}
    sizes, budgets = (16, 64, 256, 1024), (586, 2_344, 9_375, 37_500)
    assert found == {(size, steps) for size in sizes for steps in budgets} - {(1024, 37_500)}


def test_other_networks_are_the_two_batch_sizes_at_equal_epochs_and_equal_updates() -> None:
    grid = PRESETS["why-networks"].grid
    tuned = {(run.model, run.batch_size, run.steps) for run in EXPERIMENTS["why-tune"].planned(grid)}
    arms = {(model, *arm) for model in ("wide", "deep") for arm in ((16, 586), (16, 37_500), (1024, 586))}
    assert tuned == arms
    reported = [*EXPERIMENTS["square"].planned(replace(grid, settings=settings_for(grid)))]
    assert {(run.model, run.batch_size, run.steps) for run in reported} == arms
    assert {run.seed for run in reported} == {*range(200, 208)}


def test_little_data_is_trained_on_whole_where_the_batch_is_larger() -> None:
    found = {(run.train_images, run.batch_size) for run in planned("why-data")["square"]}
    assert (1_000, 1_000) in found
    assert (1_000, 1024) not in found
    assert (10_000, 1024) in found


def test_a_part_that_is_tuned_is_reported_while_the_others_wait() -> None:
    grid = PRESETS["why-data"].grid
    some = tuple(row for row in settings_for(grid) if row.train_images == 1_000)
    reported = [*EXPERIMENTS["square"].planned(replace(grid, settings=some))]
    assert {run.train_images for run in reported} == {1_000}
    assert {run.batch_size for run in reported} == {16, 64, 256, 1_000}
    some = tuple(row for row in some if (row.batch_size, row.updates) != (64, 586) or row.among != "all")
    with pytest.raises(RatesError, match="angle at batch size 64, 586 updates"):
        list(EXPERIMENTS["square"].planned(replace(grid, settings=some)))


def test_a_budget_that_is_tuned_is_reported_while_the_others_wait() -> None:
    grid = PRESETS["why"].grid
    grid = replace(grid, settings=tuple(row for row in settings_for(grid) if row.updates == 586))
    for name in ("square", "travelling-rate"):
        assert {run.steps for run in EXPERIMENTS[name].planned(grid)} == {586}
    assert [*square.waiting(grid)] == [(50_000, 2_344), (50_000, 9_375), (50_000, 37_500)]
    assert {run.steps for run in EXPERIMENTS["usual-rate"].planned(grid)} == {586}


def test_a_batch_size_that_is_tuned_is_reported_while_the_others_wait() -> None:
    grid = PRESETS["why"].grid
    rows = settings_for(grid)
    tuned = {(16, 37_500), (1024, 586)}
    some = tuple(row for row in rows if (row.batch_size, row.updates) in tuned)
    for name in ("square", "usual-rate"):
        runs = EXPERIMENTS[name].planned(replace(grid, settings=some))
        assert {(run.batch_size, run.steps) for run in runs} == tuned
    assert square.waiting(replace(grid, settings=some))[50_000, 37_500] == [64, 256]
    alone = replace(grid, settings=tuple(row for row in rows if row.batch_size == 64))
    assert not [*EXPERIMENTS["usual-rate"].planned(alone)]


def test_what_was_tuned_for_other_images_or_another_network_waits_too() -> None:
    grid = PRESETS["why"].grid
    grid = replace(grid, settings=settings_for(grid))
    for other in (replace(grid, dataset="FashionMNIST"), replace(grid, models=("wide",))):
        assert len(square.waiting(other)) == 4
        with pytest.raises(RatesError, match="expected a tuned setting for mean at batch size 16"):
            list(EXPERIMENTS["square"].planned(other))


def test_the_settings_of_every_network_are_recorded() -> None:
    grid = replace(PRESETS["why"].grid, models=("study", "wide"))
    both = settings_for(grid)
    study = tuple(row for row in both if row.model == "study")
    assert set(square.settings_of(["square"], replace(grid, settings=both))) == set(both)
    assert len(square.waiting(replace(grid, settings=study))) == 4


def test_a_tuning_on_fewer_images_than_the_protocol_s_parts_ends() -> None:
    grid = replace(PRESETS["why-data-tune"].grid, part_images=3_000)
    assert {problem.train_images for problem in square.problems(grid, (16,))} == {1_000, 2_500}
    planned = list(EXPERIMENTS["why-tune"].planned(grid))
    assert {Problem.of(run)._replace(model="study") for run in planned} <= set(
        square.problems(grid, grid.batch_sizes)
    )


@pytest.mark.parametrize("preset", ["why", "why-data"])
def test_no_reporting_seed_was_tuned_with_and_test_images_report(preset: str) -> None:
    reported = [run for runs in planned(preset).values() for run in runs]
    assert not {run.seed for run in reported} & set(tuning.SEEDS)
    assert {run.evaluate_on for run in reported} == {"test"}
    assert {run.evaluate_on for run in EXPERIMENTS["why-tune"].planned(PRESETS[preset].grid)} == {
        "validation"
    }


def test_a_seed_at_the_usual_rate_is_trained_to_the_largest_budget_that_has_it() -> None:
    large = {run.seed: run.steps for run in planned("why")["usual-rate"] if run.batch_size == 1024}
    assert [large[200 + index] for index in (0, 4, 5, 7, 8, 11)] == [9_375, 9_375, 2_344, 2_344, 586, 586]


# Tables


def table(*rows: str) -> str:
    return "\n".join([",".join(settings.COLUMNS), *rows])


def test_a_table_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rows = settings_for(PRESETS["why"].grid)
    path = tmp_path / "tuned-settings.csv"
    lines = [",".join(str(getattr(row, name)) for name in settings.COLUMNS) for row in rows]
    path.write_text("\n".join(["# from a recording", ",".join(settings.COLUMNS), *lines]))
    assert settings.read(path) == rows
    assert settings.setting_for(settings.read(path), LONG, "constant") == Setting(0.001, 0.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", None),
        ("dataset,model\nMNIST,study", "missing required field"),
        (table("MNIST,study,1,mean,-1,2,all,1,1,0,0.9,1,1,"), ">= 0"),
        (table("MNIST,study,1,mean,1,2,all,0,1,0,0.9,1,1,"), "learning_rate"),
        (
            table(*2 * ("MNIST,study,9,mean,1,2,all,1,1,0,0.9,1,1,",)),
            "expected one setting for mean at batch size 1, 2 updates on 9 images of MNIST, network study",
        ),
    ],
)
def test_a_table_that_is_none_is_refused_by_name(tmp_path: Path, content: str, said: str | None) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    if said is None:
        assert settings.read(path) == ()
        return
    with pytest.raises(RatesError, match=said) as error:
        settings.read(path)
    assert "t.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_was_not_tuned_is_named_with_its_remedy() -> None:
    with pytest.raises(RatesError, match="mean at batch size 64, 586 updates.*why-tune"):
        settings.setting_for((), SHORT, "all")
