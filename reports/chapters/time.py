"""Does a larger batch need less time?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Final

from matplotlib.axes import Axes

from bsr import published, stats
from bsr.result import Result
from reports.cells import Cells, grouped, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.text.table import Table
from reports.text.verdicts import (
    Finding,
    Short,
    TaskVerdict,
    judged,
    lines,
    share_shown,
    together,
    trend_text,
    where,
)

MATTERS = 1.05
"""Times as fast, at least: a machine's own speed changes by less within an hour."""


def _less_time(data: Cells) -> Finding:
    """A larger batch needs less time, within each way of timing."""
    timed = data.timings(result for result in data.results() if result.final_mse is not None)
    parts = [_time(data.timing_label(timing), results) for timing, results in timed.items()]
    verdict = together(parts)
    spans = listed(_span(results) for results in timed.values() if _span(results))
    sentence = {
        "shown": f"A larger batch trains an epoch in less time: {spans}.",
        "not shown": f"Less time with a larger batch is not shown{where(parts)}: {spans}.",
        "cannot tell": "Too few timed runs to say.",
    }[verdict]
    said = (*lines(parts), *filter(None, [data.disturbed_text()]))
    short = Short(
        f"per epoch, {spans}" if spans and len(timed) == 1 else share_shown(parts, "way of timing").number
    )
    return Finding("less-time", published.CLAIMS["less-time"], verdict, sentence, said, "speed", short=short)


def _time(label: str, results: Sequence[Result]) -> TaskVerdict:
    """Tasks are strata: the network is the same, yet one may have been timed in a busier hour."""
    strata = [
        {size: [r.total_training_seconds for r in runs] for size, runs in _by_size(rows).items()}
        for rows in grouped(results, lambda r: r.run.task).values()
    ]
    trend = stats.rank_trend(*strata)
    sizes = _by_size(results)
    low, high = min(sizes), max(sizes)
    line = (
        f"{label}: {trend_text(trend)}; {number(_epoch(sizes[low]), 3)} s per epoch at {low}, "
        f"{number(_epoch(sizes[high]), 3)} s at {high}"
    )
    matters = _epoch(sizes[low]) >= MATTERS * _epoch(sizes[high])
    if trend.p.significant and not matters:
        line += f"; less than {MATTERS:g}-fold is no more than a machine drifts in an hour"
    return TaskVerdict(label, judged(trend.p, agrees=(trend.rho or 0) < 0 and matters), line)


def _by_size(results: Sequence[Result]) -> dict[int, list[Result]]:
    return grouped(results, lambda r: r.run.batch_size)


def _epoch(results: Sequence[Result]) -> float:
    return median(seconds for result in results for seconds in result.training_seconds)


def _span(results: Sequence[Result]) -> str:
    sizes = _by_size(results)
    low, high = min(sizes), max(sizes)
    first, last = _epoch(sizes[low]), _epoch(sizes[high])
    return f"{number(first / last, 3)} times as fast at {high} as at {low}" if last and low < high else ""


def speed(data: Cells) -> FigureContent | None:
    """Training time per epoch and images per second against the batch size, a line per way of timing."""
    series = {
        timing: grouped(results, lambda result: result.run.batch_size)
        for timing, results in data.timings(data.results()).items()
    }
    if not series:
        return None
    measures: dict[str, Callable[[Result], float]] = {
        "seconds": lambda result: median(result.training_seconds),
        "images": lambda result: result.run.train_images / max(median(result.training_seconds), 1e-9),
    }

    def panel(measure: Callable[[Result], float]) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            values = {
                timing: {
                    size: [measure(result) for result in results] for size, results in sorted(sizes.items())
                }
                for timing, sizes in series.items()
            }
            _lines(data, axes, {data.timing_label(timing): row for timing, row in values.items()})

        return draw

    counts = [len(results) for sizes in series.values() for results in sizes.values()]
    sizes = next(iter(series.values()))
    fast = {size: median(map(measures["images"], results)) for size, results in sorted(sizes.items())}
    first, last = min(fast), max(fast)
    return FigureContent(
        [
            Panel("Time per epoch", panel(measures["seconds"]), "training s per epoch (log)"),
            Panel("Images per second", panel(measures["images"]), "training images per second (log)"),
        ],
        "Each dot is a run's median epoch, of any task (the network is the same); the line is the median "
        "over runs.",
        f"Training seconds per epoch, and images per second, against batch size. {number(fast[first], 3)} "
        f"images per second at batch size {first}, {number(fast[last], 3)} at {last}.",
        n=f"{span(counts, 'run')} per batch size",
        note=f"Timed as: {listed(map(data.timing_label, series))}.",
    )


def _lines(data: Cells, axes: Axes, series: dict[str, dict[int, list[float]]]) -> None:
    scale = style.log_axis(
        axes.yaxis, [v for row in series.values() for values in row.values() for v in values]
    )
    for index, (label, row) in enumerate(series.items()):
        colour, marker = style.kind(index)
        for size, values in row.items():
            axes.plot([size] * len(values), scale.place(values), ".", color=colour, alpha=0.35, markersize=4)
        middles = [median(values) for values in row.values()]
        axes.plot(list(row), scale.place(middles), color=colour, marker=marker, label=style.name(label, 64))
    style.batch_axis(
        axes, sorted({size for row in series.values() for size in row} | set(data.batch_sizes()))
    )
    legend(axes)


def _times_table(data: Cells) -> Table:
    """Training time of every cell, by the circumstances of timing."""
    rows = []
    whole = [result for result in data.results() if result.final_mse is not None]
    for timing, timed in data.timings(whole).items():
        cells = grouped(timed, lambda result: (result.run.task, result.run.batch_size))
        for (task, size), results in sorted(
            cells.items(), key=lambda item: (data.tasks.index(item[0][0]), item[0][1])
        ):
            per_epoch = median(seconds for result in results for seconds in result.training_seconds)
            rows.append(
                {
                    "task": task,
                    "batch size": size,
                    "engine": timing.engine,
                    "threads": timing.threads,
                    "timed": timing.mode,
                    "machine": data.machine_name(timing.environment),
                    "runs": len(results),
                    "s per epoch": per_epoch,
                    "training s": fmean(result.total_training_seconds for result in results),
                    "images per s": results[0].run.train_images / per_epoch if per_epoch else None,
                    "evaluation s": fmean(sum(result.evaluation_seconds) for result in results),
                    "set-up s": fmean(result.setup_seconds + result.warmup_seconds for result in results),
                }
            )
    note = "Training alone: no loading, evaluation or compilation. Median over epochs and runs; else means. "
    return Table.of("times", "Time per task and batch size", rows, (note + data.disturbed_text()).rstrip())


CHAPTER: Final = Chapter(
    section="Time",
    options="--bsr-experiments batch-size",
    figures=(Figure("Speed", speed),),
    findings=lambda data: [_less_time(data)],
    tables=lambda data: [_times_table(data)],
)
