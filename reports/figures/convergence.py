"""How the error falls: against epochs, steps and seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from statistics import fmean

from matplotlib.axes import Axes

from reports import style
from reports.drawing import Panel
from reports.figures.marks import epoch_axis
from reports.figures.spec import MSE, Drawing, legend, titled
from reports.frame import Cell, Frame, seeds, statuses
from reports.text import listed, number

Places = Callable[[Cell], Sequence[float]]
"""Where on the horizontal axis the last values of a cell's curve lie, one each."""


def convergence(frame: Frame) -> Drawing | None:
    """Test MSE after each epoch from the untrained network on, a curve per batch size."""
    caption = (
        "Test MSE before training (epoch 0) and after each epoch, mean over the seeds that have a final MSE."
    )
    return _drawing(frame, draw_epochs, caption, "epoch")


def against_steps(frame: Frame) -> Drawing | None:
    """Test MSE against optimiser steps."""
    caption = "Test MSE after each epoch against optimiser steps, mean over the seeds that have a final MSE."
    return _drawing(frame, _draw_steps, caption, "optimiser step")


def _drawing(frame: Frame, draw: Callable[..., None], caption: str, per: str) -> Drawing | None:
    cells = {task: frame.cells(task) for task in frame.tasks_of()}
    if not cells:
        return None
    flat = [cell for row in cells.values() for cell in row]
    return Drawing(
        [Panel(titled(frame, task), partial(draw, cells=row), MSE) for task, row in cells.items()],
        f"{caption} {seeds(flat)}. {statuses(frame.results())}".strip(),
        f"Curves of test MSE per {per}, a panel per task and a curve per batch size. {_falls(cells)}",
    )


def _falls(cells: Mapping[str, Sequence[Cell]]) -> str:
    """In words, what each task's error falls from and to."""
    said = []
    for task, row in cells.items():
        first, last = row[0].curve(), row[-1].curve()
        said.append(
            f"{task}: from {number(first[0], 3)} untrained to {number(first[-1], 3)} at the smallest batch "
            f"size and {number(last[-1], 3)} at the largest"
        )
    return "; ".join(said) + "."


def draw_epochs(axes: Axes, cells: Sequence[Cell]) -> None:
    """A curve per batch size, from the untrained network on."""
    _draw(axes, cells, lambda cell: range(len(cell.curve())))
    epoch_axis(axes, 0, max(len(cell.curve()) for cell in cells) - 1)


def _draw_steps(axes: Axes, cells: Sequence[Cell]) -> None:
    _draw_log(axes, cells, "optimiser steps", _steps)


def _steps(cell: Cell) -> list[float]:
    per_epoch = cell.results[0].run.steps_per_epoch
    return [float(epoch * per_epoch) for epoch in range(1, len(cell.curve()))]


def _draw_seconds(axes: Axes, cells: Sequence[Cell]) -> None:
    _draw_log(axes, cells, "training seconds", _seconds)


def _seconds(cell: Cell) -> list[float]:
    """Mean over runs of the training seconds after each epoch."""
    rows = [accumulate(result.training_seconds) for result in cell.finished]
    return [max(fmean(column), 1e-9) for column in zip(*rows, strict=True)]


def _draw_log(axes: Axes, cells: Sequence[Cell], name: str, places: Places) -> None:
    _draw(axes, cells, places)
    style.log_axis(axes.xaxis, [place for cell in cells for place in places(cell)])
    axes.set_xlabel(f"{name} (log)")


def _draw(axes: Axes, cells: Sequence[Cell], places: Places) -> None:
    colours = style.ordered_colours([cell.batch_size for cell in cells])
    shown = {cell.batch_size: cell.curve()[-len(places(cell)) :] for cell in cells}
    scale = style.log_axis(axes.yaxis, [value for curve in shown.values() for value in curve])
    for cell in cells:
        horizontal, heights = places(cell), scale.place(shown[cell.batch_size])
        dot = "." if len(heights) <= 12 else ""
        colour, label = colours[cell.batch_size], str(cell.batch_size)
        axes.plot(horizontal, heights, dot, linestyle="-", linewidth=1.5, color=colour, label=label)
    legend(axes, "batch size")


def against_seconds(frame: Frame) -> Drawing | None:
    """Test MSE against training seconds; a panel per task and circumstances of timing."""
    timings = frame.timings(result for result in frame.results() if result.final_mse is not None)
    if not timings:
        return None
    timed = {timing: frame.timed(timing) for timing in timings}
    panels = [
        Panel(
            titled(frame, task),
            partial(_draw_seconds, cells=timed[timing][task]),
            f"test MSE (log); {frame.timing_label(timing)}" if len(timings) > 1 else MSE,
        )
        for task in frame.tasks_of()
        for timing in timings
        if timed[timing].get(task)
    ]
    cells = {task: frame.cells(task) for task in frame.tasks_of()}
    return Drawing(
        panels,
        "Test MSE after each epoch against the training seconds until then, mean over seeds; loading, "
        f"evaluation and compilation are not counted. Timed as: {listed(map(frame.timing_label, timings))}. "
        f"{seeds(cell for tasks in timed.values() for row in tasks.values() for cell in row)}.",
        "Curves of test MSE against training seconds, a panel per task, a curve per batch size. "
        f"{_falls(cells)}",
    )
