"""Learning rates per task, and Adam against SGD over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import paper, stats
from bsr.experiments import LOG_GRID
from bsr.run import Result
from reports import style
from reports.drawing import Panel
from reports.figures.marks import dots, mean_curves
from reports.figures.spec import MSE, Drawing, legend, titled
from reports.frame import Cell, Frame, group, span, statuses
from reports.published import comparable, provenance
from reports.text import listed, number, tick

Rates = Mapping[float, Sequence[Result]]
Finals = Mapping[float, Sequence[float]]
"""Learning rate -> final MSE of each seed."""
_CENTRE: Final = "Line: geometric mean over seeds (arithmetic where an MSE is zero); dots: seeds"
_RING: Final[dict[str, Any]] = {
    "linestyle": "",
    "marker": "o",
    "markerfacecolor": "none",
    "color": style.INK,
    "markersize": 9,
    "zorder": 3,
}
_STAR: Final[dict[str, Any]] = {
    "linestyle": "",
    "marker": "*",
    "markeredgecolor": style.PAPER,
    "color": style.INK,
    "markersize": 12,
    "zorder": 4,
}


def by_rate(results: Sequence[Result]) -> dict[float, list[Result]]:
    """Results by learning rate, rising."""
    return dict(sorted(group(results, lambda result: result.run.learning_rate).items()))


def rate_finals(rates: Rates) -> dict[float, list[float]]:
    """Learning rate -> final MSE of each seed that has one; rates without any are left out."""
    found = {rate: [r.final_mse for r in runs if r.final_mse is not None] for rate, runs in rates.items()}
    return {rate: values for rate, values in found.items() if values}


def contenders(rates: Rates) -> dict[float, list[float]]:
    """The finals among which the best rate is sought: of rates that lost no run, where there are any."""
    whole = {rate: runs for rate, runs in rates.items() if all(r.final_mse is not None for r in runs)}
    return rate_finals(whole or rates)


def centre(values: Sequence[float]) -> float:
    """Geometric mean; arithmetic where a value is zero."""
    return stats.geometric_mean(values) or fmean(values)


def learning_rate(frame: Frame) -> Drawing | None:
    """Final MSE against the learning rate at one batch size, a panel per task; best and ties are marked."""
    tasks = frame.tasks_of("learning-rate")
    if not tasks:
        return None
    rates = {task: by_rate(frame.results("learning-rate", task)) for task in tasks}
    panels = [
        Panel(titled(frame, task) + suffix, _Panel({task: shown}, frame, published), MSE)
        for task in tasks
        for suffix, shown, published in _looks(frame, rates[task])
    ]
    runs = frame.results("learning-rate")
    sizes = listed(sorted({result.run.batch_size for result in runs}))
    finals = {task: rate_finals(rates[task]) for task in tasks}
    counts = [len(values) for row in finals.values() for values in row.values()]
    return Drawing(
        panels,
        f"Final test MSE at batch size {sizes} against the learning rate. {_CENTRE}. The star is the "
        "lowest; rings tie with it within seed noise (Welch's tests put them above no other rate); a cross "
        "at the top counts runs without a final MSE, and a rate that lost some is neither. The second look "
        f"holds the rates that are no powers of ten, and those between. {_crosses(tasks, rates, frame)}"
        f"{_lowest(rates)} "
        f"n = {span(counts, 'seed')} per rate. {statuses(runs)}".strip(),
        "Final test MSE against learning rate, a panel per task. "
        + "; ".join(f"{task}: {_best_in_words(rates[task])}" for task in finals)
        + ".",
    )


def _crosses(tasks: Iterable[str], rates: Mapping[str, Rates], frame: Frame) -> str:
    """What the published points are, where there are any."""
    shown = any(published for task in tasks for _, _, published in _looks(frame, rates[task]))
    return f"As {provenance(paper.LEARNING_RATE)} " if shown else ""


def _lowest(rates: Mapping[str, Rates]) -> str:
    """Per task the best rate, what ties with it, and whether it lies at the edge of its grid."""
    said = []
    for task, row in rates.items():
        if best := stats.best(contenders(row)):
            ties = [tick(rate) for rate in best.tied if rate != best.level]
            tied = f", tied with {listed(ties)}" if ties else ""
            edge = ", at the edge of the grid: try rates beyond it" if _at_edge(best.level, row) else ""
            said.append(f"{task} {tick(best.level)}{tied}{edge}")
    return f"Lowest: {'; '.join(said)}." if said else ""


def _at_edge(rate: float, rates: Rates) -> bool:
    return rate in {min(rates), max(rates)}


def _looks(frame: Frame, rates: Rates) -> Iterator[tuple[str, Rates, Mapping[float, float]]]:
    """All rates of a task; then the second look alone, closer, beside the published rates."""
    run = next(iter(rates.values()))[0].run
    published = {
        curve.learning_rate: curve.test_mse[run.epochs - 1]
        for curve in paper.learning_rates()
        if comparable(frame) and (curve.task, curve.batch_size) == (run.task, run.batch_size)
        if run.epochs <= len(curve.test_mse)
    }
    second = [rate for rate in rates if rate not in LOG_GRID]
    closer = {rate: rates[rate] for rate in rates if second and min(second) <= rate <= max(second)}
    if len(closer) < len(rates):
        yield "", rates, {}
    if len(closer) > 1 or len(closer) == len(rates):
        yield ", second look", closer, published


def _best_in_words(rates: Rates) -> str:
    values = contenders(rates)
    best = stats.best(values)
    if best is None:
        return "no best rate, since some MSE is zero"
    edge = ", at the edge of the grid" if _at_edge(best.level, rates) else ""
    return f"lowest at {tick(best.level)} ({number(centre(values[best.level]), 3)}){edge}"


def best_rate(rates: Rates) -> float:
    """The rate with the lowest centre among the contenders."""
    values = contenders(rates)
    return min(values, key=lambda rate: centre(values[rate]))


def optimiser(frame: Frame) -> Drawing | None:
    """Adam against SGD over the learning rates, and their curves at the best rate of each."""
    results = frame.results("optimiser")
    named = group(results, lambda result: result.run.optimiser)
    series = {{"adam": "Adam", "sgd": "SGD"}[name]: by_rate(runs) for name, runs in named.items()}
    finals = {name: row for name, rates in series.items() if (row := rate_finals(rates))}
    if not finals:
        return None
    best = {name: best_rate(series[name]) for name in finals}
    curves = {f"{name}, rate {tick(rate)}": Cell.of(series[name][rate]) for name, rate in best.items()}
    task, size = results[0].run.task, results[0].run.batch_size
    counts = [len(values) for row in finals.values() for values in row.values()]
    return Drawing(
        [
            Panel(f"{task}, after the last epoch", _Panel(series, frame), MSE),
            Panel(f"{task}, each at its best rate", mean_curves(curves), MSE),
        ],
        f"Adam and SGD (without momentum) at batch size {size}, each over the same learning rates. "
        f"{_CENTRE}; beside it the mean over seeds at the best rate of each, with minimum and maximum. A "
        "cross counts runs without a final MSE: on raw pixels SGD soon diverges. "
        f"n = {span(counts, 'seed')} per rate. {statuses(results)}".strip(),
        "Final test MSE against learning rate for Adam and SGD, and their curves at the best rate of each. "
        + "; ".join(f"{name}: {_best_in_words(series[name])}" for name in finals)
        + ".",
    )


class _Panel:
    """Final MSE against learning rate, a line per series: a task, or the name of an optimiser."""

    def __init__(
        self, series: Mapping[str, Rates], frame: Frame, published: Mapping[float, float] | None = None
    ) -> None:
        self.series = series
        self.frame = frame
        self.published = published or {}
        self.finals = {name: rate_finals(rates) for name, rates in series.items()}

    def __call__(self, axes: Axes) -> None:
        """Draw on `axes`."""
        measured = [value for row in self.finals.values() for values in row.values() for value in values]
        scale = style.log_axis(axes.yaxis, [*measured, *self.published.values()])
        top = scale.high * (scale.high / scale.low) ** 0.1
        axes.set_ylim(scale.low, top)
        for index, name in enumerate(self.finals):
            is_task = name in self.frame.tasks
            look = style.task_kind(name, self.frame.tasks) if is_task else style.kind(index)
            _line(axes, scale, self.series[name], look, "" if is_task else name)
            _lost(axes, self.series[name], (scale.high * top) ** 0.5, look[0])
        if self.published:
            heights = scale.place(self.published.values())
            axes.plot(list(self.published), heights, "x", color=style.REFERENCE, label="published")
        self._axis(axes)
        legend(axes)

    def _axis(self, axes: Axes) -> None:
        rates = sorted({rate for rates in self.series.values() for rate in rates})
        scale = style.log_axis(axes.xaxis, rates)
        if scale.high / scale.low > 50:
            style.plain_ticks(axes.xaxis, style.decade_ticks(scale.low, scale.high))
        else:
            style.plain_ticks(axes.xaxis, style.apart(rates, math.log(scale.high / scale.low) / 7))
        axes.set_xlabel("learning rate (log)")


def _line(axes: Axes, scale: style.LogScale, rates: Rates, look: tuple[str, str], name: str) -> None:
    """Seeds, their centre, and the best rate with its ties; `name` is empty where the panel has one line."""
    colour, marker = look
    row, best = rate_finals(rates), stats.best(contenders(rates))
    middles = {rate: scale.place([centre(values)])[0] for rate, values in row.items()}
    for rate, values in row.items():
        dots(axes, rate, scale.place(values), colour)
    label = f"{name}, lowest at {tick(best.level)}" if name and best else name
    axes.plot(list(middles), list(middles.values()), color=colour, marker=marker, markersize=4, label=label)
    if best is None:
        return
    axes.plot(
        [best.level], [middles[best.level]], label="" if name else f"lowest: {tick(best.level)}", **_STAR
    )
    ties = [rate for rate in best.tied if rate != best.level]
    if ties:
        axes.plot(ties, [middles[rate] for rate in ties], label="ties with the lowest", **_RING)


def _lost(axes: Axes, rates: Rates, height: float, colour: str) -> None:
    """Crosses that count the runs without a final MSE."""
    for rate, results in rates.items():
        count = sum(result.final_mse is None for result in results)
        if count:
            axes.plot([rate], [height], "x", color=colour, markersize=6)
            axes.annotate(
                str(count), (rate, height), (5, 0), textcoords="offset points", va="center", fontsize=8.5,
                color=colour,
            )  # fmt: skip
