"""Is it the batch size, the number of updates, or the learning rate?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.experiments import EXPERIMENTS, PRESETS, plan
from bsr.experiments.controlled import (
    BATCH_SIZES,
    BUDGETS,
    LARGEST,
    SCHEDULES,
    SMALLEST,
    TEN_EPOCHS_AT,
    noise_scale,
)
from bsr.experiments.rates import Arm, RatesError, Schedule
from bsr.result import FINISHED
from reports.analysis import decomposition as why
from reports.analysis.arms import KINDS, USUAL_MEMORY, Kind, arms_of, geometric, pooled
from reports.cells import Cells, span, statuses
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import NORMALISED
from reports.drawing.panel import Panel
from reports.table import Row, Table
from reports.text import listed, number
from reports.verdicts import Finding, Verdict, p_text

CLAIMS: Final = {
    "updates": "Fewer updates raise the error of a larger batch after the same epochs.",
    "rate": "A learning rate that was tuned at one batch size only raises it.",
    "batch size": "At equal updates and tuned rates a larger batch is still worse.",
}
FACTOR: Final = f"error of {LARGEST} / error of {SMALLEST} (log)"
PRODUCT: Final = "factors whose product is the whole gap"
ALL: Final = "all tasks"


def findings(data: Cells) -> list[Finding]:
    """One per cause."""
    found = why.primary(data)
    if found is None:
        return []
    edges = why.edges(data, *why.PRIMARY)
    return [_finding(data, name, found.parts[name], edge=bool(edges)) for name in CLAIMS]


def _finding(data: Cells, name: str, part: stats.Part, *, edge: bool) -> Finding:
    verdict: Verdict = "cannot tell"
    if part.significant and not edge:
        verdict = "shown" if part.factor > 1 else "not shown"
    elif part.none and not edge:
        verdict = "not shown"
    sentence = f"The factor of {why.NAMES[name]} is {why.factor(part)}."
    if edge:
        sentence += " A tuned rate lies at the edge of those tried, so there is no verdict."
    elif part.none and not part.significant:
        sentence += " That is no effect, within 0.8 to 1.25."
    lines = (
        f"pooled over tasks: {why.factor(part)}, {p_text(part.p)}, n = {part.seeds}{_by_seed(part)}",
        *_orders(data, name),
    )
    return Finding(f"why-{name.replace(' ', '-')}", CLAIMS[name], verdict, sentence, lines, "why")


def _by_seed(part: stats.Part) -> str:
    """The same with whole seeds as units, since the tasks of one seed may go together."""
    if part.correlation is None or part.by_seed is None:
        return ""
    return (
        f"; counted by whole seeds, as the tasks of a seed may go together (correlation "
        f"{part.correlation:.2f}): {why.factor(part.by_seed)}, {p_text(part.by_seed.p)}"
    )


def _orders(data: Cells, name: str) -> tuple[str, ...]:
    """Both orders of the primary decomposition, and what the others say."""
    said = []
    for steps in BUDGETS:
        for schedule in reversed(SCHEDULES):
            found = why.decomposition(data, steps, schedule)
            if found is None:
                continue
            orders = {key: part for key, part in found.parts.items() if key.startswith(f"{name} at ")}
            both = "".join(f"; {key}: {why.factor(part)}" for key, part in orders.items())
            said.append(f"{steps:,} updates, {schedule}: {why.factor(found.parts[name])}{both}")
    return tuple(said)


def factors(data: Cells) -> FigureContent | None:
    """What the gap is made of, per task and pooled, at both budgets."""
    panels = {steps: _rows(data, steps) for steps in BUDGETS}
    panels = {steps: rows for steps, rows in panels.items() if rows}
    if not panels:
        return None
    counts = sorted(
        {part.seeds for rows in panels.values() for row in rows.values() for part in row.values()}
    )
    said = [line for steps in panels for line in [why.line(data, steps, "linear")] if line]
    return FigureContent(
        [
            Panel(f"What the gap is made of: {steps:,} updates", partial(_draw_factors, rows=rows), PRODUCT)
            for steps, rows in panels.items()
        ],
        f"The error of batch size {LARGEST} over that of {SMALLEST} after ten epochs, and the three factors "
        "whose product it is: fewer updates, a rate tuned only at 32, and the batch size itself, which is "
        f"left at equal updates and tuned rates. Linear schedule. At {BUDGETS[0]} updates {SMALLEST} is cut "
        f"short; at {BUDGETS[1]:,} {LARGEST} goes on for forty epochs. 1 is no effect. Lines: 95% "
        f"intervals. n = {listed(counts)} common seeds. {statuses(arms_of(data).ended())}".strip(),
        f"Factors per task: {'; '.join(said)}.",
    )


Rows = Mapping[str, Mapping[str, stats.Part]]


def _rows(data: Cells, steps: int) -> Rows:
    found: dict[str, Mapping[str, stats.Part]] = {}
    for name, task in ((ALL, None), *((task, task) for task in arms_of(data).tasks)):
        parts = why.decomposition(data, steps, "linear", task)
        if parts is not None:
            found[name] = {key: parts.parts[key] for key in ("whole", "updates", "rate", "batch size")}
    return found


def _draw_factors(axes: Axes, rows: Rows) -> None:
    ends = [1.0]
    for row in rows.values():
        for part in row.values():
            ends += [part.factor, *((part.interval.low, part.interval.high) if part.interval else ())]
    style.log_axis(axes.xaxis, ends)
    axes.axvline(1, color=style.REFERENCE, linewidth=1.2)
    for index, key in enumerate(next(iter(rows.values()))):
        colour, marker = (style.INK, "|") if key == "whole" else style.kind(index - 1)
        label: str | None = why.NAMES[key]
        for place, row in enumerate(rows.values()):
            part, height = row[key], place + 0.2 * (index - 1.5)
            if part.interval:
                axes.hlines(height, part.interval.low, part.interval.high, color=colour, linewidth=2)
            axes.plot([part.factor], [height], marker, color=colour, markersize=7, label=label)
            label = None
    axes.set_yticks(range(len(rows)), [style.name(name, 12) for name in rows], size=style.SMALL)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(FACTOR)
    legend(axes)


Line = tuple[str, Kind, Schedule, int]
"""Name, rate, schedule, updates (0: those of ten epochs)."""
LINES: Final[tuple[Line, ...]] = (
    ("ten epochs, study's rate", "study", "constant", 0),
    ("ten epochs, tuned", "tuned", "linear", 0),
    *((f"{steps:,} updates, tuned", "tuned", "linear", steps) for steps in BUDGETS),
)


def curves(data: Cells, task: str) -> dict[str, dict[int, stats.Part]]:
    """Line -> batch size -> geometric mean of the normalised error."""
    arms = arms_of(data)
    sizes = sorted({training.arm.batch_size for training in arms.trainings if training.arm.task == task})
    found: dict[str, dict[int, stats.Part]] = {}
    for name, kind, schedule, budget in LINES:
        for size in sizes:
            steps = budget or TEN_EPOCHS_AT.get(size, 0)
            part = geometric(arms.errors_at(Arm(task, steps, schedule, size), kind)) if steps else None
            if part is not None:
                found.setdefault(name, {})[size] = part
    return found


def equal_updates(data: Cells) -> FigureContent | None:
    """Error against batch size: after ten epochs, and after the same number of updates."""
    tasks = {task: found for task in arms_of(data).tasks if (found := curves(data, task))}
    if not tasks:
        return None
    parts = [part for found in tasks.values() for line in found.values() for part in line.values()]
    counts = [part.seeds for part in parts]
    return FigureContent(
        [Panel(task, partial(_draw_curves, lines=found), NORMALISED) for task, found in tasks.items()],
        "Normalised test MSE against batch size: after ten epochs' worth of images, where a larger batch "
        "makes fewer updates, and after the same number of updates. Tuned: with the rate that was best for "
        "that batch size, on a linear schedule. Geometric means, lines: 95% intervals. "
        f"n = {span(counts, 'seed')}. {statuses(arms_of(data).ended())}".strip(),
        "Normalised test MSE against batch size. "
        + " ".join(_said(task, found) for task, found in tasks.items()),
    )


def _said(task: str, lines: Mapping[str, Mapping[int, stats.Part]]) -> str:
    said = (
        f"{name}: {number(line[min(line)].factor, 2)} at {min(line)} to "
        f"{number(line[max(line)].factor, 2)} at {max(line)}"
        for name, line in lines.items()
    )
    return f"{task}: {'; '.join(said)}."


def _draw_curves(axes: Axes, lines: Mapping[str, Mapping[int, stats.Part]]) -> None:
    ends: list[float] = []
    for line in lines.values():
        for part in line.values():
            ends += [part.factor, *((part.interval.low, part.interval.high) if part.interval else ())]
    scale = style.log_axis(axes.yaxis, ends)
    for index, (name, line) in enumerate(lines.items()):
        colour, marker = style.kind(index)
        for size, part in line.items():
            if part.interval:
                low, high = scale.place([part.interval.low, part.interval.high])
                axes.vlines(size, low, high, color=colour, linewidth=1.2)
        heights = scale.place([part.factor for part in line.values()])
        axes.plot(list(line), heights, color=colour, marker=marker, label=name)
    style.batch_axis(axes, sorted({size for line in lines.values() for size in line}))
    legend(axes)


def _parts_table(data: Cells) -> Table:
    rows: list[Row] = []
    for steps in BUDGETS:
        for schedule in reversed(SCHEDULES):
            edge = "edge" if why.edges(data, steps, schedule) else ""
            for task in (None, *arms_of(data).tasks):
                found = why.decomposition(data, steps, schedule, task)
                for name, part in (found.parts if found else {}).items():
                    none = "within" if part.none else ""
                    rows.append(
                        (
                            task or ALL,
                            steps,
                            schedule,
                            name,
                            part.factor,
                            *why.ends(part),
                            part.p.value,
                            none,
                            part.seeds,
                            edge,
                        )
                    )
    header = (
        "task", "updates", "schedule", "part", "factor", "95% from", "95% to", "p", "0.8 to 1.25", "seeds",
        "at the edge",
    )  # fmt: skip
    note = (
        f"Error of {LARGEST} over that of {SMALLEST}. Primary: {ALL}, {why.PRIMARY[0]} updates, linear, with "
        "Holm's correction over rate, updates and batch size; all else is secondary. `within`: shown to be "
        "no effect, by two one-sided t tests at 5%."
    )
    return Table("why", "What the gap is made of", header, rows, note)


def _updates_table(data: Cells) -> Table:
    """The error of every other batch size over that of SMALLEST, after the same updates."""
    arms = arms_of(data)
    rows: list[Row] = []
    for steps in BUDGETS:
        for size in (size for size in BATCH_SIZES if size != SMALLEST):
            part = pooled(
                (arms.errors_at(small, "tuned"), arms.errors_at(small._replace(batch_size=size), "tuned"))
                for small in (Arm(task, steps, "linear", SMALLEST) for task in arms.tasks)
            )
            if part is not None:
                rows.append((steps, size, part.factor, *why.ends(part), part.seeds))
    header = ("updates", "batch size", "factor", "95% from", "95% to", "seeds")
    note = f"Error over that of {SMALLEST} after the same updates, tuned rates, linear, pooled over tasks."
    return Table("equal-updates", "The same number of updates", header, rows, note)


def _schedule_table(data: Cells) -> Table:
    """What a rate that falls to zero changes: the floor that a constant rate leaves."""
    arms = arms_of(data)
    rows: list[Row] = []
    for kind in KINDS:
        for size, steps in sorted(TEN_EPOCHS_AT.items()):
            pairs = [
                tuple(
                    arms.errors_at(Arm(task, steps, schedule, size), kind) for schedule in reversed(SCHEDULES)
                )
                for task in arms.tasks
            ]
            part = pooled((linear, constant) for linear, constant in pairs)
            if part is not None:
                rows.append((size, steps, kind, part.factor, *why.ends(part), part.seeds))
    header = ("batch size", "updates", "rate", "factor", "95% from", "95% to", "seeds")
    note = "Error with a constant rate over that with a rate that falls linearly to zero, pooled over tasks."
    return Table("noise-floor", "What a constant rate leaves", header, rows, note)


def _arms_table(data: Cells) -> Table:
    arms = arms_of(data)
    rows: list[Row] = []
    for training, results in sorted(arms.trainings.items(), key=lambda item: item[0]):
        part = geometric(arms.errors(*training))
        tuned = arms.tuned(training.arm)
        own = tuned and (tuned.learning_rate, USUAL_MEMORY) == (training.learning_rate, training.beta2)
        chosen = tuned if own else None
        validation = chosen.validation_mse if chosen else None
        finals = [result.final_mse for result in results.values() if result.final_mse is not None]
        lost = sum(result.status != "ok" for result in results.values())
        rows.append(
            (
                *training.arm, training.learning_rate, training.beta2,
                "tuned" if chosen else "", part and part.factor, *why.ends(part),
                stats.geometric_mean(finals) if finals else None, validation, len(results), lost,
            )
        )  # fmt: skip
    header = (
        "task", "updates", "schedule", "batch size", "learning rate", "beta2", "rate", "normalised",
        "95% from", "95% to", "test MSE", "validation MSE", "seeds", "lost",
    )  # fmt: skip
    note = (
        "Geometric means over fresh seeds; the validation MSE is that of the tuning seeds, where the rate "
        "was chosen by it. Lost: dead or diverged, counted as no better than the best constant."
    )
    return Table("controlled-runs", "Every arm", header, rows, note, folded=True)


def _departures(data: Cells) -> Table:
    """The plan was committed before it was run: what of it is not here, or not as it asks."""
    preset = PRESETS["why"]
    try:
        planned = plan(preset.experiments, replace(preset.grid, rates=data.session.rates))
    except RatesError:
        planned = plan(("study-rate", "rate-rules", "adam-memory"), preset.grid)
    finished = {result.run.key for result in data.all_results if result.status in FINISHED}
    rows: list[Row] = [
        (name, len(runs), sum(run.key in finished for run in runs.values()), "runs")
        for name, runs in planned.items()
        if EXPERIMENTS[name].trains
    ]
    trainings = sum(len(list(noise_scale(preset.grid, task))) for task in preset.grid.tasks)
    rows.append(("noise-scale", trainings, len(data.session.noise), "trainings"))
    edged = sum(rate.at_edge for rate in data.session.rates)
    rows.append(
        ("tuned rates inside their grid", len(data.session.rates), len(data.session.rates) - edged, "rates")
    )
    note = "The plan is docs/why.md, committed before the runs. What is not in it is exploratory."
    return Table("plan", "The plan, and what is here of it", ("what", "planned", "here", "of"), rows, note)


def tables(data: Cells) -> Sequence[Table]:
    """What the figures show, and every arm."""
    if not arms_of(data).trainings:
        return []
    return [
        _parts_table(data),
        _updates_table(data),
        _schedule_table(data),
        _departures(data),
        _arms_table(data),
    ]


CHAPTER: Final = Chapter(
    experiments=("study-rate", "equal-epochs", "equal-updates"),
    figures=(
        Figure("Why", "why", "Why the error differs", factors, "--bsr-preset why"),
        Figure(
            "Why", "equal-updates", "The same epochs, or the same updates", equal_updates, "--bsr-preset why"
        ),
    ),
    findings=findings,
    tables=tables,
)
