"""One look for every figure: colours that a colour-blind reader tells apart, light and dark; plain axes.

Every colour is a pair. Figures are drawn in the light one; the page replaces it by a CSS variable that turns
into the dark one. Batch sizes are ordered and take a perceptually uniform map (plasma, cut where it meets
the paper); tasks and other kinds take the Okabe-Ito colours (Okabe and Ito, 2008) and a marker each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from reports.text import printable, tick, ticks

INK: Final = "#1b1e23"
MUTED: Final = "#5b626c"
GRID: Final = "#e3e6ea"
PAPER: Final = "#fffffe"
_DARK: Final = {INK: "#e9ebee", MUTED: "#a3abb6", GRID: "#30353d", PAPER: "#171a1f"}
_KINDS: Final = (  # six of Okabe-Ito, two darkened, six of Tol's; twins on dark paper
    ("#0072b2", "#4ea8e0", "o"),
    ("#d55e00", "#ff8f4a", "s"),
    ("#009e73", "#2cc79b", "^"),
    ("#cc79a7", "#e59ec4", "D"),
    ("#b87a00", "#f5bd45", "v"),
    ("#3a97d3", "#8fd0f7", "P"),
    ("#332288", "#9a8cf5", "X"),
    ("#882255", "#e0679c", "<"),
    ("#999933", "#d6d667", ">"),
    ("#8c564b", "#c79286", "h"),
    ("#117733", "#62b37d", "p"),
    ("#004d66", "#5ea6bf", "*"),
)
REFERENCE: Final = "#6f7681"
"""Published figures and reference lines: grey, so that measured data stand out."""
_DARK_REFERENCE: Final = "#98a1ad"
_TASK_KIND: Final = {"mean": 0, "std": 1, "var": 2, "median": 3}
_STEPS: Final = 32
SMALL: Final = 9.5
"""Points: legends, ticks and units."""
PANEL_SIZE: Final = (4.8, 3.7)
"""Inches; small, so that its text can still be read on a phone."""
LEAST_RANGE: Final = 2.0
"""From the lowest to the highest value that a log axis shows."""
PARAMETERS: Final[dict[str, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "bsr",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}
"""Matplotlib settings of every figure. parse_math is off: a `$` in a name is a dollar sign."""


class PanelFigure(Figure):
    """A figure that is one panel of a report, with room for a head and a legend above its axes."""


def from_top(inches: float) -> float:
    """A height in a panel, as a share of it, from its upper edge."""
    return 1 - inches / PANEL_SIZE[1]


def head(figure: Figure, inches: float, text: str, size: float, **looks: Any) -> None:
    """A line of text above the axes, smaller where it would not fit."""
    line = figure.text(0.014, from_top(inches), text, size=size, va="top", **looks)
    share = line.get_window_extent().width / (0.97 * figure.bbox.width)
    if share > 1:
        line.set_fontsize(max(size / share, 5.0))


def axes_place() -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes in a panel, as shares; titles and legend stand above."""
    width, height = PANEL_SIZE
    left, right, bottom, top = 0.66, 0.15, 0.53, 0.87
    return left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height


def variables() -> dict[str, tuple[str, str, str]]:
    """Light colour -> (CSS variable, light colour, dark colour), for every colour a figure may use."""
    named = [("ink", INK), ("muted", MUTED), ("grid", GRID), ("paper", PAPER)]
    pairs = [(name, light, _DARK[light]) for name, light in named]
    pairs.append(("reference", REFERENCE, _DARK_REFERENCE))
    pairs += [(f"kind-{index}", light, dark) for index, (light, dark, _) in enumerate(_KINDS)]
    pairs += [(f"order-{step}", *_ordered(step)) for step in range(_STEPS + 1)]
    return {light: (f"--{name}", light, dark) for name, light, dark in pairs}


@cache
def _ordered(step: int) -> tuple[str, str]:
    position = step / _STEPS
    plasma = colormaps["plasma"]
    return to_hex(plasma(0.63 * position)), to_hex(plasma(0.42 + 0.58 * position))


def ordered_colours(values: Sequence[float]) -> dict[float, str]:
    """A colour per value of an ordered quantity, evenly spaced from the first to the last."""
    last = max(len(values) - 1, 1)
    return {value: _ordered(round(_STEPS * index / last))[0] for index, value in enumerate(values)}


def ordered_looks(values: Sequence[float]) -> dict[float, tuple[str, str]]:
    """Colour and marker per value of an ordered quantity: neighbours differ in both."""
    colours = ordered_colours(values)
    return {value: (colour, kind(index)[1]) for index, (value, colour) in enumerate(colours.items())}


def kind(index: int) -> tuple[str, str]:
    """Colour and marker of the `index`-th kind."""
    colour, _, marker = _KINDS[index % len(_KINDS)]
    return colour, marker


