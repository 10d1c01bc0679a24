"""How fast does the error fall: against epochs, steps and seconds, and to a target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bsr import published, stats
from reports.analysis.study import TARGET, Unit, middle, reached_target, target_times
from reports.cells import Cell, Cells, seeds_each
from reports.chapters.chapter import Chapter, Figure, FigureContent, nothing_to_learn
from reports.drawing import style
from reports.drawing.curves import Places, draw_curves, draw_epochs
from reports.drawing.legend import legend
from reports.drawing.marks import MSE, dots, titled
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table
from reports.text.verdicts import (
    Finding,
    TaskVerdict,
    Verdict,
    judged,
    lines,
    p_text,
    share_shown,
    tasks_with,
    together,
    where,
)

_ASIDE: Final = 1.45
"""How far apart the tasks of one batch size stand, as a factor from first to last."""


def findings(data: Cells) -> list[Finding]:
    """Whether a larger batch needs more epochs, and more steps, to the target."""
    if not data.learnable():
        return [nothing_to_learn(data, "slower-convergence")]
    return [_slower(data, "epochs"), _slower(data, "steps")]


def _slower(data: Cells, unit: Unit) -> Finding:
    """A larger batch needs more epochs (or steps) to a stated normalised MSE."""
    parts = [_convergence(data, task, unit) for task in data.learnable()]
    verdict = together(parts)
    goal = f"to a normalised MSE of {TARGET:g}"
    sentence = {
        "shown": f"A larger batch needs more {unit} {goal}{where(parts)}.",
        "not shown": f"That a larger batch needs more {unit} {goal} is not shown "
        f"for {listed(tasks_with(parts, 'not shown'))}.",
        "cannot tell": f"These runs cannot order the batch sizes by the {unit} they need {goal}.",
    }[verdict]
    claim = f"{published.CLAIMS['slower-convergence']} Counted in {unit}."
    return Finding(
        f"slower-convergence-{unit}",
        claim,
        verdict,
        sentence,
        lines(parts),
        "time-to-converge",
        short=share_shown(parts),
    )


def _convergence(data: Cells, task: str, unit: Unit) -> TaskVerdict:
    order = stats.later_with_batch_size(
        {cell.batch_size: [reached_target(r, unit) for r in cell.finished] for cell in data.cells(task)}
    )
    return TaskVerdict(task, _verdict(order, unit), f"{task}: {_order_text(order)}")


def _verdict(order: stats.Ordering, unit: Unit) -> Verdict:
    """By the permutation p in epochs; in steps by what is certain whatever the undecided pairs hide."""
    if unit == "epochs":
        few = not order.p.significant and 2 * order.undecided > order.pairs
        return "cannot tell" if few else judged(order.p, agrees=(order.tau or 0) > 0)
    if order.low is None or order.high is None or order.low <= 0 <= order.high:
        return "cannot tell"
    return "shown" if order.low > 0 else "not shown"


def _order_text(order: stats.Ordering) -> str:
    never = f"{counted(order.never, 'run')} never got there" if order.never else "every run got there"
    if order.tau is None:
        return f"no pair of runs whose order is certain; {never}"
    undecided = ""
    if order.undecided:
        ends = f"{number(order.low, 2)} to {number(order.high, 2)}"
        undecided = f", {ends} with the {counted(order.undecided, 'undecided pair')}"
    pairs = counted(order.pairs, "pair")
    return (
        f"tau {number(order.tau, 2)}{undecided}; {p_text(order.p)}; {never}; of {pairs} "
        f"of runs the larger batch is later in {order.larger_later:,}, earlier in {order.smaller_later:,}"
    )


def convergence(data: Cells) -> FigureContent | None:
    """Test MSE after each epoch from the untrained network on, a curve per batch size."""
    cells = {task: data.cells(task) for task in data.tasks_of()}
    if not cells:
        return None
    return FigureContent(
        [Panel(titled(data, task), partial(draw_epochs, cells=row), MSE) for task, row in cells.items()],
        "Test MSE before training (epoch 0) and after each epoch, mean over the seeds that have a final MSE.",
        f"Curves of test MSE per epoch, a panel per task and a curve per batch size. {_falls(cells)}",
        n=seeds_each(cell for row in cells.values() for cell in row),
        results=data.results(),
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


def _draw_seconds(axes: Axes, cells: Sequence[Cell]) -> None:
    _draw_log(axes, cells, "training seconds", _seconds)


def _seconds(cell: Cell) -> list[float]:
    """Mean over runs of the training seconds after each epoch."""
    rows = [accumulate(result.training_seconds) for result in cell.finished]
    return [max(fmean(column), 1e-9) for column in zip(*rows, strict=True)]


def _draw_log(axes: Axes, cells: Sequence[Cell], name: str, places: Places) -> None:
    draw_curves(axes, cells, places)
    style.log_axis(axes.xaxis, [place for cell in cells for place in places(cell)])
    axes.set_xlabel(f"{name} (log)")


def mse_against_seconds(data: Cells) -> FigureContent | None:
    """Test MSE against training seconds; a panel per task and circumstances of timing."""
    timings = data.timings(result for result in data.results() if result.final_mse is not None)
    if not timings:
        return None
    timed = {timing: data.timed(timing) for timing in timings}
    panels = [
        Panel(
            titled(data, task),
            partial(_draw_seconds, cells=timed[timing][task]),
            f"test MSE (log); {data.timing_label(timing)}" if len(timings) > 1 else MSE,
        )
        for task in data.tasks_of()
        for timing in timings
        if timed[timing].get(task)
    ]
    cells = {task: data.cells(task) for task in data.tasks_of()}
    return FigureContent(
        panels,
        "Test MSE after each epoch against the training seconds until then, mean over seeds; loading, "
        f"evaluation and compilation are not counted. Timed as: {listed(map(data.timing_label, timings))}.",
        "Curves of test MSE against training seconds, a panel per task, a curve per batch size. "
        f"{_falls(cells)}",
        n=seeds_each(cell for tasks in timed.values() for row in tasks.values() for cell in row),
    )


def time_to_converge(data: Cells) -> FigureContent | None:
    """Seconds, steps and epochs until the normalised MSE is first at most TARGET."""
    cells = {task: data.cells(task) for task in data.learnable()}
    flat = [cell for row in cells.values() for cell in row]
    if not any(target_times(cell.finished, "epochs")[0] for cell in flat):
        return None
    timings = list(data.timings(result for result in data.results() if result.final_mse is not None))
    labels = [data.timing_label(timing) for timing in timings]
    panels = [
        Panel("Seconds", _TargetPanel(data, data.timed(timing), "seconds"), f"training s (log); {label}")
        for timing, label in zip(timings, labels, strict=True)
    ]
    panels.append(Panel("Steps", _TargetPanel(data, cells, "steps"), "optimiser steps (log)"))
    panels.append(Panel("Epochs", _TargetPanel(data, cells, "epochs"), "epochs"))
    return FigureContent(
        panels,
        f"Until the test MSE is first at most {TARGET:g} of the best constant's (R² = {1 - TARGET:g}), "
        "looked at after each epoch (the first, as ten looks are too few for a median of three): a dot per "
        "seed, and the median over all seeds where half of them got "
        f"there. An open symbol at the top: that many runs never did. Timed as: {listed(labels)}.",
        f"Seconds, steps and epochs until the normalised test MSE is at most {TARGET:g}, against batch "
        "size, a line per task. "
        f"{'; '.join(_when(cell) for row in cells.values() for cell in (row[0], row[-1]))}.",
        n=seeds_each(flat),
    )


def _when(cell: Cell) -> str:
    moments, missed = target_times(cell.finished, "epochs")
    when = middle(moments, missed)
    reached_by = f"{when:g} epochs" if when is not None else "not reached by half of the runs"
    never = f", {counted(missed, 'run')} never" if missed else ""
    return f"{cell.task} at {cell.batch_size}: {reached_by}{never}"


class _TargetPanel:
    """When each task got there, against the batch size."""

    def __init__(self, data: Cells, cells: Mapping[str, Sequence[Cell]], unit: Unit) -> None:
        self.data = data
        self.unit = unit
        self.times = {
            task: {cell.batch_size: target_times(cell.finished, unit) for cell in row}
            for task, row in cells.items()
            if task not in data.degenerate
        }

    def __call__(self, axes: Axes) -> None:
        """Draw on `axes`."""
        top = self._axis(axes)
        asides = style.spread(len(self.times), _ASIDE)
        for aside, (task, row) in zip(asides, self.times.items(), strict=True):
            colour, marker = style.task_kind(task, self.data.tasks)
            for size, (moments, missed) in row.items():
                dots(axes, size * aside, moments, colour)
                if missed:
                    _never(axes, size * aside, top, missed, colour, marker)
            middles = {size: when for size, found in row.items() if (when := middle(*found)) is not None}
            places = [size * aside for size in middles]
            axes.plot(places, list(middles.values()), color=colour, marker=marker, label=style.name(task))
        style.batch_axis(axes, self.data.batch_sizes(), 1.4)
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


def _convergence_table(data: Cells) -> Table:
    """Epochs, steps and seconds to the stated normalised MSE."""
    rows = []
    cells = [cell for task in data.learnable() for cell in data.cells(task)]
    for timing in data.by_timing(data.results()):
        for cell in cells:
            if results := data.by_timing(cell.finished).get(timing):
                timed = [result for result in results if data.speaks_of_speed(result)]
                epochs = target_times(results, "epochs")
                rows.append(
                    {
                        "task": cell.task,
                        "batch size": cell.batch_size,
                        "timed": data.timing_label(timing),
                        "runs": len(results),
                        "never": epochs[1],
                        "epochs": middle(*epochs),
                        "steps": middle(*target_times(results, "steps")),
                        "training s": middle(*target_times(timed, "seconds")),
                    }
                )
    note = f"Until the test MSE is at most {TARGET:g} of the best constant's: median, where half got there."
    return Table.of("convergence", "Time to converge", rows, note)


CHAPTER: Final = Chapter(
    section="Convergence",
    options="--bsr-experiments batch-size",
    figures=(
        Figure("Convergence per epoch", convergence, "figure 5"),
        Figure("Error against seconds", mse_against_seconds),
        Figure("Time to converge", time_to_converge, options="--bsr-preset paper"),
    ),
    findings=findings,
    tables=lambda data: [_convergence_table(data)],
)
