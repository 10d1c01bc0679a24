"""How fast is the harness beside the loop that one would otherwise write?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Final

from matplotlib.axes import Axes

from bsr.records.schema import HarnessTiming, steady_seconds
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table

REFERENCE = "textbook"
"""The loop that others are compared with: what one would otherwise write."""
_SHARE = "Share of the peak"
Timings = Mapping[tuple[str, str, int], HarnessTiming]
"""Network, loop and batch size -> what was measured there."""
Measure = Callable[[Timings, HarnessTiming], float | None]


def harness(data: Cells) -> FigureContent | None:
    """The harness's own benchmark: time per epoch of every loop, beside the textbook's, and of the peak."""
    timings = data.session.harness
    if not timings:
        return None
    cells = _steady(timings)
    measures: dict[str, tuple[str, Measure]] = {
        "Seconds per epoch": ("training s per epoch (log)", _seconds),
        "Times as fast as the textbook loop": (
            "seconds of the textbook loop / seconds of the loop (log)",
            _against_reference,
        ),
        _SHARE: ("% of the cores' multiply-add peak", _share_of_peak),
    }
    return FigureContent(
        [
            Panel(title, partial(_draw, cells=cells, measure=measure, share=title == _SHARE), unit)
            for title, (unit, measure) in measures.items()
            if any(measure(cells, timing) for timing in timings)
        ],
        "The harness measuring itself: median of",
        f"Seconds per training epoch against batch size for the loops {listed(list(_series(cells)))}. "
        f"{_ratios(cells)}",
        n=f"{span((len(t.seconds) for t in timings), 'round')} per point",
        note=f"Loops with different numbers of threads are different series.{_disturbed(timings)}",
    )


def _steady(timings: Sequence[HarnessTiming]) -> Timings:
    """Their undisturbed rounds, of cells that have any."""
    steady = {timing: steady_seconds(timing, timings) for timing in timings}
    return {
        (timing.model, timing.loop, timing.batch_size): replace(timing, seconds=seconds)
        for timing, seconds in steady.items()
        if seconds
    }


def _disturbed(timings: Sequence[HarnessTiming]) -> str:
    """A sentence that names them; empty where none was."""
    lost = ((timing, len(timing.seconds) - len(steady_seconds(timing, timings))) for timing in timings)
    named = [f"{timing.loop} at {timing.batch_size} ({counted(n, 'round')})" for timing, n in lost if n]
    slow = "ten times slower than its neighbours although measured once again, so not drawn"
    return f" Disturbed, {slow}: {listed(named)}." if named else ""


def _series(cells: Timings) -> dict[str, tuple[str, str]]:
    """Network and loop by their name; of several networks each is named."""
    several = len({model for model, _, _ in cells}) > 1
    return {f"{loop}, {model}" if several else loop: (model, loop) for model, loop, _ in cells}


def _draw(axes: Axes, cells: Timings, measure: Measure, *, share: bool) -> None:
    sizes = sorted({size for _, _, size in cells})
    rows = {
        name: {size: cells[*series, size] for size in sizes if (*series, size) in cells}
        for name, series in _series(cells).items()
    }
    values = {
        loop: {size: value for size, timing in row.items() if (value := measure(cells, timing))}
        for loop, row in rows.items()
    }
    everything = [value for row in values.values() for value in row.values()]
    if share:
        style.linear_axis(axes.yaxis, max(100.0, *everything))
    scale = style.LogScale.of(everything) if share else style.log_axis(axes.yaxis, everything)
    for index, (loop, row) in enumerate(values.items()):
        if not row:
            continue
        colour, marker = style.kind(index)
        threads = sorted({timing.threads for timing in rows[loop].values()})
        label = f"{style.name(loop)} ({listed(threads)} {'thread' if threads == [1] else 'threads'})"
        axes.plot(list(row), scale.place(row.values()), color=colour, marker=marker, label=label)
    style.batch_axis(axes, sizes)
    legend(axes)


def _seconds(_cells: Timings, timing: HarnessTiming) -> float:
    return median(timing.epoch_seconds)


def _against_reference(cells: Timings, timing: HarnessTiming) -> float | None:
    reference = cells.get((timing.model, REFERENCE, timing.batch_size))
    return median(reference.seconds) / median(timing.seconds) if reference else None


def _share_of_peak(_cells: Timings, timing: HarnessTiming) -> float | None:
    if not timing.peak_gflops or not timing.gflop_per_epoch:
        return None
    return 100 * timing.gflop_per_epoch / median(timing.seconds) / timing.peak_gflops


def _ratios(cells: Timings) -> str:
    names = {series: name for name, series in _series(cells).items()}
    said = [
        f"{names[model, loop]} at {size}: {number(ratio, 3)} times as fast as {REFERENCE}"
        for (model, loop, size), timing in cells.items()
        if loop != REFERENCE and (ratio := _against_reference(cells, timing))
    ]
    return "; ".join(said) + ("." if said else "")


def _harness_table(data: Cells) -> Table:
    """The harness's own benchmark."""
    rows = [
        {
            "loop": timing.loop,
            "batch size": timing.batch_size,
            "threads": timing.threads,
            "rounds": len(each := timing.epoch_seconds),
            "disturbed": len(each) - len(steady_seconds(timing, data.session.harness)) or None,
            "median s": median(each),
            "min s": min(each),
            "max s": max(each),
            "GFLOP/s": timing.gflop_per_epoch / median(timing.seconds) if timing.gflop_per_epoch else None,
            "peak GFLOP/s": timing.peak_gflops,
            "network": timing.model,
            "data set": timing.dataset,
        }
        for timing in data.session.harness
    ]
    return Table.of("harness", "The harness itself", rows, "Seconds per epoch of 60,000 training images.")


CHAPTER: Final = Chapter(
    section="Time",
    options="--bsr-experiments harness",
    figures=(Figure("The harness itself", harness),),
    tables=lambda data: [_harness_table(data)],
)
