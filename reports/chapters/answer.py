"""Does the batch size affect the error, and how much beside the learning rate and the seed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports.analysis import decomposition as why
from reports.analysis.study import Effects, doublings, doublings_text, effects, finals_by_size, second_look
from reports.cells import Cell, Cells, beside_dead, ends, one_seed, seeds, span, statuses
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import NORMALISED, REFERENCE_LINE, medians_beside_dead
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.verdicts import Finding, Part, Verdict, judged, lines, named, p_text, times, trend_text, within

CLAIM = "The batch size affects the performance of regression CNNs."
_KINDS = ("batch size", "learning rate", "noise of one seed")


def question(data: Cells) -> Finding:
    """What makes the error differ where that was measured; else whether the batch size affects it at all."""
    return _why(data) if why.primary(data) else _effect(data)


def _why(data: Cells) -> Finding:
    found = why.primary(data)
    assert found is not None
    parts = [found.parts[name] for name in stats.PARTS]
    verdict: Verdict = "shown" if any(part.significant for part in parts) else "cannot tell"
    if why.edges(data, *why.PRIMARY):
        verdict = "cannot tell"
    sentence = f"{why.answer(data)} {why.WORKED}"
    return Finding("question", CLAIM, verdict, sentence, why.lines(data), "why")


def _effect(data: Cells) -> Finding:
    """How much the batch size changes the final error, beside what else does."""
    found = [effect for effect in effects(data) if effect.batch_size]
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
        return Finding("question", CLAIM, "cannot tell", sentence, lines(parts), "effects")
    if verdict == "cannot tell" and trend.p.significant and trend.rho:
        direction = "rises" if trend.rho > 0 else "falls"
        sentence = (
            f"Yes, as far as so few seeds can tell: the error {direction} with the batch size "
            f"({p_text(trend.p)}). How large that is beside the noise of seeds, they cannot say."
        )
        return Finding("question", CLAIM, "shown", sentence, statistics, "final-mse")
    return Finding("question", CLAIM, verdict, _answer(data, found, parts, verdict), statistics, "effects")


def _any(parts: Sequence[Part]) -> Verdict:
    """Shown where any part is: an effect on one task is an effect."""
    for verdict in ("shown", "not shown"):
        if any(part.verdict == verdict for part in parts):
            return verdict
    return "cannot tell"


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


def _answer(data: Cells, found: Sequence[Effects], parts: Sequence[Part], verdict: Verdict) -> str:
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
    rate = [e.learning_rate.ratio for e in found if e.learning_rate]
    change += f", where one seed's noise is {_range(noise)}" if noise else ""
    change += f" and the learning rate around its best makes {_range(rate)}" if rate else ""
    shown = named(parts, "shown")
    only = "" if len(shown) == len(parts) else f" (shown for {listed(shown)})"
    return f"After the same number of epochs, yes{only}. {change}.{_at_equal_updates(data)}"


def _at_equal_updates(data: Cells) -> str:
    """No verdict about the batch size stands alone: it is also one about the number of updates."""
    found = doublings(data)
    return f" {doublings_text(found)}." if found else ""


def _change(data: Cells, found: Sequence[Effects]) -> str:
    sizes = data.batch_sizes()
    return (
        f"Of batch sizes {min(sizes)} to {max(sizes)} the worst ends with "
        f"{_range([e.batch_size.ratio for e in found if e.batch_size])} the error of the best"
    )


def _range(factors: Sequence[float]) -> str:
    low, high = number(min(factors), 2), number(max(factors), 2)
    return f"{low} times" if low == high else f"{low} to {high} times"


def effect_sizes(data: Cells) -> FigureContent | None:
    """Per task, the factor by which each changes the final MSE."""
    found = [entry for entry in effects(data) if entry.batch_size]
    if not found:
        return None
    rows = {entry.task: _factors(entry) for entry in found}

    def draw(axes: Axes) -> None:
        everything = [
            value for row in rows.values() for factors in row.values() for value in factors if value
        ]
        style.log_axis(axes.xaxis, [1.0, *everything])
        axes.axvline(1, color=style.REFERENCE, linewidth=1.2)
        for index, kind in enumerate(_KINDS):
            colour, marker = style.kind(index)
            label: str | None = kind
            for place, row in enumerate(rows.values()):
                low, middle, high = row[kind]
                height = place + 0.24 * (index - 1)
                if low and high:
                    axes.hlines(height, low, high, color=colour, linewidth=2)
                if middle:
                    axes.plot([middle], [height], marker, color=colour, markersize=7, label=label)
                    label = None
        names = [style.name(task, 12) for task in rows]
        axes.set_yticks(range(len(rows)), names, size=style.SMALL if max(map(len, names)) < 8 else 6.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("factor on the final test MSE (log)")
        legend(axes)

    cells = [cell for entry in found for cell in data.cells(entry.task)]
    counts = [len(values) for entry in found for values in second_look(data, entry.task).values()]
    per_rate = f", {span(counts, 'seed')} per learning rate" if counts else ""
    return FigureContent(
        [Panel("How many times the error", draw, "worst / best level; lines: 95% intervals; 1: no effect")],
        "Ratio of the geometric mean final MSE at the worst to that at the best batch size; the same for "
        "the learning rates of the second look, where measured, at batch size 32; and one standard "
        "deviation between seeds as a factor. Lines: 95% intervals, wide enough to allow for picking the "
        f"worst and the best of all levels; none below {FEWEST_FOR_A_MEAN} seeds per level. "
        f"{seeds(cells)}{per_rate}.",
        "Factors on the final test MSE per task. "
        + "; ".join(
            f"{task}: " + ", ".join(f"{kind} {number(row[kind][1], 3)}" for kind in _KINDS if row[kind][1])
            for task, row in rows.items()
        )
        + ".",
    )


Factors = tuple[float | None, float | None, float | None]


def _factors(entry: Effects) -> dict[str, Factors]:
    """Interval's lower end, factor, upper end, by kind."""
    found: dict[str, Factors] = {}
    for kind, effect in zip(_KINDS, (entry.batch_size, entry.learning_rate), strict=False):
        interval = effect.interval if effect else None
        ends = (interval.low, interval.high) if interval else (None, None)
        found[kind] = (ends[0], effect.ratio if effect else None, ends[1])
    found[_KINDS[2]] = (None, entry.batch_size.seed_factor if entry.batch_size else None, None)
    return found


