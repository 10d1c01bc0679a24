"""Measured against published: the final error cell by cell, the curves, and the time per epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes

from bsr import paper
from bsr.experiment import Result
from reports import style
from reports.drawing import Panel
from reports.figures.convergence import epoch_axis
from reports.figures.spec import MSE, Drawing, legend, titled
from reports.frame import Cell, Frame, group, span
from reports.published import Beside, beside, comparable
from reports.text import counted, listed, number

PUBLISHED = {"color": style.REFERENCE, "linestyle": (0, (4, 2)), "linewidth": 1.4}


def against_published(frame: Frame) -> Drawing | None:
    """Final MSE, measured over published, cell by cell at the same epoch; and both ranges per task."""
    cells = {task: found for task in frame.tasks_of() if (found := beside(frame, task))}
    if not cells:
        return None
    ratios = {task: row for task in cells if task not in frame.degenerate for row in [cells[task]]}
    panels = (
        [Panel("Ratio of the means", _ratio_panel(frame, ratios), "measured / published mean (log)")]
        if ratios
        else []
    )
    panels += [Panel(titled(frame, task), _range_panel(frame, task, row), MSE) for task, row in cells.items()]
    flat = [cell for row in cells.values() for cell in row]
    apart = [cell for cell in flat if not cell.overlap]
    epochs = listed(f"{task}: {row[0].published.epoch}" for task, row in cells.items())
    return Drawing(
        panels,
        f"Test MSE of {counted(len(flat), 'cell')} beside the published ten seeds at the epoch at which those were taken "
        f"({epochs}). Points: means; bars: minimum to maximum over seeds. The ranges overlap in {len(flat) - len(apart)} "
        f"of {len(flat)} cells; in the first panel an open symbol is a cell where they do not. "
        f"n = {span((len(cell.measured) for cell in flat), 'seed')} measured, {flat[0].published.runs} published.",
        "Ratios of measured to published mean test MSE against batch size, and both ranges per task. "
        + "; ".join(
            f"{task}: ratio {number(low, 3)} to {number(high, 3)}"
            for task, row in ratios.items()
            for low, high in [_extremes(row)]
        )
        + f". Ranges overlap in {len(flat) - len(apart)} of {len(flat)} cells.",
    )


def _extremes(row: Sequence[Beside]) -> tuple[float, float]:
    ratios = [cell.ratio for cell in row if cell.ratio is not None]
    return min(ratios), max(ratios)


def _ratio_panel(frame: Frame, cells: Mapping[str, Sequence[Beside]]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        everything = [cell.ratio for row in cells.values() for cell in row if cell.ratio]
        scale = style.log_axis(axes.yaxis, [0.5, 2.0, *everything])
        axes.axhline(1, color=style.REFERENCE, linestyle=(0, (4, 3)), linewidth=1.2)
        for index, (task, row) in enumerate(cells.items()):
            colour, marker = style.task_kind(task, frame.tasks)
            aside = style.spread(len(cells), 1.2)[index]
            sizes = [cell.published.batch_size * aside for cell in row]
            heights = scale.place(cell.ratio or 0.0 for cell in row)
            axes.plot(sizes, heights, color=colour, linewidth=1, marker=marker, label=style.name(task))
            for size, height, cell in zip(sizes, heights, row, strict=True):
                if not cell.overlap:
                    axes.plot([size], [height], marker, color=colour, markerfacecolor=style.PAPER, zorder=3)
        style.batch_axis(axes, sorted({cell.published.batch_size for row in cells.values() for cell in row}))
        legend(axes)

    return draw


def _range_panel(frame: Frame, task: str, row: Sequence[Beside]) -> Callable[[Axes], None]:
    colour, marker = style.task_kind(task, frame.tasks)
    sides: list[tuple[str, float, str, str, Callable[[Beside], tuple[float, float, float]]]] = [
        ("measured", 0.93, colour, marker, lambda cell: (min(cell.measured), cell.mean, max(cell.measured))),
        ("published", 1.07, style.REFERENCE, "x", lambda cell: _published_range(cell.published)),
    ]

    def draw(axes: Axes) -> None:
        scale = style.log_axis(
            axes.yaxis, [value for *_, side in sides for cell in row for value in side(cell)]
        )
        for name, aside, shade, shape, side in sides:
            for cell in row:
                low, _, high = scale.place(side(cell))
                axes.vlines(cell.published.batch_size * aside, low, high, color=shade, linewidth=1.6)
            places = [cell.published.batch_size * aside for cell in row]
            means = scale.place(side(cell)[1] for cell in row)
            axes.plot(places, means, marker=shape, color=shade, linewidth=0.8, label=name)
        style.batch_axis(axes, [cell.published.batch_size for cell in row])
        legend(axes)

    return draw


def _published_range(cell: paper.PublishedSpread) -> tuple[float, float, float]:
    return cell.min_mse, cell.mean_mse, cell.max_mse


def published_curves(frame: Frame) -> Drawing | None:
    """Convergence beside the published curves at the smallest, a middle and the largest common batch size."""
    if not comparable(frame):
        return None
    panels: list[Panel] = []
    counts: list[int] = []
    for experiment in ("batch-size", "std-at-0.01"):
        for task in frame.tasks_of(experiment):
            pairs = _pairs(frame, task, experiment)
            if pairs:
                rate = f", rate {pairs[0][1].learning_rate:g}" if experiment != "batch-size" else ""
                band = task not in frame.degenerate
                panels.append(Panel(titled(frame, task) + rate, _curve_panel(pairs, band=band), MSE))
                counts += [len(cell.finals) for cell, _ in pairs]
    if not panels:
        return None
    return Drawing(
        panels,
        "Test MSE after each epoch: measured mean over seeds with minimum and maximum (band), and the published curve "
        "(dashed), at the smallest, a middle and the largest batch size that both have. The published curves are one run "
        "each from one random stream, so they are compared as curves, not run by run. "
        f"n = {span(counts, 'seed')} measured, 1 published.",
        f"Measured and published curves of test MSE against epoch for {listed(panel.title for panel in panels)}.",
    )


Pair = tuple[Cell, paper.PublishedCurve]


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


def _curve_panel(pairs: Sequence[Pair], *, band: bool) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        colours = style.ordered_colours([cell.batch_size for cell, _ in pairs])
        measured = {
            cell.batch_size: [cell.at_epoch(e) for e in range(1, len(cell.curve()))] for cell, _ in pairs
        }
        everything = [value for columns in measured.values() for column in columns for value in column]
        scale = style.log_axis(
            axes.yaxis, [*everything, *(value for _, curve in pairs for value in curve.test_mse)]
        )
        for cell, curve in pairs:
            colour, columns = colours[cell.batch_size], measured[cell.batch_size]
            epochs = range(1, len(columns) + 1)
            if band and len(cell.finals) > 1:
                low, high = scale.place(map(min, columns)), scale.place(map(max, columns))
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, scale.place(cell.curve()[1:]), color=colour, label=f"{cell.batch_size}")
            shown = curve.test_mse[: max(len(columns), 2)]
            axes.plot(
                range(1, len(shown) + 1),
                scale.place(shown),
                color=colour,
                linestyle=(0, (3, 2)),
                linewidth=1.2,
            )
        epoch_axis(axes, [1, max(len(columns) for columns in measured.values())])
        dashed = axes.plot([], [], color=style.MUTED, linestyle=(0, (3, 2)), linewidth=1.2, label="published")
        legend(axes, "batch size", handles=[*axes.get_legend_handles_labels()[0][:-1], *dashed])

    return draw


def published_seconds(frame: Frame) -> Drawing | None:
    """Training and test together per epoch, beside the published seconds."""
    timings = frame.timings(result for result in frame.results() if _evaluated(result))
    if not comparable(frame) or not timings:
        return None
    rows = {
        style.name(frame.timing_label(timing), 64): {
            size: median(_epoch_seconds(result) for result in results)
            for size, results in sorted(group(runs, lambda result: result.run.batch_size).items())
        }
        for timing, runs in timings.items()
    }
    by_size = group_seconds()

    def draw(axes: Axes) -> None:
        values = [value for row in (*rows.values(), by_size) for value in row.values()]
        scale = style.log_axis(axes.yaxis, values)
        for index, (name, row) in enumerate(rows.items()):
            colour, marker = style.kind(index)
            axes.plot(list(row), scale.place(row.values()), color=colour, marker=marker, label=name)
        axes.plot(list(by_size), scale.place(by_size.values()), marker="x", label="published", **PUBLISHED)
        style.batch_axis(axes, sorted({size for row in (*rows.values(), by_size) for size in row}))
        legend(axes)

    return Drawing(
        [Panel("Seconds per epoch, training and test", draw, "wall s per epoch (log)")],
        f"Median over runs of the seconds of an epoch with its evaluation, beside the published median of one session on "
        f"{paper.MACHINE}. Different machines and programs: the shape is comparable, the height is not. "
        f"n = {span((len(runs) for runs in timings.values()), 'run')} per series.",
        "Seconds per epoch against batch size, measured and published. "
        + "; ".join(
            f"{name}: {number(row[min(row)], 3)} s at {min(row)}, {number(row[max(row)], 3)} s at {max(row)}"
            for name, row in {**rows, "published": by_size}.items()
        )
        + ".",
    )


def _evaluated(result: Result) -> bool:
    return (
        bool(result.training_seconds) and len(result.evaluation_seconds) == len(result.training_seconds) + 1
    )


def _epoch_seconds(result: Result) -> float:
    both = zip(result.training_seconds, result.evaluation_seconds[1:], strict=True)
    return median(training + evaluation for training, evaluation in both)


def group_seconds() -> dict[int, float]:
    """Published seconds per epoch by batch size, the median over tasks."""
    rows = paper.seconds_per_epoch()
    sizes = sorted({row.batch_size for row in rows})
    return {
        size: median(row.median_seconds_per_epoch for row in rows if row.batch_size == size) for size in sizes
    }
