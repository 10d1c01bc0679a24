"""Is it the batch size, the number of updates, or the learning rate?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.experiments import EXPERIMENTS, PRESETS, plan
from bsr.experiments.controlled import SCHEDULES, noise_scale
from bsr.experiments.rates import Arm, RatesError, Schedule
from bsr.result import FINISHED, Result
from reports.analysis import decomposition as gap
from reports.analysis.arms import (
    KINDS,
    USUAL_MEMORY,
    Arms,
    Compared,
    Kind,
    Training,
    arms_of,
    geometric,
    over_tasks,
)
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import NORMALISED
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.text.table import Table, factor_cells, interval_cells
from reports.text.verdicts import Finding, Short, p_text

CLAIMS: Final = {
    "updates": "Fewer updates raise the error of a larger batch after the same epochs.",
    "rate": "The study's rate, tuned at batch size 32 under a constant schedule, raises it.",
    "batch size": "At equal updates and tuned rates a larger batch is still worse.",
}
OWN_RATE: Final = "The usual rate, one for every batch size, schedule and budget, raises it."
"""Of data of a user's own."""
PRODUCT: Final = "what the gap is made of: factors whose product it is"
ALL: Final = "all tasks"
APART: Final = 1.45
"""Times the batch size, from the first line's marks to the last one's, so that no bar lies on another."""


def findings(data: Cells) -> list[Finding]:
    """One per cause."""
    found = gap.primary(data)
    return [_finding(data, name, found) for name in CLAIMS] if found else []


def _finding(data: Cells, name: str, found: stats.Decomposition) -> Finding:
    part, significant = found.parts[name], name in found.significant
    sentence = f"The factor of {gap.names(data)[name]} is {gap.factor(part)}."
    if gap.edges(data, *gap.primary_arm(data)):
        sentence += " A tuned rate lies at the edge of those tried, so there is no verdict."
    elif part.no_effect and not significant:
        sentence += f" That is no effect, within 0.8 to 1.25, pooled{_by_task(data, name)}."
    correlation = found.correlation[name]
    together = "" if correlation is None else f", whose tasks correlate by {correlation:.2f}"
    lines = (
        f"pooled over tasks: {gap.factor(part)}, {p_text(part.p)}, n = {part.n[0]} seeds{together}",
        *_orders(data, name),
    )
    claim = OWN_RATE if name == "rate" and arms_of(data).compared.own else CLAIMS[name]
    short = Short(gap.factor(part))
    if name == "batch size":
        short = replace(short, part="After equal updates", sentence=_at_equal_updates(data, part))
    verdict = gap.verdict_on(data, name)
    return Finding(f"why-{name.replace(' ', '-')}", claim, verdict, sentence, lines, "why", short=short)


def _at_equal_updates(data: Cells, part: stats.Estimate) -> str:
    compared = arms_of(data).compared
    times = "within a quarter of" if part.no_effect else f"with {gap.bare_factor(part)}"
    return (
        f"After the same number of updates, at tuned learning rates that fall to zero, batch size "
        f"{compared.largest} ends {times} the error of batch size {compared.smallest}."
    )


def _by_task(data: Cells, name: str) -> str:
    """For which tasks alone that is shown too."""
    tasks = arms_of(data).tasks
    found = {task: gap.decomposition(data, *gap.primary_arm(data), task) for task in tasks}
    alone = [task for task, one in found.items() if one and one.parts[name].no_effect]
    return f"; by task that is shown for {listed(alone) or 'none'}" if len(tasks) > 1 else ""


def _orders(data: Cells, name: str) -> tuple[str, ...]:
    """Both orders of the primary decomposition, and what the others say."""
    said = []
    for steps in arms_of(data).compared.budgets:
        for schedule in reversed(SCHEDULES):
            found = gap.decomposition(data, steps, schedule)
            if found is None:
                continue
            orders = {key: part for key, part in found.parts.items() if key.startswith(f"{name} at ")}
            both = "".join(f"; {key}: {gap.factor(part)}" for key, part in orders.items())
            said.append(f"{steps:,} updates, {schedule}: {gap.factor(found.parts[name])}{both}")
    return tuple(said)