def task_kind(task: str, tasks: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a task, the same in every figure of a study."""
    others = [name for name in tasks if name not in _TASK_KIND]
    return kind(_TASK_KIND.get(task, 4 + (others.index(task) if task in others else 0)))


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def name(text: str, limit: int = 40) -> str:
    """A name from the data as figures can show it: no control characters, nothing the font lacks."""
    shown = printable(text, limit)
    return "".join(letter if ord(letter) in _drawable() else "?" for letter in shown)


@cache
def text_width(text: str, size: float) -> float:
    """Points that a line of text takes in the figures' font."""
    return float(
        TextPath((0, 0), text, size=size, prop=FontProperties(family="DejaVu Sans")).get_extents().width
    )


def batch_axis(axes: Axes, sizes: Sequence[int], least_margin: float = 1.25) -> None:
    """A log2 axis of batch sizes with plain integers, none so close to the last that labels touch."""
    axes.set_xscale("log", base=2)
    low, high = min(sizes), max(sizes)
    margin = max((high / low) ** 0.05, least_margin)
    axes.set_xlim(low / margin, high * margin)
    plain_ticks(axes.xaxis, spaced(sizes, math.log(high / low * margin**2) / 13))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:.0f}"))
    axes.set_xlabel("batch size")


def spaced(values: Iterable[float], least: float) -> list[float]:
    """Values in rising order, those left out whose logarithm is closer than `least` to the one before."""
    shown: list[float] = []
    for value in sorted(values):
        if not shown or math.log(value / shown[-1]) >= least:
            shown.append(value)
    return shown


def plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at these values and nowhere else, as plain numbers."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(ticks(min(values), max(values))))
    axis.set_minor_locator(NullLocator())


@dataclass(frozen=True, slots=True)
class LogScale:
    """A log axis for values of which some may be 0 or too small to matter: those lie on a floor named so."""

    low: float
    high: float
    floor: float | None
    """Where values at or below it are drawn; None if there are none."""
    floor_label: str = "0"

    @classmethod
    def of(cls, values: Iterable[float], smallest: float = 1e-16) -> LogScale:
        """The scale for values of 0 or more; what is below `smallest` counts as too small to tell apart."""
        found = [value for value in values if math.isfinite(value)]
        above = [value for value in found if value >= smallest]
        below = [value for value in found if value < smallest]
        low, high = (min(above), max(above)) if above else (0.1, 1.0)
        if high < LEAST_RANGE * low:  # what hardly differs shall not look as if it did
            middle = math.sqrt(low * high)
            low, high = middle / math.sqrt(LEAST_RANGE), middle * math.sqrt(LEAST_RANGE)
        decades = max(math.log10(high / low), 0.3)
        if not below:
            pad = 10 ** (0.06 * decades)
            return cls(low / pad, high * pad, None)
        floor = low / 10 ** max(1.0, 0.12 * decades)
        label = "0" if not any(below) else f"<{tick(smallest)}"
        return cls(floor / 10 ** (0.06 * decades), high * 10 ** (0.06 * decades), floor, label)

    def place(self, values: Iterable[float]) -> list[float]:
        """Values as drawn."""
        return [value if self.floor is None else max(value, self.floor) for value in values]

    def apply(self, axis: Axis) -> None:
        """Make `axis` this scale, with ticks as plain numbers."""
        axes = axis.axes
        (axes.set_xscale if axis.axis_name == "x" else axes.set_yscale)("log")  # type: ignore[attr-defined]
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        setter = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim  # type: ignore[attr-defined]
        setter(self.low, self.high)
        shown = ticks(self.low, self.high)
        if self.floor is None:
            axis.set_major_locator(_locator(self.low, self.high))
            axis.set_major_formatter(FuncFormatter(shown))
            return
        axis.set_major_locator(FixedLocator([self.floor, *decade_ticks(self.floor * 5, self.high)]))
        axis.set_major_formatter(
            FuncFormatter(
                lambda value, place: self.floor_label if value == self.floor else shown(value, place)
            )
        )


def _locator(low: float, high: float) -> LogLocator | MaxNLocator | FixedLocator:
    decades = math.log10(high / low)
    if decades < 0.45:
        return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    if decades < 0.9:
        return LogLocator(10, subs=(1, 1.5, 2, 3, 5, 7))
    if decades < 2.6:
        return LogLocator(10, subs=(1, 2, 5) if decades < 1.8 else (1, 3))
    return FixedLocator(decade_ticks(low, high))


def decade_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Powers of ten between two values, every second, third, ... where there are more than `most`."""
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    stride = max(1, math.ceil(len(exponents) / most))
    return [10.0**exponent for exponent in exponents if exponent % stride == 0]


def log_axis(axis: Axis, values: Iterable[float]) -> LogScale:
    """Make `axis` a log axis that holds `values`; returns where to draw them."""
    scale = LogScale.of(values)
    scale.apply(axis)
    return scale


def linear_axis(axis: Axis, high: float) -> None:
    """A linear axis from 0, for bars, whose lengths are compared."""
    setter = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim  # type: ignore[attr-defined]
    setter(0, high * 1.08 or 1.0)
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def spread(count: int, width: float) -> list[float]:
    """Factors round 1 that set `count` dots side by side on a log axis, `width` from first to last."""
    if count < 2:
        return [1.0] * count
    return [float(factor) for factor in width ** np.linspace(-0.5, 0.5, count)]
