"""The legend: a strip above the axes, in as few rows as it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from reports.drawing import style

_HANDLE, _PAD, _APART = 1.0, 0.45, 0.85
"""Of a legend, in its letters' size: a handle, the gap to its text, the gap between columns."""


def legend(axes: Axes, title: str = "", handles: Any = None) -> None:
    """The legend as a strip above the axes: `title`, then an entry per labelled artist, in few rows."""
    figure = axes.figure
    handles = handles or axes.get_legend_handles_labels()[0]
    handles = list({handle.get_label(): handle for handle in handles}.values())
    if not handles:
        return
    if not isinstance(figure, style.PanelFigure):  # a user's own, which has no strip above its axes
        axes.legend(handles=handles, title=title or None)
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
