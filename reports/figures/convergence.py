"""How the error falls: against epochs, steps and seconds, and what it takes to reach a stated error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import fmean, median

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bsr import stats
from bsr.experiment import Result
from reports import style
from reports.drawing import Panel
from reports.figures.spec import MSE, Drawing, legend, per_task, titled
from reports.frame import Cell, Frame, Timing, seeds, statuses
from reports.text import counted, listed, number

TARGET = 0.01
"""The stated normalised MSE of "time to converge": one per cent of the best constant's, R squared 0.99."""


def convergence(frame: Frame) -> Drawing | None:
    """Test MSE after each epoch from the untrained network on, a curve per batch size."""
    return _curves(
        frame,
        lambda cell: list(range(len(cell.curve()))),
        epoch_axis,
        "Test MSE before training (epoch 0) and after each epoch",
        "epoch",
    )


def against_steps(frame: Frame) -> Drawing | None:
    """Test MSE against optimiser steps."""

    def steps(cell: Cell) -> list[float]:
        per_epoch = cell.results[0].run.steps_per_epoch
        return [epoch * per_epoch for epoch in range(1, len(cell.curve()))]

    return _curves(
        frame, steps, _log_axis("steps"), "Test MSE after each epoch against optimiser steps", "step"
    )


def _log_axis(name: str) -> Callable[[Axes, Sequence[float]], None]:
    def apply(axes: Axes, values: Sequence[float]) -> None:
        style.log_axis(axes.xaxis, values)
        axes.set_xlabel(f"{name} (log)")

    return apply


def epoch_axis(axes: Axes, epochs: Sequence[float]) -> None:
    """A linear axis of whole epochs."""
    axes.set_xlim(min(epochs) - 0.02 * max(epochs), max(epochs) * 1.02 or 1)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("epoch")


Places = Callable[[Cell], Sequence[float]]


def _curves(
    frame: Frame, places: Places, axis: Callable[[Axes, Sequence[float]], None], caption: str, per: str
) -> Drawing | None:
    def panel(_task: str, cells: list[Cell]) -> Callable[[Axes], None]:
        return lambda axes: draw_curves(axes, cells, places, axis)

    panels = per_task(frame, panel)
    if not panels:
        return None
    flat = [cell for task in frame.tasks_of() for cell in frame.cells(task)]
    return Drawing(
        panels,
        f"{caption}, mean over the seeds that have a final MSE. {seeds(flat)}. {statuses(frame.results())}".strip(),
        f"Curves of test MSE per {per}, a panel per task and a curve per batch size. {_falls(frame)}",
    )


def draw_curves(
    axes: Axes, cells: list[Cell], places: Places, axis: Callable[[Axes, Sequence[float]], None]
) -> None:
    """A curve per batch size; `places` gives where on the horizontal axis each of its last values lies."""
    colours = style.ordered_colours([cell.batch_size for cell in cells])
    horizontal = [place for cell in cells for place in places(cell)]
    shown = {cell.batch_size: cell.curve()[-len(places(cell)) :] for cell in cells}
    scale = style.log_axis(axes.yaxis, [value for curve in shown.values() for value in curve])
    for cell in cells:
        dot = "." if len(places(cell)) <= 12 else ""
        axes.plot(
            places(cell), scale.place(shown[cell.batch_size]), dot, linestyle="-", linewidth=1.5,
            color=colours[cell.batch_size], label=f"{cell.batch_size}",
        )  # fmt: skip
    axis(axes, horizontal)
    legend(axes, "batch size")


def _falls(frame: Frame) -> str:
    said = []
    for task in frame.tasks_of():
        first, *_, last = [cell.curve() for cell in frame.cells(task)] * 2
        said.append(
            f"{task}: from {number(first[0], 3)} untrained to {number(first[-1], 3)} at the smallest batch and "
            f"{number(last[-1], 3)} at the largest"
        )
    return "; ".join(said) + "."


