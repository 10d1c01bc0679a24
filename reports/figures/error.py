"""The final error against the batch size: on one axis for all tasks, per task, per seed, and as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import paper, stats
from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports import style
from reports.drawing import Panel
from reports.figures.marks import REFERENCE_LINE
from reports.figures.spec import MSE, NORMALISED, Drawing, legend, stacked, titled
from reports.frame import Cell, Frame, seeds, statuses
from reports.text import listed, number

_MINIMUM: Final[dict[str, Any]] = {
    "linestyle": (0, (4, 2)),
    "linewidth": 1.2,
    "markerfacecolor": style.PAPER,
    "label": "minimum over the epochs",
}


def normalised(frame: Frame) -> Drawing | None:
    """Normalised MSE of every task that has something to learn, on one axis with the best constant at 1."""
    cells = {task: frame.cells(task) for task in frame.learnable()}
    if not cells:
        return None
    flat = [cell for row in cells.values() for cell in row]
    left_out = [task for task in frame.tasks_of() if task in frame.degenerate]
    why = f" Left out because every label is the same: {listed(left_out)}." if left_out else ""
    return Drawing(
        [
            Panel(
                "Normalised MSE after the last epoch",
                partial(_normalised, frame=frame, cells=cells),
                NORMALISED,
            )
        ],
        f"Mean over seeds after {frame.epochs} epochs, divided by the MSE of the best constant predictor, "
        "the variance of the test labels: 1 is no better than a constant, 0 is perfect (1 \N{MINUS SIGN} "
        "R²). "
        f"{seeds(flat)}.{why} {statuses(result for cell in flat for result in cell.results)}".strip(),
        f"Lines of normalised test MSE against batch size, one per task. {ends(cells, 'normalised')}",
    )


def _normalised(axes: Axes, frame: Frame, cells: Mapping[str, Sequence[Cell]]) -> None:
    lines = {task: [fmean(cell.normalised) for cell in row] for task, row in cells.items()}
    scale = style.log_axis(axes.yaxis, [1.0, *(value for line in lines.values() for value in line)])
    for task, line in lines.items():
        colour, marker = style.task_kind(task, frame.tasks)
        sizes = [cell.batch_size for cell in cells[task]]
        axes.plot(sizes, scale.place(line), color=colour, marker=marker, label=style.name(task))
    axes.axhline(1, label="best constant predictor", **REFERENCE_LINE)
    style.batch_axis(axes, frame.batch_sizes())
    legend(axes)


def ends(cells: Mapping[str, Sequence[Cell]], measure: str = "finals") -> str:
    """What each line does from the smallest batch to the largest, in words."""
    said = []
    for task, row in cells.items():
        first, last = (number(fmean(getattr(cell, measure)), 3) for cell in (row[0], row[-1]))
        end = f" to {last} at {row[-1].batch_size}" if len(row) > 1 else ""
        said.append(f"{task}: {first} at batch size {row[0].batch_size}{end}")
    return "; ".join(said) + "."


Draw = Callable[[Axes, Frame, Sequence[Cell]], None]


def _per_task(
    frame: Frame, draw: Draw, caption: str, alternative: str, measure: str = MSE, fewest_seeds: int = 1
) -> Drawing | None:
    """A panel per task with cells of at least `fewest_seeds` final MSEs; None without any."""
    cells = {
        task: [cell for cell in frame.cells(task) if len(cell.finals) >= fewest_seeds]
        for task in frame.tasks_of()
    }
    cells = {task: row for task, row in cells.items() if row}
    if not cells:
        return None
    panels = [
        Panel(titled(frame, task), lambda axes, row=row: draw(axes, frame, row), measure)  # type: ignore[misc]
        for task, row in cells.items()
    ]
    count = seeds(cell for row in cells.values() for cell in row)
    return Drawing(
        panels,
        f"{caption} {count}. {statuses(frame.results())}".strip(),
        f"{alternative}, a panel per task. {ends(cells)}",
    )


def final_mse(frame: Frame) -> Drawing | None:
    """Final MSE per batch size at the last epoch, and the minimum over the epochs that the study drew."""
    return _per_task(
        frame,
        _final_mse,
        f"Mean over seeds after the last of {frame.epochs} epochs. "
        f"{paper.MINIMUM_OVER_EPOCHS} The minimum (dashed here) picks the luckiest epoch of each run.",
        "Lines of final test MSE against batch size",
    )


def _final_mse(axes: Axes, frame: Frame, cells: Sequence[Cell]) -> None:
    last = [fmean(cell.finals) for cell in cells]
    lowest = [fmean(cell.minima) for cell in cells]
    scale = style.log_axis(axes.yaxis, [*last, *lowest])
    sizes = [cell.batch_size for cell in cells]
    colour, marker = style.task_kind(cells[0].task, frame.tasks)
    axes.plot(sizes, scale.place(last), color=colour, marker=marker, label="last epoch")
    axes.plot(sizes, scale.place(lowest), color=colour, marker=marker, **_MINIMUM)
    style.batch_axis(axes, frame.batch_sizes())
    legend(axes)


def each_seed(frame: Frame) -> Drawing | None:
    """Each seed as a dot beside the mean with its bootstrap interval."""
    return _per_task(
        frame,
        _each_seed,
        "Final test MSE of each seed (dots, in rising order), beside the mean and its 95% bootstrap interval "
        f"(bias-corrected and accelerated; none below {FEWEST_FOR_A_MEAN} seeds).",
        "Dots of final test MSE, one per seed, against batch size, with mean and interval beside them",
        fewest_seeds=2,
    )


def _each_seed(axes: Axes, frame: Frame, cells: Sequence[Cell]) -> None:
    colour, marker = style.task_kind(cells[0].task, frame.tasks)
    scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
    intervals = {cell.batch_size: stats.mean_interval(cell.finals) for cell in cells}
    for cell in cells:
        places = [cell.batch_size * 0.9 * factor for factor in style.spread(len(cell.finals), 1.12)]
        axes.plot(places, scale.place(sorted(cell.finals)), ".", color=colour, alpha=0.55, markersize=5)
        beside = cell.batch_size * 1.1
        if interval := intervals[cell.batch_size]:
            low, high = scale.place([interval.low, interval.high])
            axes.vlines(beside, low, high, color=style.INK)
        axes.plot([beside], scale.place([fmean(cell.finals)]), marker, color=style.INK, markersize=5)
    style.batch_axis(axes, frame.batch_sizes())
    line, label = ("-", "mean, 95% interval") if any(intervals.values()) else ("", "mean")
    seed = axes.plot([], [], ".", color=colour, alpha=0.55, label="one seed")
    mean = axes.plot([], [], marker, linestyle=line, color=style.INK, markersize=5, label=label)
    legend(axes, handles=[*seed, *mean])


def extremes(frame: Frame) -> Drawing | None:
    """Minimum, mean and maximum over seeds."""
    return _per_task(
        frame,
        _extremes,
        f"Minimum, mean and maximum of the test MSE over seeds after {frame.epochs} epochs.",
        "Minimum, mean and maximum of final test MSE over seeds against batch size",
        fewest_seeds=2,
    )


def _extremes(axes: Axes, frame: Frame, cells: Sequence[Cell]) -> None:
    colour, marker = style.task_kind(cells[0].task, frame.tasks)
    lines = {
        "maximum": ([max(cell.finals) for cell in cells], "v", 0.9),
        "mean": ([fmean(cell.finals) for cell in cells], marker, 1.8),
        "minimum": ([min(cell.finals) for cell in cells], "^", 0.9),
    }
    scale = style.log_axis(axes.yaxis, [value for line, _, _ in lines.values() for value in line])
    sizes = [cell.batch_size for cell in cells]
    low, high = scale.place(lines["minimum"][0]), scale.place(lines["maximum"][0])
    axes.fill_between(sizes, low, high, color=colour, alpha=0.14, linewidth=0)
    for name, (line, shape, width) in lines.items():
        axes.plot(sizes, scale.place(line), color=colour, marker=shape, linewidth=width, label=name)
    style.batch_axis(axes, frame.batch_sizes())
    legend(axes)


def error_and_time_bars(frame: Frame) -> Drawing | None:
    """Mean final MSE above, mean training time below, as bars that start at zero."""
    return _per_task(
        frame,
        _bars,
        f"Mean over seeds of the final test MSE and of the training time of {frame.epochs} epochs, without "
        "loading, evaluation and compilation. Bars start at zero.",
        "Two rows of bars for each batch size, mean final test MSE and mean training seconds",
        "final test MSE, squared label units (above); training s (below)",
    )


def _bars(axes: Axes, frame: Frame, cells: Sequence[Cell]) -> None:
    above, below = stacked(axes)
    colours = style.ordered_colours([cell.batch_size for cell in cells])
    means = [fmean(cell.finals) for cell in cells]
    above.bar(range(len(cells)), means, color=list(colours.values()), width=0.7)
    style.linear_axis(above.yaxis, max(means))
    _time_bars(below, frame, cells)
    middle, reach = (len(cells) - 1) / 2, max(len(cells) / 2 + 0.1, 1.6)
    for row, names in ((above, [""] * len(cells)), (below, [str(cell.batch_size) for cell in cells])):
        row.grid(visible=False, axis="x")
        row.set_xlim(middle - reach, middle + reach)
        row.set_xticks(range(len(cells)), names)
    below.set_xlabel("batch size")
    legend(below, handles=_one_each(below.get_legend_handles_labels()[0]))


def _time_bars(axes: Axes, frame: Frame, cells: Sequence[Cell]) -> None:
    """A bar per batch size and way of timing, those of one batch size side by side."""
    timings = list(frame.timings(result for cell in cells for result in cell.finished))
    width, tallest = 0.7 / max(len(timings), 1), 0.0
    for index, timing in enumerate(timings):
        colour = style.MUTED if len(timings) == 1 else style.kind(index)[0]
        label = style.name(frame.timing_label(timing), 64)
        for place, cell in enumerate(cells):
            times = [r.total_training_seconds for r in frame.timings(cell.finished).get(timing, [])]
            if times:
                tallest = max(tallest, fmean(times))
                left = place - 0.35 + width * (index + 0.5)
                axes.bar([left], [fmean(times)], width=width * 0.94, color=colour, label=label)
    style.linear_axis(axes.yaxis, tallest)


def _one_each(artists: Iterable[Any]) -> list[Any]:
    return list({artist.get_label(): artist for artist in artists}.values())
