"""Is it Adam's second moment, which remembers more updates than the large batch makes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bsr import stats
from bsr.experiments.controlled import SHORT_MEMORY
from bsr.experiments.rates import Arm
from reports.analysis.arms import USUAL_MEMORY, arms_of, over_tasks
from reports.analysis.decomposition import factor, names
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text.table import Table, factor_cells
from reports.text.verdicts import Finding, Verdict, p_text

CLAIM: Final = "Adam's memory of 1,000 updates makes a part of the gap at constant rates."


def _errors(data: Cells, task: str, size: int, beta2: float) -> Mapping[int, float]:
    """Seed -> log error after the same images at the study's rate."""
    arms = arms_of(data)
    return arms.errors_at(Arm(task, arms.compared.ten_epochs[size], "constant", size), "study", beta2)


def _ends(data: Cells) -> tuple[int, int]:
    return arms_of(data).compared.smallest, arms_of(data).compared.largest


def _change(data: Cells, size: int, *tasks: str) -> stats.Estimate | None:
    """Error with the short memory over that with the usual one."""
    return over_tasks(
        (_errors(data, task, size, USUAL_MEMORY), _errors(data, task, size, SHORT_MEMORY)) for task in tasks
    )


def _gap_change(data: Cells, *tasks: str) -> stats.Estimate | None:
    """By which factor the gap between the large and the small batch changes."""
    return over_tasks(_gaps(data, task) for task in tasks)


def _gaps(data: Cells, task: str) -> tuple[Mapping[int, float], Mapping[int, float]]:
    found = []
    for beta2 in (USUAL_MEMORY, SHORT_MEMORY):
        small, large = (_errors(data, task, size, beta2) for size in _ends(data))
        found.append({seed: large[seed] - small[seed] for seed in set(small) & set(large)})
    return found[0], found[1]


def finding(data: Cells) -> list[Finding]:
    """Whether a shorter memory closes the gap."""
    tasks = arms_of(data).tasks
    gap = _gap_change(data, *tasks)
    small, large = (_change(data, size, *tasks) for size in _ends(data))
    if gap is None or small is None or large is None:
        return []
    smallest, largest = _ends(data)
    verdict: Verdict = "cannot tell"
    if gap.p.significant:
        verdict = "shown" if gap.factor < 1 and large.factor < 1 else "not shown"
    elif gap.no_effect:
        verdict = "not shown"
    sentence = (
        f"With beta2 = {SHORT_MEMORY} instead of {USUAL_MEMORY} the gap between {largest} and {smallest} "
        f"changes by {factor(gap)}: the error at {largest} by {factor(large)}, at {smallest} by "
        f"{factor(small)}."
    )
    lines = (
        f"change of the gap: {p_text(gap.p)}, n = {gap.n[0]} seeds",
        f"at {names(data)['rate']}, constant; secondary, so not corrected for how many were asked",
        "the shorter memory got no tuning of its own",
    )
    return [Finding("second-moment", CLAIM, verdict, sentence, lines)]


def _table(data: Cells) -> Table:
    rows = [
        {"task": task, "of": name, **factor_cells(found)}
        for task in arms_of(data).tasks
        for name, found in {
            **{str(size): _change(data, size, task) for size in _ends(data)},
            "gap": _gap_change(data, task),
        }.items()
        if found
    ]
    smallest, largest = _ends(data)
    note = f"Error with beta2 = {SHORT_MEMORY} over that with {USUAL_MEMORY}; gap: {largest} over {smallest}."
    return Table.of("adam-memory", "Adam's memory", rows, note)


CHAPTER: Final = Chapter(experiments=("adam-memory",), findings=finding, tables=lambda data: [_table(data)])
