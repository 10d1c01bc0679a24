"""Which rule of thumb should scale a rate that was tuned at batch size 32?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bsr import stats
from bsr.experiments.controlled import RULE_SEEDS, RULES, SCALED_FROM, TEN_EPOCHS_AT, scaled_rate
from bsr.experiments.rates import Arm
from reports.analysis.arms import arms_of, over_tasks
from reports.analysis.decomposition import factor
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import listed
from reports.text.table import Table, factor_cells
from reports.text.verdicts import Finding, Verdict, p_text

CLAIM: Final = "The square root of the batch size scales Adam's rate better than the batch size itself."
SIZES: Final = (256, 1024)


def _ten_epochs(task: str, size: int) -> Arm:
    """What is compared: ten epochs, linear schedule."""
    return Arm(task, TEN_EPOCHS_AT[size], "linear", size)


def _scaled(data: Cells, task: str, size: int, power: float) -> Mapping[int, float]:
    """Seed -> log error at a rate scaled from 32."""
    return arms_of(data).errors(_ten_epochs(task, size), scaled_rate(task, size, power))


def _against_tuned(
    data: Cells, power: float, tasks: Sequence[str], sizes: Sequence[int] = SIZES
) -> stats.Estimate | None:
    """Error with a scaled rate over that with the tuned one."""
    return over_tasks(
        (arms_of(data).errors_at(_ten_epochs(task, size), "tuned"), _scaled(data, task, size, power))
        for task in tasks
        for size in sizes
    )


def finding(data: Cells) -> list[Finding]:
    """Which rule ends nearer to the tuned rate's error."""
    tasks = arms_of(data).tasks
    rules = {
        (name, size): found
        for name, power in RULES.items()
        for size in SIZES
        if (found := _against_tuned(data, power, tasks, (size,)))
    }
    between = over_tasks(
        (_scaled(data, task, size, RULES["square root"]), _scaled(data, task, size, RULES["linear"]))
        for task in tasks
        for size in SIZES
    )
    if between is None or len(rules) < len(RULES) * len(SIZES):
        return []
    verdict: Verdict = "cannot tell"
    if between.p.significant:
        verdict = "shown" if between.factor > 1 else "not shown"
    said = listed(
        f"{listed(f'{factor(rules[name, size])} at {size}' for size in SIZES)} with the {name} rule"
        for name in RULES
    )
    sentence = f"With a rate scaled from {SCALED_FROM} the error is the tuned rate's {said}."
    lines = (
        f"linear over square root: {factor(between)}, {p_text(between.p)}",
        *(
            f"{name}, both batch sizes: {factor(found)} of the tuned rate's error"
            for name, power in RULES.items()
            if (found := _against_tuned(data, power, tasks))
        ),
        f"{RULE_SEEDS} seeds per task and batch size; a dead run counts as what it ended with, or a constant",
    )
    return [Finding("rate-rules", CLAIM, verdict, sentence, lines)]


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "batch size": size,
            "rule": name,
            "learning rate": scaled_rate(task, size, power),
            "tuned rate": arms_of(data).rate(_ten_epochs(task, size), "tuned"),
            **factor_cells(found),
        }
        for size in SIZES
        for name, power in RULES.items()
        for task in arms_of(data).tasks
        if (found := _against_tuned(data, power, (task,), (size,)))
    ]
    note = f"Error with the rate scaled from {SCALED_FROM} over that with the tuned one, linear, ten epochs."
    return Table.of("rate-rules", "Rules of thumb", rows, note)


CHAPTER: Final = Chapter(experiments=("rate-rules",), findings=finding, tables=lambda data: [_table(data)])