def why(data: Cells) -> FigureContent | None:
    """What the gap is made of, per task and pooled, at both schedules and both budgets."""
    compared = arms_of(data).compared
    panels = {arm: rows for arm in _panels(compared) if (rows := _rows(data, *arm))}
    if not panels:
        return None
    factors = [one for rows in panels.values() for row in rows.values() for one in row.values()]
    said = [gap.sentence(data, *arm) for arm in panels]
    looks = {gap.names(data)[key]: look for key, look in drawn.LOOKS.items()}
    over = f"error of {compared.largest} / error of {compared.smallest} (log)"
    draw = partial(_draw_factors, looks=looks, over=over, factors=factors)
    return FigureContent(
        [
            Panel(f"{steps:,} updates, {_WORDS[schedule]}", partial(draw, rows=rows), PRODUCT)
            for (steps, schedule), rows in panels.items()
        ],
        f"The error of batch size {compared.largest} over that of {compared.smallest} after "
        f"{compared.same_images:,} images, and the three factors whose product it is: fewer updates, "
        f"{gap.names(data)['rate']} instead of the tuned one, and the batch size itself, which is left at "
        f"equal updates and tuned rates. {_PANELS if len(panels) > 1 else ''}{_cut_short(compared)} 1 is no "
        f"effect. Lines: 95% intervals. {gap.LUCK}",
        f"Factors: {'; '.join(said)}.",
        n=f"{span((one.n[0] for one in factors), 'seed')} per factor",
        results=arms_of(data).ended(),
    )


_PANELS: Final = (
    "Each panel names its schedule; the study's is the constant one. The whole gaps differ since another "
    "schedule is another training of both, and fewer common seeds were trained where more is compared. "
)
_WORDS: Final[dict[Schedule, str]] = {"linear": "rates falling to zero", "constant": "constant rates"}
_Rows = Mapping[str, Mapping[str, stats.Estimate]]


def _panels(compared: Compared) -> list[tuple[int, Schedule]]:
    first, *more = compared.budgets
    return [(first, "linear"), (first, "constant"), *((steps, "linear") for steps in more[:1])]


def _cut_short(compared: Compared) -> str:
    """What equal updates mean to either batch size."""
    first, *more = compared.budgets
    said = f"At {first:,} updates {compared.smallest} is cut short"
    for steps in more[:1]:
        passes = steps * compared.largest // compared.images
        said += f"; at {steps:,} {compared.largest} goes on for {passes} passes over the "
        said += f"{compared.images:,} training images"
    return f"{said}."


def _rows(data: Cells, steps: int, schedule: Schedule) -> _Rows:
    """`all tasks`, then each task -> factor by name."""
    said = gap.names(data)
    tasks: dict[str, str | None] = {ALL: None, **{task: task for task in arms_of(data).tasks}}
    return {
        name: {said[key]: found.parts[key] for key in drawn.LOOKS}
        for name, task in tasks.items()
        if (found := gap.decomposition(data, steps, schedule, task))
    }


def _draw_factors(
    axes: Axes,
    rows: _Rows,
    looks: Mapping[str, drawn.Look],
    over: str,
    factors: Sequence[stats.Estimate],
) -> None:
    drawn.rows(axes, rows, looks, gap=0.2, foot=0.5, beside=factors)
    axes.set_yticks(range(len(rows)), [style.name(name, 12) for name in rows], size=style.SMALL)
    axes.set_xlabel(over)
    legend(axes)


_Line = tuple[str, Kind, Schedule, int]
"""Name, rate, schedule, updates (0: those of the same images)."""


def _lines(compared: Compared) -> tuple[_Line, ...]:
    usual = "usual rate" if compared.own else "study's rate"
    return (
        (f"same images, {usual}, constant", "study", "constant", 0),
        ("same images, tuned, falling", "tuned", "linear", 0),
        *((f"{steps:,} updates, tuned, falling", "tuned", "linear", steps) for steps in compared.budgets),
    )


def _curves(data: Cells, task: str) -> dict[str, dict[int, stats.Estimate]]:
    """Line -> batch size -> geometric mean of the normalised error."""
    arms = arms_of(data)
    sizes = sorted({training.arm.batch_size for training in arms.trainings if training.arm.task == task})
    found: dict[str, dict[int, stats.Estimate]] = {}
    for name, kind, schedule, budget in _lines(arms.compared):
        for size in sizes:
            steps = budget or arms.compared.ten_epochs.get(size, 0)
            part = geometric(arms.errors_at(Arm(task, steps, schedule, size), kind)) if steps else None
            if part is not None:
                found.setdefault(name, {})[size] = part
    return found


