"""How does the final error follow the batch size, and how do seeds spread?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import Any, Final

from matplotlib.axes import Axes

from bsr import published, stats
from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports.analysis.study import finals_by_size
from reports.cells import Cell, Cells, beside_dead, ended, ends, seeds_each
from reports.chapters.chapter import Chapter, Figure, FigureContent, finals_cells, nothing_to_learn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import MSE, medians_beside_dead, stacked, titled
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table
from reports.text.verdicts import (
    Finding,
    Short,
    TaskVerdict,
    Verdict,
    judged,
    lines,
    p_text,
    share_shown,
    tasks_with,
    together,
    trend_text,
    where,
    within,
)

CLAIMED_BEST: Final = (8, 32)
"""The best batch sizes that the study names, first and last."""
_MINIMUM: Final[dict[str, Any]] = {
    "linestyle": (0, (4, 2)),
    "linewidth": 1.2,
    "markerfacecolor": style.PAPER,
    "label": "minimum over the epochs",
}
Draw = Callable[[Axes, Cells, Sequence[Cell]], None]


def findings(data: Cells) -> list[Finding]:
    """Whether and how the error follows the batch size, which is best, and how seeds spread."""
    if not data.learnable():
        nothing = [
            nothing_to_learn(data, name) for name in ("higher-error", "best-batch-size", "exponential")
        ]
        return [*nothing, _asymmetry(data)]
    return [_higher_error(data), _best_batch_size(data), _exponential(data), _asymmetry(data)]


def _higher_error(data: Cells) -> Finding:
    """A larger batch gives a higher MSE: pooled rank trend, slopes, and whether the curve turns."""
    cells = {task: finals_by_size(data, task) for task in data.learnable()}
    trend = stats.rank_trend(*cells.values())
    turns = {task: turn for task, row in cells.items() if (turn := stats.turning_point(row)).found}
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    sentence = {
        "shown": "A larger batch gives a higher error after the same number of epochs.",
        "not shown": "A rise of the error with the batch size is not shown by these runs.",
        "cannot tell": "Too few runs to say whether the error rises with the batch size.",
    }[verdict]
    if turns:
        verdict = "not shown"
        up_to = listed(f"{turn.level:g} ({task})" for task, turn in turns.items())
        sentence = f"The error does not simply rise with the batch size: it falls up to {up_to}, then rises."
    statistics = (f"All tasks: {trend_text(trend)}", *(_shape(task, row) for task, row in cells.items()))
    claim = published.CLAIMS["higher-error"]
    short = Short("" if trend.rho is None else f"rank correlation {number(trend.rho, 2)}, at equal epochs")
    return Finding("higher-error", claim, verdict, sentence + _n(data), statistics, "final-mse", short=short)


def _shape(task: str, row: dict[int, list[float]]) -> str:
    slope, turn = stats.slope(row), stats.turning_point(row)
    per = (
        f"{number(slope.factor, 3)}-fold per doubling{within(slope.interval)}"
        if slope.known
        else slope.p.reason
    )
    turning = "no turning point found"
    if turn.found and turn.level:
        turning = f"falls up to {turn.level:g} and rises from it on"
    return f"{task}: {trend_text(stats.rank_trend(row))}; {per}; {turning} ({p_text(turn.p)})"


def _n(data: Cells) -> str:
    cells = [cell for task in data.learnable() for cell in data.cells(task)]
    one = max(len(cell.finals) for cell in cells) == 1
    dead = beside_dead(cells)
    spread = ", which says nothing about the spread between seeds" if one else ""
    return f"{f' {dead}' if dead else ''} (n = {seeds_each(cells)}{spread}.)"


def _best_batch_size(data: Cells) -> Finding:
    """The best batch sizes are 8 to 32."""
    parts = [_best(task, finals_by_size(data, task)) for task in data.learnable()]
    found = "; ".join(part.line.partition(";")[0].partition(" (")[0] for part in parts)
    sentence = f"Final MSE by task: {found}{where(parts)}."
    claim = published.CLAIMS["best-batch-size"]
    verdict = together(parts)
    short = Short(_lowest(data, verdict))
    return Finding("best-batch-size", claim, verdict, sentence, lines(parts), "seeds", short=short)


def _lowest(data: Cells, verdict: Verdict) -> str:
    """`lowest error at 32 to 64`, over the tasks."""
    best = [stats.best(finals_by_size(data, task)) for task in data.learnable()]
    levels = sorted({one.level for one in best if one})
    ends = dict.fromkeys([*levels[:1], *levels[-1:]])
    unsure = ", not told from all others" if verdict == "cannot tell" else ""
    return f"lowest error at {' to '.join(f'{size:g}' for size in ends)}{unsure}" if ends else ""


def _best(task: str, cells: dict[int, list[float]]) -> TaskVerdict:
    best = stats.best(cells)
    if best is None or len(cells) < 2:
        why = "one batch size has none to compare with" if best else "an MSE is zero, which has no logarithm"
        return TaskVerdict(task, "cannot tell", f"{task}: {why}")
    edge = "; at the edge of what was measured, so a better one may lie outside" if best.at_edge else ""
    if best.reason:
        return TaskVerdict(task, "cannot tell", f"{task}: lowest at {best.level:g}; {best.reason}{edge}")
    inside = [CLAIMED_BEST[0] <= size <= CLAIMED_BEST[1] for size in best.tied]
    verdict: Verdict = "cannot tell"
    if not any(inside):
        verdict = "not shown"
    elif all(inside) and not best.at_edge:
        verdict = "shown"
    tied = listed(f"{size:g}" for size in best.tied if size != best.level)
    others = f"not told from it by these seeds: {tied}" if tied else "every other is told from it"
    return TaskVerdict(task, verdict, f"{task}: lowest at {best.level:g}; {others}{edge}")


def _exponential(data: Cells) -> Finding:
    """The error grows exponentially with the batch size."""
    parts = [_growth(task, finals_by_size(data, task)) for task in data.learnable()]
    laws = "; ".join(part.line.partition(";")[0] for part in parts if part.verdict != "cannot tell")
    verdict = together(parts)
    sentence = {
        "shown": f"The error grows by a constant factor per image added to the batch{where(parts)}.",
        "not shown": f"Exponential growth is not shown for {listed(tasks_with(parts, 'not shown'))}. "
        f"By task: {laws}.",
        "cannot tell": "These runs do not favour one law of growth over the others.",
    }[verdict]
    return Finding(
        "exponential",
        published.CLAIMS["exponential"],
        verdict,
        sentence,
        lines(parts),
        "final-mse",
        short=share_shown(parts),
    )


def _growth(task: str, cells: dict[int, list[float]]) -> TaskVerdict:
    shape = stats.growth_shape(cells)
    if shape.best is None:
        return TaskVerdict(task, "cannot tell", f"{task}: {shape.reason}")
    order = sorted(shape.weights.items(), key=lambda item: -item[1])
    weights = listed(f"{law} {weight:.2f}" for law, weight in order)
    fits = f"; even that law does not fit ({p_text(shape.fits)})" if shape.fits.significant else ""
    verdict: Verdict = "cannot tell"
    if shape.exponential is not None:
        fits_too = shape.exponential and not shape.fits.significant
        verdict = "shown" if fits_too else "not shown"
    return TaskVerdict(
        task, verdict, f"{task}: best described as {shape.best}; Akaike weights: {weights}{fits}"
    )


def _asymmetry(data: Cells) -> Finding:
    """Over the seeds, maximum minus mean exceeds mean minus minimum."""
    sizes: dict[int, list[tuple[float, float, float]]] = {}
    for cell in (cell for task in data.learnable() for cell in data.cells(task) if len(cell.finals) > 2):
        spread = min(cell.finals), fmean(cell.finals), max(cell.finals)
        sizes.setdefault(cell.batch_size, []).append(spread)
    found = stats.asymmetry(sizes.values())
    verdict = judged(found.p, agrees=found.up > found.down)
    said = f"in {found.up} of {counted(found.up + found.down, 'cell')} the seeds reach further up than down"
    sentence = {
        "shown": f"The seeds spread upwards: {said}.",
        "not shown": f"An upward spread is not shown: {said}.",
        "cannot tell": "Too few batch sizes with three seeds or more to say how the seeds spread.",
    }[verdict]
    statistics = (f"Sign test over batch sizes, whose tasks share seeds: {p_text(found.p)}",)
    told = found.up + found.down
    short = Short(f"{found.up} of {counted(told, 'cell')}" if told else "")
    claim = published.CLAIMS["asymmetry"]
    return Finding("asymmetry", claim, verdict, sentence, statistics, "min-mean-max", short=short)


def _per_task(
    data: Cells, draw: Draw, caption: str, alternative: str, measure: str = MSE, fewest_seeds: int = 1
) -> FigureContent | None:
    """A panel per task with cells of at least `fewest_seeds` final MSEs; None without any."""
    cells = {
        task: [cell for cell in data.cells(task) if len(cell.finals) >= fewest_seeds]
        for task in data.tasks_of()
    }
    cells = {task: row for task, row in cells.items() if row}
    if not cells:
        return None
    panels = [
        Panel(titled(data, task), lambda axes, row=row: draw(axes, data, row), measure)  # type: ignore[misc]
        for task, row in cells.items()
    ]
    flat = [cell for row in cells.values() for cell in row]
    return FigureContent(
        panels,
        caption,
        f"{alternative}, a panel per task. {ends(cells)}",
        n=seeds_each(flat),
        results=data.results(),
        note=beside_dead(flat),
    )


def final_mse(data: Cells) -> FigureContent | None:
    """Final MSE per batch size at the last epoch, and the minimum over the epochs that the study drew."""
    return _per_task(
        data,
        _final_mse,
        f"Mean over seeds after the last of {data.epochs} epochs. "
        f"{published.MINIMUM_OVER_EPOCHS} The minimum (dashed here) picks the luckiest epoch of each run.",
        "Lines of final test MSE against batch size",
    )


def _final_mse(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    last = [fmean(cell.finals) for cell in cells]
    lowest = [fmean(cell.minima) for cell in cells]
    scale = style.log_axis(axes.yaxis, [*last, *lowest])
    sizes = [cell.batch_size for cell in cells]
    colour, marker = style.task_kind(cells[0].task, data.tasks)
    axes.plot(sizes, scale.place(last), color=colour, marker=marker, label="last epoch")
    axes.plot(sizes, scale.place(lowest), color=colour, marker=marker, **_MINIMUM)
    medians_beside_dead(axes, scale, cells)
    style.batch_axis(axes, data.batch_sizes())
    legend(axes)


def seeds(data: Cells) -> FigureContent | None:
    """Each seed as a dot beside the mean with its bootstrap interval."""
    return _per_task(
        data,
        _each_seed,
        "Final test MSE of each seed (dots, in rising order), beside the mean and its 95% bootstrap interval "
        f"(bias-corrected and accelerated; none below {FEWEST_FOR_A_MEAN} seeds).",
        "Dots of final test MSE, one per seed, against batch size, with mean and interval beside them",
        fewest_seeds=2,
    )


def _each_seed(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    colour, marker = style.task_kind(cells[0].task, data.tasks)
    scale = style.log_axis(axes.yaxis, [value for cell in cells for value in cell.finals])
    intervals = {cell.batch_size: stats.mean_interval(cell.finals) for cell in cells}
    for cell in cells:
        places = [cell.batch_size * 0.9 * factor for factor in style.spread(len(cell.finals), 1.12)]
        axes.plot(places, scale.place(sorted(cell.finals)), ".", color=colour, alpha=0.55, markersize=5)
        beside = cell.batch_size * 1.1
        if interval := intervals[cell.batch_size]:
            low, high = scale.place([interval.low, interval.high])
            axes.vlines(beside, low, high, color=style.INK)
        axes.plot([beside], scale.place([fmean(cell.finals)]), marker, color=style.INK, markersize=5)
    medians_beside_dead(axes, scale, cells, shift=1.1)
    style.batch_axis(axes, data.batch_sizes())
    line, label = ("-", "mean, 95% interval") if any(intervals.values()) else ("", "mean")
    seed = axes.plot([], [], ".", color=colour, alpha=0.55, label="one seed")
    mean = axes.plot([], [], marker, linestyle=line, color=style.INK, markersize=5, label=label)
    dead = [handle for handle in axes.get_legend_handles_labels()[0] if handle not in [*seed, *mean]]
    legend(axes, handles=[*seed, *mean, *dead])


def min_mean_max(data: Cells) -> FigureContent | None:
    """Minimum, mean and maximum over seeds."""
    return _per_task(
        data,
        _extremes,
        f"Minimum, mean and maximum of the test MSE over seeds after {data.epochs} epochs.",
        "Minimum, mean and maximum of final test MSE over seeds against batch size",
        fewest_seeds=2,
    )


def _extremes(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    colour, marker = style.task_kind(cells[0].task, data.tasks)
    low, middle, high = ([of(cell.finals) for cell in cells] for of in (min, fmean, max))
    scale = style.log_axis(axes.yaxis, [*low, *middle, *high])
    sizes = [cell.batch_size for cell in cells]
    axes.fill_between(sizes, scale.place(low), scale.place(high), color=colour, alpha=0.14, linewidth=0)
    axes.plot(sizes, scale.place(middle), color=colour, marker=marker, label="mean")
    for line in (low, high):
        looks: dict[str, Any] = {"color": colour, "marker": "_", "markersize": 8, "linewidth": 0.9}
        axes.plot(sizes, scale.place(line), label="minimum and maximum", **looks)
    style.batch_axis(axes, data.batch_sizes())
    legend(axes)


def mse_and_time(data: Cells) -> FigureContent | None:
    """Mean final MSE above, mean training time below, as bars that start at zero."""
    return _per_task(
        data,
        _bars,
        f"Mean over seeds of the final test MSE and of the training time of {data.epochs} epochs, without "
        "loading, evaluation and compilation. Bars start at zero.",
        "Two rows of bars for each batch size, mean final test MSE and mean training seconds",
        "final test MSE, squared label units (above); training s (below)",
    )


def _bars(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    above, below = stacked(axes)
    colours = style.ordered_colours([cell.batch_size for cell in cells])
    means = [fmean(cell.finals) for cell in cells]
    above.bar(range(len(cells)), means, color=list(colours.values()), width=0.7)
    style.linear_axis(above.yaxis, max(means))
    _time_bars(below, data, cells)
    middle, reach = (len(cells) - 1) / 2, max(len(cells) / 2 + 0.1, 1.6)
    for row, names in ((above, [""] * len(cells)), (below, [str(cell.batch_size) for cell in cells])):
        row.grid(visible=False, axis="x")
        row.set_xlim(middle - reach, middle + reach)
        row.set_xticks(range(len(cells)), names)
    below.set_xlabel("batch size")
    legend(below, handles=_one_each(below.get_legend_handles_labels()[0]))


def _time_bars(axes: Axes, data: Cells, cells: Sequence[Cell]) -> None:
    """A bar per batch size and way of timing, those of one batch size side by side."""
    timings = list(data.timings(result for cell in cells for result in cell.finished))
    width, tallest = 0.7 / max(len(timings), 1), 0.0
    for index, timing in enumerate(timings):
        colour = style.MUTED if len(timings) == 1 else style.kind(index)[0]
        label = style.name(data.timing_label(timing), 64)
        for place, cell in enumerate(cells):
            times = [r.total_training_seconds for r in data.timings(cell.finished).get(timing, [])]
            if times:
                tallest = max(tallest, fmean(times))
                left = place - 0.35 + width * (index + 0.5)
                axes.bar([left], [fmean(times)], width=width * 0.94, color=colour, label=label)
    style.linear_axis(axes.yaxis, tallest)


def _one_each(artists: Iterable[Any]) -> list[Any]:
    return list({artist.get_label(): artist for artist in artists}.values())


def _errors_table(data: Cells) -> Table:
    """Final MSE of every cell of the batch-size experiment."""
    rows = [
        {
            "task": task,
            "batch size": cell.batch_size,
            **finals_cells(cell),
            "mean of minima over epochs": fmean(cell.minima),
            "normalised MSE": fmean(cell.normalised) if cell.normalised else None,
            "status": ended(cell.results),
        }
        for task in data.tasks_of()
        for cell in data.cells(task)
    ]
    note = "Test MSE after the last epoch, squared label units. Interval: bootstrap of the mean over seeds."
    return Table.of("errors", "Error per task and batch size", rows, note)


CHAPTER: Final = Chapter(
    section="The batch size",
    options="--bsr-experiments batch-size",
    figures=(
        Figure("Final error per batch size", final_mse, "figures 7 and 8"),
        Figure("Every seed", seeds, options="--bsr-experiments batch-size --bsr-runs 10"),
        Figure(
            "Minimum, mean and maximum over seeds",
            min_mean_max,
            "figure 9",
            options="--bsr-experiments batch-size --bsr-runs 10",
        ),
        Figure("Error and time", mse_and_time, "figure 6"),
    ),
    findings=findings,
    tables=lambda data: [_errors_table(data)],
    experiments=("batch-size",),
)
