"""One figure of the report in an axis of the user's."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bsr
import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError
from reports.cells import Cells
from reports.chapters import figures

GRID = Grid(tasks=("mean", "std"), batch_sizes=(16, 128, 1024), runs=2)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    session = synthetic.session(synthetic.EPOCH_BASED, GRID, harness=synthetic.harness((16, 1024)))
    return bsr.read(synthetic.write(tmp_path_factory.mktemp("own") / "run.json", session))


def two_axes() -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(9, 4))
    left, right = figure.subplots(1, 2)
    return figure, left, right


def test_a_figure_is_drawn_in_one_axis_and_leaves_the_others_alone(recording: Recording) -> None:
    _, left, right = two_axes()
    places = [axes.get_position().bounds for axes in (left, right)]
    caption = bsr.draw(recording, "final-mse", right, panel="std")
    assert (right.get_title(), right.get_xlabel()) == ("std", "batch size")
    assert right.get_ylabel() == "test MSE, squared label units (log)"
    finals = [cell.finals for cell in Cells(recording).cells("std")]
    assert right.lines[0].get_ydata() == pytest.approx([sum(values) / 2 for values in finals])
    assert not left.has_data()
    assert [axes.get_position().bounds for axes in (left, right)] == places
    assert "n = 2 seeds per batch size" in caption


def test_its_legend_lies_within_its_axis(recording: Recording) -> None:
    figure, _, right = two_axes()
    bsr.draw(recording, "final-mse", right)
    figure.draw_without_rendering()
    legend = right.get_legend()
    assert legend is not None
    inside, around = legend.get_window_extent(), right.get_window_extent()
    assert around.x0 <= inside.x0 <= inside.x1 <= around.x1
    assert around.y0 <= inside.y0 <= inside.y1 <= around.y1


def test_without_a_panel_it_is_the_first_and_a_path_will_do(recording: Recording) -> None:
    _, left, _ = two_axes()
    bsr.draw(recording.path, "seeds", left)
    assert left.get_title() == "mean"


def test_every_figure_that_the_report_draws_is_drawn(recording: Recording) -> None:
    data = Cells(recording)
    for one in figures():
        if one.draw(data):
            _, left, _ = two_axes()
            assert bsr.draw(recording, one.name, left), one.name
            assert left.get_title(), one.name


@pytest.mark.parametrize(
    ("figure", "panel", "message"),
    [
        ("final", "", "figure: expected one of .*final-mse.*, got 'final'"),
        ("final-mse", "var", "panel: expected one of mean, std, got 'var' in final-mse"),
        (
            "tuning-linear",
            "",
            "figure tuning-linear: .* got none in .*run.json; measure it: pytest .*--bsr-preset tune",
        ),
    ],
    ids=["no such figure", "no such panel", "not measured"],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(
    recording: Recording, figure: str, panel: str, message: str
) -> None:
    _, left, _ = two_axes()
    with pytest.raises(ValueError, match=message) as refused:
        bsr.draw(recording, figure, left, panel)
    assert len(str(refused.value).splitlines()) == 1
    assert not left.has_data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "final-mse", ...), "path: expected that of a recording, got NoneType"),
        ((3, "final-mse", ...), "path: expected that of a recording, got int"),
        ((..., ["final-mse"], ...), "figure: expected str, got list"),
        ((..., "final-mse", ..., ["mean"]), "panel: expected str, got list"),
        ((..., "final-mse", None), "axes: expected Axes, got NoneType"),
    ],
)
def test_what_is_of_another_type_is_refused_in_one_line(
    recording: Recording, arguments: tuple[Any, ...], message: str
) -> None:
    usual = (recording, "", two_axes()[1], "")
    given: list[Any] = [usual[at] if one is ... else one for at, one in enumerate(arguments)]
    with pytest.raises((RefusedError, TypeError), match=message) as refused:
        bsr.draw(*given)
    assert len(str(refused.value).splitlines()) == 1


def test_where_there_is_no_report_it_says_where_one_is(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "reports"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    _, left, _ = two_axes()
    with pytest.raises(ImportError, match="bsr.draw: expected the folder `reports` of a checkout"):
        bsr.draw(recording, "final-mse", left)
