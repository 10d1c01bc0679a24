"""The marks that figures share: a dot per seed, a band from minimum to maximum, an axis of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports.cells import Cell, Cells
from reports.drawing import style

MSE = "test MSE, squared label units (log)"
NORMALISED = "test MSE / MSE of the best constant (log)"
DASHED: Final[dict[str, Any]] = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
"""Published curves beside measured ones of the same colour."""
REFERENCE_LINE: Final[dict[str, Any]] = {"color": style.REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.2}


def titled(data: Cells, task: str) -> str:
    """A task's name over a panel."""
    return f"{task} (degenerate)" if task in data.degenerate else task


def stacked(axes: Axes) -> tuple[Axes, Axes]:
    """Two axes in the place of one, the second below the first."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom + height * 0.54, width, height * 0.46))
    return axes, axes.figure.add_axes((left, bottom, width, height * 0.46))


def dots(axes: Axes, place: float, heights: Sequence[float], colour: str) -> None:
    """A dot per seed, one above the other."""
    axes.plot([place] * len(heights), heights, ".", color=colour, alpha=0.4, markersize=4.5)


def band(
    axes: Axes,
    scale: style.LogScale,
    places: Sequence[float],
    columns: Sequence[Sequence[float]],
    colour: str,
) -> None:
    """From the minimum to the maximum of each column; nothing where no column holds two values."""
    if max(map(len, columns), default=0) > 1:
        low, high = scale.place(map(min, columns)), scale.place(map(max, columns))
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)


def medians_beside_dead(
    axes: Axes, scale: style.LogScale, cells: Sequence[Cell], shift: float = 1.0, measure: str = "finals"
) -> None:
    """A hollow diamond at the median of each cell with dead runs, whose mean they pull up."""
    dead = [cell for cell in cells if cell.dead]
    if dead:
        heights = scale.place([median(getattr(cell, measure)) for cell in dead])
        places = [cell.batch_size * shift for cell in dead]
        axes.plot(
            places,
            heights,
            "D",
            color=style.INK,
            markersize=5,
            fillstyle="none",
            label="median beside dead runs",
        )


def epoch_axis(axes: Axes, first: int, last: int) -> None:
    """A linear axis of whole epochs."""
    axes.set_xlim(first - 0.02 * last, last * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")


def by_epoch(cell: Cell, measure: str, start: int = 0) -> list[tuple[float, ...]]:
    """The runs' values per epoch, `start` skipped; runs with a value that was not finite are left out."""
    rows = [getattr(result, measure)[start:] for result in cell.finished]
    return list(zip(*(row for row in rows if None not in row), strict=True))