def against_seconds(frame: Frame) -> Drawing | None:
    """Test MSE against training seconds; a panel per task and circumstances of timing."""
    timings = frame.timings(result for result in frame.results() if result.final_mse is not None)
    panels = []
    for task in frame.tasks_of():
        for timing in timings:
            cells = timed_cells(frame, task, timing)
            if cells:
                measure = f"test MSE (log); {frame.timing_label(timing)}" if len(timings) > 1 else MSE
                panels.append(Panel(titled(frame, task), _seconds_panel(cells), measure))
    if not panels:
        return None
    flat = [cell for task in frame.tasks_of() for cell in frame.cells(task)]
    return Drawing(
        panels,
        "Test MSE after each epoch against the training seconds until then, mean over seeds; loading, evaluation "
        f"and compilation are not counted. Timed as: {listed(map(frame.timing_label, timings))}. {seeds(flat)}.",
        f"Curves of test MSE against training seconds, a panel per task, a curve per batch size. {_falls(frame)}",
    )


def timed_cells(frame: Frame, task: str, timing: Timing) -> list[Cell]:
    """Cells of the batch-size experiment with only the runs timed under the same circumstances."""
    cells = [
        Cell(task, cell.batch_size, tuple(frame.timings(cell.results).get(timing, ())))
        for cell in frame.cells(task)
    ]
    return [cell for cell in cells if cell.finals]


def _seconds_panel(cells: list[Cell]) -> Callable[[Axes], None]:
    def elapsed(cell: Cell) -> list[float]:
        rows = [list(accumulate(result.training_seconds)) for result in cell.finished]
        return [max(fmean(column), 1e-9) for column in zip(*rows, strict=True)]

    return lambda axes: draw_curves(axes, cells, elapsed, _log_axis("training seconds"))


def to_target(frame: Frame) -> Drawing | None:
    """Seconds, steps and epochs until the normalised MSE is first at most TARGET."""
    tasks = frame.learnable()
    timings = list(frame.timings(result for result in frame.results() if result.final_mse is not None))
    if not any(target_times(frame.results("batch-size", task), "epochs")[0] for task in tasks):
        return None
    panels = [
        Panel("Seconds", _target_panel(frame, "seconds", timing), f"training s (log); {frame.timing_label(timing)}")
        for timing in timings
    ]
    panels.append(Panel("Steps", _target_panel(frame, "steps"), "optimiser steps (log)"))
    panels.append(Panel("Epochs", _target_panel(frame, "epochs"), "epochs"))
    flat = [cell for task in tasks for cell in frame.cells(task)]
    return Drawing(
        panels,
        f"Until the test MSE is first at most {TARGET:g} of the best constant's (R² = {1 - TARGET:g}), looked at after "
        "each epoch: a dot per seed, and the median over all seeds where half of them got there. An open symbol at "
        f"the top: that many runs never did. Timed as: {listed(map(frame.timing_label, timings))}. {seeds(flat)}.",
        f"Seconds, steps and epochs until the normalised test MSE is at most {TARGET:g}, against batch size, a line "
        f"per task. {_when(frame)}",
    )


def _when(frame: Frame) -> str:
    said = []
    for task in frame.learnable():
        cells = frame.cells(task)
        for cell in {cells[0].batch_size: cells[0], cells[-1].batch_size: cells[-1]}.values():
            times, missed = target_times(cell.finished, "epochs")
            when = middle(times, missed)
            median_run = (
                f"{when:g} epochs" if when is not None else "not reached by half of the runs"
            )
            never = f", {counted(missed, 'run')} never" if missed else ""
            said.append(f"{task} at {cell.batch_size}: {median_run}{never}")
    return "; ".join(said) + "."


def target_times(results: Sequence[Result], unit: str) -> tuple[list[float], int]:
    """When each run reached TARGET, in `epochs`, `steps` or `seconds`, and how many never did."""
    moments = [reached(result, unit).by for result in results]
    return [moment for moment in moments if moment is not None], moments.count(None)


def middle(moments: Sequence[float], missed: int) -> float | None:
    """The median over all runs, those that never got there last; None where it is one of these."""
    if not moments:
        return None
    when = median([*moments, *[math.inf] * missed])
    return when if math.isfinite(when) else None


def reached(result: Result, unit: str, target: float = TARGET) -> stats.Reached:
    """When a run with something to learn first had a normalised MSE of `target`; see bsr.stats.reached."""
    per_epoch: float | Sequence[float] = {
        "epochs": 1.0,
        "steps": float(result.run.steps_per_epoch),
        "seconds": result.training_seconds,
    }[unit]
    return stats.reached(result.test_mse, target * (result.baseline_mse or 0.0), per_epoch)


