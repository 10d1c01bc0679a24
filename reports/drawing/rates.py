"""Final MSE against the learning rate: seeds, their centre, the best rate and its ties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.experiments.tried_rates import Rates, centre, contenders, rate_finals
from reports.cells import Cells
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import dots
from reports.text import tick

_RING: Final[dict[str, Any]] = {
    "linestyle": "",
    "marker": "o",
    "markerfacecolor": "none",
    "color": style.INK,
    "markersize": 9,
    "zorder": 3,
}
_STAR: Final[dict[str, Any]] = {
    "linestyle": "",
    "marker": "*",
    "markeredgecolor": style.PAPER,
    "color": style.INK,
    "markersize": 12,
    "zorder": 4,
}


_OF_ALL: Final = ("lowest", "ties with the lowest", "published")
"""Labels of marks that all lines share: last in the legend."""


class RatePanel:
    """Final MSE against learning rate, a line per series: a task, or the name of an optimiser."""

    def __init__(
        self,
        series: Mapping[str, Rates],
        data: Cells,
        published: Mapping[float, float] | None = None,
        among: Sequence[str] = (),
    ) -> None:
        """`among`: the names of all panels of a figure, so that each has one look in all of them."""
        self.series = series
        self.data = data
        self.published = published or {}
        self.among = among or [*series]
        self.finals = {name: rate_finals(rates) for name, rates in series.items()}

    def __call__(self, axes: Axes) -> None:
        """Draw on `axes`."""
        measured = [value for row in self.finals.values() for values in row.values() for value in values]
        scale = style.log_axis(axes.yaxis, [*measured, *self.published.values()])
        top = scale.high * (scale.high / scale.low) ** 0.1
        axes.set_ylim(scale.low, top)
        for name in self.finals:
            is_task = name in self.data.tasks
            look = style.task_kind(name, self.data.tasks) if is_task else style.kind(self.among.index(name))
            _line(axes, scale, self.series[name], look, "" if is_task else name)
            _lost(axes, self.series[name], (scale.high * top) ** 0.5, look[0])
        if self.published:
            heights = scale.place(self.published.values())
            axes.plot(list(self.published), heights, "x", color=style.REFERENCE, label="published")
        self._axis(axes)
        handles, labels = axes.get_legend_handles_labels()
        last = [handle for handle, label in zip(handles, labels, strict=True) if label in _OF_ALL]
        legend(axes, handles=[*(handle for handle in handles if handle not in last), *last])

    def _axis(self, axes: Axes) -> None:
        rates = sorted({rate for rates in self.series.values() for rate in rates})
        scale = style.log_axis(axes.xaxis, rates)
        if scale.high / scale.low > 50:
            style.plain_ticks(axes.xaxis, style.decade_ticks(scale.low, scale.high))
        else:
            style.plain_ticks(axes.xaxis, style.spaced(rates, math.log(scale.high / scale.low) / 7))
        axes.set_xlabel("learning rate (log)")


def _line(axes: Axes, scale: style.LogScale, rates: Rates, look: tuple[str, str], name: str) -> None:
    """Seeds, their centre, and the best rate with its ties; `name` is empty where the panel has one line."""
    colour, marker = look
    row, best = rate_finals(rates), stats.best(contenders(rates))
    middles = {rate: scale.place([centre(values)])[0] for rate, values in row.items()}
    for rate, values in row.items():
        dots(axes, rate, scale.place(values), colour)
    label = f"{name}, lowest at {tick(best.level)}" if name and best else name
    axes.plot(list(middles), list(middles.values()), color=colour, marker=marker, markersize=4, label=label)
    if best is None:
        return
    lowest = "lowest" if name else f"lowest: {tick(best.level)}"
    axes.plot([best.level], [middles[best.level]], label=lowest, **_STAR)
    ties = [rate for rate in best.tied if rate != best.level]
    if ties:
        axes.plot(ties, [middles[rate] for rate in ties], label="ties with the lowest", **_RING)


def _lost(axes: Axes, rates: Rates, height: float, colour: str) -> None:
    """Plus signs that count the runs without a final MSE."""
    for rate, results in rates.items():
        count = sum(result.final_mse is None for result in results)
        if count:
            axes.plot([rate], [height], "+", color=colour, markersize=6)
            axes.annotate(
                str(count), (rate, height), (5, 0), textcoords="offset points", va="center", fontsize=8.5,
                color=style.INK,
            )  # fmt: skip
