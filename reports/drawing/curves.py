"""Curves over the epochs: one per batch size, or one per way of training with its band."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes

from reports.cells import Cell
from reports.drawing import style
from reports.drawing.factors import Row, several_lines
from reports.drawing.legend import legend
from reports.drawing.marks import DASHED, band, by_epoch, epoch_axis

Places = Callable[[Cell], Sequence[float]]
"""Where on the horizontal axis the last values of a cell's curve lie, one each."""


def draw_epochs(axes: Axes, cells: Sequence[Cell]) -> None:
    """A curve per batch size, from the untrained network on."""
    draw_curves(axes, cells, lambda cell: range(len(cell.curve())))
    epoch_axis(axes, 0, max(len(cell.curve()) for cell in cells) - 1)


def draw_curves(axes: Axes, cells: Sequence[Cell], places: Places) -> None:
    """A curve per batch size over wherever `places` puts its last values."""
    looks = style.ordered_looks([cell.batch_size for cell in cells])
    shown = {cell.batch_size: cell.curve()[-len(places(cell)) :] for cell in cells}
    scale = style.log_axis(axes.yaxis, [value for curve in shown.values() for value in curve])
    for cell in cells:
        horizontal, heights = places(cell), scale.place(shown[cell.batch_size])
        colour, marker = looks[cell.batch_size]
        axes.plot(
            horizontal, heights, marker, linestyle="-", linewidth=1.2, markersize=4, color=colour,
            markevery=-(-len(heights) // 12), label=str(cell.batch_size),
        )  # fmt: skip
    legend(axes, "batch size")


def draw_over_updates(axes: Axes, rows: Mapping[str, Row], first: int = 0) -> None:
    """A line per name over a log axis of updates; `first` as in several_lines."""
    several_lines(axes, rows, first=first)
    steps = sorted({step for row in rows.values() for step in row})
    axes.set_xscale("log")
    axes.set_xticks(steps, [f"{step:,}" for step in steps])
    axes.set_xticks([], minor=True)
    if len(steps) == 1:  # marks moved aside are of one place
        axes.set_xlim(steps[0] / 2, steps[0] * 2)
    axes.set_xlabel("updates")
    legend(axes)


def mean_curves(
    cells: Mapping[str, Cell],
    measure: str = "test_mse",
    start: int = 0,
    published: Mapping[str, Sequence[float]] | None = None,
) -> Callable[[Axes], None]:
    """Mean over seeds per epoch from `start` on, with a band from minimum to maximum, a line per cell.

    `published` are values from epoch 1 on, by the name of the cell they stand beside.
    """
    beside = published or {}
    rows = {name: by_epoch(cell, measure, start) for name, cell in cells.items()}

    def draw(axes: Axes) -> None:
        values = [value for columns in rows.values() for column in columns for value in column]
        scale = style.log_axis(axes.yaxis, [*values, *_flat(beside.values())])
        for index, (name, columns) in enumerate(rows.items()):
            colour, _ = style.kind(index)
            epochs = range(start, start + len(columns))
            band(axes, scale, epochs, columns, colour)
            axes.plot(epochs, scale.place(map(fmean, columns)), color=colour, label=name)
            if shown := beside.get(name):
                places = range(1, len(shown) + 1)
                axes.plot(places, scale.place(shown), color=colour, label=f"{name}, published", **DASHED)
        epoch_axis(axes, start, start + max(map(len, rows.values())) - 1)
        legend(axes)

    return draw


def _flat(rows: Iterable[Sequence[float]]) -> list[float]:
    return [value for row in rows for value in row]
