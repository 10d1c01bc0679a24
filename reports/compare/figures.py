"""Every figure of a comparison, in the order of the page; and whether the error of the series is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from reports.cells import Cells
from reports.chapters.chapter import Figure, FigureContent
from reports.compare import Comparison, Pair
from reports.compare.side_by_side import (
    ASIDE,
    ONE,
    finals_of,
    median_lines,
    runs_of,
    series_text,
    tasks_of,
)
from reports.compare.speed_figures import comparison_speed, comparison_times
from reports.compare.words import title, verdict
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import MSE
from reports.drawing.panel import Panel

_RATIOS: Final = (
    "Ratios: geometric means over seeds with 95% intervals, cell by cell (paired by seed where both have the "
    "same seeds); the wide band is the margin within which errors count as the same, the narrow one the 90% "
    "interval of the ratio pooled over all cells that have something to learn. Sameness is claimed only "
    "where the narrow band lies inside the wide one."
)


def comparison_error(comparison: Comparison) -> FigureContent | None:
    """Ratios of final MSE with intervals and the margin, then the final MSE itself side by side."""
    pairs = [pair for pair in comparison.pairs if comparison.pairwise and pair.error.ratio is not None]
    rows = {task: finals_of(comparison, task) for task in tasks_of(comparison)}
    rows = {task: row for task, row in rows.items() if row}
    if not rows:
        return None
    panels = [
        Panel(title(pair), _ratios(pair), f"ratio of final MSE (log): {verdict(pair.error)}")
        for pair in pairs
    ]
    degenerate = {task for pair in comparison.pairs for task in pair.degenerate}
    nothing = " (degenerate: nothing to learn)"
    panels += [
        Panel(task + nothing * (task in degenerate), median_lines(row), MSE) for task, row in rows.items()
    ]
    verdicts = "; ".join(f"{title(pair)}: {verdict(pair.error)}" for pair in pairs)
    ratios = f"{_RATIOS} {verdicts}. " if pairs else ""
    return FigureContent(
        panels,
        f"Final test MSE. {ratios}Dots are seeds, lines their medians.",
        f"{'Ratios of final MSE per cell with the margin. ' if pairs else ''}Final MSE per series against "
        f"batch size. {verdicts}",
        n=runs_of(rows),
        note=series_text(comparison),
    )


def _ratios(pair: Pair) -> Callable[[Axes], None]:
    """Ratio of final MSE per cell, tasks beside each other, over the margin and the pooled interval."""
    tasks = list(dict.fromkeys(cell.task for cell in pair.learnable))
    cells = {cell: pair.errors([cell]) for cell in pair.learnable}
    found = {
        cell: stats.Estimate(one.ratio, one.interval) for cell, one in cells.items() if one.ratio is not None
    }
    low, high = 1 / (1 + pair.margin), 1 + pair.margin

    def draw(axes: Axes) -> None:
        scale = style.log_axis(axes.yaxis, [low, high, *drawn.reach(found.values())])
        axes.axhspan(
            low, high, color=style.REFERENCE, alpha=0.13, linewidth=0, label=f"within {pair.margin:.0%}"
        )
        if pooled := pair.error.equivalence:
            axes.axhspan(pooled.low, pooled.high, color=style.INK, alpha=0.3, linewidth=0, label="pooled")
        axes.axhline(1, **ONE)
        for task, aside in zip(tasks, style.spread(len(tasks), ASIDE), strict=True):
            row = {cell.batch_size * aside: one for cell, one in found.items() if cell.task == task}
            look = style.task_kind(task, pair.tasks)
            drawn.line(axes, scale, row, look, 1.4, linewidth=0, label=style.name(task, 64))
        style.batch_axis(axes, sorted({cell.batch_size for cell in pair.learnable}), least_margin=1.35)
        legend(axes)

    return draw


COMPARISON: Final = "Comparison"
"""The part of the page where they stand."""
_FIGURES: Final = {
    "Which is faster, and where": comparison_speed,
    "Is the error the same?": comparison_error,
    "Time per epoch, task by task": comparison_times,
}


def figures(comparison: Comparison | None) -> tuple[Figure, ...]:
    """A figure per entry; without a comparison, they have nothing to draw."""

    def drawn(draw: Callable[[Comparison], FigureContent | None]) -> Callable[[Cells], FigureContent | None]:
        return lambda _data: draw(comparison) if comparison else None

    return tuple(
        Figure(title, drawn(draw), name=draw.__name__.replace("_", "-"), section=COMPARISON)
        for title, draw in _FIGURES.items()
    )
