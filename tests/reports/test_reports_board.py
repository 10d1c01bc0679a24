"""Many recordings as a board: one table sorted by the time to the same error, pairs where one is named."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError
from reports.compare import Comparison, compare
from reports.compare.board import board, ranking
from reports.compare.figures import comparison_error
from reports.compare.speed_figures import comparison_speed
from reports.compare.terminal import show
from reports.drawing import style

TIMES = {"a": 1.0, "b": 0.2, "c": 30.0, "d": 5.0}
STUDY = synthetic.session(grid=Grid(tasks=("mean", "std"), batch_sizes=(16, 64), runs=2))


def machine(name: str, factor: float) -> Recording:
    """The study on a machine that takes so many times as long."""
    results = [case.result for case in STUDY.cases]
    slower = [
        replace(one, environment=name, training_seconds=tuple(factor * s for s in one.training_seconds))
        for one in results
    ]
    cases = tuple(replace(case, result=one) for case, one in zip(STUDY.cases, slower, strict=True))
    about = synthetic.fingerprint() | {"id": name, "device_name": f"GPU {name}"}
    return Recording(
        path=Path(f"{name}.json"), session=replace(STUDY, cases=cases, environments={name: about})
    )


def four(**about: Any) -> Comparison:
    """Four machines whose times differ by these factors."""
    return compare([machine(name, factor) for name, factor in TIMES.items()], **about)


def test_a_board_is_sorted_by_the_time_to_the_strictest_error_that_all_reach() -> None:
    target, found = ranking(four())
    assert [place.series.label for place in found] == ["GPU b", "GPU a", "GPU d", "GPU c"]
    seconds = {place.series.label: place.seconds for place in found}
    assert seconds["GPU c"] == pytest.approx(150 * seconds["GPU b"])
    assert 0 < target < 1


def test_an_error_that_nobody_reaches_has_no_seconds() -> None:
    table = board(four(target=1e-9))
    assert "1e-07% of the best constant's error" in table.title
    column = table.header.index("s to the error")
    assert [row[column] for row in table.rows] == [None] * 4


def test_where_nothing_was_trained_long_enough_the_board_says_by_which_error_it_is_sorted() -> None:
    table = board(four())
    assert re.match(r"Time to [0-9.]+% of the best constant's error$", table.title)
    assert table.header[:5] == ("series", "s to the error", "state", "batch size", "final error")


def test_seconds_to_an_error_that_the_first_reading_finds_reached_are_said_to_be_the_most() -> None:
    def quick(case: Any) -> Any:
        errors = (case.result.test_mse[0], *(1e-6,) * len(case.result.test_mse[1:]))
        return replace(case, result=replace(case.result, test_mse=errors))

    files = [machine(name, factor) for name, factor in TIMES.items()]
    early = replace(
        files[0], session=replace(files[0].session, cases=tuple(map(quick, files[0].session.cases)))
    )
    table = board(compare([early, *files[1:]], target=0.9))
    series, state = (table.header.index(name) for name in ("series", "state"))
    assert {row[series]: row[state] for row in table.rows}["GPU a"] == "or sooner: at the first reading"


def shown(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_of_many_recordings_pairs_are_told_only_against_one_that_is_named() -> None:
    many, against = four(), four(against="c")
    assert not many.pairwise
    assert " against " not in shown(many)
    assert against.pairwise
    assert against.series[0].label == "GPU c"
    assert shown(against).count(" against GPU c, ") == 3


def test_the_figures_of_many_draw_no_pair() -> None:
    many = comparison_speed(four()), comparison_error(four())
    assert [[panel.title for panel in one.panels] for one in many if one] == [
        ["Images per second"],
        ["mean", "std"],
    ]


def test_the_one_that_is_named_keeps_its_label() -> None:
    labels = [one.label for one in four(labels=("w", "x", "y", "z"), against="y").series]
    assert labels == ["y", "w", "x", "z"]


def test_who_is_none_of_the_files_cannot_be_compared_with() -> None:
    with pytest.raises(
        RefusedError, match=r"--against: expected one of a.json, b.json, c.json or d.json, got 'e'"
    ):
        four(against="e")


def test_a_series_whose_gpu_was_shared_all_the_time_has_no_place() -> None:
    comparison = four()
    series = comparison.series[0]
    alone = replace(comparison, series=(replace(series, cases=()), *comparison.series[1:]))
    assert len(ranking(alone)[1]) == 3


def test_twelve_series_have_a_colour_and_a_mark_each() -> None:
    looks = [style.kind(index) for index in range(12)]
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 12
