"""What a person sees before and after: which part of the study it is, how long it takes; then the figures."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bsr import engines
from bsr.experiments import EXPERIMENTS, PRESETS, Grid, plan, square
from bsr.experiments.grid import STUDY_TASKS
from bsr.experiments.original import REFINED, untuned
from bsr.experiments.tried_rates import at_edge, best_rate, by_rate, contenders
from bsr.plugin.estimate import Forecast, duration
from bsr.plugin.session import Session
from bsr.records import agreement
from bsr.result import Cell, Result
from bsr.run import STUDY_MODEL, Run
from bsr.text import listed

LARGER_PRESETS: Final = ("quick", "paper", "extended", "study")
WIDEST: Final = 200
"""Columns of a table whose settings are long: a line that breaks is read more easily than half a number."""
MUCH_LARGER: Final = 1.5
"""Times this session's training: a preset that takes less is not worth a word."""


def header(session: Session, estimate: Forecast) -> list[str]:
    """How much of the study this is, on what, how long it and larger presets take; where its journal is."""
    runs = session.header.planned
    machine = session.header.environment
    workers = f", {session.header.workers} workers" if session.header.workers else ""
    device = f"{machine['device_name']} ({machine['device']}), engine {machine['engine']}"
    lines = [f"bsr: {device}, {machine['threads']} thread(s){workers}, torch {machine['torch']}"]
    asked, used = session.options.execution.engine, session.header.execution
    if used.engine != asked and (why := engines.fallback_reason(asked, runs, used)):
        instead = f", since {why}" if asked == "auto" else f" instead of {asked}: {why}"
        lines.append(f"bsr: engine {used.engine}{instead}")
    lines += [*_untuned(session), *_tuned_alike(session)]
    if runs:
        waiting = [run for run in runs if run.key not in session.results]
        lines.insert(0, f"bsr: {part_of_the_study(session.options.preset, runs)}")
        lines += [f"bsr: {line}" for line in _expected(waiting, session, estimate)]
        if session.options.resume:
            lines.append(f"bsr: resumed {len(session.resumed)} finished cases, {len(waiting)} to go")
    return [*lines, f"bsr: journal {session.journal.path}"]


def _untuned(session: Session) -> list[str]:
    """A line where a rate was never tuned for what it trains, and how to tune it."""
    grid = session.options.grid
    chosen = dict(grid.learning_rates)
    cases = session.header.cases
    looked_up = [
        run
        for run in session.header.planned
        if run.task not in chosen and not all(EXPERIMENTS[name].tries_rates for name in cases[run.key])
    ]
    found = {text: run.task for run in looked_up if (text := untuned(run))}
    if not found:
        return []
    tasks = tuple(dict.fromkeys(found.values()))
    asked = _asked_for(grid, tasks)
    chosen_by = f"--bsr-learning-rates {','.join(f'{task}=RATE' for task in tasks)}"
    tuning = (
        f"pytest benchmarks --bsr-experiments {REFINED} --bsr-evaluate-on validation{asked} "
        "--benchmark-json=rates.json"
    )
    what = ", ".join(found)
    return [f"bsr: the rate was never tuned for {what}; tune it: {tuning}, then give the best: {chosen_by}"]


def _tuned_alike(session: Session) -> list[str]:
    """Lines where the tuning has not ended, and where batch sizes are left out: they were not tuned."""
    if not square.TUNED_ALIKE & {*session.options.experiments}:
        return []
    lines = []
    if more := square.lacking(session.options.grid):
        lines.append(
            f"bsr: the tuning of --bsr-rates has not ended, {more:,} of its runs come next and may choose "
            "otherwise; go on with it by --bsr-refine first"
        )
    left_out: dict[tuple[int, str], list[str]] = defaultdict(list)
    for (images, steps), sizes in square.waiting(session.options.grid).items():
        left_out[images, listed(f"{size:,}" for size in sizes)].append(f"{steps:,}")
    said = "; ".join(
        f"{sizes} at {listed(steps)} updates on {images:,} images"
        for (images, sizes), steps in left_out.items()
    )
    if left_out:
        lines.append(f"bsr: left out, since nothing was tuned for it: batch size {said}")
    return lines


