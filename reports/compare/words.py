"""What two series say of each other, in sentences with the statistic behind each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bsr import stats
from bsr.stats.comparison import Sameness
from reports.compare.pairs import Pair
from reports.compare.series import Series
from reports.text import counted, listed, number

CAVEAT: Final = (
    "Intervals cover the runs and epochs of the sessions at hand; what moves a whole session (heat, another "
    "program) only further sessions would show. Errors are compared as distributions: nobody promises the "
    "same bits on another device."
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one pair says."""

    title: str
    """`H200 against laptop`."""
    verdict: Sameness
    """On the final MSE."""
    headline: str
    """`32.2 times as fast; final MSE: same within 20%`."""
    speed: str
    error: str
    left_out: str
    """Empty where both have everything."""


def statement(pair: Pair) -> Statement:
    """The pair in a few sentences."""
    left_out = "; ".join(pair.left_out)
    return Statement(
        title=title(pair),
        verdict=pair.error.verdict,
        headline=headline(pair),
        speed=_speed(pair),
        error=_error(pair),
        left_out=f"Left out: {left_out}." if left_out else "",
    )


def title(pair: Pair) -> str:
    """`H200 against laptop`."""
    return f"{pair.second.label} against {pair.first.label}"


def headline(pair: Pair) -> str:
    """`32.2 times as fast; final MSE: same within 20%`."""
    ratio, _ = faster(pair.time)
    fast = f"{number(ratio, 3)} times as fast" if ratio else "no times to compare"
    return f"{fast}; final MSE: {verdict(pair.error)}"


def _speed(pair: Pair) -> str:
    """How many times as fast the second trains: pooled, at the ends of the batch sizes, and across what."""
    ratio, interval = faster(pair.time)
    if ratio is None:
        return "Speed: no training times to compare."
    across = f", across {listed(pair.across)}" if pair.across else ""
    return (
        f"{pair.second.label} trains {number(ratio, 3)} times as fast as {pair.first.label}"
        f"{bounds(interval)} (geometric mean over {counted_cells(pair.time.cells)}{across}){_ends(pair)}."
    )


def faster(time: stats.Agreement) -> tuple[float | None, stats.Interval | None]:
    """A ratio of seconds as the speed-up that it is."""
    wide = time.interval
    return 1 / time.ratio if time.ratio else None, wide and stats.Interval(
        1 / wide.high, 1 / wide.low, wide.level
    )


def bounds(interval: stats.Interval | None) -> str:
    """`, 95% interval 2.9 to 4.5`, or that there is none."""
    if interval is None:
        return ", no interval with so few runs"
    return f", {interval.level:.0%} interval {number(interval.low, 3)} to {number(interval.high, 3)}"


def _ends(pair: Pair) -> str:
    """The speed-up at the smallest and the largest batch size."""
    ends = dict.fromkeys((*pair.batch_sizes[:1], *pair.batch_sizes[-1:]))
    found = {size: pair.speed_up(pair.at(size)) for size in ends}
    ratios = {size: number(up.factor, 3) for size, up in found.items() if up}
    said = listed(f"{ratio} at batch size {size}" for size, ratio in ratios.items())
    return f": {said}" if len(set(ratios.values())) > 1 else ""


def _error(pair: Pair) -> str:
    """The verdict on the final MSE, pooled over the cells that have something to learn."""
    pooled = pair.error
    if pooled.ratio is None:
        return f"Final MSE: cannot tell; {pooled.p.reason}."
    return f"Final MSE: {verdict(pooled)}; {basis(pooled)}."


def verdict(pooled: stats.Agreement) -> str:
    """The comparison in its own words, with a unit to n; why, where there is nothing to compare."""
    if pooled.ratio is None:
        return pooled.p.reason
    return str(pooled).replace(" per cell", f" {_runs(pooled)} per cell")


def _runs(pooled: stats.Agreement) -> str:
    return "run" if pooled.replicates == 1 else "runs"


def basis(pooled: stats.Agreement) -> str:
    """What a verdict rests on: the ratio, the interval that decided, cells and n."""
    interval = pooled.interval if pooled.verdict == "different" else pooled.equivalence
    paired = f", {pooled.paired_cells} of them paired by seed" if pooled.paired_cells else ""
    return (
        f"ratio {number(pooled.ratio, 3)}{bounds(interval)}, over {counted_cells(pooled.cells)}{paired}, "
        f"n = {pooled.replicates:.3g} {_runs(pooled)} each"
    )


def counted_cells(count: int) -> str:
    """A cell is what seeds are repeated for."""
    return f"{counted(count, 'cell')} of task and batch size"


def flattening(series: Series, experiment: str) -> str:
    """Where a series' images per second stop growing: `flat from 256 on`."""
    speeds, start = series.throughput(experiment), series.flat_from(experiment)
    if len(speeds) < 3:
        return "too few batch sizes to tell"
    return f"flat from {start} on" if start else f"still rising at {max(speeds)}"
