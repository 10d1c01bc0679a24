"""How fast the series of a comparison are: time, speed-up, and where throughput flattens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import stats
from reports.cells import grouped
from reports.chapters.chapter import FigureContent
from reports.compare import Comparison
from reports.compare.series import FLAT
from reports.compare.side_by_side import (
    ONE,
    ends_of,
    median_lines,
    runs_of,
    seconds_of,
    series_look,
    series_text,
    tasks_of,
)
from reports.compare.words import flattening, title
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import listed

_SECONDS_OVER: Final = "s of the second named / s of the first named"
_RING: Final[dict[str, Any]] = {"markersize": 14, "markerfacecolor": "none", "markeredgewidth": 1.5}


def comparison_speed(comparison: Comparison) -> FigureContent | None:
    """Times as fast with intervals, and images per second with the place where each curve flattens."""
    seconds = seconds_of(comparison)
    if not seconds:
        return None
    speeds = {one.label: one.throughput(comparison.experiment) for one in comparison.series}
    flat = {one.label: one.flat_from(comparison.experiment) for one in comparison.series}
    across = "".join(
        f" {title(pair)} is across {listed(pair.across)}." for pair in comparison.pairs if pair.across
    )
    named = grouped(comparison.series, lambda one: flattening(one, comparison.experiment))
    said = "; ".join(f"{listed(one.label for one in alike)}: {how}" for how, alike in named.items())
    panels = [Panel("Images per second", _throughput(speeds, flat), "training images per second (log)")]
    ups = [
        {size: up for size in pair.batch_sizes if (up := pair.speed_up(pair.at(size)))}
        for pair in (comparison.pairs if comparison.pairwise else ())
    ]
    ratios = (
        f"Times as fast, with 95% bootstrap intervals over runs and the epochs within each.{across} "
        if any(ups)
        else ""
    )
    if any(ups):
        firsts = {pair.first.label for pair in comparison.pairs}
        over = f"s of {next(iter(firsts))} / s of the other" if len(firsts) == 1 else _SECONDS_OVER
        said_of = f"{over}, all tasks (log)"
        panels.insert(0, Panel("Times as fast", _speed_ups(comparison, ups), said_of))
    return FigureContent(
        panels,
        f"{ratios}Images per second: median over runs of all tasks; a ring marks where it comes "
        f"within {1 - FLAT:.0%} of its best and stays there. {said}.",
        f"{'Speed-ups, and i' if any(ups) else 'I'}mages per second, against batch size. "
        f"{ends_of(seconds, 's per epoch')} Throughput: {said}.",
        n=runs_of({"": seconds}),
        note=series_text(comparison),
    )


def comparison_times(comparison: Comparison) -> FigureContent | None:
    """Training seconds per epoch against the batch size, a panel per task and a line per series."""
    rows = {task: seconds_of(comparison, task) for task in tasks_of(comparison)}
    panels = [
        Panel(task, median_lines(row, aside=1.0), "training s per epoch (log)")
        for task, row in rows.items()
        if row
    ]
    if not panels:
        return None
    return FigureContent(
        panels,
        "Each dot is a run's median epoch, training alone; the line is the median over runs.",
        "Training seconds per epoch against batch size, a panel per task and a line per series. "
        + ends_of(seconds_of(comparison), "s"),
        n=runs_of(rows),
        note=series_text(comparison),
    )


def _throughput(
    speeds: Mapping[str, Mapping[int, float]], flat: Mapping[str, int | None]
) -> Callable[[Axes], None]:
    """A line per series, with a ring where it flattens."""

    def draw(axes: Axes) -> None:
        scale = style.log_axis(axes.yaxis, [value for row in speeds.values() for value in row.values()])
        for index, (label, row) in enumerate(speeds.items()):
            axes.plot(list(row), scale.place(row.values()), **series_look(index, label))
            if start := flat[label]:
                axes.plot([start], scale.place([row[start]]), "o", color=style.kind(index)[0], **_RING)
        style.batch_axis(axes, sorted({size for row in speeds.values() for size in row}))
        legend(axes)

    return draw


def _speed_ups(comparison: Comparison, ups: Sequence[Mapping[int, stats.Estimate]]) -> Callable[[Axes], None]:
    rows = {title(pair): row for pair, row in zip(comparison.pairs, ups, strict=True)}

    def draw(axes: Axes) -> None:
        ends = drawn.reach(up for row in rows.values() for up in row.values())
        scale = style.log_axis(axes.yaxis, [1.0, *ends])
        axes.axhline(1, **ONE)
        for index, (label, row) in enumerate(rows.items()):
            look = style.kind(_place(comparison, index))
            drawn.line(axes, scale, row, look, 1.4, linewidth=1.8, label=style.name(label, 64))
        style.batch_axis(axes, sorted({size for row in rows.values() for size in row}))
        legend(axes)

    return draw


def _place(comparison: Comparison, index: int) -> int:
    """A pair takes the colour of its second series."""
    return comparison.series.index(comparison.pairs[index].second)
