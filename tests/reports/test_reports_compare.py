from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import synthetic
from bsr import published
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError, read
from bsr.records.schema import SessionRecord
from bsr.result import Result, Status
from bsr.run import RUN_FIELDS, Run
from reports.compare import Comparison, Pair, compare
from reports.compare.figures import comparison_error
from reports.compare.speed_figures import comparison_speed, comparison_times
from reports.compare.tables import cells as cell_table
from reports.compare.tables import machines, series, tables, verdicts
from reports.compare.terminal import show
from reports.compare.words import statement
from reports.drawing import panel as drawing

Change = Callable[[Result], Result]
SMALL = Grid(tasks=("mean", "std", "median"), batch_sizes=(16, 64, 256), runs=4)


def recording(name: str, session: SessionRecord, **about: Any) -> Recording:
    return Recording(path=Path(f"{name}.json"), session=session, **about)


def changed(session: SessionRecord, change: Change) -> SessionRecord:
    results = [change(case.result) for case in session.cases]
    cases = zip(session.cases, results, strict=True)
    return replace(session, cases=tuple(replace(case, key=new.run.key, result=new) for case, new in cases))


def slower(factor: float) -> Change:
    return lambda result: replace(result, training_seconds=tuple(factor * s for s in result.training_seconds))


def worse(factor: float, spread: float = 0.0) -> Change:
    """Every run's MSE times `factor`, and times noise that differs from run to run."""

    def change(result: Result) -> Result:
        noise = np.random.default_rng(int(result.run.key, 16) + 1).lognormal(0, spread)
        return replace(result, test_mse=tuple(v and v * factor * noise for v in result.test_mse))

    return change


def on_another_machine(session: SessionRecord, **fingerprint: Any) -> SessionRecord:
    about = synthetic.fingerprint() | {"id": "another"} | fingerprint
    engine, threads = about["engine"], about["threads"]
    moved = changed(session, lambda r: replace(r, environment="another", engine=engine, threads=threads))
    return replace(moved, environments={"another": about})


def studies(grid: Grid = SMALL, **about: Any) -> SessionRecord:
    return synthetic.session(grid=grid, **about)


def labels(*recordings: Recording, given: tuple[str, ...] = ()) -> list[str]:
    return [one.label for one in compare(recordings, given).series]


def pair_of(first: SessionRecord, second: SessionRecord, **about: Any) -> Pair:
    (pair,) = compare([recording("a", first), recording("b", second)], **about).pairs
    return pair


# Names


def test_series_are_named_after_their_devices_alone_where_those_differ() -> None:
    gpu = on_another_machine(studies(), device_name="NVIDIA H200", engine="graph", threads=16, torch="3.0")
    assert labels(recording("a", studies()), recording("b", gpu)) == ["Synthetic CPU", "NVIDIA H200"]


def test_two_gpus_of_one_machine_have_different_names() -> None:
    machine = {"node": "node7", "machine": "x86_64", "system": "Linux"}
    studies_ = [on_another_machine(studies(), device_name=name) for name in ("RTX 4090", "H200")]
    recordings = [recording("run", session, machine=machine) for session in studies_]
    assert labels(*recordings) == ["RTX 4090", "H200"]


@pytest.mark.parametrize(
    ("fingerprint", "expected"),
    [
        ({"engine": "native"}, ["eager", "native"]),
        ({"threads": 1}, ["2 threads", "1 thread"]),
        ({"torch": "2.13.0"}, ["torch 2.9.0", "torch 2.13.0"]),
        ({"driver": "580"}, ["Synthetic CPU", "driver 580"]),
        ({}, ["a", "b"]),
    ],
)
def test_series_of_one_device_are_named_by_as_much_as_tells_them_apart(
    fingerprint: Mapping[str, Any], expected: list[str]
) -> None:
    other = on_another_machine(studies(), **fingerprint)
    assert labels(recording("a", studies()), recording("b", other)) == expected


