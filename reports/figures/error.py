"""The final error against the batch size: on one axis for all tasks, per task, per seed, and as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from matplotlib.axes import Axes

from bsr import stats
from reports import style
from reports.drawing import Panel
from reports.figures.spec import MSE, NORMALISED, Drawing, finals, legend, per_task
from reports.frame import Cell, Frame, seeds, statuses
from reports.text import listed, number


def normalised(frame: Frame) -> Drawing | None:
    """Normalised MSE of every task that has something to learn, on one axis with the best constant at 1."""
    tasks = frame.learnable()
    if not tasks:
        return None
    cells = {task: frame.cells(task) for task in tasks}

    def draw(axes: Axes) -> None:
        lines = {task: [fmean(cell.normalised) for cell in cells[task]] for task in tasks}
        scale = style.log_axis(axes.yaxis, [1.0, *(value for line in lines.values() for value in line)])
        for task, line in lines.items():
            colour, marker = style.task_kind(task, frame.tasks)
            sizes = [cell.batch_size for cell in cells[task]]
            axes.plot(sizes, scale.place(line), color=colour, marker=marker, label=style.name(task))
        axes.axhline(1, color=style.REFERENCE, linestyle=(0, (4, 3)), label="best constant predictor")
        style.batch_axis(axes, frame.batch_sizes())
        legend(axes)

    flat = [cell for task in tasks for cell in cells[task]]
    left_out = [task for task in frame.tasks_of() if task in frame.degenerate]
    return Drawing(
        [Panel("Normalised MSE after the last epoch", draw, NORMALISED)],
        f"Mean over seeds after {frame.epochs} epochs, divided by the MSE of the best constant predictor, the "
        f"variance of the test labels: 1 is no better than a constant, 0 is perfect (1 − R²). {seeds(flat)}. "
        + (f"Left out because every label is the same: {listed(left_out)}. " if left_out else "")
        + statuses(result for cell in flat for result in cell.results),
        "Lines of normalised test MSE against batch size, one per task. " + ends(cells, "normalised"),
    )


def ends(cells: dict[str, list[Cell]], measure: str = "finals") -> str:
    """What each line does from the smallest batch to the largest, in words."""
    said = []
    for task, row in cells.items():
        first, last = (number(fmean(getattr(cell, measure)), 3) for cell in (row[0], row[-1]))
        end = f" to {last} at {row[-1].batch_size}" if len(row) > 1 else ""
        said.append(f"{task}: {first} at batch size {row[0].batch_size}{end}")
    return "; ".join(said) + "."


def final_mse(frame: Frame) -> Drawing | None:
    """Final MSE per batch size at the last epoch, and the minimum over the epochs that the study drew."""

    def panel(task: str, cells: list[Cell]) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            last, lowest = ([fmean(values) for values in column] for column in columns(cells))
            scale = style.log_axis(axes.yaxis, [*last, *lowest])
            sizes = [cell.batch_size for cell in cells]
            colour, marker = style.task_kind(task, frame.tasks)
            axes.plot(sizes, scale.place(last), color=colour, marker=marker, label="last epoch")
            axes.plot(
                sizes, scale.place(lowest), color=colour, marker=marker, markerfacecolor=style.PAPER,
                linestyle=(0, (4, 2)), linewidth=1.2, label="minimum over the epochs",
            )  # fmt: skip
            style.batch_axis(axes, frame.batch_sizes())
            legend(axes)

        return draw

    return _drawing(
        frame,
        per_task(frame, panel),
        f"Mean over seeds after the last of {frame.epochs} epochs. The study's figures 7 and 8 draw the minimum "
        "over the epochs (dashed here), which picks the luckiest epoch of each run.",
        "Lines of final test MSE against batch size, a panel per task.",
    )


def columns(cells: Sequence[Cell]) -> tuple[list[list[float]], list[list[float]]]:
    """Final MSEs and minima over the epochs, a list per cell."""
    return [cell.finals for cell in cells], [cell.minima for cell in cells]


def _drawing(frame: Frame, panels: list[Panel], caption: str, alternative: str) -> Drawing | None:
    """A drawing of every cell of the batch-size experiment; None without panels."""
    if not panels:
        return None
    cells = {task: frame.cells(task) for task in frame.tasks_of()}
    flat = [cell for row in cells.values() for cell in row]
    note = statuses(frame.results())
    return Drawing(panels, f"{caption} {seeds(flat)}. {note}".strip(), f"{alternative} {ends(cells)}")


def each_seed(frame: Frame) -> Drawing | None:
    """Each seed as a dot beside the mean with its bootstrap interval."""

    def panel(task: str, cells: list[Cell]) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            colour, marker = style.task_kind(task, frame.tasks)
            scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
            for cell in cells:
                places = [cell.batch_size * 0.9 * factor for factor in style.spread(len(cell.finals), 1.12)]
                axes.plot(
                    places, scale.place(sorted(cell.finals)), ".", color=colour, alpha=0.55, markersize=5
                )
                mean, interval = fmean(cell.finals), stats.mean_interval(cell.finals)
                if interval:
                    axes.vlines(
                        cell.batch_size * 1.1, *scale.place([interval.low, interval.high]), color=style.INK
                    )
                axes.plot([cell.batch_size * 1.1], scale.place([mean]), marker, color=style.INK, markersize=5)
            style.batch_axis(axes, frame.batch_sizes())
            _seed_legend(axes, colour, marker)

        return draw

    return _drawing(
        frame,
        per_task(frame, panel, fewest_seeds=2),
        "Final test MSE of each seed (dots, in rising order), beside the mean with its 95% bootstrap interval "
        "(bias-corrected and accelerated; none below three seeds).",
        "Dots of final test MSE, one per seed, against batch size, with the mean and its interval beside them.",
    )


def _seed_legend(axes: Axes, colour: str, marker: str) -> None:
    handles = [
        axes.plot([], [], ".", color=colour, alpha=0.55, label="one seed")[0],
        axes.plot([], [], marker, linestyle="-", color=style.INK, markersize=5, label="mean, 95% interval")[
            0
        ],
    ]
    legend(axes, handles=handles)


def extremes(frame: Frame) -> Drawing | None:
    """Minimum, mean and maximum over seeds."""

    def panel(task: str, cells: list[Cell]) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            colour, marker = style.task_kind(task, frame.tasks)
            rows = {"maximum": max, "mean": fmean, "minimum": min}
            lines = {name: [summary(cell.finals) for cell in cells] for name, summary in rows.items()}
            scale = style.log_axis(axes.yaxis, [value for line in lines.values() for value in line])
            sizes = [cell.batch_size for cell in cells]
            low, high = scale.place(lines["minimum"]), scale.place(lines["maximum"])
            axes.fill_between(sizes, low, high, color=colour, alpha=0.14, linewidth=0)
            for name, shape in zip(rows, ("v", marker, "^"), strict=True):
                width = 1.8 if name == "mean" else 0.9
                axes.plot(
                    sizes, scale.place(lines[name]), color=colour, marker=shape, linewidth=width, label=name
                )
            style.batch_axis(axes, frame.batch_sizes())
            legend(axes)

        return draw

    return _drawing(
        frame,
        per_task(frame, panel, fewest_seeds=2),
        f"Minimum, mean and maximum of the test MSE over seeds after {frame.epochs} epochs.",
        "Minimum, mean and maximum of final test MSE over seeds against batch size, a panel per task.",
    )


def error_and_time_bars(frame: Frame) -> Drawing | None:
    """Mean final MSE above, mean training time below, as bars that start at zero."""

    def panel(_task: str, cells: list[Cell]) -> Callable[[Axes], None]:
        return lambda axes: _bars(frame, axes, cells)

    return _drawing(
        frame,
        per_task(frame, panel, "final test MSE, squared label units (above); training time, s (below)"),
        f"Mean over seeds of the final test MSE and of the training time of {frame.epochs} epochs, without loading, "
        "evaluation and compilation. Bars start at zero.",
        "Two rows of bars per task: mean final test MSE and mean training seconds for each batch size.",
    )


def _bars(frame: Frame, axes: Axes, cells: list[Cell]) -> None:
    above, below = stacked(axes)
    places = list(range(len(cells)))
    colours = style.ordered_colours([cell.batch_size for cell in cells])
    means = [fmean(cell.finals) for cell in cells]
    above.bar(places, means, color=[colours[cell.batch_size] for cell in cells], width=0.7)
    style.linear_axis(above.yaxis, max(means))
    timings = frame.timings(result for cell in cells for result in cell.finished)
    tallest = 0.0
    for index, (timing, _) in enumerate(timings.items()):
        width = 0.7 / len(timings)
        for place, cell in enumerate(cells):
            times = [r.total_training_seconds for r in frame.timings(cell.finished).get(timing, [])]
            if times:
                tallest = max(tallest, fmean(times))
                colour = style.MUTED if len(timings) == 1 else style.kind(index)[0]
                label = style.name(frame.timing_label(timing), 60)
                left = place - 0.35 + width * (index + 0.5)
                below.bar([left], [fmean(times)], width=width * 0.94, color=colour, label=label)
    style.linear_axis(below.yaxis, tallest)
    reach = max(len(cells) / 2 + 0.1, 1.6)
    for row in (above, below):
        row.grid(visible=False, axis="x")
        row.set_xlim((len(cells) - 1) / 2 - reach, (len(cells) - 1) / 2 + reach)
    above.set_xticks(places, [""] * len(places))
    below.set_xticks(places, [f"{cell.batch_size}" for cell in cells])
    below.set_xlabel("batch size")
    handles = dict(zip(*reversed(below.get_legend_handles_labels()), strict=True))
    legend(below, handles=list(handles.values()))


def stacked(axes: Axes) -> tuple[Axes, Axes]:
    """Two axes in the place of one, the second below the first."""
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left, bottom + height * 0.54, width, height * 0.46))
    return axes, axes.figure.add_axes((left, bottom, width, height * 0.46))
