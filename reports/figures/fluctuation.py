"""The std task at its untuned rate, beside the tuned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

from matplotlib.axes import Axes

from reports import style
from reports.drawing import Panel
from reports.figures.convergence import draw_epochs
from reports.figures.marks import dots
from reports.figures.spec import MSE, Drawing, legend
from reports.frame import Cell, Frame, seeds, statuses
from reports.text import listed, number, tick


def std_at_001(frame: Frame) -> Drawing | None:
    """The std task at the untuned rate, curve by curve, and its final MSE beside the tuned rate's."""
    untuned = frame.cells("std", "std-at-0.01")
    if not untuned:
        return None
    series = {_rate(cells): cells for cells in (frame.cells("std"), untuned) if cells}
    panels = [Panel(f"std, {name}", partial(draw_epochs, cells=cells), MSE) for name, cells in series.items()]
    if len(untuned) > 1:
        panels.append(Panel("std, after the last epoch", _finals(series, frame), MSE))
    said = (
        f"{name}: {number(fmean(cells[0].finals), 3)} at batch size {cells[0].batch_size}, "
        f"{number(fmean(cells[-1].finals), 3)} at {cells[-1].batch_size}"
        for name, cells in series.items()
    )
    return Drawing(
        panels,
        f'The rate behind the study\'s "difference of 1300"{" beside the tuned one" * (len(series) > 1)}. '
        f"Mean over seeds{'; on the last panel dots are seeds' * (len(untuned) > 1)}. "
        f"{seeds(untuned)} at the untuned rate. "
        f"{statuses(frame.results('std-at-0.01'))}".strip(),
        f"Curves of the std task's test MSE at {listed(series)}, and the final values against batch size. "
        f"{'; '.join(said)}.",
    )


def _rate(cells: Sequence[Cell]) -> str:
    return f"rate {tick(cells[0].results[0].run.learning_rate)}"


def _finals(series: Mapping[str, Sequence[Cell]], frame: Frame) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        cells = [cell for row in series.values() for cell in row]
        scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
        for index, (name, row) in enumerate(series.items()):
            colour, marker = style.kind(index)
            for cell in row:
                dots(axes, cell.batch_size, scale.place(cell.finals), colour)
            means = scale.place(fmean(cell.finals) for cell in row)
            axes.plot([cell.batch_size for cell in row], means, color=colour, marker=marker, label=name)
        style.batch_axis(axes, sorted({cell.batch_size for cell in cells} | set(frame.batch_sizes())))
        legend(axes)

    return draw