def test_a_file_compared_with_itself_gets_two_names() -> None:
    assert len(set(labels(recording("a", studies()), recording("a", studies())))) == 2


def test_given_labels_win_and_a_file_of_two_engines_keeps_them_apart() -> None:
    mixed = synthetic.session(
        grid=SMALL, circumstances=lambda run: {"engine": "native" if run.batch_size > 16 else "eager"}
    )
    found = labels(recording("a", mixed), recording("b", studies()), given=("mine", "yours"))
    assert found == ["mine, native", "mine, eager", "yours"]


@pytest.mark.parametrize("given", [("one",), ("one", "two", "three"), ("same", "same"), ("one", "")])
def test_labels_must_be_one_different_name_per_file(given: tuple[str, ...]) -> None:
    with pytest.raises(RefusedError, match="--labels: expected 2 different names, one per file"):
        labels(recording("a", studies()), recording("b", studies()), given=given)


# Guards


OTHER_VALUES: dict[str, Any] = {
    "learning_rate": 0.1234,
    "epochs": 9,
    "dataset": "KMNIST",
    "train_images": 1000,
    "test_images": 999,
    "optimiser": "sgd",
    "loss": "mae",
    "precision": "tf32",
    "schedule": "linear",
    "evaluate_on": "validation",
    "order_seed": 7,
    "beta1": 0.8,
    "beta2": 0.99,
    "eps": 1e-6,
    "warmup": 0.1,
    "decay": 0.5,
}


def test_every_field_of_run_is_guarded_or_an_axis_of_the_grid() -> None:
    axes = {"task", "model", "batch_size", "seed"}
    with_steps = {"steps", "first_evaluation"}  # which change epochs too
    assert {*OTHER_VALUES, *axes, *with_steps} == set(RUN_FIELDS)


def test_of_several_networks_the_first_that_both_have_is_compared_and_the_others_are_named() -> None:
    both = replace(SMALL, models=("wide", "deep"))
    found = compare([recording("a", studies(grid=both)), recording("b", studies(grid=both))])
    assert {cell.model for pair in found.pairs for cell in pair.cells} == {"wide"}
    assert "Only network wide is compared; the files also share deep." in found.notes


def test_recordings_of_two_networks_have_nothing_to_compare_and_say_which_they_are_of() -> None:
    one, other = (studies(grid=replace(SMALL, models=(name,))) for name in ("study", "deep"))
    with pytest.raises(RefusedError, match=r"a\.json has batch-size .*; b\.json has .*, network deep\)"):
        compare([recording("a", one), recording("b", other)])


def _told(result: Result, field: str, digest: str) -> Result:
    return replace(result, **{field: digest})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["labels_digest", "network_digest"])
def test_labels_and_networks_of_one_name_that_differ_are_refused_with_both_digests(field: str) -> None:
    one, other = (changed(studies(), partial(_told, field=field, digest=digest)) for digest in ("aa", "bb"))
    with pytest.raises(RefusedError, match=r"(labels of|network) .* is .*aa in a\.json and .*bb in b\.json"):
        compare([recording("a", one), recording("b", other)])


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_runs_that_differ_in_a_field_are_refused_with_the_field_and_both_values(field: str) -> None:
    unlike = changed(studies(), lambda r: replace(r, run=replace(r.run, **{field: OTHER_VALUES[field]})))
    with pytest.raises(RefusedError) as refused:
        compare([recording("a", studies()), recording("b", unlike)])
    message = str(refused.value)
    assert f"{field}" in message
    assert f"{OTHER_VALUES[field]} in b.json" in message
    assert "in a.json" in message
    assert "\n" not in message


def test_a_field_that_differs_in_one_task_names_the_task() -> None:
    def other_rate(result: Result) -> Result:
        rate = 0.5 if result.run.task == "std" else result.run.learning_rate
        return replace(result, run=replace(result.run, learning_rate=rate))

    with pytest.raises(RefusedError, match=r"learning_rate of task std is 0.001 in a.json and 0.5 in b.json"):
        compare([recording("a", studies()), recording("b", changed(studies(), other_rate))])


