"""Findings about the batch size: error, its shape, time and convergence."""

from __future__ import annotations

from statistics import fmean, median

from bsr import paper, stats
from reports.effects import Effects, effects, finals_by_size
from reports.figures.convergence import TARGET, reached
from reports.findings.basis import (
    Finding,
    Part,
    Verdict,
    judged,
    named,
    p_text,
    times,
    together,
    where,
    within,
)
from reports.frame import Frame, group, seeds
from reports.text import counted, listed, number


def question(frame: Frame) -> Finding:
    """The title's question: the batch-size effect beside seed noise and the learning-rate effect."""
    claim = "The batch size affects the performance of regression CNNs."
    found = [effect for effect in effects(frame) if effect.batch_size]
    parts = [_effect_part(effect, len(found)) for effect in found]
    verdict = together_any(parts)
    trend = stats.rank_trend(*(finals_by_size(frame, task) for task in frame.learnable()))
    lines = (f"All tasks: {_trend_text(trend)}", *_lines(parts))
    if verdict == "too little data" and trend.p.significant and trend.rho:
        direction = "rises" if trend.rho > 0 else "falls"
        sentence = (
            f"Yes, as far as so few seeds can tell: the error {direction} with the batch size ({p_text(trend.p)}). How "
            "large that is beside the noise of seeds, they cannot say."
        )
        return Finding("question", claim, "supported", sentence, lines, "final-mse")
    return Finding("question", claim, verdict, _answer(frame, found, parts, verdict), lines, "effects")


def together_any(parts: list[Part]) -> Verdict:
    """Supported where any part is: an effect on one task is an effect."""
    verdicts = {part.verdict for part in parts}
    return next((v for v in ("supported", "not supported") if v in verdicts), "too little data")


def _effect_part(found: Effects, tasks: int) -> Part:
    effect = found.batch_size
    assert effect is not None
    line = (
        f"{found.task}: {times(effect.ratio)}{within(effect.interval)}, lowest at batch size {effect.lowest:g}, highest "
        f"at {effect.highest:g}; {p_text(effect.p)}"
    )
    if effect.seed_factor is not None:
        line += f"; one seed's noise: {times(effect.seed_factor)}; share of the log variance: {effect.share:.0%}"
    if found.learning_rate:
        rate = found.learning_rate
        line += f"; learning rate: {times(rate.ratio)}{within(rate.interval)}, lowest at {rate.lowest:g}, highest at {rate.highest:g}"
    # an effect on any of several tasks is claimed, so each is held to its share of the significance
    corrected = effect.p.value is not None and effect.p.value * tasks <= stats.SIGNIFICANCE
    return Part(found.task, judged(effect.p, agrees=corrected), line)


def _answer(frame: Frame, found: list[Effects], parts: list[Part], verdict: Verdict) -> str:
    sizes = frame.batch_sizes()
    if not found:
        return "These data cannot say: it takes at least two batch sizes of a task that has something to learn."
    span = f"From batch size {min(sizes)} to {max(sizes)}"
    ratios = [e.batch_size.ratio for e in found if e.batch_size]
    change = f"the worst batch size has {_range(ratios)} the error of the best"
    if verdict == "too little data":
        return f"{span} {change}, but these runs cannot tell that from the noise of seeds: more seeds per batch size would."
    if verdict == "not supported":
        return f"{span} {change}; that is within what seeds alone do here. It is no evidence that there is no effect."
    noise = [e.batch_size.seed_factor for e in found if e.batch_size and e.batch_size.seed_factor]
    rate = [e.learning_rate.ratio for e in found if e.learning_rate]
    more = f", where one seed's noise is {_range(noise)}" if noise else ""
    more += f" and the learning rate around its best makes {_range(rate)}" if rate else ""
    where = "" if len(named(parts, "supported")) == len(parts) else f" (shown for {listed(named(parts, 'supported'))})"
    return f"Yes{where}. {span} {change}{more}."


