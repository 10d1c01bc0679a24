"""Does the std task fluctuate more at larger batches, at the tuned and at the untuned rate?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import published, stats
from reports.analysis.published import comparable
from reports.cells import Cell, Cells, seeds_each
from reports.chapters.chapter import Chapter, Figure, FigureContent, missing
from reports.drawing import style
from reports.drawing.curves import draw_epochs
from reports.drawing.legend import legend
from reports.drawing.marks import MSE, dots
from reports.drawing.panel import Panel
from reports.text import listed, number, tick
from reports.text.verdicts import (
    Finding,
    Short,
    judged,
    trend_text,
)


def findings(data: Cells) -> list[Finding]:
    """At the tuned rate, and at 0.01."""
    return [
        _std_fluctuates(data, experiment) or missing(data, "std-fluctuates", experiment, at)
        for experiment, at in (("batch-size", "tuned rate"), ("std-at-0.01", "rate 0.01"))
    ]


def _std_fluctuates(data: Cells, experiment: str) -> Finding | None:
    """The std task fluctuates more at larger batches, at the rate of one experiment."""
    cells = data.cells("std", experiment)
    if not cells:
        return None
    rate = tick(cells[0].results[0].run.learning_rate)
    found = {
        cell.batch_size: [
            value for r in cell.finished if (value := stats.fluctuation(r.test_mse)) is not None
        ]
        for cell in cells
    }
    found = {size: values for size, values in found.items() if values}
    trend = stats.rank_trend(found)
    swings = [
        swing for cell in cells for r in cell.finished if (swing := stats.swing(r.test_mse)) is not None
    ]
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    sentence = {
        "shown": f"At rate {rate} the std task fluctuates more from epoch to epoch at larger batches.",
        "not shown": f"At rate {rate} more fluctuation of the std task at larger batches is not shown.",
        "cannot tell": f"At rate {rate}: too few epochs or runs to say how the std task fluctuates.",
    }[verdict]
    line = f"Fluctuation, the standard deviation of log changes between epochs: {trend_text(trend)}"
    if found:
        low, high = min(found), max(found)
        line += f"; {number(fmean(found[low]), 2)} at {low}, {number(fmean(found[high]), 2)} at {high}"
    swing_line = f"Largest difference between two epochs of a run: {number(max(swings), 3)}" if swings else ""
    statistics = tuple(line for line in (line, swing_line) if line)
    if below := _below_published(data, cells):
        sentence = f"{sentence} {below}"
    claim = published.CLAIMS["std-fluctuates"] + f" At rate {rate}."
    short = Short("" if trend.rho is None else f"rank correlation {number(trend.rho, 2)}")
    figure = "std-at-0.01" if experiment == "std-at-0.01" else "convergence"
    return Finding(f"std-fluctuates-{experiment}", claim, verdict, sentence, statistics, figure, short=short)


FAR_BELOW: Final = 0.5


def _below_published(data: Cells, cells: Sequence[Cell]) -> str:
    """Whether every batch size ends far below the study's single run at the same rate; empty if not."""
    if not comparable(data):
        return ""
    rate = cells[0].results[0].run.learning_rate
    known = {
        curve.batch_size: curve.test_mse
        for curve in published.convergence()
        if (curve.task, curve.learning_rate) == ("std", rate)
    }
    ratios = [
        fmean(found) / known[cell.batch_size][-1]
        for cell in cells
        if cell.batch_size in known and (found := cell.at_epoch(len(known[cell.batch_size])))
    ]
    if not ratios or max(ratios) > FAR_BELOW:
        return ""
    span = f"{number(min(ratios), 2)} to {number(max(ratios), 2)}"
    return f"These runs end far below the study's single ones at that rate: at {span} of their error."


def std_at_001(data: Cells) -> FigureContent | None:
    """The std task at the untuned rate, curve by curve, and its final MSE beside the tuned rate's."""
    untuned = data.cells("std", "std-at-0.01")
    if not untuned:
        return None
    series = {_rate(cells): cells for cells in (data.cells("std"), untuned) if cells}
    panels = [Panel(f"std, {name}", partial(draw_epochs, cells=cells), MSE) for name, cells in series.items()]
    if len(untuned) > 1:
        panels.append(Panel("std, after the last epoch", _finals(series, data), MSE))
    said = (
        f"{name}: {number(fmean(cells[0].finals), 3)} at batch size {cells[0].batch_size}, "
        f"{number(fmean(cells[-1].finals), 3)} at {cells[-1].batch_size}"
        for name, cells in series.items()
    )
    return FigureContent(
        panels,
        f'The rate behind the study\'s "difference of 1300"{" beside the tuned one" * (len(series) > 1)}. '
        f"Mean over seeds{'; on the last panel dots are seeds' * (len(untuned) > 1)}.",
        f"Curves of the std task's test MSE at {listed(series)}, and the final values against batch size. "
        f"{'; '.join(said)}.",
        n=f"{seeds_each(untuned)} at the untuned rate",
        results=data.results("std-at-0.01"),
    )


def _rate(cells: Sequence[Cell]) -> str:
    return f"rate {tick(cells[0].results[0].run.learning_rate)}"


def _finals(series: Mapping[str, Sequence[Cell]], data: Cells) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        cells = [cell for row in series.values() for cell in row]
        scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
        for index, (name, row) in enumerate(series.items()):
            colour, marker = style.kind(index)
            for cell in row:
                dots(axes, cell.batch_size, scale.place(cell.finals), colour)
            means = scale.place(fmean(cell.finals) for cell in row)
            axes.plot([cell.batch_size for cell in row], means, color=colour, marker=marker, label=name)
        style.batch_axis(axes, sorted({cell.batch_size for cell in cells} | set(data.batch_sizes())))
        legend(axes)

    return draw


CHAPTER: Final = Chapter(
    section="The other choices",
    options="--bsr-experiments std-at-0.01",
    figures=(Figure("std at rate 0.01", std_at_001, "figure 5", name="std-at-0.01"),),
    findings=findings,
    experiments=("std-at-0.01",),
)