def test_other_data_is_refused_with_both_digests() -> None:
    with pytest.raises(
        RefusedError, match=r"dataset digest is 0123456789abcdef in a.json and feed in b.json"
    ):
        compare([recording("a", studies()), recording("b", studies(dataset_digest="feed"))])


def test_files_without_a_common_case_are_refused_with_what_each_has() -> None:
    other = studies(replace(SMALL, batch_sizes=(32,)))
    with pytest.raises(RefusedError, match=r"a.json has batch-size .*16, 64 and 256.*b.json has .*size 32"):
        compare([recording("a", studies()), recording("b", other)])


def test_environment_and_commit_are_no_reason_to_refuse_and_the_commit_is_a_note() -> None:
    other = on_another_machine(studies(), torch="3.0", system="Windows")
    about = [{"id": "a" * 40, "dirty": False}, {"id": "b" * 40, "dirty": True}]
    found = compare([recording("a", studies(), commit=about[0]), recording("b", other, commit=about[1])])
    assert found.notes == ("Commits: torch 2.9.0: aaaaaaaaaa; torch 3.0: bbbbbbbbbb, with local changes.",)


def test_one_clean_commit_is_not_worth_a_note() -> None:
    commit = {"id": "a" * 40, "dirty": False}
    assert not compare([recording(name, studies(), commit=commit) for name in "ab"]).notes


# Series


@pytest.mark.parametrize(
    "circumstances",
    [{"engine": "native"}, {"threads": 1}, {"beside": 3}, {"cohort": 10}, {"environment": "another"}],
)
def test_results_made_differently_never_share_a_series(circumstances: Mapping[str, Any]) -> None:
    mixed = synthetic.session(grid=SMALL, circumstances=lambda run: circumstances if run.seed % 2 else {})
    found = compare([recording("a", studies()), recording("b", mixed)])
    sides = [one for one in found.series if one.data.recording.path.stem == "b"]
    assert len(sides) == 2
    keys = [{case.key for case in one.cases} for one in sides]
    assert not keys[0] & keys[1]
    assert len({one.timing for one in sides}) == 2
    for one in sides:
        name, value = next(iter(circumstances.items()))
        assert len({getattr(case.result, name) == value for case in one.cases}) == 1


def test_series_are_compared_with_those_that_were_timed_alike() -> None:
    def modes(run: Run) -> Mapping[str, Any]:
        return {"cohort": 10} if run.seed % 2 else {}

    first = synthetic.session(grid=SMALL, circumstances=modes)
    found = compare([recording("a", first), recording("b", first)])
    between = [pair for pair in found.pairs if not pair.within_one_file]
    assert len(between) == 2
    assert not any(pair.across for pair in between)


def test_a_ratio_across_engines_and_modes_says_so() -> None:
    other = synthetic.session(grid=SMALL, circumstances={"engine": "native", "beside": 1})
    pair = pair_of(studies(), other)
    assert pair.across == (
        "engines (native against eager)",
        "timing modes (in parallel with 1 other run against alone)",
    )
    said = statement(pair).speed
    assert (
        "across engines (native against eager) and timing modes (in parallel with 1 other run against alone)"
        in said
    )


def test_two_kernels_of_one_engine_are_two_series_with_names_that_say_so() -> None:
    old = synthetic.session(grid=SMALL, circumstances={"engine": "native"})
    new = synthetic.session(grid=SMALL, circumstances={"engine": "native", "kernel": "8b1d2e0286a1"})
    found = compare([recording("a", old), recording("b", new)])
    assert [one.label for one in found.series] == ["kernel unrecorded", "kernel 8b1d2e0286a1"]
    assert found.pairs[0].across == ("kernels (8b1d2e0286a1 against unrecorded)",)


