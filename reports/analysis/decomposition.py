"""Why the error differs between a small and a large batch: the decomposition, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from bsr import stats
from bsr.experiments.controlled import SCHEDULES
from bsr.experiments.rates import Arm, Schedule, TunedRate
from reports.analysis.arms import Compared, arms_of
from reports.cells import Cells
from reports.text import listed, number
from reports.text.verdicts import Verdict, p_text

NAMES: Final = {
    "rate": "the study's rate",
    "updates": "fewer updates",
    "batch size": "the batch size itself",
    "whole": "the whole gap",
}


def names(data: Cells) -> dict[str, str]:
    """Of the causes; of a user's own data the rate is no study's."""
    return NAMES | ({"rate": "the usual rate"} if arms_of(data).compared.own else {})


def primary_arm(data: Cells) -> tuple[int, Schedule]:
    """Updates and schedule of the planned comparison; all others are secondary."""
    return arms_of(data).compared.budgets[0], "linear"


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
    return decomposition(data, *primary_arm(data))


def edges(data: Cells, steps: int, schedule: Schedule) -> list[TunedRate]:
    """Rates of a decomposition that lie at the edge of what was tried, so that it gets no verdict."""
    arms = arms_of(data)
    used = [
        arms.tuned(Arm(task, updates, schedule, size))
        for task in arms.tasks
        for size in (arms.compared.smallest, arms.compared.largest)
        for updates in dict.fromkeys((arms.compared.ten_epochs[size], steps))
    ]
    return [rate for rate in used if rate is not None and rate.at_edge]


def verdict_on(data: Cells, name: str) -> Verdict:
    """On one cause of the planned comparison: none where a tuned rate lies at an edge."""
    found = primary(data)
    if found is None or edges(data, *primary_arm(data)):
        return "cannot tell"
    if name in found.significant:
        return "shown" if found.parts[name].factor > 1 else "not shown"
    return "not shown" if found.parts[name].no_effect else "cannot tell"


def answer(data: Cells) -> str:
    """`After the same 600,000 images, batch size 1024 has 4.2 times the error of 16`, at both schedules."""
    found, compared = primary(data), arms_of(data).compared
    constant = decomposition(data, compared.budgets[0], "constant")
    assert found is not None
    said = (
        f"After the same {compared.same_images:,} images, batch size {compared.largest} has "
        f"{times(found.parts['whole'].factor)} "
        f"times the error of {compared.smallest} ({_together(arms_of(data).tasks)}, rates falling "
        f"linearly to zero). It is the product of {_product(data, found)}{_itself(compared, found)}."
    )
    if constant is None:
        return said
    whole = factor(constant.parts["whole"])
    product = _product(data, constant)
    return f"{said} At constant rates, as in the study, it is {whole}, the product of {product}."


def _together(tasks: Sequence[str]) -> str:
    return f"{listed(tasks)} together" if len(tasks) > 1 else listed(tasks)


def _product(data: Cells, found: stats.Decomposition) -> str:
    """`fewer updates x15 (14 to 17), the study's rate x1.08 ... and the batch size itself x0.93 ...`."""
    said = names(data)
    return listed(f"{said[name]} {factor(found.parts[name])}" for name in ("updates", "rate", "batch size"))


def _itself(compared: Compared, found: stats.Decomposition) -> str:
    itself = found.parts["batch size"]
    if "batch size" in found.significant:
        return (
            f", below 1: update for update the larger batch is better, with "
            f"{compared.largest / compared.smallest:.3g} times the images"
            if itself.factor < 1
            else ", above 1: even at equal updates and tuned rates the larger batch is worse"
        )
    if itself.no_effect:
        return ", no effect within 0.8 to 1.25"
    return ", which these runs cannot tell from no effect"


def worked(data: Cells) -> str:
    """What a student can check."""
    compared = arms_of(data).compared
    small, large = compared.smallest, compared.largest
    usual = (
        "The usual rate is one for every batch size, schedule and budget"
        if compared.own
        else "The study's rate was tuned at 32 under a constant schedule"
    )
    return (
        f"Of {compared.same_images:,} images {small} makes {compared.ten_epochs[small]:,} updates of the "
        f"weights, {large} makes {compared.ten_epochs[large]:,}. {usual}; a tuned one is the best of several "
        "for that batch size, budget and schedule, on images kept aside. "
        "\N{MULTIPLICATION SIGN}1 is no effect."
    )


LUCK: Final = "Intervals are over whole seeds; none holds the luck of tuning on few seeds."


def factor(part: stats.Estimate) -> str:
    """A factor with the sign of multiplication and its interval: `x1.30 (1.12 to 1.48)`."""
    said = f" ({times(part.interval.low)} to {times(part.interval.high)})" if part.interval else ""
    return f"{bare_factor(part)}{said}"


def bare_factor(part: stats.Estimate) -> str:
    """`x1.30`: for a sentence beside which the interval stands."""
    return f"\N{MULTIPLICATION SIGN}{times(part.factor)}"


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
        f"batch size: {p_text(parts['batch size'].p)}, n = {parts['whole'].n[0]} seeds"
    )


def sentences(data: Cells) -> tuple[str, ...]:
    """The primary decomposition first, then per task, then the secondary ones."""
    tasks = arms_of(data).tasks
    first = primary_arm(data)
    wanted: list[tuple[int, Schedule, str | None]] = [(*first, None), *((*first, task) for task in tasks)]
    wanted += [
        (steps, schedule, None)
        for steps in arms_of(data).compared.budgets
        for schedule in reversed(SCHEDULES)
        if (steps, schedule) != first
    ]
    return tuple(filter(None, (sentence(data, *one) for one in wanted)))
