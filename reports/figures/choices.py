"""The other choices of the study: learning rate, optimiser, loss, and std at its untuned rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import paper, stats
from bsr.experiment import LOG_GRID, Result
from reports import style
from reports.drawing import Panel
from reports.figures.convergence import draw_curves, epoch_axis
from reports.figures.error import stacked
from reports.figures.spec import MSE, Drawing, finals, legend, titled
from reports.frame import Cell, Frame, group, seeds, span, statuses
from reports.published import comparable
from reports.text import listed, number, tick

Rates = Mapping[float, Sequence[Result]]
_CENTRE = "Line: geometric mean over seeds (arithmetic where an MSE is zero); dots: seeds"


def by_rate(results: Sequence[Result]) -> dict[float, list[Result]]:
    """Results by learning rate, rising."""
    return dict(sorted(group(results, lambda result: result.run.learning_rate).items()))


def rate_finals(rates: Rates) -> dict[float, list[float]]:
    """Learning rate -> final MSE of each seed that has one; rates without any are left out."""
    found = {
        rate: [r.final_mse for r in results if r.final_mse is not None] for rate, results in rates.items()
    }
    return {rate: values for rate, values in found.items() if values}


def centre(values: Sequence[float]) -> float:
    """Geometric mean; arithmetic where a value is zero."""
    return stats.geometric_mean(values) or fmean(values)


def learning_rate(frame: Frame) -> Drawing | None:
    """Final MSE against the learning rate at one batch size, a panel per task, the best and its ties marked."""
    tasks = frame.tasks_of("learning-rate")
    if not tasks:
        return None
    rates = {task: by_rate(frame.results("learning-rate", task)) for task in tasks}
    panels = [
        Panel(titled(frame, task) + suffix, RatePanel({task: shown}, frame, published), MSE)
        for task in tasks
        for suffix, shown, published in _looks(frame, rates[task])
    ]
    runs = frame.results("learning-rate")
    sizes = listed(sorted({result.run.batch_size for result in runs}))
    counts = [len(values) for task in tasks for values in rate_finals(rates[task]).values()]
    return Drawing(
        panels,
        f"Final test MSE at batch size {sizes} against the learning rate. {_CENTRE}. The star is the lowest; rings tie "
        "with it within seed noise (bootstrap); a cross at the top counts runs without a final MSE. The second look "
        "holds the rates that are no powers of ten, and those between. Published: one run per rate, where its batch "
        f"size is the same. n = {span(counts, 'seed')} per rate. {statuses(runs)}".strip(),
        "Final test MSE against learning rate, a panel per task. "
        + "; ".join(f"{task}: {_best_in_words(rate_finals(rates[task]))}" for task in tasks)
        + ".",
    )


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
    if len(closer) > 1:
        yield ", second look", closer, published


def _best_in_words(values: Mapping[float, Sequence[float]]) -> str:
    best = stats.best(values)
    if best is None:
        return "no best rate, since some MSE is zero"
    edge = ", at the edge of the grid" if best.at_edge else ""
    return f"lowest at {tick(best.level)} ({number(centre(values[best.level]), 3)}){edge}"


class RatePanel:
    """Final MSE against learning rate, a line per series: a task, or the name of an optimiser."""

    def __init__(
        self, series: Mapping[str, Rates], frame: Frame, published: Mapping[float, float] | None = None
    ) -> None:
        self.series = series
        self.frame = frame
        self.published = published or {}
        self.rows = {name: rate_finals(rates) for name, rates in series.items()}

    def __call__(self, axes: Axes) -> None:
        """Draw on `axes`."""
        measured = [value for row in self.rows.values() for values in row.values() for value in values]
        scale = style.log_axis(axes.yaxis, [*measured, *self.published.values()])
        top = scale.high * (scale.high / scale.low) ** 0.1
        axes.set_ylim(scale.low, top)
        for index, (name, row) in enumerate(self.rows.items()):
            task = name in self.frame.tasks
            colour, marker = style.task_kind(name, self.frame.tasks) if task else style.kind(index)
            self._line(axes, scale, row, colour, marker, "" if task else name)
            _lost(axes, self.series[name], (scale.high * top) ** 0.5, colour)
        if self.published:
            places, heights = list(self.published), scale.place(self.published.values())
            axes.plot(places, heights, "x", color=style.REFERENCE, markersize=6, label="published")
        self._axis(axes)
        legend(axes)

    def _line(
        self,
        axes: Axes,
        scale: style.LogScale,
        row: Mapping[float, Sequence[float]],
        colour: str,
        marker: str,
        name: str,
    ) -> None:
        best = stats.best(row)
        middles = {rate: scale.place([centre(values)])[0] for rate, values in row.items()}
        for rate, values in row.items():
            axes.plot([rate] * len(values), scale.place(values), ".", color=colour, alpha=0.4, markersize=4)
        label = f"{name}, lowest at {tick(best.level)}" if name and best else name
        axes.plot(
            list(middles), list(middles.values()), color=colour, marker=marker, markersize=4, label=label
        )
        if best is None:
            return
        star = {
            "linestyle": "",
            "markeredgecolor": style.PAPER,
            "color": style.INK,
            "markersize": 12,
            "zorder": 4,
        }
        lowest = "" if name else f"lowest: {tick(best.level)}"
        axes.plot([best.level], [middles[best.level]], marker="*", label=lowest, **star)
        ties = [rate for rate in best.tied if rate != best.level]
        if ties:
            ring = {
                "linestyle": "",
                "markerfacecolor": "none",
                "color": style.INK,
                "markersize": 9,
                "zorder": 3,
            }
            axes.plot(
                ties, [middles[rate] for rate in ties], marker="o", label="ties with the lowest", **ring
            )

    def _axis(self, axes: Axes) -> None:
        rates = sorted({rate for rates in self.series.values() for rate in rates})
        style.log_axis(axes.xaxis, rates)
        low, high = axes.get_xlim()
        if high / low > 50:
            style.plain_ticks(axes.xaxis, style.decade_ticks(low, high))
        else:
            style.plain_ticks(axes.xaxis, style.apart(rates, math.log(high / low) / 9))
        axes.set_xlabel("learning rate (log)")


def _lost(axes: Axes, rates: Rates, height: float, colour: str) -> None:
    """Crosses that count the runs without a final MSE."""
    for rate, results in rates.items():
        count = sum(result.final_mse is None for result in results)
        if count:
            axes.plot([rate], [height], "x", color=colour, markersize=6)
            offset = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(str(count), (rate, height), fontsize=8.5, color=colour, **offset)


def optimiser(frame: Frame) -> Drawing | None:
    """Adam against SGD over the learning rates, and their curves at the best rate of each."""
    results = frame.results("optimiser")
    series = {
        {"adam": "Adam", "sgd": "SGD"}[name]: by_rate(runs)
        for name, runs in group(results, lambda result: result.run.optimiser).items()
    }
    found = {name: rate_finals(rates) for name, rates in series.items()}
    if not any(found.values()):
        return None
    best = {name: min(row, key=lambda rate: centre(row[rate])) for name, row in found.items() if row}
    cells = {f"{name}, rate {tick(rate)}": _cell(series[name][rate]) for name, rate in best.items()}
    counts = [len(values) for row in found.values() for values in row.values()]
    task, size = results[0].run.task, results[0].run.batch_size
    return Drawing(
        [
            Panel(f"{task}, after the last epoch", RatePanel(series, frame), MSE),
            Panel(f"{task}, each at its best rate", _measure_panel(cells), MSE),
        ],
        f"Adam and SGD (without momentum) at batch size {size}, each over the same learning rates. {_CENTRE}; on the "
        "right the mean over seeds with minimum and maximum. A cross counts runs without a final MSE: on raw pixels SGD "
        f"soon diverges. n = {span(counts, 'seed')} per rate. {statuses(results)}".strip(),
        "Final test MSE against learning rate for Adam and SGD, and their curves at the best rate of each. "
        + "; ".join(f"{name}: {_best_in_words(row)}" for name, row in found.items() if row)
        + ".",
    )


def _cell(results: Sequence[Result]) -> Cell:
    return Cell(results[0].run.task, results[0].run.batch_size, tuple(results))


def _measure_panel(
    cells: Mapping[str, Cell],
    measure: str = "test_mse",
    start: int = 0,
    published: Mapping[str, Sequence[float]] | None = None,
) -> Callable[[Axes], None]:
    """Mean over seeds per epoch from `start` on, with a band from minimum to maximum, a line per cell.

    `published` are values from epoch 1 on, by the name of the cell they stand beside.
    """
    published = published or {}

    def draw(axes: Axes) -> None:
        rows = {name: _rows(cell, measure, start) for name, cell in cells.items()}
        measured = [value for row in rows.values() for line in row for value in line]
        scale = style.log_axis(
            axes.yaxis, [*measured, *(value for row in published.values() for value in row)]
        )
        for index, (name, row) in enumerate(rows.items()):
            colour, _ = style.kind(index)
            columns = list(zip(*row, strict=True))
            epochs = range(start, start + len(columns))
            if len(row) > 1:
                low, high = scale.place(map(min, columns)), scale.place(map(max, columns))
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, scale.place(map(fmean, columns)), color=colour, label=name)
            if shown := published.get(name):
                line = {"linestyle": (0, (3, 2)), "linewidth": 1.2}
                axes.plot(
                    range(1, len(shown) + 1),
                    scale.place(shown),
                    color=colour,
                    label=f"{name}, published",
                    **line,
                )
        epoch_axis(axes, [start, max(len(cell.curve()) - 1 for cell in cells.values())])
        legend(axes)

    return draw


def _rows(cell: Cell, measure: str, start: int) -> list[list[float]]:
    rows = [getattr(result, measure)[start:] for result in cell.finished]
    return [list(row) for row in rows if None not in row]


_TRAINED_ON: Final = {"mse": "trained on MSE", "mae": "trained on MAE"}


def loss(frame: Frame) -> Drawing | None:
    """Training on MSE against training on MAE, both evaluated on both measures."""
    panels, said, counts = [], [], []
    for task in frame.tasks_of("loss"):
        named = group(frame.results("loss", task), lambda result: result.run.loss)
        cells = {_TRAINED_ON[name]: cell for name, runs in named.items() if (cell := _cell(runs)).finals}
        measure = "test MSE (above), test MAE in label units (below), both log"
        panels.append(
            Panel(titled(frame, task), _both_measures(cells, _published_loss(frame, task)), measure)
        )
        counts += [len(cell.finals) for cell in cells.values()]
        said += [
            f"{task} {name}: MSE {number(fmean(cell.finals), 3)}, MAE {number(cell.curve('test_mae')[-1], 3)}"
            for name, cell in cells.items()
        ]
    if not panels:
        return None
    size = frame.results("loss")[0].run.batch_size
    return Drawing(
        panels,
        f"Trained on the mean squared or on the mean absolute error at batch size {size} and the tuned rate, from epoch "
        "1 on; both networks are evaluated on both measures, so that like is compared with like. Mean over seeds with "
        "minimum and maximum (band). Dashed: one published run, known only in the loss it was trained on, at rate 0.0015. "
        f"n = {span(counts, 'seed')} per loss. {statuses(frame.results('loss'))}".strip(),
        "Test MSE and test MAE per epoch for networks trained on either, a panel per task. "
        + "; ".join(said)
        + ".",
    )


def _published_loss(frame: Frame, task: str) -> dict[str, tuple[float, ...]]:
    if not comparable(frame):
        return {}
    return {_TRAINED_ON[row.loss]: row.test_value for row in paper.loss() if row.task == task}


def _both_measures(
    cells: Mapping[str, Cell], published: Mapping[str, Sequence[float]]
) -> Callable[[Axes], None]:
    def only(loss: str) -> dict[str, Sequence[float]]:
        name = _TRAINED_ON[loss]
        epochs = max(len(cell.curve()) - 1 for cell in cells.values())
        return {name: published[name][:epochs]} if name in published and name in cells else {}

    def draw(axes: Axes) -> None:
        above, below = stacked(axes)
        _measure_panel(cells, "test_mae", 1, only("mae"))(below)
        below.get_legend().remove()
        _measure_panel(cells, "test_mse", 1, only("mse"))(above)
        above.get_legend().remove()
        handles = {
            handle.get_label(): handle
            for row in (above, below)
            for handle in row.get_legend_handles_labels()[0]
        }
        legend(above, handles=list(handles.values()))
        above.set_xlabel("")
        above.tick_params(labelbottom=False)

    return draw


def std_at_001(frame: Frame) -> Drawing | None:
    """The std task at the untuned rate, curve by curve, and its final MSE beside the tuned rate's."""
    series = {
        f"rate {tick(cells[0].results[0].run.learning_rate)}": cells
        for experiment in ("batch-size", "std-at-0.01")
        if (cells := frame.cells("std", experiment))
    }
    untuned = frame.cells("std", "std-at-0.01")
    if not untuned:
        return None
    panels = [
        Panel(
            f"std, {name}",
            lambda axes, cells=cells: draw_curves(
                axes, cells, lambda cell: range(len(cell.curve())), epoch_axis
            ),  # type: ignore[misc]
            MSE,
        )
        for name, cells in series.items()
    ]
    if len(untuned) > 1:
        panels.append(Panel("std, after the last epoch", _rates_by_size(series, frame), MSE))
    said = "; ".join(
        f"{name}: {number(fmean(cells[0].finals), 3)} at batch size {cells[0].batch_size}, "
        f"{number(fmean(cells[-1].finals), 3)} at {cells[-1].batch_size}"
        for name, cells in series.items()
    )
    return Drawing(
        panels,
        'The rate behind the study\'s "difference of 1300" beside the tuned one. Mean over seeds; on the last panel dots '
        f"are seeds. {seeds(untuned)} at the untuned rate. {statuses(frame.results('std-at-0.01'))}".strip(),
        f"Curves of the std task's test MSE at {listed(series)}, and the final values against batch size. {said}.",
    )


def _rates_by_size(series: Mapping[str, Sequence[Cell]], frame: Frame) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        rows = {name: finals(cells) for name, cells in series.items()}
        scale = style.log_axis(
            axes.yaxis, [value for row in rows.values() for values in row.values() for value in values]
        )
        for index, (name, row) in enumerate(rows.items()):
            colour, marker = style.kind(index)
            for size, values in row.items():
                axes.plot(
                    [size] * len(values), scale.place(values), ".", color=colour, alpha=0.4, markersize=4
                )
            axes.plot(
                list(row), scale.place(map(fmean, row.values())), color=colour, marker=marker, label=name
            )
        style.batch_axis(
            axes, sorted({size for row in rows.values() for size in row} | set(frame.batch_sizes()))
        )
        legend(axes)

    return draw