def test_same_engine_keeps_only_series_of_the_first_files_engine() -> None:
    mixed = synthetic.session(
        grid=SMALL, circumstances=lambda run: {"engine": "native" if run.task == "std" else "eager"}
    )
    found = compare([recording("a", studies()), recording("b", mixed)], same_engine=True)
    assert {one.timing.engine for one in found.series} == {"eager"}
    assert "Only engine eager; left out: native." in found.notes


def test_same_engine_without_another_series_of_that_engine_is_refused() -> None:
    native = synthetic.session(grid=SMALL, circumstances={"engine": "native"})
    with pytest.raises(RefusedError, match=r"--same-engine: .*'eager' in another file too, got native"):
        compare([recording("a", studies()), recording("b", native)], same_engine=True)


# What is compared


def test_what_only_one_side_has_is_left_out_and_named() -> None:
    first = studies(replace(SMALL, batch_sizes=(16, 64)))
    second = studies(replace(SMALL, tasks=("mean", "std")))
    pair = pair_of(first, second)
    assert {(cell.task, cell.batch_size) for cell in pair.cells} == {
        ("mean", 16), ("mean", 64), ("std", 16), ("std", 64),
    }  # fmt: skip
    assert pair.left_out == (
        "median at batch size 16 and 64, which only a has",
        "mean and std at batch size 256, which only b has",
    )


def test_runs_are_paired_where_both_have_the_same_seeds_and_extra_seeds_are_named() -> None:
    pair = pair_of(studies(), studies(replace(SMALL, runs=6)))
    assert pair.error.paired_cells == pair.error.cells == 6
    assert pair.error.replicates == 4
    assert "18 runs whose seeds only b has" in pair.left_out


def test_runs_of_other_seeds_are_compared_unpaired() -> None:
    pair = pair_of(studies(), studies(replace(SMALL, seeds=(901, 902, 903))))
    assert pair.error.cells == 6
    assert pair.error.paired_cells == 0


def test_a_degenerate_task_is_named_and_moves_no_verdict_on_the_error() -> None:
    def collapse(result: Result) -> Result:
        return worse(1e6)(result) if result.run.task == "median" else result

    pair = pair_of(studies(), changed(studies(), collapse))
    assert pair.error.ratio == 1
    assert pair.error.verdict == "same"
    assert "median, whose labels are all the same, in no verdict on the error" in pair.left_out
    assert "median" in pair.tasks  # its times count


def test_runs_without_a_final_error_are_counted_with_how_they_ended() -> None:
    def disturb(run: Run) -> Status:
        ends: dict[int, Status] = {16: "diverged", 17: "failed", 18: "not_run"}
        return ends.get(run.seed, "ok") if run.task == "mean" else "ok"

    pair = pair_of(studies(), synthetic.session(grid=SMALL, disturb=disturb))
    assert "3 runs of b without a final MSE (1 diverged, 1 failed and 1 not run)" in pair.left_out


def test_a_file_without_a_finished_case_of_the_first_is_named_beside_those_that_are_compared() -> None:
    def only_64(run: Run) -> Status:
        return "ok" if run.batch_size == 64 else "not_run"

    first = studies(replace(SMALL, batch_sizes=(16, 256)))
    third = synthetic.session(grid=SMALL, disturb=only_64)
    found = compare(
        [recording(name, session) for name, session in zip("abc", (first, first, third), strict=True)]
    )
    assert [pair.second.label for pair in found.pairs] == ["b"]
    assert "Not compared, having no finished case of batch-size in common with a.json: c." in found.notes


def test_experiments_of_a_later_version_are_no_reason_to_fail() -> None:
    session = studies()
    session = replace(
        session, cases=tuple(replace(c, cases={**c.cases, "steps": "x"}) for c in session.cases)
    )
    assert pair_of(session, session).experiment == "batch-size"


