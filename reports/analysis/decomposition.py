"""Why the error differs between a small and a large batch: the decomposition, in numbers and in words."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from bsr import stats
from bsr.experiments.controlled import BUDGETS, LARGEST, SCHEDULES, SMALLEST, TEN_EPOCHS_AT
from bsr.experiments.rates import Arm, Schedule, TunedRate
from reports.analysis.arms import arms_of
from reports.cells import Cells
from reports.text import listed, number
from reports.text.verdicts import p_text

PRIMARY: Final[tuple[int, Schedule]] = (BUDGETS[0], "linear")
"""Updates and schedule of the planned comparison; all others are secondary."""
NAMES: Final = {
    "rate": "a rate tuned only at 32",
    "updates": "fewer updates",
    "batch size": "the batch size itself",
    "whole": "the whole gap",
}


@lru_cache(maxsize=64)
def decomposition(
    data: Cells, steps: int, schedule: Schedule, task: str | None = None
) -> stats.Decomposition | None:
    """Of one task, or of all that have all four gaps."""
    arms = arms_of(data)
    gaps = (arms.contrast(steps, schedule, name) for name in (arms.tasks if task is None else (task,)))
    return stats.decompose(*(one for one in gaps if one is not None))


def primary(data: Cells) -> stats.Decomposition | None:
    """The planned comparison."""
    return decomposition(data, *PRIMARY)


def edges(data: Cells, steps: int, schedule: Schedule) -> list[TunedRate]:
    """Rates of a decomposition that lie at the edge of what was tried, so that it gets no verdict."""
    arms = arms_of(data)
    used = [
        arms.tuned(Arm(task, updates, schedule, size))
        for task in arms.tasks
        for size in (SMALLEST, LARGEST)
        for updates in dict.fromkeys((TEN_EPOCHS_AT[size], steps))
    ]
    return [rate for rate in used if rate is not None and rate.at_edge]


def answer(data: Cells) -> str:
    """`After the same ten epochs' worth of images, batch 1024 has 4.2 times the error of 16. ...`."""
    found = primary(data)
    assert found is not None
    parts = found.parts
    return (
        f"After the same ten epochs\N{RIGHT SINGLE QUOTATION MARK} worth of images, batch size {LARGEST} has "
        f"{times(parts['whole'].factor)} times the error of {SMALLEST}. That is a product: fewer updates "
        f"{factor(parts['updates'])}, a rate tuned only at 32 {factor(parts['rate'])}, the batch size itself "
        f"{factor(parts['batch size'])}{_itself(found)}."
    )


def _itself(found: stats.Decomposition) -> str:
    itself = found.parts["batch size"]
    if "batch size" in found.significant:
        return (
            ", below 1: update for update the larger batch is better, with 64 times the images"
            if itself.factor < 1
            else ", above 1: even at equal updates and tuned rates the larger batch is worse"
        )
    if itself.no_effect:
        return ", no effect within 0.8 to 1.25"
    return ", which these runs cannot tell from no effect" if itself.p.value is not None else ""


WORKED: Final = (
    f"{SMALLEST} makes {TEN_EPOCHS_AT[SMALLEST]:,} updates of the weights in ten epochs, {LARGEST} makes "
    f"{TEN_EPOCHS_AT[LARGEST]:,}. A rate is tuned where several were tried for that batch size, on images "
    "kept aside. \N{MULTIPLICATION SIGN}1 is no effect."
)
"""What a student can check."""


def factor(part: stats.Estimate) -> str:
    """A factor with the sign of multiplication and its interval: `x1.30 (1.12 to 1.48)`."""
    said = f" ({times(part.interval.low)} to {times(part.interval.high)})" if part.interval else ""
    return f"\N{MULTIPLICATION SIGN}{times(part.factor)}{said}"


def times(value: float) -> str:
    """Two decimals below ten, so that 1.02 is not 1.0; two digits beyond."""
    return f"{value:.2f}" if 0.1 <= value < 9.995 else number(value, 2)


def sentence(data: Cells, steps: int, schedule: Schedule, task: str | None = None) -> str:
    """One decomposition in a line: `mean, 586 updates, linear: x5.1 is updates x3.1, rate x1.2 and ...`."""
    found = decomposition(data, steps, schedule, task)
    if found is None:
        return ""
    parts = found.parts
    said = listed(f"{name} {factor(parts[name])}" for name in ("updates", "rate", "batch size"))
    return (
        f"{task or 'all tasks'}, {steps:,} updates, {schedule}: {factor(parts['whole'])} is {said}; "
        f"batch size: {p_text(parts['batch size'].p)}, n = {parts['whole'].n[0]}"
    )


def sentences(data: Cells) -> tuple[str, ...]:
    """The primary decomposition first, then per task, then the secondary ones."""
    tasks = arms_of(data).tasks
    wanted: list[tuple[int, Schedule, str | None]] = [(*PRIMARY, None), *((*PRIMARY, task) for task in tasks)]
    wanted += [
        (steps, schedule, None)
        for steps in BUDGETS
        for schedule in reversed(SCHEDULES)
        if (steps, schedule) != PRIMARY
    ]
    return tuple(filter(None, (sentence(data, *one) for one in wanted)))