def _asked_for(grid: Grid, tasks: tuple[str, ...]) -> str:
    """The options that name tasks, data set and networks, where they are not the study's."""
    options = {
        "tasks": (tasks, STUDY_TASKS),
        "dataset": ((grid.dataset,), ("MNIST",)),
        "models": (grid.models, (STUDY_MODEL,)),
    }
    return "".join(
        f" --bsr-{name} {','.join(mine)}" for name, (mine, usual) in options.items() if mine != usual
    )


def best_rates_found(session: Session) -> list[str]:
    """Of the experiment learning-rate: the best per task, whether it lies at an edge, and how to go on."""
    grid, recording = session.options.grid, session.options.json
    tried: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for key, result in session.results.items():
        if REFINED in session.header.cases[key]:
            tried[result.run.task, result.run.model].append(result)
    best = {of: best_rate(rates) for of, alike in tried.items() if contenders(rates := by_rate(alike))}
    lines = [_best_rate(tried[of], found, several=len(grid.models) > 1) for of, found in best.items()]
    if not best or len(grid.models) > 1 or recording is None:
        return lines
    given = f"--bsr-learning-rates {','.join(f'{task}={rate:g}' for (task, _), rate in best.items())}"
    lines.append(f"give the best by {given}")
    if not grid.refine_around:
        again = f"the same command with --bsr-refine {recording} and another --benchmark-json"
        return [*lines, f"look round the best by {again}"]
    if any(at_edge(found, by_rate(tried[of])) for of, found in best.items()):
        asked = f"--bsr-preset tune {given}{_asked_for(grid, tuple(task for task, _ in best))}"
        lines.append(f"look further by pytest benchmarks {asked} --benchmark-json=tune.json")
    return lines


def _best_rate(alike: Sequence[Result], best: float, *, several: bool) -> str:
    """`angle: of 13 rates 0.1 is best on validation images, the highest that was tried: ...`."""
    rates, run = by_rate(alike), alike[0].run
    name = f"{run.task} with {run.model}" if several else run.task
    said = f"{name}: of {len(rates)} rates {best:g} is best on {run.evaluate_on} images"
    if not at_edge(best, rates):
        return said
    where = "highest" if best == max(rates) else "lowest"
    return f"{said}, the {where} that was tried: a better one may lie beyond"


