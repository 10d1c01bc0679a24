"""Which rule of thumb should scale a rate that was tuned at batch size 32?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bsr import stats
from bsr.controlled import RULE_SEEDS, RULES, SCALED_FROM, TEN_EPOCHS_AT, scaled_rate
from reports.arms import arms_of, pooled
from reports.cells import Cells
from reports.chapter import Chapter
from reports.table import Row, Table
from reports.text import listed
from reports.verdicts import Finding, Verdict, p_text
from reports.why import ends, factor

CLAIM: Final = "The square root of the batch size scales Adam's rate better than the batch size itself."
SIZES: Final = (256, 1024)
Errors = Mapping[int, float]


def errors(data: Cells, task: str, size: int, rate: float | None) -> Errors:
    """Seed -> log error after ten epochs, linear schedule."""
    return arms_of(data).errors(task, size, TEN_EPOCHS_AT[size], "linear", rate)


def against_tuned(data: Cells, power: float, sizes: tuple[int, ...] = SIZES) -> stats.Part | None:
    """Error with a scaled rate over that with the tuned one."""
    arms = arms_of(data)
    return pooled(
        (
            errors(data, task, size, arms.rate(task, size, TEN_EPOCHS_AT[size], "linear", "tuned")),
            errors(data, task, size, scaled_rate(task, size, power)),
        )
        for task in arms.tasks
        for size in sizes
    )


def finding(data: Cells) -> list[Finding]:
    """Which rule ends nearer to the tuned rate's error."""
    rules = {name: found for name, power in RULES.items() if (found := against_tuned(data, power))}
    between = pooled(
        (errors(data, task, size, roots), errors(data, task, size, linear))
        for task in arms_of(data).tasks
        for size in SIZES
        for roots, linear in [[scaled_rate(task, size, RULES[name]) for name in ("square root", "linear")]]
    )
    if between is None or not rules:
        return []
    verdict: Verdict = "cannot tell"
    if between.p.significant:
        verdict = "shown" if between.factor > 1 else "not shown"
    said = listed(f"{factor(found)} with the {name} rule" for name, found in rules.items())
    sentence = (
        f"With a rate scaled from {SCALED_FROM} the error at {listed(SIZES)} is the tuned rate's {said}."
    )
    lines = (
        f"linear over square root: {factor(between)}, {p_text(between.p)}",
        *(
            f"{name}, batch size {size}: {factor(found)} of the tuned rate's error"
            for name, power in RULES.items()
            for size in SIZES
            if (found := against_tuned(data, power, (size,)))
        ),
        f"{RULE_SEEDS} seeds per task and batch size; a dead run counts as the best constant",
    )
    return [Finding("rate-rules", CLAIM, verdict, sentence, lines)]


def _table(data: Cells) -> Table:
    rows: list[Row] = []
    for size in SIZES:
        for name, power in RULES.items():
            for task in arms_of(data).tasks:
                rate = scaled_rate(task, size, power)
                tuned = arms_of(data).rate(task, size, TEN_EPOCHS_AT[size], "linear", "tuned")
                found = pooled([(errors(data, task, size, tuned), errors(data, task, size, rate))])
                if found is not None:
                    rows.append((task, size, name, rate, tuned, found.factor, *ends(found), found.seeds))
    header = (
        "task", "batch size", "rule", "learning rate", "tuned rate", "factor", "95% from", "95% to", "seeds"
    )  # fmt: skip
    note = f"Error with the rate scaled from {SCALED_FROM} over that with the tuned one, linear, ten epochs."
    return Table("rate-rules", "Rules of thumb", header, rows, note)


CHAPTER: Final = Chapter(experiments=("rate-rules",), findings=finding, tables=lambda data: [_table(data)])
