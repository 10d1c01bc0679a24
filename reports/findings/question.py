"""The title's question: the batch-size effect beside seed noise and the learning-rate effect."""

from __future__ import annotations

from collections.abc import Sequence

from bsr import stats
from reports.effects import Effects, effects, finals_by_size
from reports.findings.basis import (
    Finding,
    Part,
    Verdict,
    judged,
    lines,
    named,
    p_text,
    times,
    trend_text,
    within,
)
from reports.frame import Frame
from reports.text import listed, number

CLAIM = "The batch size affects the performance of regression CNNs."


def question(frame: Frame) -> Finding:
    """Whether the batch size affects the final error, and how much beside what else does."""
    found = [effect for effect in effects(frame) if effect.batch_size]
    parts = [_part(effect, len(found)) for effect in found]
    verdict = _any(parts)
    trend = stats.rank_trend(*(finals_by_size(frame, task) for task in frame.learnable()))
    statistics = (f"All tasks: {trend_text(trend)}", *lines(parts))
    if verdict == "too little data" and trend.p.significant and trend.rho:
        direction = "rises" if trend.rho > 0 else "falls"
        sentence = (
            f"Yes, as far as so few seeds can tell: the error {direction} with the batch size "
            f"({p_text(trend.p)}). How large that is beside the noise of seeds, they cannot say."
        )
        return Finding("question", CLAIM, "supported", sentence, statistics, "final-mse")
    return Finding("question", CLAIM, verdict, _answer(frame, found, parts, verdict), statistics, "effects")


def _any(parts: Sequence[Part]) -> Verdict:
    """Supported where any part is: an effect on one task is an effect."""
    for verdict in ("supported", "not supported"):
        if any(part.verdict == verdict for part in parts):
            return verdict
    return "too little data"


def _part(found: Effects, tasks: int) -> Part:
    effect, rate = found.batch_size, found.learning_rate
    assert effect is not None
    line = (
        f"{found.task}: {times(effect.ratio)}{within(effect.interval)}, lowest at batch size "
        f"{effect.lowest:g}, highest at {effect.highest:g}; {p_text(effect.p)}"
    )
    if effect.seed_factor is not None:
        line += (
            f"; one seed's noise: {times(effect.seed_factor)}; share of the log variance: {effect.share:.0%}"
        )
    if rate:
        line += f"; learning rate: {times(rate.ratio)}{within(rate.interval)}, "
        line += f"lowest at {rate.lowest:g}, highest at {rate.highest:g}"
    # an effect on any of several tasks is claimed, so each is held to its share of the significance
    corrected = effect.p.value is not None and effect.p.value * tasks <= stats.SIGNIFICANCE
    return Part(found.task, judged(effect.p, agrees=corrected), line)


def _answer(frame: Frame, found: Sequence[Effects], parts: Sequence[Part], verdict: Verdict) -> str:
    if not found:
        return (
            "These data cannot say: it takes at least two batch sizes of a task that has something to learn."
        )
    sizes = frame.batch_sizes()
    change = (
        f"From batch size {min(sizes)} to {max(sizes)} the worst batch size has "
        f"{_range([e.batch_size.ratio for e in found if e.batch_size])} the error of the best"
    )
    if verdict == "too little data":
        return f"{change}, but these runs cannot tell that from the noise of seeds; more seeds would."
    if verdict == "not supported":
        return (
            f"{change}; that is not told from the noise of seeds. It is no evidence that there is no effect."
        )
    noise = [e.batch_size.seed_factor for e in found if e.batch_size and e.batch_size.seed_factor]
    rate = [e.learning_rate.ratio for e in found if e.learning_rate]
    change += f", where one seed's noise is {_range(noise)}" if noise else ""
    change += f" and the learning rate around its best makes {_range(rate)}" if rate else ""
    shown = named(parts, "supported")
    only = "" if len(shown) == len(parts) else f" (shown for {listed(shown)})"
    return f"Yes{only}. {change}."


def _range(factors: Sequence[float]) -> str:
    low, high = number(min(factors), 2), number(max(factors), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"
