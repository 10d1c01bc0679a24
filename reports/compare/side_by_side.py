"""What the figures of a comparison share: values per series, lines, intervals, and words for captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from matplotlib.axes import Axes

from bsr.result import Result
from reports.cells import span
from reports.compare import Comparison
from reports.compare.pairs import final_error
from reports.compare.series import RunsByCell, epoch_seconds
from reports.drawing import style
from reports.drawing.legend import legend
from reports.text import listed, number

ASIDE: Final = 1.22
"""How far apart, as a factor of the batch size, symbols of one batch size stand."""
ONE: Final[dict[str, Any]] = {"color": style.REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.2}

Rows = Mapping[str, Mapping[int, list[float]]]
"""Series -> batch size -> a value per run."""


def tasks_of(comparison: Comparison) -> tuple[str, ...]:
    """Every task that a pair compares."""
    return tuple(dict.fromkeys(task for pair in comparison.pairs for task in pair.tasks))


def finals_of(comparison: Comparison, task: str) -> Rows:
    """Final MSE of one task, of every series that has some."""
    cells = {one.label: one.cells(comparison.experiment) for one in comparison.series}
    found = {label: _by_size(runs, final_error, task) for label, runs in cells.items()}
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


def median_lines(rows: Rows, aside: float = ASIDE) -> Callable[[Axes], None]:
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
            axes.plot(list(row), middles, **series_look(index, label))
        style.batch_axis(axes, sorted({size for row in rows.values() for size in row}))
        legend(axes)

    return draw


def series_look(index: int, label: str) -> dict[str, Any]:
    """How the `index`-th series is drawn; the first the broadest, so that it shows below others."""
    colour, marker = style.kind(index)
    size, width = max(8.5 - 2.5 * index, 4.5), max(3.0 - index, 1.3)
    about = {"color": colour, "marker": marker, "label": style.name(label)}
    return {**about, "markersize": size, "linewidth": width}


def runs_of(rows: Mapping[str, Rows]) -> str:
    """`10 runs per point`."""
    counts = [len(values) for row in rows.values() for sizes in row.values() for values in sizes.values()]
    return f"{span(counts, 'run')} per point"


def series_text(comparison: Comparison) -> str:
    """What each series is."""
    said = {}
    for one in comparison.series:
        machine = one.data.machine_name(one.timing.environment)
        named = "" if machine == one.label else f"{machine}, "
        said[one.label] = f"{named}{one.timing.label()}"
    if len(said) > 1 and len({*said.values()}) == 1:
        return f"Each: {next(iter(said.values()))}."
    return "; ".join(f"{label}: {about}" for label, about in said.items()) + "."


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
