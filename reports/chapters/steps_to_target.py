"""Up to which batch size does doubling it save updates on the way to the same error?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from bsr import stats
from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports.analysis.arms import arms_of
from reports.analysis.targets import MIDDLE, TARGETS, Reaching, critical, reaching
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.text.table import Table
from reports.text.verdicts import Finding

CLAIM: Final = "Doubling the batch size saves updates only up to a critical batch size."
RULE: Final = (
    "At a quarter of the critical batch size a doubling saves 40% of the updates, at it a quarter, at four "
    "times it a tenth."
)

HALF: Final = "half per doubling"


def finding(data: Cells) -> list[Finding]:
    """How large the critical batch size is, per task."""
    found = {task: fit for task in arms_of(data).tasks if (fit := critical(data, task)) is not None}
    if not found:
        return []
    said = listed(f"{_size_text(fit)} for {task}" for task, fit in found.items())
    lines = tuple(
        f"{task}, {target:.1%} of the constant's MSE: {_size_text(fit)}, fewest steps "
        f"{number(fit.fewest_steps, 2)}, {fit.runs} runs"
        for task in arms_of(data).tasks
        for target in TARGETS
        if (fit := critical(data, task, target)) is not None
    )
    seeds = min(
        len(one.steps) + one.missed for task in found for one in reaching(data, task, MIDDLE).values()
    )
    bounded = seeds >= FEWEST_FOR_A_MEAN and not any(fit.open_above for fit in found.values())
    others = "; ".join(
        f"at {100 * target:g}% {listed(_short(critical(data, task, target)) for task in found)}"
        for target in TARGETS
        if target != MIDDLE
    )
    sentence = (
        f"To {MIDDLE:.0%} of the constant's MSE the critical batch size is {said}; it depends on the target: "
        f"{others}. {RULE}"
    )
    return [
        Finding(
            "steps-to-target",
            CLAIM,
            "shown" if bounded else "cannot tell",
            sentence,
            lines,
            "steps-to-target",
        )
    ]


def _short(fit: stats.Critical | None) -> str:
    return "none" if fit is None else number(fit.batch_size, 2)


def _size_text(fit: stats.Critical) -> str:
    """`120 (80 to 190)`, `below 4`, or `above 900`."""
    if fit.open_below:
        return f"below {number(fit.interval.high, 2)}"
    if fit.open_above:
        return f"above {number(fit.interval.low, 2)}"
    return f"{number(fit.batch_size, 2)} ({number(fit.interval.low, 2)} to {number(fit.interval.high, 2)})"


def steps_to_target(data: Cells) -> FigureContent | None:
    """Updates to a target against batch size, log-log."""
    tasks = {
        task: {target: reaching(data, task, target) for target in TARGETS} for task in arms_of(data).tasks
    }
    if not any(one.steps for found in tasks.values() for cells in found.values() for one in cells.values()):
        return None
    runs = {
        len(one.steps) + one.missed
        for found in tasks.values()
        for cells in found.values()
        for one in cells.values()
    }
    fits = listed(
        f"{task} {_size_text(fit)}" for task in tasks if (fit := critical(data, task, MIDDLE)) is not None
    )
    return FigureContent(
        [
            Panel(
                task,
                partial(_draw, cells=found, fits={target: critical(data, task, target) for target in found}),
                "updates until the error is reached (log)",
            )
            for task, found in tasks.items()
        ],
        "Updates until the test MSE was a share of the best constant's, as median over seeds; where the "
        "median run never got there, an open mark at the last update. Reached: the median of three "
        "evaluations in a row, since of so many the first below would reward noise. "
        "Of all arms at the study's and tuned rates, the fastest. Thin: S = S_min (1 + B_crit / B), a miss "
        "counted as longer than what was trained. Dashed: half the updates per doubling.",
        f"Updates to a target error against batch size. Critical batch sizes at {MIDDLE:.0%}: {fits}.",
        n=f"{span(runs, 'seed')} per batch size",
    )


def _draw(
    axes: Axes, cells: Mapping[float, Mapping[int, Reaching]], fits: Mapping[float, stats.Critical | None]
) -> None:
    everything = [one for found in cells.values() for one in found.values()]
    medians = [min(one.median, float(one.training.arm.steps)) for one in everything]
    scale = style.log_axis(axes.yaxis, medians)
    sizes = sorted({size for found in cells.values() for size in found})
    across = np.exp(np.linspace(math.log(sizes[0]), math.log(sizes[-1]), 60))
    slope = max(medians) * sizes[0] / across
    inside = slope >= scale.low
    axes.plot(across[inside], slope[inside], "--", color=style.REFERENCE, linewidth=1, label=HALF)
    for index, (target, found) in enumerate(cells.items()):
        colour, marker = style.kind(index)
        got = {size: one.median for size, one in found.items() if math.isfinite(one.median)}
        axes.plot(
            list(got),
            scale.place(list(got.values())),
            marker,
            color=colour,
            label=f"{target:.1%} of the constant's".replace(".0%", "%"),
        )
        for size, one in found.items():
            if not math.isfinite(one.median):
                (top,) = scale.place([float(one.training.arm.steps)])
                axes.plot([size], [top], marker, color=colour, markerfacecolor="none")
        fit = fits[target]
        if fit is not None:
            curve = fit.fewest_steps * (1 + fit.batch_size / across)
            axes.plot(across, scale.place(list(curve)), color=colour, linewidth=0.9)
    if any(fits.values()):
        axes.plot([], [], color=style.INK, linewidth=0.9, label="fit")
    if not all(math.isfinite(one.median) for one in everything):
        axes.plot([], [], "o", color=style.INK, markerfacecolor="none", label="open: not reached by then")
    style.batch_axis(axes, sizes)
    legend(axes)


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "target": target,
            "batch size": size,
            "median steps": one.median if math.isfinite(one.median) else None,
            "reached": len(one.steps),
            "missed": one.missed,
            "updates": one.training.arm.steps,
            "schedule": one.training.arm.schedule,
            "learning rate": one.training.learning_rate,
        }
        for task in arms_of(data).tasks
        for target in TARGETS
        for size, one in reaching(data, task, target).items()
    ]
    note = "No median: most runs missed."
    return Table.of("steps-to-target", "Updates to a target, the fastest of all arms", rows, note)


def _fits(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "target": target,
            "fewest steps": fit.fewest_steps,
            "critical batch size": None if fit.open_below else fit.batch_size,
            "95% from": None if fit.open_below else fit.interval.low,
            "95% to": None if fit.open_above else fit.interval.high,
            "runs": fit.runs,
        }
        for task in arms_of(data).tasks
        for target in TARGETS
        if (fit := critical(data, task, target))
    ]
    note = "S = S_min (1 + B_crit / B), by likelihood with misses as longer than trained; open ends empty."
    return Table.of("critical-batch-size", "The critical batch size", rows, note)


CHAPTER: Final = Chapter(
    section="Why",
    options="--bsr-preset why-first",
    figures=(Figure("Updates to the same error", steps_to_target),),
    findings=finding,
    tables=lambda data: [_table(data), _fits(data)],
)
