"""How fast it trains: time per epoch and images per second."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from matplotlib.axes import Axes

from bsr.run import Result
from reports import style
from reports.drawing import Panel
from reports.figures.spec import Drawing, legend
from reports.frame import Frame, group, span
from reports.text import listed, number


def speed(frame: Frame) -> Drawing | None:
    """Training time per epoch and images per second against the batch size, a line per way of timing."""
    series = {
        timing: group(results, lambda result: result.run.batch_size)
        for timing, results in frame.timings(frame.results()).items()
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
            _lines(frame, axes, {frame.timing_label(timing): row for timing, row in values.items()})

        return draw

    counts = [len(results) for sizes in series.values() for results in sizes.values()]
    sizes = next(iter(series.values()))
    fast = {size: median(map(measures["images"], results)) for size, results in sorted(sizes.items())}
    first, last = min(fast), max(fast)
    return Drawing(
        [
            Panel("Time per epoch", panel(measures["seconds"]), "training s per epoch (log)"),
            Panel("Images per second", panel(measures["images"]), "training images per second (log)"),
        ],
        "Each dot is a run's median epoch, of any task (the network is the same); the line is the median "
        f"over runs. n = {span(counts, 'run')} per batch size. Timed as: "
        f"{listed(map(frame.timing_label, series))}.",
        f"Training seconds per epoch, and images per second, against batch size. {number(fast[first], 3)} "
        f"images per second at batch size {first}, {number(fast[last], 3)} at {last}.",
    )


def _lines(frame: Frame, axes: Axes, series: dict[str, dict[int, list[float]]]) -> None:
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
        axes, sorted({size for row in series.values() for size in row} | set(frame.batch_sizes()))
    )
    legend(axes)
