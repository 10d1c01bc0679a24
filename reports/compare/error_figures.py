"""Whether the error of the series is the same: ratios with the margin, and the errors themselves."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes

from reports.chapters.chapter import FigureContent
from reports.compare import Comparison, Pair
from reports.compare.side_by_side import (
    ASIDE,
    ONE,
    finals_of,
    lines,
    reach,
    runs_of,
    series_of,
    tasks_of,
    with_intervals,
)
from reports.compare.words import title, verdict
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import MSE
from reports.drawing.panel import Panel


def errors(comparison: Comparison) -> FigureContent | None:
    """Ratios of final MSE with intervals and the margin, then the final MSE itself side by side."""
    pairs = [pair for pair in comparison.pairs if pair.error.ratio is not None]
    rows = {task: finals_of(comparison, task) for task in tasks_of(comparison)}
    rows = {task: row for task, row in rows.items() if row}
    if not rows:
        return None
    panels = [
        Panel(title(pair), _ratios(pair), f"ratio of final MSE (log): {verdict(pair.error)}")
        for pair in pairs
    ]
    degenerate = {task for pair in comparison.pairs for task in pair.degenerate}
    panels += [
        Panel(f"{task} (degenerate: nothing to learn)" if task in degenerate else task, lines(row), MSE)
        for task, row in rows.items()
    ]
    verdicts = "; ".join(f"{title(pair)}: {verdict(pair.error)}" for pair in pairs)
    return FigureContent(
        panels,
        "Final test MSE. Ratios: geometric means over seeds with 95% intervals, cell by cell (paired by seed "
        "where both have the same seeds); the wide band is the margin within which errors count as the same, "
        "the narrow one the 90% interval of the ratio pooled over all cells that have something to learn. "
        f"Sameness is claimed only where the narrow band lies inside the wide one. {verdicts}. Final MSE: "
        f"dots are seeds, lines their medians. {runs_of(rows)}. {series_of(comparison)}",
        "Ratios of final MSE per cell with the margin, and final MSE per series against batch size. "
        f"{verdicts}.",
    )


def _ratios(pair: Pair) -> Callable[[Axes], None]:
    """Ratio of final MSE per cell, tasks beside each other, over the margin and the pooled interval."""
    tasks = list(dict.fromkeys(cell.task for cell in pair.learnable))
    found = {cell: pair.errors([cell]) for cell in pair.learnable}
    low, high = 1 / (1 + pair.margin), 1 + pair.margin

    def draw(axes: Axes) -> None:
        shown = [one for one in found.values() if one.ratio is not None]
        scale = style.log_axis(
            axes.yaxis, [low, high, *(v for one in shown for v in reach(one.ratio or 1, one.interval))]
        )
        axes.axhspan(
            low, high, color=style.REFERENCE, alpha=0.13, linewidth=0, label=f"within {pair.margin:.0%}"
        )
        if pooled := pair.error.equivalence:
            axes.axhspan(pooled.low, pooled.high, color=style.INK, alpha=0.3, linewidth=0, label="pooled")
        axes.axhline(1, **ONE)
        asides = style.spread(len(tasks), ASIDE)
        for index, task in enumerate(tasks):
            row = {
                cell.batch_size * asides[index]: (one.ratio, one.interval)
                for cell, one in found.items()
                if cell.task == task and one.ratio is not None
            }
            with_intervals(axes, scale, row, style.task_kind(task, pair.tasks), task, width=0)
        style.batch_axis(axes, sorted({cell.batch_size for cell in pair.learnable}), least_margin=1.35)
        legend(axes)

    return draw
