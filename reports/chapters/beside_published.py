"""Are the published figures reproduced?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean, median
from typing import Final

from matplotlib.axes import Axes

from bsr import published
from bsr.result import Result
from reports.analysis.published import Beside, beside, comparable, provenance
from reports.cells import Cell, Cells, grouped, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import DASHED, MSE, REFERENCE_LINE, band, by_epoch, epoch_axis, titled
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table

Range = Callable[[Beside], tuple[float, float, float]]
"""Minimum, mean and maximum of one side of a cell."""
_Curves = tuple[Cell, published.PublishedCurve]


def _published(data: Cells) -> FigureContent | None:
    """Final MSE, measured over published, cell by cell at the same epoch; and both ranges per task."""
    cells = {task: found for task in data.tasks_of() if (found := beside(data, task))}
    if not cells:
        return None
    ratios = {task: row for task, row in cells.items() if task not in data.degenerate}
    panels = [
        Panel(titled(data, task), partial(_ranges, data=data, task=task, row=row), MSE)
        for task, row in cells.items()
    ]
    if ratios:
        draw = partial(_ratios, data=data, cells=ratios)
        panels.insert(0, Panel("Ratio of the means", draw, "measured / published mean (log)"))
    flat = [cell for row in cells.values() for cell in row]
    epochs = listed(f"{row[0].published.epoch} for {task}" for task, row in cells.items())
    overlap = f"{sum(cell.overlap for cell in flat)} of {counted(len(flat), 'cell')}"
    apart = any(not cell.overlap for row in ratios.values() for cell in row)
    hollow = " In the first panel an open symbol is a cell where they do not." if apart else ""
    return FigureContent(
        panels,
        f"Test MSE beside the published, each after the epoch of the published: {epochs}. Points: means; "
        f"bars: minimum to maximum over seeds. The ranges overlap in {overlap}.{hollow}",
        "Ratios of measured to published mean test MSE against batch size, and both ranges per task. "
        f"{'; '.join(_in_words(task, row) for task, row in ratios.items())}. Ranges overlap in {overlap}.",
        n=f"{span(map(len, (cell.measured for cell in flat)), 'seed')} measured, "
        f"{flat[0].published.runs} published",
        note=f"As {provenance(published.SPREAD)}",
    )


def _in_words(task: str, row: Sequence[Beside]) -> str:
    ratios = [cell.ratio for cell in row if cell.ratio is not None]
    return f"{task}: ratio {number(min(ratios), 3)} to {number(max(ratios), 3)}"


def _ratios(axes: Axes, data: Cells, cells: Mapping[str, Sequence[Beside]]) -> None:
    everything = [cell.ratio for row in cells.values() for cell in row if cell.ratio]
    scale = style.log_axis(axes.yaxis, [0.5, 2.0, *everything])
    axes.axhline(1, **REFERENCE_LINE)
    for aside, (task, row) in zip(style.spread(len(cells), 1.2), cells.items(), strict=True):
        colour, marker = style.task_kind(task, data.tasks)
        sizes = [cell.published.batch_size * aside for cell in row]
        heights = scale.place(cell.ratio or 0.0 for cell in row)
        axes.plot(sizes, heights, color=colour, linewidth=1, marker=marker, label=style.name(task))
        apart = [index for index, cell in enumerate(row) if not cell.overlap]
        open_places, open_heights = [sizes[index] for index in apart], [heights[index] for index in apart]
        axes.plot(open_places, open_heights, marker, color=colour, markerfacecolor=style.PAPER, zorder=3)
    style.batch_axis(axes, sorted({cell.published.batch_size for row in cells.values() for cell in row}))
    legend(axes)


def _ranges(axes: Axes, data: Cells, task: str, row: Sequence[Beside]) -> None:
    colour, marker = style.task_kind(task, data.tasks)
    values = [value for cell in row for side in (_measured, _stated) for value in side(cell)]
    scale = style.log_axis(axes.yaxis, values)
    _side(axes, scale, row, _measured, (0.93, colour, marker, "measured"))
    _side(axes, scale, row, _stated, (1.07, style.REFERENCE, "x", "published"))
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


def _stated(cell: Beside) -> tuple[float, float, float]:
    return cell.published.min_mse, cell.published.mean_mse, cell.published.max_mse


def published_convergence(data: Cells) -> FigureContent | None:
    """Convergence beside the published curves at the smallest, a middle and the largest common batch size."""
    if not comparable(data):
        return None
    pairs = {
        (task, experiment): found
        for experiment in ("batch-size", "std-at-0.01")
        for task in data.tasks_of(experiment)
        if (found := _pairs(data, task, experiment))
    }
    if not pairs:
        return None
    panels = [
        Panel(
            titled(data, task)
            + ("" if experiment == "batch-size" else f", rate {row[0][1].learning_rate:g}"),
            partial(_curves, pairs=row, banded=task not in data.degenerate),
            MSE,
        )
        for (task, experiment), row in pairs.items()
    ]
    counts = [len(cell.finals) for row in pairs.values() for cell, _ in row]
    return FigureContent(
        panels,
        "Test MSE after each epoch: measured mean over seeds with minimum and maximum (band), and the "
        "published curve (dashed), at the smallest, a middle and the largest batch size that both have.",
        "Measured and published curves of test MSE against epoch for "
        f"{listed(panel.title for panel in panels)}.",
        n=f"{span(counts, 'seed')} measured, 1 published",
        note=f"As {provenance(published.CONVERGENCE)}",
    )


def _pairs(data: Cells, task: str, experiment: str) -> list[_Curves]:
    """The smallest, a middle and the largest batch size measured and published at the same rate."""
    curves = {
        (curve.batch_size, curve.learning_rate): curve
        for curve in published.convergence()
        if curve.task == task
    }
    found = [
        (cell, curves[key])
        for cell in data.cells(task, experiment)
        if (key := (cell.batch_size, cell.results[0].run.learning_rate)) in curves
    ]
    chosen = {0, len(found) // 2, len(found) - 1}
    return [pair for index, pair in enumerate(found) if index in chosen]


def _curves(axes: Axes, pairs: Sequence[_Curves], *, banded: bool) -> None:
    colours = style.ordered_colours([cell.batch_size for cell, _ in pairs])
    measured = {cell.batch_size: by_epoch(cell, "test_mse", 1) for cell, _ in pairs}
    values = [value for columns in measured.values() for column in columns for value in column]
    scale = style.log_axis(axes.yaxis, [*values, *(value for _, curve in pairs for value in curve.test_mse)])
    for cell, curve in pairs:
        colour, columns = colours[cell.batch_size], measured[cell.batch_size]
        epochs = range(1, len(columns) + 1)
        if banded:
            band(axes, scale, epochs, columns, colour)
        axes.plot(epochs, scale.place(map(fmean, columns)), color=colour, label=str(cell.batch_size))
        shown = scale.place(curve.test_mse[: len(columns)])
        axes.plot(range(1, len(shown) + 1), shown, color=colour, **DASHED)
    axes.plot([], [], color=style.MUTED, label="published", **DASHED)
    epoch_axis(axes, 1, max(map(len, measured.values())))
    legend(axes, "batch size")


def published_seconds(data: Cells) -> FigureContent | None:
    """Training and test together per epoch, beside the published seconds."""
    timings = data.timings(result for result in data.results() if _evaluated(result))
    if not comparable(data) or not timings:
        return None
    rows = {
        style.name(data.timing_label(timing), 64): {
            size: median(map(_epoch_seconds, results))
            for size, results in sorted(grouped(runs, lambda result: result.run.batch_size).items())
        }
        for timing, runs in timings.items()
    }
    said = (
        f"{name}: {number(row[min(row)], 3)} s at {min(row)}, {number(row[max(row)], 3)} s at {max(row)}"
        for name, row in {**rows, "published": _published_by_size()}.items()
    )
    return FigureContent(
        [
            Panel(
                "Seconds per epoch, training and test", partial(_seconds, rows=rows), "wall s per epoch (log)"
            )
        ],
        "Median over runs of the seconds of an epoch with its evaluation, beside the published median of "
        f"one session on {published.MACHINE}. Different machines and programs: the shape is comparable, the "
        "height is not.",
        f"Seconds per epoch against batch size, measured and published. {'; '.join(said)}.",
        n=f"{span((len(runs) for runs in timings.values()), 'run')} per series",
        note=f"As {provenance(published.SECONDS)}",
    )


def _seconds(axes: Axes, rows: Mapping[str, Mapping[int, float]]) -> None:
    published = _published_by_size()
    values = [value for row in (*rows.values(), published) for value in row.values()]
    scale = style.log_axis(axes.yaxis, values)
    for index, (name, row) in enumerate(rows.items()):
        colour, marker = style.kind(index)
        axes.plot(list(row), scale.place(row.values()), color=colour, marker=marker, label=name)
    axes.plot(
        list(published), scale.place(published.values()), marker="x", label="published", **REFERENCE_LINE
    )
    style.batch_axis(axes, sorted({size for row in (*rows.values(), published) for size in row}))
    legend(axes)


def _evaluated(result: Result) -> bool:
    trained = len(result.training_seconds)
    return trained > 0 and len(result.evaluation_seconds) == trained + 1


def _epoch_seconds(result: Result) -> float:
    both = zip(result.training_seconds, result.evaluation_seconds[1:], strict=True)
    return median(training + evaluation for training, evaluation in both)


def _published_by_size() -> dict[int, float]:
    """Published seconds per epoch by batch size, the median over tasks."""
    rows = _group_by_size(published.seconds_per_epoch())
    return {size: median(row.median_seconds_per_epoch for row in found) for size, found in rows.items()}


def _group_by_size(rows: Sequence[published.PublishedSeconds]) -> dict[int, list[published.PublishedSeconds]]:
    """Published seconds by batch size, rising."""
    found: dict[int, list[published.PublishedSeconds]] = {}
    for row in sorted(rows, key=lambda row: row.batch_size):
        found.setdefault(row.batch_size, []).append(row)
    return found


def _published_table(data: Cells) -> Table:
    """Measured beside published, cell by cell."""
    rows = [
        {
            "task": task,
            "batch size": cell.published.batch_size,
            "after epoch": cell.published.epoch,
            "seeds": len(cell.measured),
            "min": min(cell.measured),
            "mean": cell.mean,
            "max": max(cell.measured),
            "published min": cell.published.min_mse,
            "published mean": cell.published.mean_mse,
            "published max": cell.published.max_mse,
            "ratio of means": cell.ratio,
            "ranges overlap": "yes" if cell.overlap else "no",
        }
        for task in data.tasks_of()
        for cell in beside(data, task)
    ]
    note = "Test MSE at the epoch at which the published ten seeds were taken."
    return Table.of("published", "Measured against published", rows, note)


CHAPTER: Final = Chapter(
    section="Beside the published figures",
    options="--bsr-preset paper",
    figures=(
        Figure("Final error beside the published one", _published, "figure 9", name="published"),
        Figure("Convergence beside the published curves", published_convergence, "figure 5"),
        Figure("Seconds per epoch beside the published ones", published_seconds, "figure 6"),
    ),
    tables=lambda data: [_published_table(data)],
)