def equal_updates(data: Cells) -> FigureContent | None:
    """Error against batch size: after the same images, and after the same number of updates."""
    tasks = {task: found for task in arms_of(data).tasks if (found := _curves(data, task))}
    if not tasks:
        return None
    parts = [part for found in tasks.values() for line in found.values() for part in line.values()]
    return FigureContent(
        [Panel(task, partial(_draw_curves, lines=found), NORMALISED) for task, found in tasks.items()],
        "Normalised test MSE against batch size: after "
        f"{arms_of(data).compared.same_images:,} images, where a larger batch makes fewer updates, and after "
        f"the same number of updates. {_schedules(data, tasks)} Geometric means{drawn.lines_said(parts)}. "
        f"{gap.LUCK}",
        "Normalised test MSE against batch size. "
        + " ".join(_said(task, found) for task, found in tasks.items()),
        n=f"{span([part.n[0] for part in parts], 'seed')} per batch size and line",
        results=arms_of(data).ended(),
    )


def _schedules(data: Cells, tasks: Mapping[str, Mapping[str, object]]) -> str:
    """What the rates do that are drawn; one line of each task is at the usual rate, where it was trained."""
    usual = _lines(arms_of(data).compared)[0][0]
    falls = "tuned rate, the best for that batch size, falls linearly to zero."
    if not any(usual in lines for lines in tasks.values()):
        return f"Each {falls}"
    return f"Two schedules in one panel: {gap.names(data)['rate']} is constant; a {falls}"


def _said(task: str, lines: Mapping[str, Mapping[int, stats.Estimate]]) -> str:
    said = (
        f"{name}: {number(line[min(line)].factor, 2)} at {min(line)} to "
        f"{number(line[max(line)].factor, 2)} at {max(line)}"
        for name, line in lines.items()
    )
    return f"{task}: {'; '.join(said)}."


def _draw_curves(axes: Axes, lines: Mapping[str, Mapping[int, stats.Estimate]]) -> None:
    scale = style.log_axis(axes.yaxis, drawn.reach(one for row in lines.values() for one in row.values()))
    asides = style.spread(len(lines), APART)
    for index, ((name, row), aside) in enumerate(zip(lines.items(), asides, strict=True)):
        moved = {size * aside: one for size, one in row.items()}
        drawn.line(axes, scale, moved, style.kind(index), 1.2, label=name)
    style.batch_axis(axes, sorted({size for line in lines.values() for size in line}), least_margin=1.35)
    legend(axes)


def _parts_table(data: Cells) -> Table:
    compared = arms_of(data).compared
    rows = [
        {
            "task": task or ALL,
            "updates": steps,
            "schedule": schedule,
            "part": name,
            "factor": part.factor,
            **interval_cells(part.interval),
            "p": part.p.value,
            "0.8 to 1.25": "within" if part.no_effect else "",
            "seeds": part.n[0],
            "at the edge": "edge" if gap.edges(data, steps, schedule) else "",
        }
        for steps in compared.budgets
        for schedule in reversed(SCHEDULES)
        for task in (None, *arms_of(data).tasks)
        if (found := gap.decomposition(data, steps, schedule, task))
        for name, part in found.parts.items()
    ]
    note = (
        f"Error of {compared.largest} over that of {compared.smallest}. Primary: {ALL}, "
        f"{compared.budgets[0]:,} updates, linear, with Holm's correction over rate, updates and batch size; "
        "all else is secondary. `within`: shown to be no effect, by two one-sided t tests at 5%. "
        f"{gap.LUCK}"
    )
    return Table.of("why", "What the gap is made of", rows, note)


def _updates_table(data: Cells) -> Table:
    """The error of every other batch size over that of the smallest, after the same updates."""
    arms, compared = arms_of(data), arms_of(data).compared
    rows = []
    for steps, schedule, size in itertools.product(compared.budgets, reversed(SCHEDULES), compared.sizes):
        smallest = [Arm(task, steps, schedule, compared.smallest) for task in arms.tasks]
        part = over_tasks(
            (arms.errors_at(arm, "tuned"), arms.errors_at(arm._replace(batch_size=size), "tuned"))
            for arm in smallest
        )
        if part is not None and size != compared.smallest:
            rows.append({"updates": steps, "schedule": schedule, "batch size": size, **factor_cells(part)})
    note = (
        f"Error over that of {compared.smallest} after the same updates, tuned rates, pooled over tasks. "
        f"{gap.LUCK}"
    )
    return Table.of("equal-updates", "The same number of updates", rows, note)


