"""Does a learning rate that grows with the batch size keep the error from rising?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from reports.analysis import finals_by_size
from reports.cells import Cell, Cells, ended, ends, seeds, statuses
from reports.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.marks import MSE, dots, titled
from reports.drawing.panel import Panel
from reports.table import Table
from reports.verdicts import Finding, judged, trend_text

_NAME: Final = "linear-rate"


def linear_rate(data: Cells) -> FigureContent | None:
    """Final MSE against the batch size at the scaled rates, a panel per task."""
    rows = {task: data.cells(task, _NAME) for task in data.tasks_of(_NAME)}
    if not rows:
        return None
    flat = [cell for row in rows.values() for cell in row]
    return FigureContent(
        [Panel(titled(data, task), partial(_dots, data=data, cells=row), MSE) for task, row in rows.items()],
        "A dot per seed, at the tuned rate times batch size / 32. "
        f"{seeds(flat)}. {statuses(data.results(_NAME))}".strip(),
        f"Final test MSE against batch size, the learning rate growing with it. {ends(rows)}",
    )


def _dots(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
    for cell in cells:
        dots(axes, cell.batch_size, scale.place(cell.finals), style.task_kind(cell.task, data.tasks)[0])
    style.batch_axis(axes, [cell.batch_size for cell in cells])


def findings(data: Cells) -> list[Finding]:
    """Whether the error still rises with the batch size."""
    tasks = data.learnable(_NAME)
    if not tasks:
        return []
    trend = stats.rank_trend(*(finals_by_size(data, task, _NAME) for task in tasks))
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    claim = "With a rate that grows with the batch size the error still rises."
    return [Finding(_NAME, claim, verdict, f"At scaled rates: {trend_text(trend)}.", (), _NAME)]


def _table(data: Cells) -> Table:
    cells = [cell for task in data.tasks_of(_NAME) for cell in data.cells(task, _NAME)]
    rows = [
        (cell.task, cell.batch_size, cell.results[0].run.learning_rate, len(cell.finals), ended(cell.results))
        for cell in cells
    ]
    return Table(_NAME, "Rates that grow", ("task", "batch size", "learning rate", "seeds", "status"), rows)


CHAPTER: Final = Chapter(
    figures=(
        Figure("The other choices", _NAME, "Rates that grow", linear_rate, f"--bsr-experiments {_NAME}"),
    ),
    findings=findings,
    tables=lambda data: [_table(data)],
)
