"""Findings about time and convergence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bsr import paper, stats
from bsr.run import Result
from reports.figures.target import TARGET, Unit, reached
from reports.findings.basis import (
    Finding,
    Part,
    Verdict,
    judged,
    lines,
    named,
    p_text,
    together,
    trend_text,
    where,
)
from reports.frame import Frame, group
from reports.text import counted, listed, number

MATTERS = 1.05
"""Times as fast: what a machine's drift makes over an hour is less, and no effect of the batch size."""


def less_time(frame: Frame) -> Finding:
    """A larger batch needs less time, within each way of timing."""
    timed = frame.timings(result for result in frame.results() if result.final_mse is not None)
    parts = [_time(frame.timing_label(timing), results) for timing, results in timed.items()]
    verdict = together(parts)
    spans = listed(_span(results) for results in timed.values() if _span(results))
    sentence = {
        "supported": f"A larger batch trains an epoch in less time: {spans}.",
        "not supported": f"Less time with a larger batch is not shown{where(parts)}: {spans}.",
        "too little data": "Too few timed runs to say.",
    }[verdict]
    return Finding("less-time", paper.CLAIMS["less-time"], verdict, sentence, lines(parts), "speed")


def _time(label: str, results: Sequence[Result]) -> Part:
    """Tasks are strata: the network is the same, yet one may have been timed in a busier hour."""
    strata = [
        {size: [r.total_training_seconds for r in runs] for size, runs in _by_size(rows).items()}
        for rows in group(results, lambda r: r.run.task).values()
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
    return Part(label, judged(trend.p, agrees=(trend.rho or 0) < 0 and matters), line)


def _by_size(results: Sequence[Result]) -> dict[int, list[Result]]:
    return group(results, lambda r: r.run.batch_size)


def _epoch(results: Sequence[Result]) -> float:
    return median(seconds for result in results for seconds in result.training_seconds)


def _span(results: Sequence[Result]) -> str:
    sizes = _by_size(results)
    low, high = min(sizes), max(sizes)
    first, last = _epoch(sizes[low]), _epoch(sizes[high])
    return f"{number(first / last, 3)} times as fast at {high} as at {low}" if last and low < high else ""


def slower_convergence(frame: Frame, unit: Unit) -> Finding:
    """A larger batch needs more epochs (or steps) to a stated normalised MSE."""
    parts = [_convergence(frame, task, unit) for task in frame.learnable()]
    verdict = together(parts)
    goal = f"to a normalised MSE of {TARGET:g}"
    sentence = {
        "supported": f"A larger batch needs more {unit} {goal}{where(parts)}.",
        "not supported": f"That a larger batch needs more {unit} {goal} is not shown "
        f"for {listed(named(parts, 'not supported'))}.",
        "too little data": f"These runs cannot order the batch sizes by the {unit} they need {goal}.",
    }[verdict]
    claim = f"{paper.CLAIMS['slower-convergence']} Counted in {unit}."
    return Finding(f"slower-convergence-{unit}", claim, verdict, sentence, lines(parts), "time-to-converge")


def _convergence(frame: Frame, task: str, unit: Unit) -> Part:
    order = stats.later_with_batch_size(
        {cell.batch_size: [reached(r, unit) for r in cell.finished] for cell in frame.cells(task)}
    )
    return Part(task, _verdict(order, unit), f"{task}: {_order_text(order)}")


def _verdict(order: stats.Ordering, unit: Unit) -> Verdict:
    """By the permutation p in epochs; in steps by what is certain whatever the undecided pairs hide."""
    if unit == "epochs":
        few = not order.p.significant and 2 * order.undecided > order.pairs
        return "too little data" if few else judged(order.p, agrees=(order.tau or 0) > 0)
    if order.low is None or order.high is None or order.low <= 0 <= order.high:
        return "too little data"
    return "supported" if order.low > 0 else "not supported"


def _order_text(order: stats.Ordering) -> str:
    never = f"{counted(order.never, 'run')} never got there"
    if order.tau is None:
        return f"no pair of runs whose order is certain; {never}"
    return (
        f"of {counted(order.pairs, 'pair')} of runs the larger batch is later in {order.larger_later:,}, "
        f"earlier in {order.smaller_later:,}, tied in {order.tied:,}, undecided in {order.undecided:,}; tau "
        f"{number(order.tau, 2)} (from {number(order.low, 2)} to {number(order.high, 2)} whatever the "
        f"undecided are); {p_text(order.p)}; {never}"
    )
