"""What a person sees: the header, a line per case, a live line meanwhile, and the tables at the end."""

from __future__ import annotations

import io
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Final

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from bsr.experiment import PRESETS, Result, Run, plan
from bsr.plugin.estimate import Estimate, duration
from bsr.plugin.session import Session

LABEL_WIDTH: Final = 30


def header(session: Session, estimate: Estimate) -> list[str]:
    """How much of the study this is, where the records are, and how long it and the larger presets take."""
    runs = session.header.planned
    machine = session.header.environment
    waiting = [run for run in runs if run.key not in session.results]
    lines = [
        f"bsr: {session.options.preset}, {_part(runs)}",
        f"bsr: {machine['device_name']} ({machine['device']}), engine {machine['engine']}, "
        f"{machine['threads']} thread(s), torch {machine['torch']}",
        f"bsr: expected time {duration(estimate.total(waiting))}{_larger(runs, session, estimate)}",
    ]
    if session.resumed:
        lines.append(f"bsr: resumed {len(session.resumed)} finished runs, {len(waiting)} to go")
    assert session.journal is not None
    return [*lines, f"bsr: journal {session.journal.path}"]


def _part(runs: Sequence[Run]) -> str:
    paper = list(plan(("batch-size",), PRESETS["paper"].grid)["batch-size"].values())
    cells = {(run.task, run.batch_size, run.learning_rate, run.dataset, run.optimiser, run.loss) for run in paper}
    within = sum(
        (run.task, run.batch_size, run.learning_rate, run.dataset, run.optimiser, run.loss) in cells for run in runs
    )
    epochs = "/".join(str(count) for count in sorted({run.epochs for run in runs}))
    images = "" if all(run.train_images == paper[0].train_images for run in runs) else " on part of the images"
    return (
        f"{len(runs)} cases; of the study's main experiment {within} of {len(paper)} runs, {epochs} of 10 epochs{images}"
    )


def _larger(runs: Sequence[Run], session: Session, estimate: Estimate) -> str:
    """The presets that train more than this session, each with its time here."""
    found = []
    for name in ("quick", "paper", "extended", "study"):
        preset = PRESETS[name]
        grid = replace(preset.grid, tasks=session.options.grid.tasks)
        every = {run.key: run for cases in plan(preset.experiments, grid).values() for run in cases.values()}
        if estimate.total(every.values()) > 1.5 * estimate.total(runs):
            found.append(f"{name} ({len(every)} runs) {duration(estimate.total(every.values()))}")
    return f"; the presets {', '.join(found)}" if found else ""


class Display:
    """Shows Runs as they go: a live line on a terminal, a plain line per case everywhere."""

    def __init__(self, reporter: pytest.TerminalReporter, session: Session, estimate: Estimate) -> None:
        self.reporter = reporter
        self.session = session
        self.estimate = estimate
        self.running: dict[str, tuple[Run, int]] = {}
        self.lines: list[str] = []
        self.progress: Progress | None = None
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            # pytest captures descriptor 1 while a case runs; this one stays the terminal
            terminal = os.fdopen(os.dup(sys.__stdout__.fileno()), "w", encoding="utf-8")
            self.progress = Progress(
                BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False),
                console=Console(file=terminal, force_terminal=True), transient=True, redirect_stdout=False,
                redirect_stderr=False,
            )  # fmt: skip
            self.bar = self.progress.add_task("", total=len(session.runs), completed=len(session.results))

    def epoch(self, run: Run, epoch: int) -> None:
        """See Watcher."""
        self.running[run.key] = (run, epoch)
        self._draw()

    def finished(self, result: Result, *, resumed: bool = False) -> None:
        """See Watcher."""
        self.running.pop(result.run.key, None)
        if not resumed and result.wall_seconds:
            self.estimate.learn(result.run, result.wall_seconds)
        self._draw()

    def case(self, case_id: str, result: Result, *, resumed: bool) -> None:
        """A case is done: its line."""
        position = f"[{len(self.session.results)}/{len(self.session.runs)}{self._left()}]"
        line = f"  {case_id:<{LABEL_WIDTH}} {outcome(result)}{' (resumed)' if resumed else ''}  {position}"
        if self.progress is not None and self.progress.live.is_started:
            self.progress.console.print(line, markup=False, highlight=False)
        else:
            self.reporter.write_line(line)

    def _left(self) -> str:
        waiting = [run for key, run in self.session.runs.items() if key not in self.session.results]
        return f", {duration(self.estimate.total(waiting))} left" if waiting else ""

    def _draw(self) -> None:
        if self.progress is None:
            return
        if not self.progress.live.is_started:
            self.progress.start()
        now = ", ".join(f"{run.label} epoch {epoch}/{run.epochs}" for run, epoch in self.running.values())
        done = len(self.session.results)
        self.progress.update(self.bar, completed=done, description=f"{now}{self._left()}")

    def stop(self) -> None:
        """Remove the live line."""
        if self.progress is not None:
            self.progress.stop()


