"""Factors with their intervals, on log axes where 1 is no change: along batch sizes, or a row per name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from matplotlib.axes import Axes

from bsr.stats import Estimate
from reports.drawing import style

Look = tuple[str, str]
"""Colour and marker."""
LOOKS: Final[Mapping[str, Look]] = {
    "whole": (style.INK, "|"),
    "updates": style.kind(0),
    "rate": style.kind(1),
    "batch size": style.kind(2),
}
"""Of each part of the gap between two batch sizes, in every figure that takes it apart."""
Row = Mapping[int, Estimate] | Mapping[float, Estimate]
"""Place on the horizontal axis -> factor."""


def reach(factors: Iterable[Estimate]) -> list[float]:
    """What an axis must hold of them."""
    return [
        value
        for one in factors
        for value in (one.factor, *((one.interval.low, one.interval.high) if one.interval else ()))
        if one.known
    ]


def lines_said(factors: Iterable[Estimate], what: str = "95% intervals") -> str:
    """What a figure says of its lines, where there is an interval, so that one is drawn."""
    return f"; lines: {what}" if any(one.interval for one in factors) else ""


def no_change(axes: Axes, scale: style.LogScale) -> None:
    """A line at 1."""
    axes.axhline(scale.place([1.0])[0], color=style.REFERENCE, linewidth=1.2)


def line(axes: Axes, scale: style.LogScale, row: Row, look: Look, width: float, **looks: Any) -> None:
    """Along the horizontal axis, each with its interval as a bar of `width`."""
    colour, marker = look
    for place, one in row.items():
        if one.interval:
            low, high = scale.place([one.interval.low, one.interval.high])
            axes.vlines(place, low, high, color=colour, linewidth=width)
    heights = scale.place(one.factor for one in row.values())
    axes.plot(list(row), heights, color=colour, marker=marker, **looks)


def several_lines(axes: Axes, row_of: Mapping[str, Row], *, first: int = 0, apart: float = 1.1) -> None:
    """A line per name over a log axis, its marks moved aside so that no bar lies on another.

    `first` is the look of the first; above 0 the one before it is what all are over, so that 1 is drawn.
    """
    ones = [one for row in row_of.values() for one in row.values()]
    scale = style.log_axis(axes.yaxis, [1.0] * bool(first) + reach(ones))
    if first:
        no_change(axes, scale)
    for index, (name, aside) in enumerate(zip(row_of, style.spread(len(row_of), apart), strict=True)):
        moved = {place * aside: one for place, one in row_of[name].items() if one.known}
        line(axes, scale, moved, style.kind(first + index), 1.6, label=name)


def rows(
    axes: Axes,
    names: Mapping[str, Mapping[str, Estimate]],
    looks: Mapping[str, Look],
    gap: float,
    foot: float,
    beside: Iterable[Estimate] = (),
) -> None:
    """A row per name, in it a mark per kind that some have, in the order of `looks`, its interval as a bar.

    `beside` are those of the figure's other panels, so that all have one axis.
    """
    shown = (one for row in names.values() for one in row.values())
    style.log_axis(axes.xaxis, [1.0, *reach(shown), *reach(beside)])
    axes.axvline(1, color=style.REFERENCE, linewidth=1.2)
    kinds = [kind for kind in looks if any(kind in row for row in names.values())]
    for index, kind in enumerate(kinds):
        label: str | None = kind
        colour, marker = looks[kind]
        for place, row in enumerate(names.values()):
            if one := row.get(kind):
                height = place + gap * (index - (len(kinds) - 1) / 2)
                if one.interval:
                    axes.hlines(height, one.interval.low, one.interval.high, color=colour, linewidth=2)
                axes.plot([one.factor], [height], marker, color=colour, markersize=7, label=label)
                label = None
    axes.set_ylim(len(names) - foot, -0.6)
    axes.grid(visible=False, axis="y")
