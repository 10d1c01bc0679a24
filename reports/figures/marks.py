"""The marks that figures share: a dot per seed, a band from minimum to maximum, mean curves per epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from reports import style
from reports.figures.spec import legend
from reports.frame import Cell

DASHED: Final[dict[str, Any]] = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
"""Published curves beside measured ones of the same colour."""
REFERENCE_LINE: Final[dict[str, Any]] = {"color": style.REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.2}


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


def epoch_axis(axes: Axes, first: int, last: int) -> None:
    """A linear axis of whole epochs."""
    axes.set_xlim(first - 0.02 * last, last * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")


def by_epoch(cell: Cell, measure: str, start: int = 0) -> list[tuple[float, ...]]:
    """The runs' values per epoch, `start` skipped; runs with a value that was not finite are left out."""
    rows = [getattr(result, measure)[start:] for result in cell.finished]
    return list(zip(*(row for row in rows if None not in row), strict=True))


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