def _schedule_table(data: Cells) -> Table:
    """What a rate that falls to zero changes: the floor that a constant rate leaves."""
    arms = arms_of(data)
    rows = []
    for kind, (size, steps) in itertools.product(KINDS, sorted(arms.compared.ten_epochs.items())):
        falling = [Arm(task, steps, "linear", size) for task in arms.tasks]
        part = over_tasks(
            (arms.errors_at(arm, kind), arms.errors_at(arm._replace(schedule="constant"), kind))
            for arm in falling
        )
        if part is not None:
            rows.append({"batch size": size, "updates": steps, "rate": kind, **factor_cells(part)})
    note = "Error with a constant rate over that with a rate that falls linearly to zero, pooled over tasks."
    return Table.of("noise-floor", "What a constant rate leaves", rows, note)


def _arms_table(data: Cells) -> Table:
    rows = [_arm(arms_of(data), *one) for one in sorted(arms_of(data).trainings.items(), key=itemgetter(0))]
    note = (
        "Geometric means over fresh seeds; the validation MSE is that of the tuning seeds, where the rate "
        "was chosen by it. Lost: dead or diverged, counted as no better than the best constant."
    )
    return Table.of("controlled-runs", "Every arm", rows, note, folded=True)


def _arm(arms: Arms, training: Training, results: Mapping[int, Result]) -> dict[str, object]:
    arm, rate, beta2 = training.arm, training.learning_rate, training.beta2
    error, tuned = geometric(arms.errors(arm, rate, beta2)), arms.tuned(arm)
    chosen = tuned if tuned and (tuned.learning_rate, USUAL_MEMORY) == (rate, beta2) else None
    finals = [result.final_mse for result in results.values() if result.final_mse is not None]
    return {
        "task": arm.task,
        "updates": arm.steps,
        "schedule": arm.schedule,
        "batch size": arm.batch_size,
        "learning rate": rate,
        "beta2": beta2,
        "rate": "tuned" if chosen else "",
        "normalised": error.factor if error else None,
        **interval_cells(error.interval if error else None),
        "test MSE": stats.geometric_mean(finals) if finals else None,
        "validation MSE": chosen.validation_mse if chosen else None,
        "seeds": len(results),
        "lost": sum(result.status != "ok" for result in results.values()),
    }


def _departures(data: Cells) -> Table:
    """The plan was committed before it was run: what of it is not here, or not as it asks."""
    preset, rates = PRESETS["why-first"], data.session.rates
    try:
        planned = plan(preset.experiments, replace(preset.grid, rates=rates))
    except RatesError:
        planned = plan(("study-rate", "rate-rules", "adam-memory"), preset.grid)
    finished = {result.run.key for result in data.all_results if result.status in FINISHED}
    trainings = sum(len(list(noise_scale(preset.grid, task))) for task in preset.grid.tasks)
    counts = [
        *(
            (name, len(runs), sum(run.key in finished for run in runs.values()), "runs")
            for name, runs in planned.items()
            if EXPERIMENTS[name].trains
        ),
        ("noise-scale", trainings, len(data.session.noise), "trainings"),
        ("tuned rates inside their grid", len(rates), sum(not rate.at_edge for rate in rates), "rates"),
    ]
    rows = [dict(zip(("what", "planned", "here", "of"), row, strict=True)) for row in counts]
    note = "The plan is docs/why-first.md, committed before the runs. What is not in it is exploratory."
    return Table.of("plan", "The plan, and what is here of it", rows, note)


def tables(data: Cells) -> Sequence[Table]:
    """What the figures show, and every arm."""
    if not arms_of(data).trainings:
        return []
    planned = [] if arms_of(data).compared.own else [_departures(data)]
    return [_parts_table(data), _updates_table(data), _schedule_table(data), *planned, _arms_table(data)]


CHAPTER: Final = Chapter(
    section="Why",
    options="--bsr-preset why-first",
    experiments=("study-rate", "equal-epochs", "equal-updates"),
    figures=(
        Figure("Why the error differs", why),
        Figure("The same images, or the same updates", equal_updates),
    ),
    findings=findings,
    tables=tables,
)