def outcome(result: Result) -> str:
    """One Result in a few words."""
    if result.final_mse is None:
        return f"{result.status}: {result.message}" if result.message else result.status
    relative = "degenerate task" if result.degenerate else f"{result.normalised_mse:.3g} of the best constant"
    flag = "" if result.status == "ok" else f"{result.status}: "
    return f"{flag}MSE {result.final_mse:.4g} ({relative})  {result.total_training_seconds:.2f} s"


def summary(session: Session, width: int) -> str:
    """Per experiment a table: task and batch size, MSE over seeds, normalised MSE, seconds, images per second."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    by_experiment: dict[str, list[Result]] = defaultdict(list)
    for key, result in session.results.items():
        for experiment in session.cases[key]:
            by_experiment[experiment].append(result)
    for experiment, results in by_experiment.items():
        console.print(_table(experiment, results), soft_wrap=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


def _table(experiment: str, results: Iterable[Result]) -> Table:
    table = Table(title=f"{experiment}: final test MSE and training time", title_justify="left", box=None)
    for name in ("task", "batch size", "setting", "seeds", "MSE mean", "min", "max", "normalised", "seconds", "images/s"):
        table.add_column(name, justify="left" if name in {"task", "setting"} else "right", no_wrap=True)
    cells: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for result in results:
        cells[_cell(experiment, result)].append(result)
    for (task, size, *setting), members in sorted(cells.items(), key=lambda item: _order(item[0])):
        table.add_row(task, str(size), " ".join(str(part) for part in setting), *_figures(members))
    return table


def _order(cell: tuple[Any, ...]) -> tuple[Any, ...]:
    return (cell[0] == "median", *cell)


def _cell(experiment: str, result: Result) -> tuple[Any, ...]:
    from bsr.experiment import EXPERIMENTS  # noqa: PLC0415

    run = result.run
    varies = tuple(f"{name}={getattr(run, name)}" for name in EXPERIMENTS[experiment].varies)
    timing = () if result.timing == "alone" else (result.timing,)
    return (run.task, run.batch_size, *varies, *timing)


def _figures(results: Sequence[Result]) -> list[str]:
    errors = [result.final_mse for result in results if result.final_mse is not None]
    relative = [result.normalised_mse for result in results if result.normalised_mse is not None]
    seconds = [result.total_training_seconds for result in results if result.final_mse is not None]
    rates = [result.images_per_second for result in results if result.images_per_second and result.final_mse is not None]
    unlike = len(results) - len(errors)
    count = f"{len(errors)}" + (f" (+{unlike} without)" if unlike else "")
    return [
        count,
        *((f"{fmean(errors):.4g}", f"{min(errors):.4g}", f"{max(errors):.4g}") if errors else ("-", "-", "-")),
        f"{fmean(relative):.4g}" if relative else "degenerate" if results[0].degenerate else "-",
        f"{fmean(seconds):.2f}" if seconds else "-",
        f"{fmean(rates):,.0f}" if rates else "-",
    ]
