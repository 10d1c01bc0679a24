"""Does the controlled protocol meet the study's where both train the same number of updates?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Final

from bsr import stats
from bsr.experiments.rates import Arm
from reports.analysis.arms import arms_of
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import number
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding, within

EPOCHS: Final = 10
CLAIM: Final = "Where both make the same updates, the controlled protocol and the study's end alike."


Errors = Mapping[int, float]
"""Seed -> normalised error."""


def _sides(data: Cells) -> dict[str, tuple[Errors, Errors]]:
    """Task -> at the largest batch size, after ten epochs and after as many controlled updates."""
    arms, largest = arms_of(data), arms_of(data).compared.largest
    steps = arms.compared.ten_epochs[largest]
    found: dict[str, tuple[Errors, Errors]] = {}
    for task in arms.tasks:
        logs = arms.errors_at(Arm(task, steps, "constant", largest), "study")
        study = {
            result.run.seed: result.normalised_mse
            for result in data.results("batch-size", task)
            if (result.run.batch_size, result.run.epochs) == (largest, EPOCHS)
            if result.normalised_mse is not None
        }
        if min(len(logs), len(study)) > 1:
            found[task] = (study, {seed: math.exp(log) for seed, log in logs.items()})
    return found


def _ratio(*tasks: tuple[Errors, Errors]) -> stats.Estimate:
    """Controlled over the study's, with its 90% interval; a value per whole seed, which are no pairs."""
    study, controlled = (
        [
            math.exp(fmean(math.log(side[seed]) for side in sides))
            for seed in sorted(set.intersection(*map(set, sides)))
        ]
        for sides in zip(*tasks, strict=True)
    )
    return stats.difference(study, controlled, level=0.90)


def finding(data: Cells) -> list[Finding]:
    """The ratio with its 90% interval: alike where that lies within 0.8 to 1.25."""
    tasks = _sides(data)
    if not tasks:
        return []
    found = _ratio(*tasks.values())
    compared = arms_of(data).compared
    alike = found.interval is not None and found.interval.within(*stats.SAME)
    sentence = (
        f"{compared.ten_epochs[compared.largest]:,} updates at batch size {compared.largest} on "
        f"{compared.images:,} images end with {number(found.factor, 3)} times the error of ten epochs on "
        f"{_trained_on(data):,}{within(found.interval)}."
    )
    lines = tuple(_line(task, _ratio(sides)) for task, sides in tasks.items())
    return [Finding("anchor", CLAIM, "shown" if alike else "cannot tell", sentence, lines)]


def _trained_on(data: Cells) -> int:
    return data.results("batch-size")[0].run.train_images


def _line(task: str, one: stats.Estimate) -> str:
    study, controlled = one.n
    return f"{task}: {number(one.factor, 3)}{within(one.interval)}, {controlled} and {study} runs"


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "factor": one.factor,
            **interval_cells(one.interval, "90%"),
            "controlled runs": one.n[1],
            "the study's runs": one.n[0],
        }
        for task, sides in _sides(data).items()
        for one in [_ratio(sides)]
    ]
    compared = arms_of(data).compared
    steps = compared.ten_epochs[compared.largest]
    note = f"Error at {compared.largest} after {steps:,} controlled updates over that after ten epochs."
    return Table.of("anchor", "Where both protocols meet", rows, note)


CHAPTER: Final = Chapter(findings=finding, tables=lambda data: [_table(data)])
