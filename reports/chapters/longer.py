"""Does training for longer overfit?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import published, stats
from bsr.result import Result
from reports.analysis.study import usual_epochs
from reports.cells import Cell, Cells, grouped, seeds_each
from reports.chapters.chapter import Chapter, Figure, FigureContent, missing
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import REFERENCE_LINE, band, by_epoch, epoch_axis, titled
from reports.drawing.panel import Panel
from reports.text import number
from reports.text.verdicts import (
    Finding,
    Short,
    difference_text,
    judged,
)


def _overfitting(data: Cells) -> Finding | None:
    """Training beyond the study's epochs overfits: the test MSE of the same runs later and then."""
    results = [result for result in data.results("longer") if result.final_mse is not None]
    usual = usual_epochs(data)
    cells = grouped(results, lambda result: (result.run.task, result.run.batch_size))
    said = [
        f"{task} at batch size {size}: {difference_text(_ratio(runs, usual))}"
        for (task, size), runs in cells.items()
    ]
    if not said:
        return None
    pooled = _ratio(results, usual)
    verdict = judged(pooled.p, agrees=pooled.factor > 1)
    last, ratio_text = results[0].run.epochs, number(pooled.factor, 3)
    epochs = f"after {last} epochs the test error is {ratio_text} times that after {usual}"
    sentence = {
        "shown": f"Longer training overfits: {epochs}.",
        "not shown": f"Overfitting is not shown: {epochs}.",
        "cannot tell": f"Too few runs to say whether longer training overfits: {epochs}.",
    }[verdict]
    lines = (f"All cells, by whole seed of a batch size: {difference_text(pooled)}", *said)
    claim = published.CLAIMS["overfitting"]
    short = Short(f"\N{MULTIPLICATION SIGN}{number(pooled.factor, 3)} at the end" if pooled.known else "")
    return Finding("overfitting", claim, verdict, sentence, lines, "longer", short=short)


def _ratio(results: Sequence[Result], usual: int) -> stats.Estimate:
    """Last error over that after the usual epochs; a pair is a seed of a batch size, tasks counting alike."""
    runs = [result for result in results if result.test_mse[usual] is not None]
    alike = grouped(runs, lambda result: (result.run.batch_size, result.run.seed)).values()
    errors = {
        at: [[value for result in seed if (value := result.test_mse[at]) is not None] for seed in alike]
        for at in (usual, -1)
    }
    then, last = ([stats.geometric_mean(seed) or 0.0 for seed in side] for side in errors.values())
    return stats.difference(then, last, paired=True)


def longer(data: Cells) -> FigureContent | None:
    """Training loss beside test MSE over three times the epochs, a panel per task and batch size."""
    cells = [cell for task in data.tasks_of("longer") for cell in data.cells(task, "longer")]
    if not cells:
        return None
    usual = usual_epochs(data)
    panels = [
        Panel(
            f"{titled(data, cell.task)}, batch size {cell.batch_size}",
            _losses(cell, usual),
            "MSE, squared label units (log)",
        )
        for cell in cells
    ]
    said = (
        f"{cell.task} at {cell.batch_size}: {number(cell.curve()[usual], 3)} after {usual} epochs, "
        f"{number(cell.curve()[-1], 3)} after {len(cell.curve()) - 1}"
        for cell in cells
    )
    return FigureContent(
        panels,
        "Mean over seeds (line) with minimum and maximum (band). The training loss is the mean over each "
        "epoch, while the weights still change; the test MSE is taken after it. The vertical line marks "
        f"the {usual} epochs of the main experiment. A test MSE that rises while the training loss falls "
        "would be overfitting.",
        "Training loss and test MSE against epoch, a panel per task and batch size. Test MSE of "
        + "; ".join(said)
        + ".",
        n=seeds_each(cells),
        results=data.results("longer"),
    )


def _losses(cell: Cell, usual: int) -> Callable[[Axes], None]:
    lines = {
        "test MSE": by_epoch(cell, "test_mse", 1),
        "training loss (MSE)": by_epoch(cell, "training_loss"),
    }

    def draw(axes: Axes) -> None:
        values = [value for columns in lines.values() for column in columns for value in column]
        scale = style.log_axis(axes.yaxis, values)
        for index, (label, columns) in enumerate(lines.items()):
            colour, _ = style.kind(1 - index)
            epochs = range(1, len(columns) + 1)
            band(axes, scale, epochs, columns, colour)
            axes.plot(epochs, scale.place(map(fmean, columns)), color=colour, label=label)
        axes.axvline(usual, **REFERENCE_LINE)
        epoch_axis(axes, 0, len(cell.curve()) - 1)
        legend(axes)

    return draw


CHAPTER: Final = Chapter(
    section="Convergence",
    options="--bsr-experiments longer",
    figures=(Figure("Training for longer", longer),),
    findings=lambda data: [_overfitting(data) or missing(data, "overfitting", "longer")],
    experiments=("longer",),
)
