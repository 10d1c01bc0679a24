"""Is it the batch size, or the number of updates? What any recording can say of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from reports.analysis.study import doublings_text, each_doubling, factor_text, unmatched_doublings
from reports.cells import Cell, Cells, seeds_each
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.curves import draw_curves
from reports.drawing.legend import legend
from reports.drawing.marks import MSE, titled
from reports.drawing.panel import Panel
from reports.text import number
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding, Short, Verdict, within

CLAIM: Final = "After the same number of updates a larger batch has no higher error."
RATE: Final = (
    "Epoch e of a batch size against epoch 2e of the doubled one, over half of the training, both at a rate "
    "that was tuned at 32: what the rate adds this cannot say."
)

FACTOR: Final = "factor on the test MSE (log)"


def finding(data: Cells) -> list[Finding]:
    """At equal updates, neighbours against each other."""
    found, unmatched = each_doubling(data), unmatched_doublings(data)
    nowhere = f"Never evaluated after the same number of updates: {unmatched}"
    if found is None:
        return [Finding("updates", CLAIM, "cannot tell", f"{nowhere}.")] if unmatched else []
    equal = found.equal_updates.interval
    verdict: Verdict = "cannot tell"
    if equal is not None:
        verdict = "shown" if equal.high <= 1 else "not shown"
    pairs = (
        f"{smaller} to {larger}: {factor_text(epochs)} at equal epochs, {factor_text(updates)} at updates"
        for (smaller, larger), (epochs, updates) in found.pairs.items()
    )
    lines = (
        f"Per doubling at equal updates: {number(found.equal_updates.factor, 3)}{within(equal)}",
        *pairs,
        *([nowhere] if unmatched else []),
        RATE,
    )
    short = Short(
        f"\N{MULTIPLICATION SIGN}{factor_text(found.equal_updates)}",
        "After equal updates",
        "At one constant learning rate per task, each doubling of the batch size multiplies the error by "
        f"{number(found.equal_updates.factor, 3)}.",
    )
    return [Finding("updates", CLAIM, verdict, f"{doublings_text(found)}.", lines, "updates", short=short)]


def updates(data: Cells) -> FigureContent | None:
    """The factor of each doubling, at equal epochs and at equal updates."""
    found = each_doubling(data)
    if found is None:
        return None
    factors = [one for pair in found.pairs.values() for one in pair]
    lines = drawn.lines_said(factors, "95% bootstrap intervals")
    return FigureContent(
        [Panel("Per doubling of the batch size", partial(_draw_doublings, found=found), FACTOR)],
        "By which factor the test MSE changes when the batch size doubles: after the same number of epochs, "
        "where the larger batch has made half as many updates, and after the same number of updates (epoch e "
        f"against epoch 2e). 1 is no change. Geometric means over tasks{lines}.",
        f"Factors per doubling of the batch size. {doublings_text(found)}.",
        n=seeds_each(cell for task in data.learnable() for cell in data.cells(task)),
    )


def _draw_doublings(axes: Axes, found: stats.Doublings) -> None:
    pairs = list(enumerate(found.pairs.values()))
    scale = style.log_axis(axes.yaxis, [1.0, *drawn.reach(one for _, pair in pairs for one in pair)])
    drawn.no_change(axes, scale)
    for index, name in enumerate(("equal epochs", "equal updates")):
        for place, pair in pairs:
            row, label = {place + 0.16 * (index - 0.5): pair[index]}, None if place else name
            drawn.line(axes, scale, row, style.kind(index), 2, linestyle="", markersize=7, label=label)
    names = [f"{smaller}\n\N{RIGHTWARDS ARROW} {larger}" for smaller, larger in found.pairs]
    axes.set_xticks(range(len(names)), names, size=style.SMALL if len(names) < 7 else 7)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(visible=False, axis="x")
    legend(axes)


def mse_against_updates(data: Cells) -> FigureContent | None:
    """Test MSE against updates, a curve per batch size."""
    cells = {task: data.cells(task) for task in data.tasks_of()}
    if not cells:
        return None
    return FigureContent(
        [Panel(titled(data, task), partial(_draw_updates, cells=row), MSE) for task, row in cells.items()],
        "Test MSE after each epoch against the updates made until then, mean over seeds with a final MSE. "
        "Grey lines join neighbours after the same number of updates.",
        "Curves of test MSE against updates, a panel per task and a curve per batch size.",
        n=seeds_each(cell for row in cells.values() for cell in row),
        results=data.results(),
    )


def _draw_updates(axes: Axes, cells: Sequence[Cell]) -> None:
    draw_curves(axes, cells, _updates)
    curves = {cell.batch_size: dict(zip(_updates(cell), cell.curve()[1:], strict=True)) for cell in cells}
    heights = style.LogScale.of([value for cell in cells for value in cell.curve()[1:]])
    for size, curve in curves.items():
        for made, error in curve.items():
            doubled = curves.get(2 * size, {})
            for other, beside in doubled.items():
                if abs(other - made) <= stats.EQUAL * made:
                    axes.plot(
                        [made, other],
                        heights.place([error, beside]),
                        color=style.REFERENCE,
                        linewidth=0.8,
                        zorder=1,
                    )
    style.log_axis(axes.xaxis, [place for cell in cells for place in _updates(cell)])
    axes.set_xlabel("updates (optimiser steps)")


def _updates(cell: Cell) -> list[float]:
    per_epoch = cell.results[0].run.steps_per_epoch
    return [float(epoch * per_epoch) for epoch in range(1, len(cell.curve()))]


def _table(data: Cells) -> Table:
    found = each_doubling(data)
    rows = [
        {
            "batch size": smaller,
            "doubled": larger,
            "equal": how,
            "factor": one.factor,
            **interval_cells(one.interval),
        }
        for (smaller, larger), factors in (found.pairs if found else {}).items()
        for how, one in zip(("epochs", "updates"), factors, strict=True)
    ]
    note = (
        "Factor on the test MSE when the batch size doubles, pooled over tasks that have something to learn."
    )
    return Table.of("updates", "Each doubling, at equal epochs and at equal updates", rows, note)


CHAPTER: Final = Chapter(
    section="The answer at equal epochs",
    options="--bsr-experiments batch-size",
    figures=(
        Figure("What each doubling of the batch size does", updates),
        Figure("Error against updates", mse_against_updates, section="Convergence"),
    ),
    findings=finding,
    tables=lambda data: [_table(data)],
)
