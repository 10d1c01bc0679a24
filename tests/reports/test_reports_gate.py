from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError
from bsr.records.schema import SessionRecord
from bsr.result import Result
from reports.compare import compare
from reports.compare.gate import Judgement, Limit, judge, parse_limit

GRID = Grid(tasks=("mean", "std", "median"), batch_sizes=(16, 64, 256), runs=4)


def session(change: Callable[[Result], Result] = lambda result: result, grid: Grid = GRID) -> SessionRecord:
    made = synthetic.session(grid=grid)
    return replace(made, cases=tuple(replace(case, result=change(case.result)) for case in made.cases))


def scaled(mse: float = 1.0, time: float = 1.0, spread: float = 0.05) -> Callable[[Result], Result]:
    """Errors and times larger by a factor, with noise that differs from run to run."""

    def change(result: Result) -> Result:
        noise = np.random.default_rng(int(result.run.key, 16) + 1).lognormal(0, spread, 2)
        return replace(
            result,
            test_mse=tuple(value and value * mse * noise[0] for value in result.test_mse),
            training_seconds=tuple(value * time * noise[1] for value in result.training_seconds),
        )

    return change


def judged(limit: str, *others: SessionRecord, first: SessionRecord | None = None) -> list[Judgement]:
    recordings = [
        Recording(path=Path(f"{name}.json"), session=made)
        for name, made in zip("abc", (first or session(), *others), strict=False)
    ]
    return judge(compare(recordings), [parse_limit(limit)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mse:20%", Limit("mse", 0.2)),
        ("time:7.5%", Limit("time", 0.075)),
        (" mse : 0 % ", Limit("mse", 0.0)),
        ("time:150%", Limit("time", 1.5)),
    ],
)
def test_a_limit_is_a_measure_and_a_percentage(text: str, expected: Limit) -> None:
    assert parse_limit(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mse",
        "mse:20",
        "mse:-5%",
        "mse:nan%",
        "mse:1e3%",
        "mae:20%",
        "mse=20%",
        "mse:20%;time:20%",
        "mse:\n%",
        "mse:٢%",
    ],
)
def test_anything_else_is_refused_in_one_line_that_shows_how(text: str) -> None:
    with pytest.raises(
        RefusedError, match="--fail-on: expected mse:N% or time:N%, such as mse:20%"
    ) as refused:
        parse_limit(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("measure", ["mse", "time"])
def test_a_supported_change_beyond_the_limit_fails_and_says_both(measure: str) -> None:
    (found,) = judged(f"{measure}:20%", session(scaled(mse=1.4, time=1.4)))
    assert found.outcome == "failed"
    assert found.message.startswith(f"failed {measure}:20%: ")
    assert "larger than the limit: yes; statistically supported: yes" in found.message
    assert "b against a is 4" in found.message


@pytest.mark.parametrize("measure", ["mse", "time"])
def test_a_supported_change_within_the_limit_passes(measure: str) -> None:
    (found,) = judged(f"{measure}:50%", session(scaled(mse=1.3, time=1.3)))
    assert found.outcome == "passed"
    assert "larger than the limit: no; statistically supported: yes" in found.message


def test_a_change_beyond_the_limit_that_chance_explains_passes_and_says_so() -> None:
    few = replace(GRID, runs=3, batch_sizes=(16, 64))
    (found,) = judged("mse:5%", session(scaled(mse=1.3, spread=0.9), few), first=session(grid=few))
    assert found.outcome == "passed"
    assert "larger than the limit: yes; statistically supported: no" in found.message


@pytest.mark.parametrize("measure", ["mse", "time"])
def test_an_improvement_never_fails(measure: str) -> None:
    (found,) = judged(f"{measure}:0%", session(scaled(mse=0.5, time=0.5)))
    assert found.outcome == "passed"
    assert "% smaller" in found.message


def test_no_change_passes_a_limit_of_nothing() -> None:
    (found,) = judged("mse:0%", session())
    assert found.outcome == "passed"


def test_a_degenerate_task_cannot_fail_the_error() -> None:
    def collapse(result: Result) -> Result:
        return scaled(mse=1e6)(result) if result.run.task == "median" else result

    assert judged("mse:20%", session(collapse))[0].outcome == "passed"


def test_every_file_after_the_first_is_judged() -> None:
    found = judged("time:20%", session(), session(scaled(time=2.0)))
    assert [judgement.outcome for judgement in found] == ["passed", "failed"]


def test_series_of_one_file_are_not_judged_against_each_other() -> None:
    mixed = session(lambda r: replace(scaled(time=9.0)(r) if r.run.seed % 2 else r, beside=r.run.seed % 2))
    judgements = judged("time:20%", mixed, first=mixed)
    assert not any(judgement.outcome == "failed" for judgement in judgements)


@pytest.mark.parametrize("limit", ["mse:5%", "time:5%"])
@pytest.mark.parametrize("runs", [1, 2])
def test_fewer_than_three_seeds_cannot_tell(limit: str, runs: int) -> None:
    few = replace(GRID, runs=runs)
    (found,) = judged(limit, session(scaled(mse=1.4, time=1.4), few), first=session(grid=few))
    assert found.outcome == "cannot tell"
    assert f"it takes 3 runs per cell and side, here {runs}: --bsr-runs 3" in found.message


def recorded(result: Result) -> Result:
    return replace(result, finished_at="2026-01-01T00:00:00.000+00:00")


def test_a_copy_is_no_second_measurement() -> None:
    with pytest.raises(
        RefusedError, match="expected two measurements, got one: a.json and b.json share 36 runs bit for bit"
    ):
        judged("mse:20%", session(recorded), first=session(recorded))


def test_runs_that_both_files_hold_bit_for_bit_are_named_and_count_for_nothing() -> None:
    def half(result: Result) -> Result:
        return recorded(result if result.run.batch_size == 16 else scaled(time=1.3)(result))

    recordings = [
        Recording(path=Path(f"{name}.json"), session=made)
        for name, made in (("a", session(recorded)), ("b", session(half)))
    ]
    (pair,) = compare(recordings).pairs
    assert {cell.batch_size for cell in pair.cells} == {64, 256}
    assert any("12 runs that both files hold bit for bit" in words for words in pair.left_out)


def test_a_ratio_across_engines_says_so() -> None:
    native = session(lambda result: replace(result, engine="native"))
    assert "across engines (native against eager)" in judged("time:20%", native)[0].message


def test_runs_that_have_no_error_any_more_are_in_the_message() -> None:
    def diverge(result: Result) -> Result:
        if result.run.seed != 16:
            return result
        return replace(result, status="diverged", test_mse=(*result.test_mse[:-1], None))

    assert "3 runs of b without a final MSE (3 diverged)" in judged("mse:20%", session(diverge))[0].message


def test_a_gate_that_has_nothing_to_judge_is_refused() -> None:
    def diverge(result: Result) -> Result:
        return replace(result, status="diverged", test_mse=(*result.test_mse[:-1], None))

    with pytest.raises(RefusedError, match=r"--fail-on mse:20%: expected cases of b.json and of the first"):
        judged("mse:20%", session(diverge))


def test_a_gate_that_has_nothing_to_judge_in_one_of_the_files_is_refused() -> None:
    def fail_at_16(result: Result) -> Result:
        return replace(result, training_seconds=(), test_mse=()) if result.run.batch_size == 16 else result

    only_16 = session(fail_at_16, replace(GRID, batch_sizes=(16, 64)))
    first = session(grid=replace(GRID, batch_sizes=(16, 256)))
    with pytest.raises(RefusedError, match=r"expected cases of c.json and of the first"):
        judged("time:20%", session(), only_16, first=first)
