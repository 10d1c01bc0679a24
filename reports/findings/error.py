"""Findings about the final error: whether and how it follows the batch size, and how seeds spread."""

from __future__ import annotations

from statistics import fmean
from typing import Final

from bsr import paper, stats
from reports.effects import finals_by_size
from reports.findings.basis import (
    Finding,
    Part,
    Verdict,
    judged,
    lines,
    named,
    p_text,
    times,
    together,
    trend_text,
    where,
    within,
)
from reports.frame import Frame, seeds
from reports.text import counted, listed

CLAIMED_BEST: Final = (8, 32)
"""The best batch sizes that the study names, first and last."""


def higher_error(frame: Frame) -> Finding:
    """A larger batch gives a higher MSE: pooled rank trend, slopes, and whether the curve turns."""
    cells = {task: finals_by_size(frame, task) for task in frame.learnable()}
    trend = stats.rank_trend(*cells.values())
    turns = {task: turn for task, row in cells.items() if (turn := stats.turning_point(row)).found}
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    sentence = {
        "supported": "A larger batch gives a higher error after the same number of epochs.",
        "not supported": "A rise of the error with the batch size is not shown by these runs.",
        "too little data": "Too few runs to say whether the error rises with the batch size.",
    }[verdict]
    if turns:
        verdict = "not supported"
        up_to = listed(f"{turn.level:g} ({task})" for task, turn in turns.items())
        sentence = f"The error does not simply rise with the batch size: it falls up to {up_to}, then rises."
    statistics = (f"All tasks: {trend_text(trend)}", *(_shape(task, row) for task, row in cells.items()))
    claim = paper.CLAIMS["higher-error"]
    return Finding("higher-error", claim, verdict, sentence + _n(frame), statistics, "final-mse")


def _shape(task: str, row: dict[int, list[float]]) -> str:
    slope, turn = stats.slope(row), stats.turning_point(row)
    per = (
        f"{times(slope.per_doubling)} per doubling{within(slope.interval)}"
        if slope.per_doubling
        else slope.reason
    )
    turning = "no turning point shown"
    if turn.found and turn.level:
        turning = f"falls up to {turn.level:g} and rises from it on"
    return f"{task}: {trend_text(stats.rank_trend(row))}; {per}; {turning} ({p_text(turn.p)})"


def _n(frame: Frame) -> str:
    cells = [cell for task in frame.learnable() for cell in frame.cells(task)]
    one = max(len(cell.finals) for cell in cells) == 1
    return f" ({seeds(cells)}{', which says nothing about the spread between seeds' if one else ''}.)"


def best_batch_size(frame: Frame) -> Finding:
    """The best batch sizes are 8 to 32."""
    parts = [_best(task, finals_by_size(frame, task)) for task in frame.learnable()]
    found = "; ".join(part.line.partition(";")[0].partition(" (")[0] for part in parts)
    sentence = f"{found[:1].upper()}{found[1:]}{where(parts)}."
    claim = paper.CLAIMS["best-batch-size"]
    return Finding("best-batch-size", claim, together(parts), sentence, lines(parts), "seeds")


def _best(task: str, cells: dict[int, list[float]]) -> Part:
    best = stats.best(cells)
    if best is None or len(cells) < 2:
        why = "one batch size has none to compare with" if best else "an MSE is zero, which has no logarithm"
        return Part(task, "too little data", f"{task}: {why}")
    edge = "; at the edge of what was measured, so a better one may lie outside" if best.at_edge else ""
    if best.reason:
        return Part(task, "too little data", f"{task}: lowest at {best.level:g}; {best.reason}{edge}")
    inside = [CLAIMED_BEST[0] <= size <= CLAIMED_BEST[1] for size in best.tied]
    verdict: Verdict = "too little data"
    if not any(inside):
        verdict = "not supported"
    elif all(inside) and not best.at_edge:
        verdict = "supported"
    tied = listed(f"{size:g}" for size in best.tied)
    return Part(
        task, verdict, f"{task}: lowest at {best.level:g}; not told from it by these seeds: {tied}{edge}"
    )


def exponential(frame: Frame) -> Finding:
    """The error grows exponentially with the batch size."""
    parts = [_growth(task, finals_by_size(frame, task)) for task in frame.learnable()]
    laws = "; ".join(part.line.partition(";")[0] for part in parts if part.verdict != "too little data")
    verdict = together(parts)
    sentence = {
        "supported": f"The error grows by a constant factor per image added to the batch{where(parts)}.",
        "not supported": f"Exponential growth is not shown for {listed(named(parts, 'not supported'))}. "
        f"{laws[:1].upper()}{laws[1:]}.",
        "too little data": "These runs do not favour one law of growth over the others.",
    }[verdict]
    return Finding("exponential", paper.CLAIMS["exponential"], verdict, sentence, lines(parts), "final-mse")


def _growth(task: str, cells: dict[int, list[float]]) -> Part:
    shape = stats.growth_shape(cells)
    if shape.best is None:
        return Part(task, "too little data", f"{task}: {shape.reason}")
    order = sorted(shape.weights.items(), key=lambda item: -item[1])
    weights = listed(f"{law} {weight:.2f}" for law, weight in order)
    fits = f"; even that law does not fit ({p_text(shape.fits)})" if shape.fits.significant else ""
    verdict: Verdict = "too little data"
    if shape.exponential is not None:
        fits_too = shape.exponential and not shape.fits.significant
        verdict = "supported" if fits_too else "not supported"
    return Part(task, verdict, f"{task}: best described as {shape.best}; Akaike weights: {weights}{fits}")


def asymmetry(frame: Frame) -> Finding:
    """Over the seeds, maximum minus mean exceeds mean minus minimum."""
    cells = [cell for task in frame.learnable() for cell in frame.cells(task) if len(cell.finals) > 2]
    found = stats.asymmetry((min(cell.finals), fmean(cell.finals), max(cell.finals)) for cell in cells)
    verdict = judged(found.p, agrees=found.up > found.down)
    said = f"in {found.up} of {counted(found.up + found.down, 'cell')} the seeds reach further up than down"
    sentence = {
        "supported": f"The seeds spread upwards: {said}.",
        "not supported": f"An upward spread is not shown: {said}.",
        "too little data": "Too few cells with three seeds or more to say how the seeds spread.",
    }[verdict]
    statistics = (f"Sign test over cells: {p_text(found.p)}",)
    return Finding("asymmetry", paper.CLAIMS["asymmetry"], verdict, sentence, statistics, "min-mean-max")
