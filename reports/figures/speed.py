"""How fast it trains: time per epoch, images per second, and the harness beside its alternatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from matplotlib.axes import Axes

from bsr.document import HarnessTiming
from bsr.experiment import Result
from reports import style
from reports.drawing import Panel
from reports.figures.spec import Drawing, legend
from reports.frame import Frame, group, span
from reports.text import counted, listed, number


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
        "Each dot is a run's median epoch, of any task (the network is the same); the line is the median over runs. "
        f"n = {span(counts, 'run')} per batch size. Timed as: {listed(map(frame.timing_label, series))}.",
        "Training seconds per epoch, and images per second, against batch size. "
        f"{number(fast[first], 3)} images per second at batch size {first}, {number(fast[last], 3)} at {last}.",
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


def harness(frame: Frame) -> Drawing | None:
    """The harness's own benchmark: every loop's time per epoch, beside the eager reference, and of the peak."""
    timings = frame.study.harness
    if not timings:
        return None
    loops = list(dict.fromkeys(timing.loop for timing in timings))
    cells = {(timing.loop, timing.batch_size): timing for timing in timings}
    sizes = sorted({timing.batch_size for timing in timings})

    def panel(measure: Callable[[HarnessTiming], float | None]) -> Callable[[Axes], None]:
        def draw(axes: Axes) -> None:
            rows = {
                loop: {size: measure(cells[loop, size]) for size in sizes if (loop, size) in cells}
                for loop in loops
            }
            found = [value for row in rows.values() for value in row.values() if value is not None]
            scale = style.log_axis(axes.yaxis, found)
            for index, (loop, row) in enumerate(rows.items()):
                colour, marker = style.kind(index)
                shown = {size: value for size, value in row.items() if value is not None}
                label = f"{style.name(loop)} ({counted(cells[loop, min(row)].threads, 'thread')})"
                axes.plot(list(shown), scale.place(shown.values()), color=colour, marker=marker, label=label)
            style.batch_axis(axes, sizes)
            legend(axes)

        return draw

    def against_eager(timing: HarnessTiming) -> float | None:
        eager = cells.get(("eager", timing.batch_size))
        return median(eager.seconds) / median(timing.seconds) if eager else None

    panels = [
        Panel("Seconds per epoch", panel(lambda timing: median(timing.seconds)), "training s per epoch (log)")
    ]
    if "eager" in loops:
        panels.append(
            Panel("Times as fast as eager", panel(against_eager), "eager's time / the loop's time (log)")
        )
    if any(timing.peak_gflops for timing in timings):
        panels.append(
            Panel("Share of the peak", panel(_share_of_peak), "% of the cores' multiply-add peak (log)")
        )
    return Drawing(
        panels,
        f"The harness measuring itself: median of n = {span((len(t.seconds) for t in timings), 'round')} per point. "
        "Loops with different numbers of threads are different series.",
        f"Seconds per training epoch against batch size for the loops {listed(loops)}. {_ratios(timings, cells)}",
    )


def _share_of_peak(timing: HarnessTiming) -> float | None:
    if not timing.peak_gflops:
        return None
    return 100 * timing.gflop_per_epoch / median(timing.seconds) / timing.peak_gflops


def _ratios(timings: Sequence[HarnessTiming], cells: dict[tuple[str, int], HarnessTiming]) -> str:
    said = []
    for timing in timings:
        eager = cells.get(("eager", timing.batch_size))
        if eager and timing.loop != "eager":
            ratio = median(eager.seconds) / median(timing.seconds)
            said.append(f"{timing.loop} at {timing.batch_size}: {number(ratio, 3)} times as fast as eager")
    return "; ".join(said) + ("." if said else "")
