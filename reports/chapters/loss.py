"""Does training on MSE beat training on MAE?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import published
from reports.analysis.published import comparable, provenance
from reports.cells import Cell, Cells, ended, grouped, span
from reports.chapters.chapter import Chapter, Figure, FigureContent, missing
from reports.drawing.curves import mean_curves
from reports.drawing.legend import legend
from reports.drawing.marks import stacked, titled
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.text.table import Table
from reports.text.verdicts import (
    Finding,
    TaskVerdict,
    difference_text,
    judged,
    lines,
    paired,
    share_shown,
    tasks_with,
    together,
)

_TRAINED_ON: Final = {"mse": "trained on MSE", "mae": "trained on MAE"}
_MEASURE: Final = "test MSE (above), test MAE in label units (below), both log"


def _mse_loss(data: Cells) -> Finding | None:
    """Training on MSE beats training on MAE, on both measures."""
    parts = []
    for task in data.tasks_of("loss"):
        sides = grouped(data.results("loss", task), lambda result: result.run.loss)
        if set(sides) != {"mse", "mae"} or task in data.degenerate:
            continue
        for measure, name in (("test_mse", "test MSE"), ("test_mae", "test MAE")):
            ratio = paired(sides["mse"], sides["mae"], measure)
            line = f"{task}, {name}, trained on MAE over trained on MSE: {difference_text(ratio)}"
            parts.append(
                TaskVerdict(f"{task} by {name}", judged(ratio.p, agrees=(ratio.factor or 0) > 1), line)
            )
    if not parts:
        return None
    verdict = together(parts)
    better = tasks_with(parts, "shown")
    sentence = {
        "shown": f"Training on MSE was better for {_tasks(better)}.",
        "not shown": f"Training on MSE was better for {_tasks(better)} only."
        if better
        else "That training on MSE is better is not shown for any task.",
        "cannot tell": "Too few seeds to compare training on MSE with training on MAE.",
    }[verdict]
    claim, short = published.CLAIMS["mse-loss"], share_shown(parts, "comparison")
    return Finding("mse-loss", claim, verdict, sentence, lines(parts), "loss", short=short)


def _tasks(parts: Sequence[str]) -> str:
    """`mean, and for std by test MSE`: a task where both measures agree, else with the one that says so."""
    measures: dict[str, list[str]] = {}
    for part in parts:
        task, _, measure = part.partition(" by ")
        measures.setdefault(task, []).append(measure)
    both = [task for task, found in measures.items() if len(found) > 1]
    one = [f"{task} by {found[0]}" for task, found in measures.items() if len(found) == 1]
    return listed([*both, *one])


def loss(data: Cells) -> FigureContent | None:
    """Training on MSE against training on MAE, both evaluated on both measures."""
    cells = {task: _cells(data, task) for task in data.tasks_of("loss")}
    if not cells:
        return None
    panels = [
        Panel(titled(data, task), _both_measures(row, _published(data, task)), _MEASURE)
        for task, row in cells.items()
    ]
    said = (
        f"{task} {name}: MSE {number(fmean(cell.finals), 3)}, MAE {number(cell.curve('test_mae')[-1], 3)}"
        for task, row in cells.items()
        for name, cell in row.items()
    )
    counts = [len(cell.finals) for row in cells.values() for cell in row.values()]
    size = next(iter(next(iter(cells.values())).values())).batch_size
    return FigureContent(
        panels,
        f"Trained on the mean squared or on the mean absolute error at batch size {size} and the tuned "
        "rate, from epoch 1 on; both networks are evaluated on both measures, so that like is compared "
        f"with like. Mean over seeds with minimum and maximum (band). {_dashed(data, cells)}".strip(),
        "Test MSE and test MAE per epoch for networks trained on either, a panel per task. "
        + "; ".join(said)
        + ".",
        n=f"{span(counts, 'seed')} per loss",
        results=data.results("loss"),
    )


def _dashed(data: Cells, tasks: Iterable[str]) -> str:
    """What the dashed lines are, where there are any."""
    return f"Dashed: {provenance(published.LOSS)} " if any(_published(data, task) for task in tasks) else ""


def _cells(data: Cells, task: str) -> dict[str, Cell]:
    named = grouped(data.results("loss", task), lambda result: result.run.loss)
    cells = {_TRAINED_ON[name]: Cell.of(results) for name, results in named.items()}
    return {name: cell for name, cell in cells.items() if cell.finals}


def _published(data: Cells, task: str) -> dict[str, tuple[float, ...]]:
    if not comparable(data):
        return {}
    return {_TRAINED_ON[row.loss]: row.test_value for row in published.loss() if row.task == task}


def _both_measures(
    cells: Mapping[str, Cell], published: Mapping[str, Sequence[float]]
) -> Callable[[Axes], None]:
    epochs = max(len(cell.curve()) - 1 for cell in cells.values())

    def known(loss: str) -> dict[str, Sequence[float]]:
        name = _TRAINED_ON[loss]
        return {name: published[name][:epochs]} if name in published and name in cells else {}

    def draw(axes: Axes) -> None:
        above, below = stacked(axes)
        mean_curves(cells, "test_mae", 1, known("mae"))(below)
        mean_curves(cells, "test_mse", 1, known("mse"))(above)
        artists = [*above.get_legend_handles_labels()[0], *below.get_legend_handles_labels()[0]]
        for row in (above, below):
            if strip := row.get_legend():
                strip.remove()
        legend(above, handles=list({artist.get_label(): artist for artist in artists}.values()))
        above.set_xlabel("")
        above.tick_params(labelbottom=False)

    return draw


def _losses_table(data: Cells) -> Table:
    """Trained on MSE and on MAE, evaluated on both."""
    rows = []
    for (task, name), results in grouped(data.results("loss"), lambda r: (r.run.task, r.run.loss)).items():
        finals = Cell.of(results).finals
        absolute = [
            value
            for r in results
            if r.final_mse is not None
            for value in r.test_mae[-1:]
            if value is not None
        ]
        if finals:
            rows.append(
                {
                    "task": task,
                    "trained on": name.upper(),
                    "seeds": len(finals),
                    "mean test MSE": fmean(finals),
                    "mean test MAE": fmean(absolute) if absolute else None,
                    "status": ended(results),
                }
            )
    return Table.of("losses", "Training on MSE and on MAE", rows, "After the last epoch.")


CHAPTER: Final = Chapter(
    section="The other choices",
    options="--bsr-experiments loss",
    figures=(Figure("MSE against MAE", loss, "figure 4"),),
    findings=lambda data: [_mse_loss(data) or missing(data, "mse-loss", "loss")],
    tables=lambda data: [_losses_table(data)],
    experiments=("loss",),
)
