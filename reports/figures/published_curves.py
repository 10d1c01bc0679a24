"""Convergence and seconds beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, median

from matplotlib.axes import Axes

from bsr import paper
from bsr.run import Result
from reports import style
from reports.drawing import Panel
from reports.figures.marks import DASHED, REFERENCE_LINE, band, by_epoch, epoch_axis
from reports.figures.spec import MSE, Drawing, legend, titled
from reports.frame import Cell, Frame, group, span
from reports.published import comparable, provenance
from reports.text import listed, number

Pair = tuple[Cell, paper.PublishedCurve]


def published_curves(frame: Frame) -> Drawing | None:
    """Convergence beside the published curves at the smallest, a middle and the largest common batch size."""
    if not comparable(frame):
        return None
    pairs = {
        (task, experiment): found
        for experiment in ("batch-size", "std-at-0.01")
        for task in frame.tasks_of(experiment)
        if (found := _pairs(frame, task, experiment))
    }
    if not pairs:
        return None
    panels = [
        Panel(
            titled(frame, task)
            + ("" if experiment == "batch-size" else f", rate {row[0][1].learning_rate:g}"),
            partial(_curves, pairs=row, banded=task not in frame.degenerate),
            MSE,
        )
        for (task, experiment), row in pairs.items()
    ]
    counts = [len(cell.finals) for row in pairs.values() for cell, _ in row]
    return Drawing(
        panels,
        "Test MSE after each epoch: measured mean over seeds with minimum and maximum (band), and the "
        "published curve (dashed), at the smallest, a middle and the largest batch size that both have. "
        f"n = {span(counts, 'seed')} measured, 1 published. As {provenance(paper.CONVERGENCE)}",
        "Measured and published curves of test MSE against epoch for "
        f"{listed(panel.title for panel in panels)}.",
    )


def _pairs(frame: Frame, task: str, experiment: str) -> list[Pair]:
    """The smallest, a middle and the largest batch size measured and published at the same rate."""
    published = {
        (curve.batch_size, curve.learning_rate): curve for curve in paper.convergence() if curve.task == task
    }
    found = [
        (cell, published[key])
        for cell in frame.cells(task, experiment)
        if (key := (cell.batch_size, cell.results[0].run.learning_rate)) in published
    ]
    chosen = {0, len(found) // 2, len(found) - 1}
    return [pair for index, pair in enumerate(found) if index in chosen]


def _curves(axes: Axes, pairs: Sequence[Pair], *, banded: bool) -> None:
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


def published_seconds(frame: Frame) -> Drawing | None:
    """Training and test together per epoch, beside the published seconds."""
    timings = frame.timings(result for result in frame.results() if _evaluated(result))
    if not comparable(frame) or not timings:
        return None
    rows = {
        style.name(frame.timing_label(timing), 64): {
            size: median(map(_epoch_seconds, results))
            for size, results in sorted(group(runs, lambda result: result.run.batch_size).items())
        }
        for timing, runs in timings.items()
    }
    said = (
        f"{name}: {number(row[min(row)], 3)} s at {min(row)}, {number(row[max(row)], 3)} s at {max(row)}"
        for name, row in {**rows, "published": published_by_size()}.items()
    )
    return Drawing(
        [
            Panel(
                "Seconds per epoch, training and test", partial(_seconds, rows=rows), "wall s per epoch (log)"
            )
        ],
        "Median over runs of the seconds of an epoch with its evaluation, beside the published median of "
        f"one session on {paper.MACHINE}. Different machines and programs: the shape is comparable, the "
        f"height is not. n = {span((len(runs) for runs in timings.values()), 'run')} per series. "
        f"As {provenance(paper.SECONDS)}",
        f"Seconds per epoch against batch size, measured and published. {'; '.join(said)}.",
    )


def _seconds(axes: Axes, rows: Mapping[str, Mapping[int, float]]) -> None:
    published = published_by_size()
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


def published_by_size() -> dict[int, float]:
    """Published seconds per epoch by batch size, the median over tasks."""
    rows = group_by_size(paper.seconds_per_epoch())
    return {size: median(row.median_seconds_per_epoch for row in found) for size, found in rows.items()}


def group_by_size(rows: Sequence[paper.PublishedSeconds]) -> dict[int, list[paper.PublishedSeconds]]:
    """Published seconds by batch size, rising."""
    found: dict[int, list[paper.PublishedSeconds]] = {}
    for row in sorted(rows, key=lambda row: row.batch_size):
        found.setdefault(row.batch_size, []).append(row)
    return found
