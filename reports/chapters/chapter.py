"""A chapter: one question with its figures, its findings and its tables, and what would measure it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bsr import published
from bsr.experiments import DEFAULT_PRESET, PRESETS
from reports.cells import Cells
from reports.drawing.panel import Panel
from reports.table import Table
from reports.verdicts import Finding


@dataclass(frozen=True, slots=True)
class FigureContent:
    """What a figure shows of one study."""

    panels: Sequence[Panel]
    caption: str
    """Plain text; how it was computed and n."""
    alternative: str
    """For who cannot see it: what is drawn and what it shows."""


SECTIONS: Final = (
    "Which batch size",
    "Why",
    "The answer at equal epochs",
    "The batch size",
    "Convergence",
    "Time",
    "Beside the published figures",
    "The other choices",
    "The labels",
)
"""The parts of the page, in their order; figures of the first that has any stand with the answer itself."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report. `draw` gives None where the study lacks the data."""

    section: str
    """The part of the page where it stands."""
    name: str
    """File name and anchor on the page."""
    title: str
    draw: Callable[[Cells], FigureContent | None]
    options: str
    """The options of pytest that would measure what it needs; empty: nothing is said where it lacks."""
    study: str = ""
    """The study's figure that it reproduces: `figure 5`."""


def _none(_data: Cells) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """One question put to a recording; see reports.chapters for the order of the page."""

    figures: tuple[Figure, ...] = ()
    findings: Callable[[Cells], Sequence[Finding]] = _none
    tables: Callable[[Cells], Sequence[Table]] = _none
    """Some may have no rows."""
    experiments: tuple[str, ...] = ()
    """Those that it draws over the batch size, or as they should be; all others are in chapters.others."""


def _controlled(preset: str) -> bool:
    return "batch-size" not in PRESETS[preset].experiments


def measure_command(data: Cells, options: str) -> str:
    """A pytest line with the recording's preset (if it is one of ours) and `options`.

    What the study trains in epochs has sessions of its own, apart from controlled ones.
    """
    merged = data.session.preset.replace(" and ", ", ").split(", ")
    named = (name for name in merged if name in PRESETS and not _controlled(name))
    preset = next(named, DEFAULT_PRESET)
    chosen = "" if "--bsr-preset" in options or preset == DEFAULT_PRESET else f" --bsr-preset {preset}"
    return f"pytest benchmarks --benchmark-json=run.json{chosen} {options}"


def nothing_to_learn(data: Cells, name: str) -> Finding:
    """A conclusion about learning where no task that was measured has anything to learn."""
    options = "--bsr-experiments batch-size --bsr-tasks mean,std,var"
    line = f"Measure it: {measure_command(data, options)}"
    sentence = "Not measured here: no final error of a task that has something to learn."
    return Finding(name, published.CLAIMS[name], "cannot tell", sentence, (line,), options=options)


def missing(data: Cells, name: str, experiment: str, at: str = "") -> Finding:
    """A conclusion whose experiment was not measured, and the command that would measure it."""
    claim = published.CLAIMS[name] + (f" At the {at}." if at else "")
    options = f"--bsr-experiments {experiment}" + (" --bsr-tasks std" if experiment == "batch-size" else "")
    line = f"Measure it: {measure_command(data, options)}"
    sentence = f"Not measured here: the experiment {experiment}."
    return Finding(f"{name}-{experiment}", claim, "cannot tell", sentence, (line,), options=options)