def test_the_same_files_give_the_same_words_every_time() -> None:
    recordings = [
        recording("a", studies()),
        recording("b", studies(replace(SMALL, batch_sizes=(16, 32, 64)))),
    ]
    assert statement(compare(recordings).pairs[0]) == statement(compare(recordings).pairs[0])


# Speed


def test_a_planted_factor_in_time_is_the_speed_up() -> None:
    pair = pair_of(studies(), changed(studies(), slower(0.25)))
    assert pair.time.ratio == pytest.approx(0.25)
    assert "trains 4.00 times as fast as a" in statement(pair).speed
    for size in pair.batch_sizes:
        up = pair.speed_up(pair.at(size))
        assert up is not None
        assert up.interval is not None
        assert up.factor == pytest.approx(4)
        assert up.interval.low < 4 < up.interval.high


def test_times_of_zero_are_no_times() -> None:
    pair = pair_of(studies(), changed(studies(), slower(0)))
    assert pair.time.ratio is None
    assert "no training times to compare" in statement(pair).speed
    assert pair.speed_up(pair.cells) is None


def test_a_run_of_very_many_epochs_is_resampled_by_an_even_choice_of_them() -> None:
    grid = Grid(tasks=("mean",), batch_sizes=(16,), runs=2, epochs=5000)
    pair = pair_of(studies(grid), changed(studies(grid), slower(2)))
    up = pair.speed_up(pair.cells)
    assert up is not None
    assert up.factor == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("images_per_second", "expected"),
    [
        ({16: 10, 64: 50, 256: 95, 1024: 100}, 256),
        ({16: 10, 64: 50, 256: 80, 1024: 100}, None),
        ({16: 100, 64: 99, 256: 98, 1024: 97}, 16),
        ({16: 100, 64: 50, 256: 95, 1024: 96}, 256),
        ({16: 10, 64: 10}, None),
    ],
)
def test_a_curve_is_flat_from_where_it_stays_within_ten_percent_of_its_best(
    images_per_second: Mapping[int, float], expected: int | None
) -> None:
    def timed(result: Result) -> Result:
        seconds = result.run.train_images / images_per_second[result.run.batch_size]
        return replace(result, training_seconds=(seconds,) * 10)

    session = changed(studies(Grid(tasks=("mean",), batch_sizes=tuple(images_per_second), runs=2)), timed)
    found = compare([recording("a", session), recording("b", session)])
    assert found.series[0].flat_from("batch-size") == expected
    assert found.series[0].throughput("batch-size") == pytest.approx(images_per_second)


# Verdicts


@pytest.mark.parametrize(
    ("runs", "change", "expected"),
    [
        (4, worse(1.0, 0.05), "Final MSE: same within 20%"),
        (4, worse(1.5, 0.05), "Final MSE: different by 5"),
        (2, worse(1.1, 0.6), "Final MSE: cannot tell with 2 runs per cell; "),
        (1, worse(1.1, 0.9), "Final MSE: cannot tell with 1 run per cell; "),
    ],
)
def test_the_verdict_is_same_different_or_cannot_tell(runs: int, change: Change, expected: str) -> None:
    session = studies(replace(SMALL, runs=runs))
    said = statement(pair_of(session, changed(session, change))).error
    assert said.startswith(expected)
    if "cannot tell" in said:
        assert " would; " in said


def test_a_wider_margin_can_be_asked_for() -> None:
    other = changed(studies(), worse(1.3, 0.05))
    assert pair_of(studies(), other).error.verdict == "different"
    assert str(pair_of(studies(), other, margin=0.5).error) == "same within 50%"


def test_bit_equality_is_claimed_of_nothing() -> None:
    said = statement(pair_of(studies(), studies()))
    assert said.error.startswith("Final MSE: same within 20%")
    assert not {"identical", "bit", "equal"} & set(said.error.lower().split())