def normalised(data: Cells) -> FigureContent | None:
    """Normalised MSE of every task that has something to learn, on one axis with the best constant at 1."""
    cells = {task: data.cells(task) for task in data.learnable()}
    if not cells:
        return None
    flat = [cell for row in cells.values() for cell in row]
    left_out = [task for task in data.tasks_of() if task in data.degenerate]
    why = f" Left out because every label is the same: {listed(left_out)}." if left_out else ""
    return FigureContent(
        [
            Panel(
                "Normalised MSE after the last epoch",
                partial(_normalised, data=data, cells=cells),
                NORMALISED,
            )
        ],
        f"Mean over seeds after {data.epochs} epochs, divided by the MSE of the best constant predictor, "
        "the variance of the test labels: 1 is no better than a constant, 0 is perfect (1 \N{MINUS SIGN} "
        "R²). "
        f"{seeds(flat)}.{why} {statuses(result for cell in flat for result in cell.results)} "
        f"{beside_dead(flat)}".strip(),
        f"Lines of normalised test MSE against batch size, one per task. {ends(cells, 'normalised')}",
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
    figures=(
        Figure(
            "The answer at equal epochs",
            "effects",
            "The answer in one look",
            effect_sizes,
            "--bsr-experiments batch-size",
        ),
        Figure(
            "The answer at equal epochs",
            "normalised-mse",
            "All tasks on one axis",
            normalised,
            "--bsr-experiments batch-size",
        ),
    ),
    findings=lambda data: [question(data)],
)
