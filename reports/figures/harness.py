"""The harness beside its alternatives, as it measured itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

from matplotlib.axes import Axes

from bsr.schema import HarnessTiming
from reports import style
from reports.drawing import Panel
from reports.figures.spec import Drawing, legend
from reports.frame import Frame, span
from reports.text import listed, number

REFERENCE = "textbook"
"""The loop that others are compared with: what one would otherwise write."""
_SHARE = "Share of the peak"
Cells = Mapping[tuple[str, int], HarnessTiming]
"""Loop and batch size -> what was measured there."""
Measure = Callable[[Cells, HarnessTiming], float | None]


def harness(frame: Frame) -> Drawing | None:
    """The harness's own benchmark: time per epoch of every loop, beside the textbook's, and of the peak."""
    timings = frame.session.harness
    if not timings:
        return None
    cells = {(timing.loop, timing.batch_size): timing for timing in timings}
    measures: dict[str, tuple[str, Measure]] = {
        "Seconds per epoch": ("training s per epoch (log)", _seconds),
        "Times as fast as the textbook loop": ("its time / the loop's time (log)", _against_reference),
        _SHARE: ("% of the cores' multiply-add peak", _share_of_peak),
    }
    return Drawing(
        [
            Panel(title, partial(_draw, cells=cells, measure=measure, share=title == _SHARE), unit)
            for title, (unit, measure) in measures.items()
            if any(measure(cells, timing) for timing in timings)
        ],
        f"The harness measuring itself: median of n = {span((len(t.seconds) for t in timings), 'round')} "
        "per point. Loops with different numbers of threads are different series.",
        f"Seconds per training epoch against batch size for the loops {listed(_loops(cells))}. "
        f"{_ratios(cells)}",
    )


def _loops(cells: Cells) -> list[str]:
    return list(dict.fromkeys(loop for loop, _ in cells))


def _draw(axes: Axes, cells: Cells, measure: Measure, *, share: bool) -> None:
    sizes = sorted({size for _, size in cells})
    rows = {
        loop: {size: cells[loop, size] for size in sizes if (loop, size) in cells} for loop in _loops(cells)
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


def _seconds(_cells: Cells, timing: HarnessTiming) -> float:
    return median(timing.seconds)


def _against_reference(cells: Cells, timing: HarnessTiming) -> float | None:
    reference = cells.get((REFERENCE, timing.batch_size))
    return median(reference.seconds) / median(timing.seconds) if reference else None


def _share_of_peak(_cells: Cells, timing: HarnessTiming) -> float | None:
    if not timing.peak_gflops or not timing.gflop_per_epoch:
        return None
    return 100 * timing.gflop_per_epoch / median(timing.seconds) / timing.peak_gflops


def _ratios(cells: Cells) -> str:
    said = [
        f"{timing.loop} at {timing.batch_size}: {number(ratio, 3)} times as fast as {REFERENCE}"
        for timing in cells.values()
        if timing.loop != REFERENCE and (ratio := _against_reference(cells, timing))
    ]
    return "; ".join(said) + ("." if said else "")
