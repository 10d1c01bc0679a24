"""Training for longer: the training loss beside the test MSE."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from matplotlib.axes import Axes

from reports import style
from reports.drawing import Panel
from reports.figures.marks import REFERENCE_LINE, band, by_epoch, epoch_axis
from reports.figures.spec import Drawing, legend, titled
from reports.frame import Cell, Frame, seeds, statuses
from reports.text import number


def longer(frame: Frame) -> Drawing | None:
    """Training loss beside test MSE over three times the epochs, a panel per task and batch size."""
    cells = [cell for task in frame.tasks_of("longer") for cell in frame.cells(task, "longer")]
    if not cells:
        return None
    usual = usual_epochs(frame)
    panels = [
        Panel(
            f"{titled(frame, cell.task)}, batch size {cell.batch_size}",
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
    return Drawing(
        panels,
        "Mean over seeds (line) with minimum and maximum (band). The training loss is the mean over each "
        "epoch, while the weights still change; the test MSE is taken after it. The vertical line marks "
        f"the {usual} epochs of the main experiment. A test MSE that rises while the training loss falls "
        "would be overfitting. "
        f"{seeds(cells)}. {statuses(frame.results('longer'))}".strip(),
        "Training loss and test MSE against epoch, a panel per task and batch size. Test MSE of "
        + "; ".join(said)
        + ".",
    )


def usual_epochs(frame: Frame) -> int:
    """The epochs beyond which a run counts as longer."""
    return frame.epochs or max((result.run.epochs for result in frame.results("longer")), default=0) // 3


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
