"""Series side by side: time, speed-up, throughput, final error and its ratio. Each takes a Comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.experiment import Result
from reports import style
from reports.compare import Comparison, Pair, Series
from reports.compare.pairs import final_mse
from reports.compare.series import FLAT, epoch_seconds
from reports.compare.words import flattening, title, verdict
from reports.drawing import Panel
from reports.figures.spec import MSE, Drawing, Figure, legend
from reports.frame import Frame, span
from reports.text import listed, number

SECTION: Final = "Comparison"
_ONE: Final[dict[str, Any]] = {"color": style.REFERENCE, "linestyle": (0, (4, 3)), "linewidth": 1.2}
_RING: Final[dict[str, Any]] = {"markersize": 14, "markerfacecolor": "none", "markeredgewidth": 1.5}
_ASIDE: Final = 1.22
"""How far apart, as a factor of the batch size, symbols of one batch size stand."""

_Ratio = tuple[float, stats.Interval | None]
Rows = Mapping[str, Mapping[int, list[float]]]
"""Series -> batch size -> a value per run."""


def times(comparison: Comparison) -> Drawing | None:
    """Training seconds per epoch against the batch size, a panel per task and a line per series."""
    rows = {task: _rows(comparison, epoch_seconds, task) for task in _tasks(comparison)}
    panels = [
        Panel(task, _lines(row, aside=1.0), "training s per epoch (log)") for task, row in rows.items() if row
    ]
    if not panels:
        return None
    return Drawing(
        panels,
        "Each dot is a run's median epoch, training alone; the line is the median over runs. "
        f"{_runs(rows)}. {_series(comparison)}",
        "Training seconds per epoch against batch size, a panel per task and a line per series. "
        + _ends(_rows(comparison, epoch_seconds), "s"),
    )


def speed(comparison: Comparison) -> Drawing | None:
    """Times as fast with intervals, and images per second with the place where each curve flattens."""
    seconds = _rows(comparison, epoch_seconds)
    if not seconds:
        return None
    speeds = {one.label: one.throughput(comparison.experiment) for one in comparison.series}
    flat = {one.label: one.flat_from(comparison.experiment) for one in comparison.series}
    across = "".join(
        f" {title(pair)} is across {listed(pair.across)}." for pair in comparison.pairs if pair.across
    )
    said = "; ".join(f"{one.label}: {flattening(one, comparison.experiment)}" for one in comparison.series)
    return Drawing(
        [
            Panel("Times as fast", _speed_ups(comparison), "speed-up of an epoch, over all tasks (log)"),
            Panel("Images per second", _throughput(speeds, flat), "training images per second (log)"),
        ],
        "Seconds of the one over seconds of the other, with 95% bootstrap intervals over runs and the epochs "
        f"within each.{across} Images per second: median over runs of all tasks; a ring marks where it comes "
        f"within {1 - FLAT:.0%} of its best and stays there. {said}. {_runs({'': seconds})}. "
        f"{_series(comparison)}",
        "Speed-ups, and images per second, against batch size. "
        f"{_ends(seconds, 's per epoch')} Throughput: {said}.",
    )


def errors(comparison: Comparison) -> Drawing | None:
    """Ratios of final MSE with intervals and the margin, then the final MSE itself side by side."""
    pairs = [pair for pair in comparison.pairs if pair.error.ratio is not None]
    rows = {task: _rows(comparison, final_mse, task) for task in _tasks(comparison)}
    rows = {task: row for task, row in rows.items() if row}
    if not rows:
        return None
    panels = [
        Panel(title(pair), _ratios(pair), f"ratio of final MSE (log): {verdict(pair.error)}")
        for pair in pairs
    ]
    degenerate = {task for pair in comparison.pairs for task in pair.degenerate}
    panels += [
        Panel(f"{task} (degenerate: nothing to learn)" if task in degenerate else task, _lines(row), MSE)
        for task, row in rows.items()
    ]
    verdicts = "; ".join(f"{title(pair)}: {verdict(pair.error)}" for pair in pairs)
    return Drawing(
        panels,
        "Final test MSE. Ratios: geometric means over seeds with 95% intervals, cell by cell (paired by seed "
        "where both have the same seeds); the wide band is the margin within which errors count as the same, "
        "the narrow one the 90% interval of the ratio pooled over all cells that have something to learn. "
        f"Sameness is claimed only where the narrow band lies inside the wide one. {verdicts}. Final MSE: "
        f"dots are seeds, lines their medians. {_runs(rows)}. {_series(comparison)}",
        "Ratios of final MSE per cell with the margin, and final MSE per series against batch size. "
        f"{verdicts}.",
    )


def _tasks(comparison: Comparison) -> tuple[str, ...]:
    return tuple(dict.fromkeys(task for pair in comparison.pairs for task in pair.tasks))


def _rows(comparison: Comparison, measure: Callable[[Result], list[float]], task: str | None = None) -> Rows:
    """Values of one task, or of all, of every series that has some."""
    found = {one.label: _by_size(one, comparison.experiment, measure, task) for one in comparison.series}
    return {label: row for label, row in found.items() if row}


def _by_size(
    one: Series, experiment: str, measure: Callable[[Result], list[float]], task: str | None
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for cell, results in one.cells(experiment).items():
        if task in {None, cell.task}:
            for value in (value for result in results.values() for value in measure(result)):
                found.setdefault(cell.batch_size, []).append(value)
    return dict(sorted(found.items()))


def _lines(rows: Rows, aside: float = _ASIDE) -> Callable[[Axes], None]:
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
            axes.plot(list(row), middles, **_line(index, label))
        style.batch_axis(axes, sorted({size for row in rows.values() for size in row}))
        legend(axes)

    return draw


def _line(index: int, label: str) -> dict[str, Any]:
    """How the `index`-th series is drawn; the first the broadest, so that it shows below others."""
    colour, marker = style.kind(index)
    size, width = max(8.5 - 2.5 * index, 4.5), max(3.0 - index, 1.3)
    about = {"color": colour, "marker": marker, "label": style.name(label)}
    return {**about, "markersize": size, "linewidth": width}


def _throughput(
    speeds: Mapping[str, Mapping[int, float]], flat: Mapping[str, int | None]
) -> Callable[[Axes], None]:
    """A line per series, with a ring where it flattens."""

    def draw(axes: Axes) -> None:
        scale = style.log_axis(axes.yaxis, [value for row in speeds.values() for value in row.values()])
        for index, (label, row) in enumerate(speeds.items()):
            axes.plot(list(row), scale.place(row.values()), **_line(index, label))
            if start := flat[label]:
                axes.plot([start], scale.place([row[start]]), "o", color=style.kind(index)[0], **_RING)
        style.batch_axis(axes, sorted({size for row in speeds.values() for size in row}))
        legend(axes)

    return draw


def _speed_ups(comparison: Comparison) -> Callable[[Axes], None]:
    rows = {
        title(pair): {size: up for size in pair.batch_sizes if (up := pair.speed_up(pair.at(size)))}
        for pair in comparison.pairs
    }

    def draw(axes: Axes) -> None:
        ends = [
            value for row in rows.values() for up in row.values() for value in _reach(up.ratio, up.interval)
        ]
        scale = style.log_axis(axes.yaxis, [1.0, *ends])
        axes.axhline(1, **_ONE)
        for index, (label, row) in enumerate(rows.items()):
            shown = {size: (up.ratio, up.interval) for size, up in row.items()}
            _with_intervals(axes, scale, shown, style.kind(_place(comparison, index)), label)
        style.batch_axis(axes, sorted({size for row in rows.values() for size in row}))
        legend(axes)

    return draw


def _place(comparison: Comparison, index: int) -> int:
    """A pair takes the colour of its second series."""
    return comparison.series.index(comparison.pairs[index].second)


def _reach(ratio: float, interval: stats.Interval | None) -> tuple[float, ...]:
    return (ratio, interval.low, interval.high) if interval else (ratio,)


def _with_intervals(
    axes: Axes,
    scale: style.LogScale,
    row: Mapping[int, _Ratio] | Mapping[float, _Ratio],
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


def _ratios(pair: Pair) -> Callable[[Axes], None]:
    """Ratio of final MSE per cell, tasks beside each other, over the margin and the pooled interval."""
    tasks = list(dict.fromkeys(cell.task for cell in pair.learnable))
    found = {cell: pair.errors([cell]) for cell in pair.learnable}
    low, high = 1 / (1 + pair.margin), 1 + pair.margin

    def draw(axes: Axes) -> None:
        shown = [one for one in found.values() if one.ratio is not None]
        scale = style.log_axis(
            axes.yaxis, [low, high, *(v for one in shown for v in _reach(one.ratio or 1, one.interval))]
        )
        axes.axhspan(
            low, high, color=style.REFERENCE, alpha=0.13, linewidth=0, label=f"within {pair.margin:.0%}"
        )
        if pooled := pair.error.equivalence:
            axes.axhspan(pooled.low, pooled.high, color=style.INK, alpha=0.3, linewidth=0, label="pooled")
        axes.axhline(1, **_ONE)
        asides = style.spread(len(tasks), _ASIDE)
        for index, task in enumerate(tasks):
            row = {
                cell.batch_size * asides[index]: (one.ratio, one.interval)
                for cell, one in found.items()
                if cell.task == task and one.ratio is not None
            }
            _with_intervals(axes, scale, row, style.task_kind(task, pair.tasks), task, width=0)
        style.batch_axis(axes, sorted({cell.batch_size for cell in pair.learnable}), least_margin=1.35)
        legend(axes)

    return draw


def _runs(rows: Mapping[str, Rows]) -> str:
    """`n = 10 runs per point`."""
    counts = [len(values) for row in rows.values() for sizes in row.values() for values in sizes.values()]
    return f"n = {span(counts, 'run')} per point"


def _series(comparison: Comparison) -> str:
    """What each series is."""
    said = []
    for one in comparison.series:
        machine = one.frame.machine_name(one.timing.environment)
        said.append(f"{one.label}: {machine}, {one.timing.label()}")
    return "; ".join(said) + "."


def _ends(rows: Rows, unit: str) -> str:
    """What each line does from the smallest batch to the largest, in words."""
    said = []
    for label, row in rows.items():
        ends = [
            f"{number(median(row[size]), 3)} {unit} at batch size {size}"
            for size in dict.fromkeys((min(row), max(row)))
        ]
        said.append(f"{label}: {listed(ends)}")
    return "; ".join(said) + "."


_FIGURES: Final = (
    ("comparison-speed", "Which is faster, and where", speed),
    ("comparison-error", "Is the error the same?", errors),
    ("comparison-times", "Time per epoch, task by task", times),
)


def figures(comparison: Comparison | None) -> tuple[Figure, ...]:
    """Every figure of a comparison, in the order of the page; without one, they have nothing to draw."""

    def drawn(draw: Callable[[Comparison], Drawing | None]) -> Callable[[Frame], Drawing | None]:
        return lambda _frame: draw(comparison) if comparison else None

    return tuple(Figure(SECTION, name, title_, drawn(draw), "") for name, title_, draw in _FIGURES)
