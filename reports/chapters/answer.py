"""Does the batch size affect the error, and how much beside the learning rate and the seed?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports.analysis import decomposition as gap
from reports.analysis import equal_epochs
from reports.analysis.arms import arms_of
from reports.analysis.square import RATES, UNIT, square_of
from reports.analysis.study import (
    Effects,
    doublings_text,
    each_doubling,
    finals_by_size,
    finals_of_second_look,
    task_effects,
)
from reports.cells import Cell, Cells, beside_dead, ends, one_seed, seeds_each, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import NORMALISED, REFERENCE_LINE, medians_beside_dead
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.verdicts import (
    Finding,
    Short,
    TaskVerdict,
    Verdict,
    fold,
    judged,
    lines,
    p_text,
    tasks_with,
    trend_text,
)

CLAIM = "The batch size affects the performance of regression CNNs."
BECAUSE: Final = "After the same images a larger batch has a higher error, and fewer updates are why."
"""What is put to the test where the gap was taken apart."""
_NO_CAUSE: Final = "these runs cannot tell why"
_WORSE: Final = "after equal epochs larger batches are worse, making fewer updates"
_KINDS = ("batch size", "learning rate", "noise of one seed")


def _question(data: Cells) -> Finding:
    """What makes the error differ where that was measured; else whether the batch size affects it at all."""
    if falling := equal_epochs.gaps_of(data).get("falling"):
        return _tuned_alike(data, falling[max(falling)])
    return _why(data) if gap.primary(data) else _effect(data)


def _tuned_alike(data: Cells, planned: equal_epochs.Gap) -> Finding:
    """By the second protocol, at rates that fall to zero; the other schedules beside it."""
    large, small, parts = planned.large, planned.small, planned.parts
    found = square_of(data)
    edges = found.edges((small, planned.few, large), "falling")
    higher = stats.holm({name: parts[name].ratio.p for name in ("whole", "updates")})
    shown = len(higher) == 2 and all(parts[name].ratio.factor > 1 for name in ("whole", "updates"))
    told: Verdict = "cannot tell" if edges else "shown" if shown else "not shown"
    each = {
        RATES[rates]: gaps[large.batch_size]
        for rates, gaps in equal_epochs.gaps_of(data).items()
        if large.batch_size in gaps and rates != "all"
    }
    products = "; ".join(f"{equal_epochs.product(one)}, at {rates}" for rates, one in each.items())
    sentence = (
        f"After the same {small.batch_size * small.steps:,} images batch size {large.batch_size} ends with "
        f"the error of {small.batch_size} times {products}. {small.batch_size} makes {small.steps:,} "
        f"updates, {large.batch_size} makes {large.steps:,}; {listed(found.tasks)} together.{edges}"
        f"{_other_networks(data, large.batch_size)}"
    )
    lines_of = [
        f"{rates}, {gap.NAMES[name]}: {gap.factor(part.ratio)}, {p_text(part.ratio.p)}"
        for rates, one in each.items()
        for name, part in one.parts.items()
    ]
    because = ", because it makes fewer updates" if told == "shown" else ""
    whole = gap.times(parts["whole"].ratio.factor)
    short = Short(
        gap.factor(parts["whole"].ratio),
        "After equal epochs",
        f"At rates tuned for each, falling to zero, batch size {large.batch_size} ends with "
        f"{gap.bare_factor(parts['whole'].ratio)} the error of batch size {small.batch_size}{because}"
        f"{f' (network {data.shown})' if len(data.networks) > 1 else ''}.",
        _WORSE
        if because
        else f"after equal epochs, at rates that fall to zero, the largest batch has {whole} times the error "
        f"of the smallest; {_NO_CAUSE}",
        counted(parts["whole"].ratio.n[0], "seed"),
    )
    return Finding("question", BECAUSE, told, sentence, (*lines_of, UNIT), "equal-epochs", short=short)


def _other_networks(data: Cells, size: int) -> str:
    """A sentence on which network is meant, and one on each of the others."""
    named = [f" That is network {data.shown}."] if len(data.networks) > 1 else []
    for name in data.networks:
        gaps = equal_epochs.gaps_of(data.of_network(name)).get("falling", {})
        if name != data.shown and size in gaps:
            named.append(f" Network {name}, at rates that fall to zero: {equal_epochs.product(gaps[size])}.")
    return "".join(named)


def _why(data: Cells) -> Finding:
    found = gap.primary(data)
    assert found is not None
    verdict = gap.verdict_on(data, "updates")
    sentence = f"{gap.answer(data)} {gap.worked(data)}"
    compared = arms_of(data).compared
    because = ""
    if verdict == "shown":
        because = ", because it makes fewer updates"
        clause = _WORSE
    else:
        clause = (
            f"after equal epochs, at rates that fall to zero, the largest batch has "
            f"{gap.times(found.parts['whole'].factor)} times the error of the smallest; "
            f"{_unproven(data, found, verdict)}"
        )
    short = Short(
        gap.factor(found.parts["whole"]),
        "After equal epochs",
        f"At one learning rate per task, falling to zero, batch size {compared.largest} ends with "
        f"{gap.bare_factor(found.parts['whole'])} the error of batch size {compared.smallest}{because}.",
        clause,
        counted(found.parts["whole"].n[0], "seed"),
    )
    return Finding("question", BECAUSE, verdict, sentence, gap.sentences(data), "why", short=short)


def _unproven(data: Cells, found: stats.Decomposition, verdict: Verdict) -> str:
    """What is said of the cause where fewer updates are not shown to be it."""
    if verdict == "not shown":
        return "fewer updates are not shown to be why"
    if gap.edges(data, *gap.primary_arm(data)) or found.parts["updates"].p.value is not None:
        return _NO_CAUSE
    causes = {name: abs(math.log(found.parts[name].factor)) for name in stats.CAUSES}
    most = gap.names(data)[max(causes, key=causes.__getitem__)]
    return f"so few seeds point to {most}"


def _effect(data: Cells) -> Finding:
    """How much the batch size changes the final error, beside what else does."""
    found = [effect for effect in task_effects(data) if effect.batch_size]
    parts = [_part(effect, len(found)) for effect in found]
    verdict = _any(parts)
    trend = stats.rank_trend(*(finals_by_size(data, task) for task in data.learnable()))
    statistics = (f"All tasks: {trend_text(trend)}", *lines(parts))
    if one_seed(data):
        sentence = (
            f"{_change(data, found)}.{_at_equal_updates(data)}"
            if found
            else _answer(data, found, parts, verdict)
        )
        short = _short(found, "cannot tell", one=True)
        return Finding("question", CLAIM, "cannot tell", sentence, lines(parts), "effects", short=short)
    if verdict == "cannot tell" and trend.p.significant and trend.rho:
        direction = "rises" if trend.rho > 0 else "falls"
        sentence = (
            f"Yes, as far as so few seeds can tell: the error {direction} with the batch size "
            f"({p_text(trend.p)}). How large that is beside the noise of seeds, they cannot say."
        )
        short = Short(f"rank correlation {number(trend.rho, 2)}", "After equal epochs", sentence)
        short = replace(short, clause=f"after equal epochs the error {direction} with the batch size")
        return Finding("question", CLAIM, "shown", sentence, statistics, "final-mse", short=short)
    said = _answer(data, found, parts, verdict)
    short = _short(found, verdict)
    return Finding("question", CLAIM, verdict, said, statistics, "effects", short=short)


def _short(found: Sequence[Effects], verdict: Verdict, *, one: bool = False) -> Short:
    """Of the first screen, at the constant rate at which the experiment trains every batch size."""
    factors = [effect.batch_size.size.factor for effect in found if effect.batch_size]
    if not factors:
        return Short(clause="these runs cannot say whether the batch size matters")
    worst = {effect.batch_size.highest for effect in found if effect.batch_size}
    size = f"batch size {next(iter(worst)):g}" if len(worst) == 1 else "the worst batch size"
    most = f"up to {number(max(factors), 2)} times"
    clause = f"after equal epochs, at a constant rate, {size} ends with {most} the error of the best"
    unknown = "" if verdict == "shown" or one else ", which is not told from the noise of seeds"
    said = (
        f"At one constant learning rate per task, {size} ends with {most} the error of the best "
        f"batch size{unknown}."
    )
    return Short(_range(factors), "After equal epochs", said, clause + ("" if one else unknown))


def _any(parts: Sequence[TaskVerdict]) -> Verdict:
    """Shown where any part is: an effect on one task is an effect."""
    for verdict in ("shown", "not shown"):
        if any(part.verdict == verdict for part in parts):
            return verdict
    return "cannot tell"


def _part(found: Effects, tasks: int) -> TaskVerdict:
    effect, rate = found.batch_size, found.learning_rate
    assert effect is not None
    line = (
        f"{found.task}: {fold(effect.size)}, lowest at batch size {effect.lowest:g}, highest at "
        f"{effect.highest:g}; {p_text(effect.size.p)}"
    )
    if effect.seed_factor is not None:
        line += (
            f"; one seed's noise: {number(effect.seed_factor, 3)}-fold; share of the log variance: "
            f"{effect.share:.0%}"
        )
    if rate:
        line += f"; learning rate: {fold(rate.size)}, lowest at {rate.lowest:g}, highest at {rate.highest:g}"
    # an effect on any of several tasks is claimed, so each is held to its share of the significance
    p = effect.size.p
    corrected = p.value is not None and p.value * tasks <= stats.SIGNIFICANCE
    return TaskVerdict(found.task, judged(p, agrees=corrected), line)


def _answer(data: Cells, found: Sequence[Effects], parts: Sequence[TaskVerdict], verdict: Verdict) -> str:
    if not found:
        return (
            "These data cannot say: it takes at least two batch sizes of a task that has something to learn."
        )
    change = _change(data, found)
    if verdict == "cannot tell":
        return f"{change}, but these runs cannot tell that from the noise of seeds; more seeds would."
    if verdict == "not shown":
        return (
            f"{change}; that is not told from the noise of seeds. It is no evidence that there is no effect."
        )
    noise = [e.batch_size.seed_factor for e in found if e.batch_size and e.batch_size.seed_factor]
    rate = [e.learning_rate.size.factor for e in found if e.learning_rate]
    change += f", where one seed's noise is {_range(noise)}" if noise else ""
    change += f" and the learning rate around its best makes {_range(rate)}" if rate else ""
    shown = tasks_with(parts, "shown")
    only = "" if len(shown) == len(parts) else f" (shown for {listed(shown)})"
    return f"After the same number of epochs, yes{only}. {change}.{_at_equal_updates(data)}"


def _at_equal_updates(data: Cells) -> str:
    """No verdict about the batch size stands alone: it is also one about the number of updates."""
    found = each_doubling(data)
    return f" {doublings_text(found)}." if found else ""


def _change(data: Cells, found: Sequence[Effects]) -> str:
    sizes = data.batch_sizes()
    return (
        f"Of batch sizes {min(sizes)} to {max(sizes)} the worst ends with "
        f"{_range([e.batch_size.size.factor for e in found if e.batch_size])} the error of the best"
    )


def _range(factors: Sequence[float]) -> str:
    low, high = number(min(factors), 2), number(max(factors), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"


def effects(data: Cells) -> FigureContent | None:
    """Per task, the factor by which each changes the final MSE."""
    found = [entry for entry in task_effects(data) if entry.batch_size]
    if not found:
        return None
    rows = {entry.task: _factors(entry) for entry in found}

    def draw(axes: Axes) -> None:
        drawn.rows(axes, rows, {kind: style.kind(n) for n, kind in enumerate(_KINDS)}, gap=0.24, foot=0.4)
        names = [style.name(task, 12) for task in rows]
        axes.set_yticks(range(len(rows)), names, size=style.SMALL if max(map(len, names)) < 8 else 6.5)
        axes.set_xlabel("factor on the final test MSE (log)")
        legend(axes)

    counts = [len(values) for entry in found for values in finals_of_second_look(data, entry.task).values()]
    per_rate = f", {span(counts, 'seed')} per learning rate" if counts else ""
    lines = drawn.lines_said(one for row in rows.values() for one in row.values())
    said = (
        f"{task}: " + ", ".join(f"{kind} {number(one.factor, 3)}" for kind, one in row.items())
        for task, row in rows.items()
    )
    return FigureContent(
        [Panel("How many times the error", draw, f"worst / best level{lines}; 1: no effect")],
        "After equal epochs, at constant rates: the geometric mean final MSE at the worst over that at the "
        "best batch size; the same for the learning rates of the second look, where measured, at batch size "
        "32; and one standard deviation between seeds. Lines: 95% intervals, wide enough for picking the "
        f"worst and the best of all levels; none below {FEWEST_FOR_A_MEAN} seeds per level.",
        f"Factors on the final test MSE per task. {'; '.join(said)}.",
        n=seeds_each(cell for entry in found for cell in data.cells(entry.task)) + per_rate,
    )


def _factors(entry: Effects) -> dict[str, stats.Estimate]:
    """By kind, where there is one."""
    size, rate = entry.batch_size, entry.learning_rate
    noise = stats.Estimate(size.seed_factor) if size and size.seed_factor else None
    factors = (size.size if size else None, rate.size if rate else None, noise)
    return {kind: one for kind, one in zip(_KINDS, factors, strict=True) if one}


def normalised_mse(data: Cells) -> FigureContent | None:
    """Normalised MSE of every task that has something to learn, on one axis with the best constant at 1."""
    cells = {task: data.cells(task) for task in data.learnable()}
    if not cells:
        return None
    flat = [cell for row in cells.values() for cell in row]
    left_out = [task for task in data.tasks_of() if task in data.degenerate]
    why = f"Left out because every label is the same: {listed(left_out)}." if left_out else ""
    draw = partial(_normalised, data=data, cells=cells)
    return FigureContent(
        [Panel("Normalised MSE after the last epoch", draw, NORMALISED)],
        f"Mean over seeds after {data.epochs} epochs, divided by the MSE of the best constant predictor, "
        "the variance of the test labels: 1 is no better than a constant, 0 is perfect (1 \N{MINUS SIGN} "
        "R²).",
        f"Lines of normalised test MSE against batch size, one per task. {ends(cells, 'normalised')}",
        n=seeds_each(flat),
        results=[result for cell in flat for result in cell.results],
        note=f"{why} {beside_dead(flat)}".strip(),
    )


def _normalised(axes: Axes, data: Cells, cells: Mapping[str, Sequence[Cell]]) -> None:
    lines = {task: [fmean(cell.normalised) for cell in row] for task, row in cells.items()}
    scale = style.log_axis(axes.yaxis, [1.0, *(value for line in lines.values() for value in line)])
    for task, line in lines.items():
        colour, marker = style.task_kind(task, data.tasks)
        sizes = [cell.batch_size for cell in cells[task]]
        axes.plot(sizes, scale.place(line), color=colour, marker=marker, label=style.name(task))
    medians_beside_dead(axes, scale, [cell for row in cells.values() for cell in row], measure="normalised")
    axes.axhline(1, label="best constant predictor", **REFERENCE_LINE)
    style.batch_axis(axes, data.batch_sizes())
    legend(axes)


CHAPTER: Final = Chapter(
    section="The answer at equal epochs",
    options="--bsr-experiments batch-size",
    figures=(
        Figure("How much batch size, learning rate and seed change the error", effects),
        Figure("All tasks on one axis", normalised_mse),
    ),
    findings=lambda data: [_question(data)],
)
