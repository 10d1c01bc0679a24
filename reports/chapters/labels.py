"""How are the labels distributed?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bsr.records.schema import LabelDistribution
from reports.cells import Cells
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.panel import Panel
from reports.text import counted, listed, number, tick
from reports.text.table import Table

_SQUARED = {"var"}
"""Tasks whose labels are in squared pixel units, and so need an axis of their own."""


def label_distribution(data: Cells) -> FigureContent | None:
    """Box plots of the labels, tasks of one unit side by side."""
    labels = sorted(
        data.session.labels, key=lambda label: (data.tasks.index(label.task), label.dataset, label.split)
    )
    if not labels:
        return None
    units = {
        "pixel units": [label for label in labels if label.task not in _SQUARED],
        "squared pixel units": [label for label in labels if label.task in _SQUARED],
    }
    panels = [
        Panel(listed(dict.fromkeys(label.task for label in group)), _boxes(group), f"label, {unit}")
        for unit, group in units.items()
        if group
    ]
    constant = "".join(
        f" Every {label.task} label of {label.dataset} is {number(label.median)}."
        for label in labels
        if label.minimum == label.maximum
    )
    about = listed(dict.fromkeys(f"{label.dataset}, {label.split} images" for label in labels))
    return FigureContent(
        panels,
        f"{about},",
        "Box plots of the labels. "
        + "; ".join(
            f"{label.task}: quartiles {number(label.lower_quartile, 3)}, {number(label.median, 3)}, "
            f"{number(label.upper_quartile, 3)}, from {number(label.minimum, 3)} to "
            f"{number(label.maximum, 3)}"
            for label in labels
        )
        + ".",
        n=f"{number(labels[0].count)} labels each",
        note="Box: quartiles and median; diamond: mean; whiskers: the last label within 1.5 interquartile "
        f"ranges; crosses: the extremes, with the outliers counted.{constant}",
    )


def _boxes(labels: Sequence[LabelDistribution]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        tasks = list(dict.fromkeys(label.task for label in labels))
        for place, label in enumerate(labels):
            _box(axes, place, label, style.task_kind(label.task, tasks)[0])
        several = len({(label.dataset, label.split) for label in labels}) > 1
        names = [
            f"{label.task}\n{label.dataset}, {label.split}" if several else label.task for label in labels
        ]
        axes.set_xticks(range(len(labels)), [style.name(name.split("\n")[0], 20) for name in names])
        if several:
            axes.set_xticklabels(
                ["\n".join(style.name(part, 20) for part in name.split("\n")) for name in names], size=8
            )
        axes.set_xlim(*((-0.6, len(labels) - 0.4) if len(labels) > 1 else (-1, 1)))
        axes.grid(visible=False, axis="x")
        highest = max(label.maximum for label in labels)
        lowest = min(0.0, *(label.minimum for label in labels))
        axes.set_ylim(lowest - 0.04 * (highest - lowest or 1), highest + 0.08 * (highest - lowest or 1))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))

    return draw


def _box(axes: Axes, place: int, label: LabelDistribution, colour: str) -> None:
    height = label.upper_quartile - label.lower_quartile
    axes.vlines(place, label.lower_whisker, label.upper_whisker, color=colour, linewidth=1.4)
    axes.hlines(
        [label.lower_whisker, label.upper_whisker], place - 0.1, place + 0.1, color=colour, linewidth=1.4
    )
    corner = (place - 0.22, label.lower_quartile)
    axes.add_patch(Rectangle(corner, 0.44, height, facecolor=style.PAPER, edgecolor="none", zorder=2))
    axes.add_patch(
        Rectangle(corner, 0.44, height, facecolor=colour, alpha=0.25, edgecolor="none", zorder=2.1)
    )
    axes.add_patch(Rectangle(corner, 0.44, height, fill=False, edgecolor=colour, linewidth=1.4, zorder=2.2))
    axes.hlines(label.median, place - 0.22, place + 0.22, color=colour, linewidth=2.4, zorder=3)
    axes.plot([place], [label.mean], "D", color=style.INK, markersize=4, zorder=4)
    for value, count, side in (
        (label.minimum, label.outliers_below, "below"),
        (label.maximum, label.outliers_above, "above"),
    ):
        if count:
            axes.plot([place], [value], "x", color=colour, markersize=5)
            text = f"{counted(count, 'outlier')} {side}"
            axes.annotate(
                text,
                (place, value),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=style.MUTED,
            )


def _labels_table(data: Cells) -> Table:
    """The label distributions as recorded."""
    names = (
        "dataset", "task", "split", "count", "minimum", "lower_whisker", "lower_quartile", "median",
        "upper_quartile", "upper_whisker", "maximum", "mean", "outliers_below", "outliers_above",
    )  # fmt: skip
    rows = [{name.replace("_", " "): getattr(label, name) for name in names} for label in data.session.labels]
    return Table.of("labels", "Label distributions", rows, "Label units.")


CHAPTER: Final = Chapter(
    section="The labels",
    options="--bsr-experiments label-distribution",
    figures=(Figure("How the labels are distributed", label_distribution, "figures 10 and 11"),),
    tables=lambda data: [_labels_table(data)],
)
