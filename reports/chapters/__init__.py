"""The chapters of a report, one question each; adding one is a module here and a line below."""

from __future__ import annotations

from typing import Final

from bsr import published
from reports.cells import Cells, one_seed
from reports.chapters import (
    adam_memory,
    anchor,
    answer,
    beside_published,
    choosing,
    collapse,
    convergence,
    equal_epochs,
    error,
    every_run,
    fluctuation,
    labels,
    learning_rate,
    literature,
    little_data,
    longer,
    loops,
    loss,
    networks,
    noise_scale,
    optimiser,
    other_experiments,
    rate_rules,
    square,
    steps_to_target,
    time,
    tuning,
    updates,
    why,
)
from reports.chapters.chapter import SECTIONS, Chapter, Figure
from reports.text.table import Table
from reports.text.verdicts import Finding, Findings, values_only

_OWN: Final[tuple[Chapter, ...]] = (
    answer.CHAPTER,
    choosing.CHAPTER,
    equal_epochs.CHAPTER,
    square.CHAPTER,
    little_data.CHAPTER,
    why.CHAPTER,
    steps_to_target.CHAPTER,
    tuning.CHAPTER,
    rate_rules.CHAPTER,
    adam_memory.CHAPTER,
    noise_scale.CHAPTER,
    anchor.CHAPTER,
    literature.CHAPTER,
    updates.CHAPTER,
    networks.CHAPTER,
    error.CHAPTER,
    time.CHAPTER,
    convergence.CHAPTER,
    longer.CHAPTER,
    beside_published.CHAPTER,
    learning_rate.CHAPTER,
    optimiser.CHAPTER,
    loss.CHAPTER,
    fluctuation.CHAPTER,
    collapse.CHAPTER,
    labels.CHAPTER,
    loops.CHAPTER,
)
CHAPTERS: Final = (
    *_OWN,
    other_experiments.chapter(owned={name for chapter in _OWN for name in chapter.experiments}),
    every_run.CHAPTER,
)
"""In the order of the page, within its parts."""


def figures() -> list[Figure]:
    """Every figure, by the parts of the page."""
    found = [figure for chapter in CHAPTERS for figure in chapter.placed]
    return sorted(found, key=lambda figure: SECTIONS.index(figure.section))


def findings(data: Cells) -> Findings:
    """Every conclusion put to the data, in the order in which the study draws them."""
    about_learning = [one for one in CHAPTERS if one not in {answer.CHAPTER, collapse.CHAPTER}]
    learning = [finding for chapter in about_learning for finding in chapter.findings(data)]
    (first,) = answer.CHAPTER.findings(data)
    degenerate = collapse.CHAPTER.findings(data)
    if one_seed(data):
        first, learning, degenerate = (
            values_only(first),
            [*map(values_only, learning)],
            [*map(values_only, degenerate)],
        )
    return Findings(first, tuple(sorted(learning, key=_position)), tuple(degenerate))


def _position(finding: Finding) -> int:
    """Of the study's conclusion that it is about; what the study did not ask comes after."""
    names = list(published.CLAIMS)
    return next((names.index(name) for name in names if finding.name.startswith(name)), len(names))


def tables(data: Cells) -> list[Table]:
    """Every table; some have no rows."""
    return [table for chapter in CHAPTERS for table in chapter.tables(data)]
