"""The final error beside the published one, cell by cell at the same epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes

from bsr import paper
from reports import style
from reports.drawing import Panel
from reports.figures.marks import REFERENCE_LINE
from reports.figures.spec import MSE, Drawing, legend, titled
from reports.frame import Frame, span
from reports.published import Beside, beside, provenance
from reports.text import counted, listed, number

Range = Callable[[Beside], tuple[float, float, float]]
"""Minimum, mean and maximum of one side of a cell."""


def against_published(frame: Frame) -> Drawing | None:
    """Final MSE, measured over published, cell by cell at the same epoch; and both ranges per task."""
    cells = {task: found for task in frame.tasks_of() if (found := beside(frame, task))}
    if not cells:
        return None
    ratios = {task: row for task, row in cells.items() if task not in frame.degenerate}
    panels = [
        Panel(titled(frame, task), partial(_ranges, frame=frame, task=task, row=row), MSE)
        for task, row in cells.items()
    ]
    if ratios:
        draw = partial(_ratios, frame=frame, cells=ratios)
        panels.insert(0, Panel("Ratio of the means", draw, "measured / published mean (log)"))
    flat = [cell for row in cells.values() for cell in row]
    epochs = listed(f"{row[0].published.epoch} for {task}" for task, row in cells.items())
    overlap = f"{sum(cell.overlap for cell in flat)} of {counted(len(flat), 'cell')}"
    return Drawing(
        panels,
        f"Test MSE beside the published ten seeds at the epoch at which those were taken: {epochs}. Points: "
        f"means; bars: minimum to maximum over seeds. The ranges overlap in {overlap}; in the first panel "
        "an open symbol is a cell where they do not. n = "
        f"{span((len(cell.measured) for cell in flat), 'seed')} measured, {flat[0].published.runs} "
        f"published. As {provenance(paper.SPREAD)}",
        "Ratios of measured to published mean test MSE against batch size, and both ranges per task. "
        f"{'; '.join(_in_words(task, row) for task, row in ratios.items())}. Ranges overlap in {overlap}.",
    )


def _in_words(task: str, row: Sequence[Beside]) -> str:
    ratios = [cell.ratio for cell in row if cell.ratio is not None]
    return f"{task}: ratio {number(min(ratios), 3)} to {number(max(ratios), 3)}"


def _ratios(axes: Axes, frame: Frame, cells: Mapping[str, Sequence[Beside]]) -> None:
    everything = [cell.ratio for row in cells.values() for cell in row if cell.ratio]
    scale = style.log_axis(axes.yaxis, [0.5, 2.0, *everything])
    axes.axhline(1, **REFERENCE_LINE)
    for aside, (task, row) in zip(style.spread(len(cells), 1.2), cells.items(), strict=True):
        colour, marker = style.task_kind(task, frame.tasks)
        sizes = [cell.published.batch_size * aside for cell in row]
        heights = scale.place(cell.ratio or 0.0 for cell in row)
        axes.plot(sizes, heights, color=colour, linewidth=1, marker=marker, label=style.name(task))
        apart = [index for index, cell in enumerate(row) if not cell.overlap]
        open_places, open_heights = [sizes[index] for index in apart], [heights[index] for index in apart]
        axes.plot(open_places, open_heights, marker, color=colour, markerfacecolor=style.PAPER, zorder=3)
    style.batch_axis(axes, sorted({cell.published.batch_size for row in cells.values() for cell in row}))
    legend(axes)


def _ranges(axes: Axes, frame: Frame, task: str, row: Sequence[Beside]) -> None:
    colour, marker = style.task_kind(task, frame.tasks)
    values = [value for cell in row for side in (_measured, _published) for value in side(cell)]
    scale = style.log_axis(axes.yaxis, values)
    _side(axes, scale, row, _measured, (0.93, colour, marker, "measured"))
    _side(axes, scale, row, _published, (1.07, style.REFERENCE, "x", "published"))
    style.batch_axis(axes, [cell.published.batch_size for cell in row])
    legend(axes)


def _side(
    axes: Axes, scale: style.LogScale, row: Sequence[Beside], side: Range, look: tuple[float, str, str, str]
) -> None:
    aside, colour, marker, label = look
    places = [cell.published.batch_size * aside for cell in row]
    ranges = [scale.place(side(cell)) for cell in row]
    axes.vlines(
        places, [low for low, _, _ in ranges], [high for _, _, high in ranges], color=colour, linewidth=1.6
    )
    axes.plot(
        places, [mean for _, mean, _ in ranges], marker=marker, color=colour, linewidth=0.8, label=label
    )


def _measured(cell: Beside) -> tuple[float, float, float]:
    return min(cell.measured), cell.mean, max(cell.measured)


def _published(cell: Beside) -> tuple[float, float, float]:
    return cell.published.min_mse, cell.published.mean_mse, cell.published.max_mse