def _range(factors: list[float]) -> str:
    low, high = number(min(factors), 2), number(max(factors), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"


def _lines(parts: list[Part]) -> tuple[str, ...]:
    return tuple(part.line for part in parts)


def higher_error(frame: Frame) -> Finding:
    """A larger batch gives a higher MSE: pooled rank trend, slopes, and whether the curve turns."""
    cells = {task: finals_by_size(frame, task) for task in frame.learnable()}
    trend = stats.rank_trend(*cells.values())
    verdict = judged(trend.p, agrees=(trend.rho or 0) > 0)
    lines, turns = [f"All tasks: {_trend_text(trend)}"], []
    for task, row in cells.items():
        slope, turn, own = stats.slope(row), stats.turning_point(row), stats.rank_trend(row)
        per = f"{times(slope.per_doubling)} per doubling{within(slope.interval)}" if slope.per_doubling else slope.reason
        lines.append(f"{task}: {_trend_text(own)}; {per}; {_turn_text(turn)}")
        turns += [f"{turn.level:g} ({task})"] if turn.found else []
    if turns:
        sentence = f"The error does not simply rise with the batch size: it falls up to {listed(turns)} and rises from there on."
        verdict = "not supported"
    else:
        sentence = {
            "supported": "A larger batch gives a higher error after the same number of epochs.",
            "not supported": "A rise of the error with the batch size is not shown by these runs.",
            "too little data": "Too few runs to say whether the error rises with the batch size.",
        }[verdict]
    sentence += _n(frame)
    return Finding("higher-error", paper.CLAIMS["higher-error"], verdict, sentence, tuple(lines), "final-mse")


def _trend_text(trend: stats.RankTrend) -> str:
    rho = "no rank correlation" if trend.rho is None else f"rank correlation {number(trend.rho, 2)}"
    return f"{rho}, {p_text(trend.p)}, {counted(trend.cells, 'cell')}, {counted(trend.values, 'run')}"


def _turn_text(turn: stats.TurningPoint) -> str:
    if turn.found:
        return f"falls up to {turn.level:g} and rises from it on ({p_text(turn.p)})"
    return f"no turning point shown ({p_text(turn.p)})"


def _n(frame: Frame) -> str:
    cells = [cell for task in frame.learnable() for cell in frame.cells(task)]
    if not cells:
        return ""
    one = max(len(cell.finals) for cell in cells) == 1
    return f" ({seeds(cells)}{', which says nothing about the spread between seeds' if one else ''}.)"


def best_batch_size(frame: Frame) -> Finding:
    """The best batch sizes are 8 to 32."""
    low, high = 8, 32
    parts = []
    for task in frame.learnable():
        cells = finals_by_size(frame, task)
        best = stats.best(cells)
        if best is None or len(cells) < 2:
            why = "one batch size has none to compare with" if best else "an MSE is zero, which has no logarithm"
            parts.append(Part(task, "too little data", f"{task}: {why}"))
            continue
        tied = listed(f"{size:g}" for size in best.tied)
        edge = "; at the edge of what was measured, so a better one may lie outside" if best.at_edge else ""
        if best.reason:
            parts.append(Part(task, "too little data", f"{task}: lowest at {best.level:g}; {best.reason}{edge}"))
            continue
        inside = [low <= size <= high for size in best.tied]
        # a best batch size at the edge, within the claimed range: a better one outside it was not measured
        all_inside: Verdict = "too little data" if best.at_edge else "supported"
        verdict: Verdict = all_inside if all(inside) else "too little data" if any(inside) else "not supported"
        share = f"lowest in {best.shares[best.level]:.0%} of bootstrap samples"
        parts.append(Part(task, verdict, f"{task}: lowest at {best.level:g} ({share}); within seed noise: {tied}{edge}"))
    levels = "; ".join(part.line.partition(";")[0].partition(" (")[0] for part in parts)
    sentence = f"{levels[:1].upper()}{levels[1:]}{where(parts)}." if parts else "No task with something to learn was measured."
    return Finding("best-batch-size", paper.CLAIMS["best-batch-size"], together(parts), sentence, _lines(parts), "seeds")


def exponential(frame: Frame) -> Finding:
    """The error grows exponentially with the batch size."""
    parts = []
    for task in frame.learnable():
        shape = stats.growth_shape(finals_by_size(frame, task))
        if shape.best is None:
            parts.append(Part(task, "too little data", f"{task}: {shape.reason}"))
            continue
        weights = listed(f"{law} {weight:.2f}" for law, weight in sorted(shape.weights.items(), key=lambda item: -item[1]))
        verdict = _growth_verdict(shape)
        fits = f"; even the best of them does not fit ({p_text(shape.fits)})" if shape.fits.significant else ""
        parts.append(Part(task, verdict, f"{task}: best described as {shape.best}; Akaike weights: {weights}{fits}"))
    verdict = together(parts)
    laws = "; ".join(part.line.partition(";")[0] for part in parts if part.verdict != "too little data")
    sentence = {
        "supported": f"The error grows by a constant factor per image added to the batch{where(parts)}.",
        "not supported": f"Exponential growth is not shown for {listed(named(parts, 'not supported'))}. {laws[:1].upper()}{laws[1:]}.",
        "too little data": "These runs do not favour one law of growth over the others.",
    }[verdict]
    return Finding("exponential", paper.CLAIMS["exponential"], verdict, sentence, _lines(parts), "final-mse")


def _growth_verdict(shape: stats.GrowthShape) -> Verdict:
    if shape.exponential is None:
        return "too little data"
    return "supported" if shape.exponential else "not supported"


def less_time(frame: Frame) -> Finding:
    """A larger batch needs less time."""
    timed = frame.timings(result for result in frame.results() if result.final_mse is not None)
    parts, spans = [], []
    for timing, results in timed.items():
        strata = [
            {size: [r.total_training_seconds for r in runs] for size, runs in group(rows, lambda r: r.run.batch_size).items()}
            for rows in group(results, lambda r: r.run.task).values()
        ]
        trend = stats.rank_trend(*strata)
        sizes = group(results, lambda r: r.run.batch_size)
        low, high = min(sizes), max(sizes)
        first, last = (median(s for r in sizes[size] for s in r.training_seconds) for size in (low, high))
        parts.append(
            Part(
                frame.timing_label(timing),
                judged(trend.p, agrees=(trend.rho or 0) < 0),
                f"{frame.timing_label(timing)}: {_trend_text(trend)}; {number(first, 3)} s per epoch at {low}, "
                f"{number(last, 3)} s at {high}",
            )
        )
        spans.append(f"{number(first / last, 2)} times as fast at {high} as at {low}" if last else "")
    verdict = together(parts)
    sentence = {
        "supported": f"A larger batch trains an epoch in less time: {listed(spans)}.",
        "not supported": "Less time with a larger batch is not shown in every way of timing.",
        "too little data": "Too few timed runs to say.",
    }[verdict]
    return Finding("less-time", paper.CLAIMS["less-time"], verdict, sentence, _lines(parts), "speed")


def slower_convergence(frame: Frame, unit: str = "epochs") -> Finding:
    """A larger batch needs more epochs (or steps) to a stated normalised MSE."""
    parts = []
    for task in frame.learnable():
        cells = {
            cell.batch_size: [reached(result, unit) for result in cell.results if len(result.test_mse) > 1]
            for cell in frame.cells(task)
        }
        order = stats.later_with_batch_size(cells)
        parts.append(Part(task, _order_verdict(order, unit), f"{task}: {_order_text(order)}"))
    verdict = together(parts)
    goal = f"to a normalised MSE of {TARGET:g}"
    sentence = {
        "supported": f"A larger batch needs more {unit} {goal}{where(parts)}.",
        "not supported": f"That a larger batch needs more {unit} {goal} is not shown"
        + (f" for {listed(named(parts, 'not supported'))}." if parts else "."),
        "too little data": f"These runs cannot order the batch sizes by the {unit} they need {goal}.",
    }[verdict]
    claim = paper.CLAIMS["slower-convergence"] + f" Counted in {unit}."
    return Finding(f"slower-convergence-{unit}", claim, verdict, sentence, _lines(parts), "time-to-converge")


def _order_verdict(order: stats.Ordering, unit: str) -> Verdict:
    """By the permutation p in epochs; in steps by what is certain whatever the undecided pairs hide."""
    if unit == "epochs":
        few = not order.p.significant and 2 * order.undecided > order.pairs
        return "too little data" if few else judged(order.p, agrees=(order.tau or 0) > 0)
    if order.low is None or order.high is None or order.low <= 0 <= order.high:
        return "too little data"
    return "supported" if order.low > 0 else "not supported"


def _order_text(order: stats.Ordering) -> str:
    if order.tau is None:
        return f"no pair of runs whose order is certain; {counted(order.never, 'run')} never got there"
    return (
        f"of {counted(order.pairs, 'pair')} of runs the larger batch is later in {order.larger_later:,}, earlier in "
        f"{order.smaller_later:,}, tied in {order.tied:,}, undecided in {order.undecided:,}; tau {number(order.tau, 2)} "
        f"(from {number(order.low, 2)} to {number(order.high, 2)} whatever the undecided are); {p_text(order.p)}; "
        f"{counted(order.never, 'run')} never got there"
    )


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
    return Finding("asymmetry", paper.CLAIMS["asymmetry"], verdict, sentence, (f"Sign test: {p_text(found.p)}",), "min-mean-max")
