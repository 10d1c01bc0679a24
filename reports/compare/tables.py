"""The numbers behind a comparison, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from bsr import stats
from bsr.run import Run
from reports.compare import Comparison
from reports.compare.pairs import Pair
from reports.compare.series import commit_of
from reports.compare.words import flattening, verdict
from reports.text import counted, printable
from reports.text.table import Table, interval_cells

NAMES: Final = (
    "comparison-board",
    "comparison-verdicts",
    "comparison-cells",
    "comparison-series",
    "comparison-machines",
)
"""Of every table that there may be."""
Row = Mapping[str, object]


def tables(comparison: Comparison) -> list[Table]:
    """Every table that has a row."""
    made = (verdicts(comparison), cells(comparison), series(comparison), machines(comparison))
    return [table for table in made if table.rows]


def verdicts(comparison: Comparison) -> Table:
    """Whether the final MSE is the same: pooled, per task, and pooled per further experiment."""
    rows = [row for pair in comparison.pairs for row in _verdicts(pair)]
    rows += [_verdict(pair, "all that learn", pair.learnable) for pair in comparison.others if pair.learnable]
    note = (
        "Final MSE of a series over that of the one it stands against, geometric mean over cells. Same: the "
        f"90% interval lies within {comparison.pairs[0].margin:.0%} either way. Different: the 95% interval "
        "excludes 1. Would tell: runs per cell that would show sameness in four of five comparisons of "
        "series that do not differ."
    )
    return Table.of("comparison-verdicts", "Is the error the same?", rows, note)


def _verdicts(pair: Pair) -> Iterator[Row]:
    tasks = [task for task in pair.tasks if task not in pair.degenerate]
    if len(tasks) > 1:
        yield _verdict(pair, "all that learn", pair.learnable)
    for task in tasks:
        yield _verdict(pair, task, [cell for cell in pair.learnable if cell.task == task])


def _verdict(pair: Pair, tasks: str, chosen: Sequence[Run]) -> Row:
    pooled = pair.errors(chosen)
    return {
        **_labels(pair),
        "experiment": pair.experiment,
        "tasks": tasks,
        "final MSE": verdict(pooled),
        "ratio": pooled.ratio,
        **interval_cells(pooled.interval),
        **interval_cells(pooled.equivalence, "90%"),
        "cells": pooled.cells,
        "paired": pooled.paired_cells,
        "runs per cell": pooled.replicates,
        "would tell": pooled.needed,
    }


def _labels(pair: Pair) -> dict[str, str]:
    return {"series": pair.second.label, "against": pair.first.label}


def cells(comparison: Comparison) -> Table:
    """Speed and error per task and batch size, and over all tasks."""
    return _cells_table(row for pair in comparison.pairs for row in cell_rows(pair))


def over_all_tasks(pair: Pair) -> Table:
    """The rows of `cells` that are over all tasks that a pair has, one per batch size."""
    return _cells_table(row for row in cell_rows(pair) if row["task"] == "all" or len(pair.tasks) == 1)


def _cells_table(rows: Iterable[Row]) -> Table:
    note = (
        "Training seconds: median over epochs, geometric mean over runs; times as fast with its 95% "
        "bootstrap interval over runs and the epochs within each. Final MSE: geometric means over runs and "
        "their ratio with its 95% interval; over all tasks, the ratio of those that have something to learn."
    )
    return Table.of("comparison-cells", "Speed and error per task and batch size", rows, note)


def cell_rows(pair: Pair) -> Iterator[Row]:
    """Per batch size a row over all tasks (where there are several), then one per task."""
    for size in pair.batch_sizes:
        chosen = pair.at(size)
        if len({cell.task for cell in chosen}) > 1:
            learnable = [cell for cell in chosen if cell in pair.learnable]
            yield _cell_row(pair, "all", chosen, learnable, means=False)
        for task in pair.tasks:
            own = [cell for cell in chosen if cell.task == task]
            if own:
                yield _cell_row(pair, task, own, own if task not in pair.degenerate else [], means=True)


def _cell_row(pair: Pair, task: str, chosen: Sequence[Run], learnable: Sequence[Run], *, means: bool) -> Row:
    """Seconds, times as fast, errors where they are of one task, their ratio, runs on the smaller side."""
    up, error = pair.speed_up(chosen), pair.errors(learnable)
    ours, theirs = (stats.geometric_mean(side) if side else None for side in reversed(pair.seconds(chosen)))
    mse, against = (
        stats.geometric_mean(side) if side and means else None for side in reversed(pair.finals(chosen))
    )
    return {
        **_labels(pair),
        "task": task,
        "batch size": chosen[0].batch_size,
        "s per epoch": ours,
        "against s": theirs,
        "times as fast": up and up.factor,
        **interval_cells(up.interval if up else None, "speed"),
        "MSE": mse,
        "against MSE": against,
        "ratio of MSE": error.ratio,
        **interval_cells(error.interval, "ratio"),
        "runs": min(map(len, pair.finals(learnable)), default=0),
    }


def series(comparison: Comparison) -> Table:
    """What each series is, and where its throughput flattens."""
    rows = [
        {
            "series": one.label,
            "file": one.data.recording.path.name,
            "device": one.data.machine_name(one.timing.environment),
            "engine": one.timing.engine,
            "threads": one.timing.threads,
            "timed": one.timing.mode,
            "runs": len(one.cases),
            "best images per s": max(one.throughput(comparison.experiment).values(), default=None),
            "throughput": flattening(one, comparison.experiment),
            "commit": commit_of(one.data.recording.commit),
        }
        for one in comparison.series
    ]
    return Table.of("comparison-series", "The series", rows)


def machines(comparison: Comparison) -> Table:
    """What the machines' fingerprints say differently."""
    about = [one.environment for one in comparison.series]
    names = dict.fromkeys(name for fingerprint in about for name in fingerprint if name != "id")
    rows = [
        (printable(name, 60).replace("_", " "), *values)
        for name in names
        for values in [tuple(_plain(fingerprint.get(name)) for fingerprint in about)]
        if len(set(values)) > 1
    ]
    header = ("property", *(one.label for one in comparison.series))
    note = (
        f"Where the fingerprints of {counted(len(about), 'series', 'series')} differ; the rest is the same."
    )
    return Table("comparison-machines", "What differs between the machines", header, rows, note)


def _plain(value: object) -> str:
    return "" if value is None else printable(str(value), 120)