def _target_panel(frame: Frame, unit: str, timing: Timing | None = None) -> Callable[[Axes], None]:
    rows = {
        task: timed_cells(frame, task, timing) if timing else frame.cells(task) for task in frame.learnable()
    }
    times = {
        task: {cell.batch_size: target_times(cell.finished, unit) for cell in cells}
        for task, cells in rows.items()
    }
    everything = [moment for row in times.values() for moments, _ in row.values() for moment in moments]

    def draw(axes: Axes) -> None:
        highest = _target_axis(axes, unit, everything)
        for index, (task, row) in enumerate(times.items()):
            colour, marker = style.task_kind(task, frame.tasks)
            aside = style.spread(len(times), 1.45)[index]
            for size, (moments, missed) in row.items():
                axes.plot(
                    [size * aside] * len(moments), moments, ".", color=colour, alpha=0.4, markersize=4.5
                )
                if missed:
                    axes.plot(
                        [size * aside],
                        [highest],
                        marker,
                        color=colour,
                        markerfacecolor=style.PAPER,
                        clip_on=False,
                    )
                    axes.annotate(
                        str(missed),
                        (size * aside, highest),
                        (0, 5),
                        textcoords="offset points",
                        ha="center",
                        va="bottom",
                        fontsize=8.5,
                        color=colour,
                    )
            middles = {size: when for size, found in row.items() if (when := middle(*found)) is not None}
            axes.plot(
                [size * aside for size in middles],
                list(middles.values()),
                color=colour,
                marker=marker,
                label=style.name(task),
            )
        style.batch_axis(axes, frame.batch_sizes(), 1.4)
        legend(axes)

    return draw


def _target_axis(axes: Axes, unit: str, values: Sequence[float]) -> float:
    """The vertical axis; returns the height at which runs that never got there are shown."""
    if unit == "epochs":
        top = max(values, default=1.0) * 1.15 + 0.5
        axes.set_ylim(0, top)
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        return top
    scale = style.log_axis(axes.yaxis, [max(value, 1e-9) for value in values])
    top = scale.high * 1.3
    axes.set_ylim(scale.low, top)
    return top


def longer(frame: Frame) -> Drawing | None:
    """Training loss beside test MSE over three times the epochs, a panel per task and batch size."""
    rows = [(task, cell) for task in frame.tasks_of("longer") for cell in frame.cells(task, "longer")]
    if not rows:
        return None
    usual = frame.epochs or rows[0][1].results[0].run.epochs // 3
    panels = [
        Panel(
            f"{titled(frame, task)}, batch size {cell.batch_size}",
            _loss_panel(cell, usual),
            MSE.replace("test ", ""),
        )
        for task, cell in rows
    ]
    return Drawing(
        panels,
        f"Mean over seeds (line) with minimum and maximum (band). Training loss is the mean over each epoch, while the "
        f"weights still change; test MSE is taken after it. The vertical line marks the study's {usual} epochs. A test MSE that rises "
        f"while the training loss falls would be overfitting. {seeds(cell for _, cell in rows)}. "
        + statuses(frame.results("longer")),
        "Training loss and test MSE against epoch, a panel per task and batch size. "
        + "; ".join(
            f"{task} at {cell.batch_size}: test MSE {number(cell.curve()[usual], 3)} after {usual} epochs, "
            f"{number(cell.curve()[-1], 3)} after {len(cell.curve()) - 1}"
            for task, cell in rows
        ),
    )


def _loss_panel(cell: Cell, usual: int) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        lines = {
            "test MSE": [list(r.test_mse[1:]) for r in cell.finished],
            "training loss (MSE)": [list(r.training_loss) for r in cell.finished],
        }
        scale = style.log_axis(
            axes.yaxis,
            [value for rows in lines.values() for row in rows for value in row if value is not None],
        )
        for index, (label, rows) in enumerate(lines.items()):
            columns = [[value for value in column if value is not None] for column in zip(*rows, strict=True)]
            epochs = [epoch for epoch, column in enumerate(columns, start=1) if column]
            columns = [column for column in columns if column]
            colour, _ = style.kind(1 - index)
            if len(rows) > 1:
                low, high = scale.place(map(min, columns)), scale.place(map(max, columns))
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, scale.place(map(fmean, columns)), color=colour, label=label)
        axes.axvline(usual, color=style.REFERENCE, linestyle=(0, (4, 3)), linewidth=1)
        epoch_axis(axes, [0, len(cell.curve()) - 1])
        legend(axes)

    return draw
