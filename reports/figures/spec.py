"""What a figure is: a name, a title, the question it answers, and a function from data to panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from reports import style
from reports.drawing import Panel
from reports.frame import Frame

MSE = "test MSE, squared label units (log)"
NORMALISED = "test MSE / MSE of the best constant (log)"
_HANDLE, _PAD, _APART = 1.0, 0.45, 0.85
"""Of a legend, in its letters' size: a handle, the gap to its text, the gap between columns."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a figure shows of one study."""

    panels: Sequence[Panel]
    caption: str
    """Plain text; how it was computed and n."""
    alternative: str
    """For who cannot see it: what is drawn and what it shows."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report. `draw` gives None where the study lacks the data."""

    section: str
    """The part of the page where it stands."""
    name: str
    """File name and anchor on the page."""
    title: str
    draw: Callable[[Frame], Drawing | None]
    options: str
    """The options of pytest that would measure what it needs; empty: nothing is said where it lacks."""
    study: str = ""
    """The study's figure that it reproduces: `figure 5`."""


def legend(axes: Axes, title: str = "", handles: Any = None) -> None:
    """The legend as a strip above the axes: `title`, then an entry per labelled artist, in few rows."""
    figure = axes.figure
    handles = handles or axes.get_legend_handles_labels()[0]
    handles = list({handle.get_label(): handle for handle in handles}.values())
    if not handles:
        return
    left = 0.014
    if title:
        text = figure.text(left, style.from_top(0.515), title, size=style.SMALL, va="top", color=style.MUTED)
        left += text.get_window_extent().width / figure.bbox.width + 0.012
    labels = [handle.get_label() for handle in handles]
    across = _columns(labels, style.PANEL_SIZE[0] * 72 * (0.99 - left))
    order = [index for column in range(across) for index in range(column, len(handles), across)]
    axes.legend(
        handles=[handles[index] for index in order],
        labels=[labels[index] for index in order],
        loc="upper left",
        bbox_to_anchor=(left, style.from_top(0.455)),
        bbox_transform=figure.transFigure,
        ncols=across,
        borderaxespad=0,
        columnspacing=_APART,
        handlelength=_HANDLE,
        handletextpad=_PAD,
        labelspacing=0.25,
    )
    _make_room(axes, -(-len(handles) // across))


def _columns(labels: Sequence[str], points: float) -> int:
    """As many columns as fit into a width, for labels set row by row."""
    widths = [style.text_width(label, style.SMALL) for label in labels]
    for across in range(len(labels), 1, -1):
        text = sum(max(widths[column::across]) for column in range(across))
        if text + style.SMALL * (across * (_HANDLE + _PAD) + (across - 1) * _APART) <= points:
            return across
    return 1


def _make_room(axes: Axes, rows: int) -> None:
    """Shorten all axes of the panel where the legend has more rows than there is room for."""
    lost = max(rows - 2, 0) * 0.165 / style.PANEL_SIZE[1]
    _, bottom, _, height = style.axes_place()
    for each in axes.figure.axes if lost else ():
        x, y, width, tall = each.get_position().bounds
        share = (height - lost) / height
        each.set_position((x, bottom + (y - bottom) * share, width, tall * share))


def titled(frame: Frame, task: str) -> str:
    """A task's name over a panel."""
    return f"{task} (degenerate)" if task in frame.degenerate else task


def stacked(axes: Axes) -> tuple[Axes, Axes]:
    """Two axes in the place of one, the second below the first."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom + height * 0.54, width, height * 0.46))
    return axes, axes.figure.add_axes((left, bottom, width, height * 0.46))
