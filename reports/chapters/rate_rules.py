"""Which rule of thumb should scale a rate that was tuned at batch size 32?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bsr import stats
from bsr.experiments.controlled import RULES, SCALED_FROM, scaled_rate
from bsr.experiments.rates import Arm
from reports.analysis.arms import arms_of, over_tasks
from reports.analysis.decomposition import factor
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import counted, listed
from reports.text.table import Table, factor_cells
from reports.text.verdicts import Finding, Verdict, p_text

CLAIM: Final = "The square root of the batch size scales Adam's rate better than the batch size itself."
POWERS: Final = {**RULES, "none": 0.0}
WORDS: Final = {
    "linear": "with the linear rule",
    "square root": "with the square root rule",
    "none": "without scaling",
}


def _ten_epochs(data: Cells, task: str, size: int) -> Arm:
    """What is compared: the same images, linear schedule."""
    return Arm(task, arms_of(data).compared.ten_epochs[size], "linear", size)


def _scaled(data: Cells, task: str, size: int, power: float) -> Mapping[int, float]:
    """Seed -> log error at a rate scaled from 32."""
    arm = _ten_epochs(data, task, size)
    return arms_of(data).errors(arm, scaled_rate(task, size, power, arms_of(data).rate(arm, "study")))


def _against_tuned(
    data: Cells, power: float, tasks: Sequence[str], sizes: Sequence[int]
) -> stats.Estimate | None:
    """Error with a scaled rate over that with the tuned one."""
    return over_tasks(
        (arms_of(data).errors_at(_ten_epochs(data, task, size), "tuned"), _scaled(data, task, size, power))
        for task in tasks
        for size in sizes
    )


def finding(data: Cells) -> list[Finding]:
    """Which rule ends nearer to the tuned rate's error, and whether either is better than none."""
    tasks, sizes = arms_of(data).tasks, arms_of(data).compared.scaled
    rules = {
        (name, size): found
        for name, power in POWERS.items()
        for size in sizes
        if (found := _against_tuned(data, power, tasks, (size,)))
    }
    between = _between(data, "square root", "linear", sizes)
    if between is None or not all((name, size) in rules for name in RULES for size in sizes):
        return []
    verdict: Verdict = "cannot tell"
    if between.p.significant:
        verdict = "shown" if between.factor > 1 else "not shown"
    said = listed(
        f"{listed(f'{factor(found)} at {size}' for (rule, size), found in rules.items() if rule == name)} "
        f"{words}"
        for name, words in WORDS.items()
        if any(rule == name for rule, _ in rules)
    )
    sentence = f"With a rate scaled from {SCALED_FROM} the error is the tuned rate's {said}."
    unscaled = _between(data, "none", "square root", sizes[-1:])
    if unscaled is not None:
        better = unscaled.p.significant and unscaled.factor < 1
        told = "better" if better else "not shown to be better"
        sentence += (
            f" At {sizes[-1]} the square root is {told} than no scaling: {factor(unscaled)} of its error."
        )
    lines = (
        f"linear over square root: {_with_p(between)}",
        *([f"square root over no scaling, at {sizes[-1]}: {_with_p(unscaled)}"] if unscaled else []),
        *(f"{name} over tuned, at {size}: {_with_p(found)}" for (name, size), found in rules.items()),
        "linear schedule; neither rule is tested as published, with warm-up or with moments scaled too",
        "a dead run counts as what it ended with, or a constant",
    )
    return [Finding("rate-rules", CLAIM, verdict, sentence, lines)]


def _between(data: Cells, first: str, second: str, sizes: Sequence[int]) -> stats.Estimate | None:
    """Error with the second rule over that with the first."""
    return over_tasks(
        (_scaled(data, task, size, POWERS[first]), _scaled(data, task, size, POWERS[second]))
        for task in arms_of(data).tasks
        for size in sizes
    )


def _with_p(found: stats.Estimate) -> str:
    return f"{factor(found)}, {p_text(found.p)}, n = {counted(found.n[0], 'seed')}"


def _table(data: Cells) -> Table:
    arms = arms_of(data)
    rows = [
        {
            "task": task,
            "batch size": size,
            "rule": name,
            "learning rate": scaled_rate(
                task, size, power, arms.rate(_ten_epochs(data, task, size), "study")
            ),
            "tuned rate": arms.rate(_ten_epochs(data, task, size), "tuned"),
            **factor_cells(found),
        }
        for size in arms.compared.scaled
        for name, power in POWERS.items()
        for task in arms.tasks
        if (found := _against_tuned(data, power, (task,), (size,)))
    ]
    note = f"Error with the rate scaled from {SCALED_FROM} over that with the tuned one, linear."
    return Table.of("rate-rules", "Rules of thumb", rows, note)


CHAPTER: Final = Chapter(experiments=("rate-rules",), findings=finding, tables=lambda data: [_table(data)])
