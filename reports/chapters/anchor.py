"""Does the controlled protocol meet the study's where both train the same number of updates?"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from bsr import stats
from bsr.experiments.controlled import LARGEST, TEN_EPOCHS_AT
from bsr.experiments.rates import Arm
from bsr.stats.basis import Array
from reports.analysis.arms import arms_of
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.table import Table, interval_cells
from reports.text import number
from reports.verdicts import Finding, Verdict

CLAIM: Final = "Where both make the same updates, the controlled protocol and the study's end alike."


def _pairs(data: Cells) -> dict[str, tuple[Array, Array]]:
    """Task -> log normalised errors at LARGEST: ten epochs of the study, and as many controlled updates."""
    arms, steps = arms_of(data), TEN_EPOCHS_AT[LARGEST]
    found = {}
    for task in arms.tasks:
        controlled = list(arms.errors_at(Arm(task, steps, "constant", LARGEST), "study").values())
        study = [
            math.log(value)
            for cell in data.cells(task)
            if cell.batch_size == LARGEST and cell.results[0].run.epochs == 10
            for value in cell.normalised
        ]
        if min(len(controlled), len(study)) > 1:
            found[task] = (np.array(study), np.array(controlled))
    return found


def finding(data: Cells) -> list[Finding]:
    """The ratio with its 90% interval: alike where that lies within 0.8 to 1.25."""
    pairs = _pairs(data)
    if not pairs:
        return []
    together = stats.unpaired(*pairs.values())
    interval = together.interval(0.90)
    assert interval is not None
    verdict: Verdict = "shown" if interval.within(*stats.SAME) else "cannot tell"
    sentence = (
        f"{TEN_EPOCHS_AT[LARGEST]} updates at batch size {LARGEST} on 50,000 images end with "
        f"{number(math.exp(together.estimate), 3)} times the error of ten epochs on 60,000 "
        f"(90% interval {number(interval.low, 3)} to {number(interval.high, 3)})."
    )
    lines = tuple(_line(task, *pair) for task, pair in pairs.items())
    return [Finding("anchor", CLAIM, verdict, sentence, lines)]


def _line(task: str, study: Array, controlled: Array) -> str:
    one = stats.unpaired((study, controlled))
    interval = one.interval(0.90)
    ends = f" ({number(interval.low, 3)} to {number(interval.high, 3)})" if interval else ""
    return f"{task}: {number(math.exp(one.estimate), 3)}{ends}, {len(controlled)} and {len(study)} runs"


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "factor": math.exp((one := stats.unpaired((study, controlled))).estimate),
            **interval_cells(one.interval(0.90), "90%"),
            "controlled runs": len(controlled),
            "the study's runs": len(study),
        }
        for task, (study, controlled) in _pairs(data).items()
    ]
    note = f"Error at {LARGEST} after {TEN_EPOCHS_AT[LARGEST]} controlled updates over that after ten epochs."
    return Table.of("anchor", "Where both protocols meet", rows, note)


CHAPTER: Final = Chapter(findings=finding, tables=lambda data: [_table(data)])
