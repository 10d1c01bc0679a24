"""MSE against MAE as the loss that is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import paper
from reports.drawing import Panel
from reports.figures.marks import mean_curves
from reports.figures.spec import Drawing, legend, stacked, titled
from reports.frame import Cell, Frame, group, span, statuses
from reports.published import comparable, provenance
from reports.text import number

_TRAINED_ON: Final = {"mse": "trained on MSE", "mae": "trained on MAE"}
_MEASURE: Final = "test MSE (above), test MAE in label units (below), both log"


def loss(frame: Frame) -> Drawing | None:
    """Training on MSE against training on MAE, both evaluated on both measures."""
    cells = {task: _cells(frame, task) for task in frame.tasks_of("loss")}
    if not cells:
        return None
    panels = [
        Panel(titled(frame, task), _both_measures(row, _published(frame, task)), _MEASURE)
        for task, row in cells.items()
    ]
    said = (
        f"{task} {name}: MSE {number(fmean(cell.finals), 3)}, MAE {number(cell.curve('test_mae')[-1], 3)}"
        for task, row in cells.items()
        for name, cell in row.items()
    )
    counts = [len(cell.finals) for row in cells.values() for cell in row.values()]
    size = next(iter(next(iter(cells.values())).values())).batch_size
    return Drawing(
        panels,
        f"Trained on the mean squared or on the mean absolute error at batch size {size} and the tuned "
        "rate, from epoch 1 on; both networks are evaluated on both measures, so that like is compared "
        f"with like. Mean over seeds with minimum and maximum (band). {_dashed(frame, cells)}"
        f"n = {span(counts, 'seed')} per loss. {statuses(frame.results('loss'))}".strip(),
        "Test MSE and test MAE per epoch for networks trained on either, a panel per task. "
        + "; ".join(said)
        + ".",
    )


def _dashed(frame: Frame, tasks: Iterable[str]) -> str:
    """What the dashed lines are, where there are any."""
    return f"Dashed: {provenance(paper.LOSS)} " if any(_published(frame, task) for task in tasks) else ""


def _cells(frame: Frame, task: str) -> dict[str, Cell]:
    named = group(frame.results("loss", task), lambda result: result.run.loss)
    cells = {_TRAINED_ON[name]: Cell.of(results) for name, results in named.items()}
    return {name: cell for name, cell in cells.items() if cell.finals}


def _published(frame: Frame, task: str) -> dict[str, tuple[float, ...]]:
    if not comparable(frame):
        return {}
    return {_TRAINED_ON[row.loss]: row.test_value for row in paper.loss() if row.task == task}


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
