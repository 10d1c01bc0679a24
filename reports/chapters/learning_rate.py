"""Which learning rate is best per task?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bsr import published, stats
from bsr.experiments.tried_rates import Rates, at_edge, by_rate, contenders, rate_finals
from reports.analysis.published import comparable, provenance
from reports.analysis.study import best_in_words
from reports.cells import Cells, ended, grouped, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing.marks import MSE, titled
from reports.drawing.panel import Panel
from reports.drawing.rates import RatePanel
from reports.text import listed, tick
from reports.text.table import Table

_CENTRE: Final = "Line: geometric mean over seeds (arithmetic where an MSE is zero); dots: seeds"


def learning_rate(data: Cells) -> FigureContent | None:
    """Final MSE against the learning rate, a panel per task and batch size; best and ties are marked."""
    rates = _by_task_and_size(data)
    if not rates:
        return None
    images = listed(sorted({result.run.evaluate_on for result in data.results("learning-rate")}))
    measure = MSE.replace("test", images)
    sizes = sorted({size for _, size in rates})
    at = {cell: f" at batch size {cell[1]}" if len(sizes) > 1 else "" for cell in rates}
    panels = [
        Panel(
            titled(data, cell[0]) + at[cell] + suffix, RatePanel({cell[0]: shown}, data, published), measure
        )
        for cell in rates
        for suffix, shown, published in _looks(data, rates[cell])
    ]
    named = {cell[0] + at[cell]: row for cell, row in rates.items()}
    counts = [len(values) for row in rates.values() for values in rate_finals(row).values()]
    return FigureContent(
        panels,
        f"Final {images} MSE at batch size {listed(sizes)} against the learning rate. {_CENTRE}. The star is "
        "the lowest; rings tie with it within seed noise (Welch's tests put them above no other rate); a "
        "plus sign at the top counts runs without a final MSE, and a rate that lost some is neither. The "
        "second look holds the rates that are no powers of ten, and those between. "
        f"{_crosses(data, rates.values())}{_lowest(named)}".strip(),
        f"Final {images} MSE against learning rate, a panel per task. "
        + "; ".join(f"{name}: {best_in_words(row)}" for name, row in named.items())
        + ".",
        n=f"{span(counts, 'seed')} per rate",
        results=data.results("learning-rate"),
    )


def _by_task_and_size(data: Cells) -> dict[tuple[str, int], Rates]:
    """(task, batch size) -> results by rate; each has a best rate of its own."""
    runs = [
        result for task in data.tasks_of("learning-rate") for result in data.results("learning-rate", task)
    ]
    cells = grouped(runs, lambda result: (result.run.task, result.run.batch_size))
    return {cell: by_rate(results) for cell, results in cells.items()}


def _crosses(data: Cells, rates: Iterable[Rates]) -> str:
    """What the published points are, where there are any."""
    shown = any(published for row in rates for _, _, published in _looks(data, row))
    return f"As {provenance(published.LEARNING_RATE)} " if shown else ""


def _lowest(rates: Mapping[str, Rates]) -> str:
    """Per line the best rate, what ties with it, and whether it lies at the edge of its grid."""
    said = []
    for task, row in rates.items():
        if best := stats.best(contenders(row)):
            ties = [tick(rate) for rate in best.tied if rate != best.level]
            tied = f", tied with {listed(ties)}" if ties else ""
            edge = ", at the edge of the grid: try rates beyond it" if at_edge(best.level, row) else ""
            said.append(f"{task} {tick(best.level)}{tied}{edge}")
    return f"Lowest: {'; '.join(said)}." if said else ""


def _looks(data: Cells, rates: Rates) -> Iterator[tuple[str, Rates, Mapping[float, float]]]:
    """All rates of a task; then the second look alone, closer, beside the published rates."""
    run = next(iter(rates.values()))[0].run
    stated = {
        curve.learning_rate: curve.test_mse[run.epochs - 1]
        for curve in published.learning_rates()
        if comparable(data) and (curve.task, curve.batch_size) == (run.task, run.batch_size)
        if run.epochs <= len(curve.test_mse)
    }
    second = data.second_look(run.task)
    closer = {rate: rates[rate] for rate in rates if second and min(second) <= rate <= max(second)}
    if len(closer) < len(rates):
        yield "", rates, {}
    if len(closer) > 1 or len(closer) == len(rates):
        yield ", second look", closer, stated


def _rates_table(data: Cells) -> Table:
    """Final MSE by learning rate and optimiser."""
    rows = []
    for experiment in ("learning-rate", "optimiser", "std-at-0.01"):
        cells = grouped(data.results(experiment), lambda result: result.run.cell)
        for cell in sorted(cells, key=lambda c: (c.task, c.optimiser, c.batch_size, c.learning_rate)):
            finals = [result.final_mse for result in cells[cell] if result.final_mse is not None]
            rows.append(
                {
                    "experiment": experiment,
                    "task": cell.task,
                    "optimiser": cell.optimiser,
                    "batch size": cell.batch_size,
                    "learning rate": cell.learning_rate,
                    "seeds": len(finals),
                    "geometric mean MSE": stats.geometric_mean(finals) if finals else None,
                    "lowest seed": min(finals, default=None),
                    "highest seed": max(finals, default=None),
                    "status": ended(cells[cell]),
                }
            )
    note = "MSE after the last epoch, on test images where nothing else was asked for."
    return Table.of("learning-rates", "Learning rates and optimisers", rows, note, folded=True)


CHAPTER: Final = Chapter(
    section="The other choices",
    options="--bsr-experiments learning-rate",
    figures=(Figure("Learning rates per task", learning_rate, "figure 12"),),
    tables=lambda data: [_rates_table(data)],
    experiments=("learning-rate",),
)
