"""What the figures of a comparison share: values per series, lines, intervals, and words for captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.result import Result
from reports.cells import span
from reports.compare import Comparison
from reports.compare.pairs import final_mse
from reports.compare.series import RunsByCell, epoch_seconds
from reports.drawing import style
from reports.drawing.legend import legend
from reports.text import listed, number

ASIDE: Final = 1.22
"""How far apart, as a factor of the batch size, symbols of one batch size stand."""
ONE: Final[dict[str, Any]] = {"color": style.REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.2}

Ratio = tuple[float, stats.Interval | None]
Rows = Mapping[str, Mapping[int, list[float]]]
"""Series -> batch size -> a value per run."""


def tasks_of(comparison: Comparison) -> tuple[str, ...]:
    """Every task that a pair compares."""
    return tuple(dict.fromkeys(task for pair in comparison.pairs for task in pair.tasks))


def finals_of(comparison: Comparison, task: str) -> Rows:
    """Final MSE of one task, of every series that has some."""
    cells = {one.label: one.cells(comparison.experiment) for one in comparison.series}
    found = {label: _by_size(runs, final_mse, task) for label, runs in cells.items()}
    return {label: row for label, row in found.items() if row}


def seconds_of(comparison: Comparison, task: str | None = None) -> Rows:
    """Seconds per epoch of one task, or of all, of every series that has some."""
    cells = {one.label: one.timed(comparison.experiment) for one in comparison.series}
    found = {label: _by_size(runs, epoch_seconds, task) for label, runs in cells.items()}
    return {label: row for label, row in found.items() if row}


def _by_size(
    cells: RunsByCell, measure: Callable[[Result], list[float]], task: str | None
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for cell, results in cells.items():
        if task in {None, cell.task}:
            for value in (value for result in results.values() for value in measure(result)):
                found.setdefault(cell.batch_size, []).append(value)
    return dict(sorted(found.items()))


def lines(rows: Rows, aside: float = ASIDE) -> Callable[[Axes], None]:
    """Dots, and a line of medians per series."""

    def draw(axes: Axes) -> None:
        everything = [value for row in rows.values() for values in row.values() for value in values]
        scale = style.log_axis(axes.yaxis, everything)
        asides = style.spread(len(rows), aside)
        for index, (label, row) in enumerate(rows.items()):
            for size, values in row.items():
                places = [size * asides[index]] * len(values)
                axes.plot(
                    places, scale.place(values), ".", color=style.kind(index)[0], alpha=0.3, markersize=4
                )
            middles = scale.place(median(values) for values in row.values())
            axes.plot(list(row), middles, **line(index, label))
        style.batch_axis(axes, sorted({size for row in rows.values() for size in row}))
        legend(axes)

    return draw


def line(index: int, label: str) -> dict[str, Any]:
    """How the `index`-th series is drawn; the first the broadest, so that it shows below others."""
    colour, marker = style.kind(index)
    size, width = max(8.5 - 2.5 * index, 4.5), max(3.0 - index, 1.3)
    about = {"color": colour, "marker": marker, "label": style.name(label)}
    return {**about, "markersize": size, "linewidth": width}


def with_intervals(
    axes: Axes,
    scale: style.LogScale,
    row: Mapping[int, Ratio] | Mapping[float, Ratio],
    kind: tuple[str, str],
    label: str,
    width: float = 1.8,
) -> None:
    """A line of ratios, each with its interval as a bar."""
    colour, marker = kind
    for place, (_, interval) in row.items():
        if interval:
            low, high = scale.place([interval.low, interval.high])
            axes.vlines(place, low, high, color=colour, linewidth=1.4)
    heights = scale.place(ratio for ratio, _ in row.values())
    axes.plot(list(row), heights, color=colour, marker=marker, linewidth=width, label=style.name(label, 64))


def reach(ratio: float, interval: stats.Interval | None) -> tuple[float, ...]:
    """What an axis must hold of a ratio."""
    return (ratio, interval.low, interval.high) if interval else (ratio,)


def runs_of(rows: Mapping[str, Rows]) -> str:
    """`n = 10 runs per point`."""
    counts = [len(values) for row in rows.values() for sizes in row.values() for values in sizes.values()]
    return f"n = {span(counts, 'run')} per point"


def series_of(comparison: Comparison) -> str:
    """What each series is."""
    said = []
    for one in comparison.series:
        machine = one.data.machine_name(one.timing.environment)
        said.append(f"{one.label}: {machine}, {one.timing.label()}")
    return "; ".join(said) + "."


def ends_of(rows: Rows, unit: str) -> str:
    """What each line does from the smallest batch to the largest, in words."""
    said = []
    for label, row in rows.items():
        ends = [
            f"{number(median(row[size]), 3)} {unit} at batch size {size}"
            for size in dict.fromkeys((min(row), max(row)))
        ]
        said.append(f"{label}: {listed(ends)}")
    return "; ".join(said) + "."