class Simulated:
    """Studies with the published spread between seeds in every cell, and 3% between times."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(6)
        self.session = synthetic.session(grid=Grid(tasks=("mean", "std", "var"), runs=10))
        known = {(cell.task, cell.batch_size): cell for cell in published.final_mse()}
        runs = [case.result.run for case in self.session.cases]
        cells = [known[run.task, run.batch_size] for run in runs]
        self.spread = np.array([cell.log_spread for cell in cells])
        self.middle = np.array([math.log(cell.mean_mse) for cell in cells])
        self.seconds = np.array([4 + 70 / run.batch_size for run in runs])

    def recording(self, factor: float) -> Recording:
        """Errors and times of every run drawn anew, times `factor`."""
        finals = factor * np.exp(self.rng.normal(self.middle, self.spread))
        times = factor * self.seconds * np.exp(self.rng.normal(0, 0.03, len(self.seconds)))
        drawn = zip(self.session.cases, finals.tolist(), times.tolist(), strict=True)
        cases = tuple(replace(case, result=self.result(case.result, *values)) for case, *values in drawn)
        return recording("simulated", replace(self.session, cases=cases))

    @staticmethod
    def result(result: Result, final: float, seconds: float) -> Result:
        return replace(result, test_mse=(*result.test_mse[:-1], final), training_seconds=(seconds,) * 10)


@pytest.fixture(scope="module")
def comparisons() -> dict[float, list[Pair]]:
    """200 sessions, each beside others whose errors and times are larger by a factor."""
    simulated, factors = Simulated(), (1.0, 1.02, 1.3)
    found: dict[float, list[Pair]] = {factor: [] for factor in factors}
    for _ in range(200):
        recordings = [simulated.recording(factor) for factor in (1.0, *factors)]
        for factor, pair in zip(factors, compare(recordings).pairs, strict=True):
            found[factor].append(pair)
    return found


def different(pairs: list[Pair], measure: str) -> float:
    verdicts_ = [getattr(pair, measure).verdict for pair in pairs]
    return verdicts_.count("different") / len(verdicts_)


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["error", "time"])
@pytest.mark.parametrize("factor", [1.0, 1.02])
def test_from_study_to_verdict_no_and_two_percent_difference_are_not_called_different(
    comparisons: dict[float, list[Pair]], factor: float, measure: str
) -> None:
    assert different(comparisons[factor], measure) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["error", "time"])
def test_from_study_to_verdict_thirty_percent_are_found(
    comparisons: dict[float, list[Pair]], measure: str
) -> None:
    assert different(comparisons[1.3], measure) >= 0.8


@pytest.mark.slow
def test_from_study_to_verdict_two_runs_of_one_distribution_are_the_same(
    comparisons: dict[float, list[Pair]],
) -> None:
    same = [pair.error.verdict == "same" for pair in comparisons[1.0]]
    assert sum(same) / len(same) >= 0.9
    assert {pair.error.cells for pair in comparisons[1.0]} == {21}


# What is shown


def shown(comparison: Comparison) -> str:
    text = io.StringIO()
    show(comparison, Console(file=text, width=160))
    return text.getvalue()


def test_the_terminal_shows_both_series_their_times_and_the_verdict() -> None:
    gpu = changed(on_another_machine(studies(), device_name="NVIDIA H200"), slower(0.1))
    text = shown(compare([recording("a", studies()), recording("b", gpu)]))
    for part in ("NVIDIA H200", "Synthetic CPU", "times as fast", "10.0", "same within 20%", "batch size"):
        assert part in text


def test_names_from_files_are_shown_as_they_are_written() -> None:
    hostile = "[bold red]x[/] \x1b[31m:smile:"
    text = shown(compare([recording("a", studies()), recording("b", studies())], ("fine", hostile)))
    assert "[bold red]x[/]" in text
    assert "\x1b" not in text
    assert ":smile:" in text


def test_the_tables_hold_the_numbers_of_the_pairs() -> None:
    found = compare([recording("a", studies()), recording("b", changed(studies(), slower(0.5)))])
    table = cell_table(found)
    rows: list[dict[str, Any]] = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert len(rows) == 3 * (1 + 3)
    for row in rows:
        assert row["times as fast"] == pytest.approx(2)
        assert row["s per epoch"] == pytest.approx(row["against s"] / 2)
    over_all = [row for row in rows if row["task"] == "all"]
    assert [row["ratio of MSE"] for row in over_all] == [1, 1, 1]
    assert all(row["ratio of MSE"] is None for row in rows if row["task"] == "median")


def test_every_column_has_a_name_to_sort_by() -> None:
    """Each is a button, which a screen reader names."""
    other = on_another_machine(studies(), torch="3.0")
    compared = compare([recording("a", studies()), recording("b", other)])
    assert machines(compared).rows
    assert all(all(table.header) for table in tables(compared))


def test_the_table_of_machines_holds_only_what_differs() -> None:
    other = on_another_machine(studies(), torch="3.0", driver="580")
    table = machines(compare([recording("a", studies()), recording("b", other)]))
    assert {row[0]: row[1:] for row in table.rows} == {"torch": ("2.9.0", "3.0"), "driver": ("", "580")}


def test_further_experiments_get_a_verdict_of_their_own() -> None:
    session = synthetic.session(("batch-size", "loss"), SMALL)
    found = compare([recording("a", session), recording("b", changed(session, worse(1.0, 0.01)))])
    assert found.experiment == "batch-size"
    assert [row[2:4] for row in verdicts(found).rows] == [
        ("batch-size", "all that learn"), ("batch-size", "mean"), ("batch-size", "std"),
        ("loss", "all that learn"),
    ]  # fmt: skip


def test_files_of_another_experiment_alone_are_compared_on_it() -> None:
    session = synthetic.session(("loss",), SMALL)
    found = compare([recording("a", session), recording("b", session)])
    assert found.experiment == "loss"
    assert found.pairs[0].error.verdict == "same"


@pytest.mark.parametrize(
    "grid",
    [
        SMALL,
        Grid(tasks=("mean",), batch_sizes=(64,), runs=1, epochs=1),
        Grid(tasks=("median",), batch_sizes=(16, 32), runs=2),
    ],
    ids=["several", "one cell", "degenerate"],
)
def test_every_figure_is_drawn_with_its_n_and_what_each_series_is(grid: Grid) -> None:
    gpu = changed(on_another_machine(studies(grid), device_name="H200 $x^2$", engine="graph"), slower(0.1))
    found = compare([recording("a", studies(grid)), recording("b", gpu)])
    for draw in (comparison_speed, comparison_times, comparison_error):
        made = draw(found)
        assert made is not None
        assert "n = " in made.caption
        assert "H200 $x^2$: graph, 2 threads, alone" in made.caption
        assert made.alternative
        assert len(drawing.as_png([drawing.rendered(panel, "x") for panel in made.panels])) > 5000


def test_the_figure_of_errors_says_the_verdict_and_names_degenerate_tasks() -> None:
    found = compare([recording("a", studies()), recording("b", studies())])
    made = comparison_error(found)
    assert made is not None
    assert made.panels[0].measure == "ratio of final MSE (log): same within 20%"
    assert [panel.title for panel in made.panels[1:]] == [
        "mean",
        "std",
        "median (degenerate: nothing to learn)",
    ]


def test_three_files_are_each_compared_with_the_first(tmp_path: Path) -> None:
    paths = [synthetic.write(tmp_path / f"{name}.json", studies()) for name in "abc"]
    found = compare([read(path) for path in paths])
    assert [(pair.first.label, pair.second.label) for pair in found.pairs] == [("a", "b"), ("a", "c")]
    assert {table.name for table in tables(found)} >= {"comparison-verdicts", "comparison-cells"}
    assert len(series(found).rows) == 3