def unlike_compared(compared: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    """What differs in a recording that pytest-benchmark's own table compares this session with."""
    names = (*agreement.OF_A_MACHINE, "engine", "threads", "precision", "dataset_digest") if compared else ()
    found = agreement.unlike(*({name: about.get(name) for name in names} for about in (compared, mine)))
    return [f"bsr: compared with {name} {one}, here {other}" for name, one, other in found]


def part_of_the_study(preset: str, runs: Sequence[Run]) -> str:
    """`quick: 28 cases, of the study's main experiment 28 of 280 runs, 2 of 10 epochs`."""
    count = "1 case" if len(runs) == 1 else f"{len(runs)} cases"
    if any(run.steps for run in runs):
        fewest, most = (f"{of(run.total_steps for run in runs):,}" for of in (min, max))
        return f"{preset}: {count} of {fewest} to {most} updates"
    paper = list(plan(("batch-size",), PRESETS["paper"].grid)["batch-size"].values())
    within = len({_of_the_study(run) for run in paper} & {_of_the_study(run) for run in runs})
    epochs = "/".join(str(count) for count in sorted({run.epochs for run in runs}))
    images = "" if all(run.train_images == paper[0].train_images for run in runs) else ", part of the images"
    return (
        f"{preset}: {count}, of the study's main experiment {within} of {len(paper)} runs, "
        f"{epochs} of {paper[0].epochs} epochs{images}"
    )


def _of_the_study(run: Run) -> Run:
    """As the study has it, whatever part of it a session trains."""
    return replace(run, epochs=10, train_images=60_000, test_images=10_000, precision="float32")


def _expected(waiting: Sequence[Run], session: Session, estimate: Forecast) -> list[str]:
    """How long this session takes, and the presets that take longer."""
    mine = estimate.total(waiting)
    if mine is None:
        return [f"expected time unknown ({estimate.problem})"]
    larger = []
    for name in LARGER_PRESETS:
        preset = PRESETS[name]
        if preset.grid.train_images != session.options.grid.train_images:
            continue  # seconds of a part of the images say nothing about all of them
        grid = replace(preset.grid, tasks=session.options.grid.tasks, models=session.options.grid.models)
        runs = {run for cases in plan(preset.experiments, grid).values() for run in cases.values()}
        seconds = estimate.total(runs)
        if seconds is not None and seconds > MUCH_LARGER * mine:
            images = sum(run.total_steps * run.batch_size for run in runs) / 1e6
            larger.append(f"{name} ({len(runs)} runs of {images:,.0f} million images) {duration(seconds)}")
    return [
        f"expected time {duration(mine)}",
        *([f"larger presets here: {', '.join(larger)}"] if larger else []),
    ]


def tables(session: Session, width: int) -> str:
    """Per experiment: task and batch size, MSE over seeds, normalised MSE, seconds, images per second."""
    file = io.StringIO()
    console = Console(file=file, width=max(width, WIDEST), force_terminal=False)
    by_experiment: dict[str, list[Result]] = defaultdict(list)
    for key, result in session.results.items():
        for experiment in session.header.cases[key]:
            by_experiment[experiment].append(result)
    for experiment, results in by_experiment.items():
        console.print(_table(experiment, results))
    return file.getvalue().rstrip()


def _table(experiment: str, results: Sequence[Result]) -> Table:
    images = "/".join(sorted({result.run.evaluate_on for result in results}))
    title = f"{experiment}: final {images} MSE and training time"
    table = Table(title=title, title_justify="left", box=None)
    for name in (
        "task",
        "batch size",
        "setting",
        "seeds",
        "MSE mean",
        "median",
        "min",
        "max",
        "normalised",
        "seconds",
        "images/s",
    ):
        table.add_column(name, justify="left" if name in {"task", "setting"} else "right", no_wrap=True)
    cells: dict[tuple[Run, str], list[Result]] = defaultdict(list)
    for result in results:
        cells[result.run.cell, result.timing].append(result)
    several = len({timing for _, timing in cells}) > 1
    rows = [
        (
            members[0].degenerate,
            cell.task,
            cell.batch_size,
            _setting(experiment, cell, timing if several else ""),
            members,
        )
        for (cell, timing), members in cells.items()
    ]
    for _, task, size, setting, members in sorted(rows, key=lambda row: (*row[:3], _by_number(row[3]))):
        table.add_row(task, str(size), " ".join(setting), *_figures(members))
    return table


def _by_number(setting: tuple[str, ...]) -> list[list[str | float]]:
    """A key that puts `lr2e-05` before `lr0.001`, and both before `lr0.1`."""
    parts = (re.split(r"(\d[\d.]*(?:e[+-]?\d+)?)", part) for part in setting)
    return [[float(word) if place % 2 else word for place, word in enumerate(part)] for part in parts]


def _setting(experiment: str, cell: Run, timing: str) -> tuple[str, ...]:
    """What else tells this cell from the others of its experiment."""
    network = [cell.model] if cell.model != STUDY_MODEL else []
    return (*network, *EXPERIMENTS[experiment].setting(cell), *([timing] if timing else []))


def _figures(results: Sequence[Result]) -> list[str]:
    """Over the seeds that have a final MSE, the number of the others beside theirs.

    Times only of Runs whose GPU was neither throttled nor shared.
    """
    cell = Cell.of(results)
    errors, relative, dead = cell.finals, cell.normalised, cell.dead
    rates = [result.images_per_second for result in cell.timed if result.images_per_second]
    without = len(results) - len(errors)
    return [
        f"{len(errors)}"
        + (f" ({dead} dead)" if dead else "")
        + (f" (+{without} without)" if without else ""),
        *(f"{of(errors):.4g}" if errors else "-" for of in (fmean, median, min, max)),
        f"{fmean(relative):.4g}" if relative else "degenerate" if results[0].degenerate else "-",
        f"{fmean(result.total_training_seconds for result in cell.timed):.2f}" if cell.timed else "-",
        f"{fmean(rates):,.0f}" if rates else "-",
    ]
