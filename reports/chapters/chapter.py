"""A chapter: one question with its figures, its findings and its tables, and what would measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from statistics import fmean, median
from typing import Any, Final

from bsr import published, stats
from bsr.experiments import DEFAULT_PRESET, EXPERIMENTS, PRESETS, Grid
from bsr.experiments.grid import STUDY_TASKS
from bsr.result import Result
from bsr.run import STUDY_MODEL
from reports.cells import Cell, Cells, statuses
from reports.drawing.panel import Panel
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding


@dataclass(frozen=True, slots=True)
class FigureContent:
    """What a figure shows of one study."""

    panels: Sequence[Panel]
    about: str
    """Plain text; how it was computed."""
    alternative: str
    """For who cannot see it: what is drawn and what it shows."""
    n: str
    """What a point rests on: `10 seeds per batch size`."""
    results: Iterable[Result] = ()
    """Those whose endings the caption tells."""
    note: str = ""
    """What follows in the caption."""

    @property
    def caption(self) -> str:
        """How it was computed, n, runs that did not end well, and the note."""
        return " ".join(filter(None, (self.about, f"n = {self.n}.", statuses(self.results), self.note)))


MNIST: Final = "MNIST"
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
"""The parts of the page, in their order."""

OUTSIDE: Final = (
    "time-to-error",
    "equal-epochs",
    "why",
    "equal-updates",
    "square",
    "effects",
    "updates",
    "final-mse",
    "networks",
    "convergence",
    "speed",
    "published",
)
"""Figures that a reader came for; all others stand in the appendix, which is folded."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report. `draw` gives None where the study lacks the data."""

    title: str
    draw: Callable[[Cells], FigureContent | None]
    study: str = ""
    """The study's figure that it reproduces: `figure 5`."""
    name: str = ""
    """File name and anchor on the page; empty: as the function that draws it."""
    section: str = ""
    """The part of the page where it stands; empty: the chapter's."""
    options: str = ""
    """The options of pytest that would measure what it needs; empty: the chapter's."""


def _none(_data: Cells) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """One question put to a recording; see reports.chapters for the order of the page."""

    section: str = ""
    """The part of the page where its figures stand."""
    options: str = ""
    """The options of pytest that would measure what they need; empty: the page names none."""
    figures: tuple[Figure, ...] = ()
    findings: Callable[[Cells], Sequence[Finding]] = _none
    tables: Callable[[Cells], Sequence[Table]] = _none
    """Some may have no rows."""
    experiments: tuple[str, ...] = ()
    """Those that it draws over the batch size, or as they should be; all others are in
    `other_experiments`."""

    @property
    def placed(self) -> list[Figure]:
        """Its figures, each with its name, section and options."""
        return [
            replace(
                figure,
                name=figure.name or figure.draw.__name__.replace("_", "-"),
                section=figure.section or self.section,
                options=figure.options or self.options,
            )
            for figure in self.figures
        ]


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
    return (
        f"pytest benchmarks --benchmark-json=run.json{chosen} {_asked_of(data, options)}{own_options(data)}"
    )


def asked_for(data: Cells, options: str) -> bool:
    """Whether the page names them for what was not measured: of its protocol, and with something to train."""
    return options not in _of_the_other_protocol(data) and _plans_any(data, options)


def _of_the_other_protocol(data: Cells) -> tuple[str, ...]:
    """Two protocols answer why, and the page asks for one of them.

    It is the first, an hour in all, for data and networks that are not the study's, and where some of it was
    measured; else the second, whose settings ship.
    """
    first = any(map(data.of_every_network, ("tune", *PRESETS["why-first"].experiments)))
    if first or own_options(data):
        return ("--bsr-preset why",)
    return ("--bsr-preset why-first", "--bsr-preset tune")


def _plans_any(data: Cells, options: str) -> bool:
    """Whether the experiment that they name trains anything of the recording's tasks."""
    words = options.split()
    name = words[words.index("--bsr-experiments") + 1] if "--bsr-experiments" in words else ""
    asked = EXPERIMENTS.get(name)
    if asked is None or not asked.trains or not data.tasks:
        return True
    if "--bsr-tasks" in words:  # of the study's, which own data may not have
        named = words[words.index("--bsr-tasks") + 1].split(",")
        return len(named) > 1 or {*data.tasks} <= {*STUDY_TASKS} or named[0] in data.tasks
    return any(True for _ in asked.planned(Grid(tasks=data.tasks, runs=1)))


def own_options(data: Cells) -> str:
    """Those that name data set, networks and tasks which are not the study's: ` --bsr-dataset mine:discs`."""
    datasets = dict.fromkeys(result.run.dataset for result in data.all_results)
    own = {"dataset": [name for name in datasets if name != MNIST]}
    own["models"] = [name for name in data.networks if data.networks != (STUDY_MODEL,)]
    own["tasks"] = [task for task in data.tasks if task not in data.degenerate] if _other_tasks(data) else []
    return "".join(f" --bsr-{name} {quote(','.join(names))}" for name, names in own.items() if names)


def _other_tasks(data: Cells) -> bool:
    return not {*data.tasks} <= {*STUDY_TASKS}


def _asked_of(data: Cells, options: str) -> str:
    """The options without tasks of the study, where the recording has its own."""
    words = options.split()
    if "--bsr-tasks" in words and _other_tasks(data):
        at = words.index("--bsr-tasks")
        del words[at : at + 2]
    return " ".join(words)


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


def finals_cells(cell: Cell) -> dict[str, object]:
    """The final MSE over the seeds of a cell, as cells of a table."""
    finals = cell.finals
    return {
        "seeds": len(finals),
        "mean MSE": fmean(finals),
        "median MSE": median(finals),
        **interval_cells(stats.mean_interval(finals)),
        "lowest seed": min(finals),
        "highest seed": max(finals),
    }
