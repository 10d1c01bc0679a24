"""What it takes to converge: seconds, steps and epochs to a stated normalised MSE."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bsr import stats
from bsr.run import Result
from reports import style
from reports.drawing import Panel
from reports.figures.marks import dots
from reports.figures.spec import Drawing, legend
from reports.frame import Cell, Frame, seeds
from reports.text import counted, listed

TARGET: Final = 0.01
"""The stated normalised MSE of "time to converge": one per cent of the best constant's, R squared 0.99."""
Unit = Literal["epochs", "steps", "seconds"]
_ASIDE: Final = 1.45
"""How far apart the tasks of one batch size stand, as a factor from first to last."""


def to_target(frame: Frame) -> Drawing | None:
    """Seconds, steps and epochs until the normalised MSE is first at most TARGET."""
    cells = {task: frame.cells(task) for task in frame.learnable()}
    flat = [cell for row in cells.values() for cell in row]
    if not any(target_times(cell.finished, "epochs")[0] for cell in flat):
        return None
    timings = list(frame.timings(result for result in frame.results() if result.final_mse is not None))
    labels = [frame.timing_label(timing) for timing in timings]
    panels = [
        Panel("Seconds", _Panel(frame, frame.timed(timing), "seconds"), f"training s (log); {label}")
        for timing, label in zip(timings, labels, strict=True)
    ]
    panels.append(Panel("Steps", _Panel(frame, cells, "steps"), "optimiser steps (log)"))
    panels.append(Panel("Epochs", _Panel(frame, cells, "epochs"), "epochs"))
    return Drawing(
        panels,
        f"Until the test MSE is first at most {TARGET:g} of the best constant's (R² = {1 - TARGET:g}), "
        "looked at after each epoch: a dot per seed, and the median over all seeds where half of them got "
        f"there. An open symbol at the top: that many runs never did. Timed as: {listed(labels)}. "
        f"{seeds(flat)}.",
        f"Seconds, steps and epochs until the normalised test MSE is at most {TARGET:g}, against batch "
        "size, a line per task. "
        f"{'; '.join(_when(cell) for row in cells.values() for cell in (row[0], row[-1]))}.",
    )


def _when(cell: Cell) -> str:
    moments, missed = target_times(cell.finished, "epochs")
    when = middle(moments, missed)
    reached_by = f"{when:g} epochs" if when is not None else "not reached by half of the runs"
    never = f", {counted(missed, 'run')} never" if missed else ""
    return f"{cell.task} at {cell.batch_size}: {reached_by}{never}"


def target_times(results: Sequence[Result], unit: Unit) -> tuple[list[float], int]:
    """When each run reached TARGET, and how many never did."""
    moments = [reached(result, unit).by for result in results]
    return [moment for moment in moments if moment is not None], moments.count(None)


def middle(moments: Sequence[float], missed: int) -> float | None:
    """The median over all runs, those that never got there last; None where it is one of these."""
    if not moments:
        return None
    when = median([*moments, *[math.inf] * missed])
    return when if math.isfinite(when) else None


def reached(result: Result, unit: Unit, target: float = TARGET) -> stats.Reached:
    """When a run with something to learn first had a normalised MSE of `target`; see bsr.stats.reached."""
    per_epoch: dict[Unit, float | Sequence[float]] = {
        "epochs": 1.0,
        "steps": float(result.run.steps_per_epoch),
        "seconds": result.training_seconds,
    }
    return stats.reached(result.test_mse, target * (result.baseline_mse or 0.0), per_epoch[unit])


class _Panel:
    """When each task got there, against the batch size."""

    def __init__(self, frame: Frame, cells: Mapping[str, Sequence[Cell]], unit: Unit) -> None:
        self.frame = frame
        self.unit = unit
        self.times = {
            task: {cell.batch_size: target_times(cell.finished, unit) for cell in row}
            for task, row in cells.items()
            if task not in frame.degenerate
        }

    def __call__(self, axes: Axes) -> None:
        """Draw on `axes`."""
        top = self._axis(axes)
        asides = style.spread(len(self.times), _ASIDE)
        for aside, (task, row) in zip(asides, self.times.items(), strict=True):
            colour, marker = style.task_kind(task, self.frame.tasks)
            for size, (moments, missed) in row.items():
                dots(axes, size * aside, moments, colour)
                if missed:
                    _never(axes, size * aside, top, missed, colour, marker)
            middles = {size: when for size, found in row.items() if (when := middle(*found)) is not None}
            places = [size * aside for size in middles]
            axes.plot(places, list(middles.values()), color=colour, marker=marker, label=style.name(task))
        style.batch_axis(axes, self.frame.batch_sizes(), 1.4)
        legend(axes)

    def _axis(self, axes: Axes) -> float:
        """The vertical axis; returns the height at which runs that never got there are shown."""
        moments = [moment for row in self.times.values() for found, _ in row.values() for moment in found]
        if self.unit == "epochs":
            top = max(moments, default=1.0) * 1.15 + 0.5
            axes.set_ylim(0, top)
            axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
            return top
        scale = style.log_axis(axes.yaxis, [max(moment, 1e-9) for moment in moments])
        top = scale.high * 1.3
        axes.set_ylim(scale.low, top)
        return top


def _never(axes: Axes, place: float, height: float, count: int, colour: str, marker: str) -> None:
    """An open symbol on the upper edge, with the number of runs it stands for."""
    axes.plot([place], [height], marker, color=colour, markerfacecolor=style.PAPER, clip_on=False)
    axes.annotate(
        str(count), (place, height), (0, 5), textcoords="offset points", ha="center", va="bottom",
        fontsize=7.5, color=colour,
    )  # fmt: skip
