"""The numbers behind a comparison, as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bsr import stats
from bsr.run import Run
from reports.compare import Comparison
from reports.compare.pairs import Pair
from reports.compare.series import commit_of
from reports.compare.words import flattening, verdict
from reports.text import counted, printable
from reports.text.table import Row, Table

NAMES: Final = ("comparison-verdicts", "comparison-cells", "comparison-series", "comparison-machines")
"""Of every table that there may be."""


def tables(comparison: Comparison) -> list[Table]:
    """Every table that has a row."""
    made = (verdicts(comparison), cells(comparison), series(comparison), machines(comparison))
    return [table for table in made if table.rows]


def verdicts(comparison: Comparison) -> Table:
    """Whether the final MSE is the same: pooled, per task, and pooled per further experiment."""
    rows = [row for pair in comparison.pairs for row in _verdicts(pair)]
    rows += [_verdict(pair, "all that learn", pair.learnable) for pair in comparison.others if pair.learnable]
    header = (
        "series", "against", "experiment", "tasks", "final MSE", "ratio", "95% from", "95% to", "90% from",
        "90% to", "cells", "paired", "runs per cell", "would tell",
    )  # fmt: skip
    note = (
        "Final MSE of a series over that of the one it stands against, geometric mean over cells. Same: the "
        f"90% interval lies within {comparison.pairs[0].margin:.0%} either way. Different: the 95% interval "
        "excludes 1. Would tell: runs per cell that would show sameness in four of five comparisons of "
        "series that do not differ."
    )
    return Table("comparison-verdicts", "Is the error the same?", header, rows, note)


def _verdicts(pair: Pair) -> Iterator[Row]:
    tasks = [task for task in pair.tasks if task not in pair.degenerate]
    if len(tasks) > 1:
        yield _verdict(pair, "all that learn", pair.learnable)
    for task in tasks:
        yield _verdict(pair, task, [cell for cell in pair.learnable if cell.task == task])


def _verdict(pair: Pair, tasks: str, chosen: Sequence[Run]) -> Row:
    pooled = pair.errors(chosen)
    return (
        *_labels(pair), pair.experiment, tasks, verdict(pooled), pooled.ratio, *_ends(pooled.interval),
        *_ends(pooled.equivalence), pooled.cells, pooled.paired_cells, pooled.replicates, pooled.needed,
    )  # fmt: skip


def _labels(pair: Pair) -> tuple[str, str]:
    return pair.second.label, pair.first.label


def _ends(interval: stats.Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def cells(comparison: Comparison) -> Table:
    """Speed and error per task and batch size, and over all tasks."""
    return _cells_table([row for pair in comparison.pairs for row in cell_rows(pair)])


def over_all_tasks(pair: Pair) -> Table:
    """The rows of `cells` that are over all tasks that a pair has, one per batch size."""
    rows = list(cell_rows(pair))
    return _cells_table([row for row in rows if row[2] == "all" or len(pair.tasks) == 1])


def _cells_table(rows: Sequence[Row]) -> Table:
    header = (
        "series", "against", "task", "batch size", "s per epoch", "against s", "times as fast",
        "speed from", "speed to", "MSE", "against MSE", "ratio of MSE", "ratio from", "ratio to", "runs",
    )  # fmt: skip
    note = (
        "Training seconds: median over epochs, geometric mean over runs; times as fast with its 95% "
        "bootstrap interval over runs and the epochs within each. Final MSE: geometric means over runs and "
        "their ratio with its 95% interval; over all tasks, the ratio of those that have something to learn."
    )
    return Table("comparison-cells", "Speed and error per task and batch size", header, rows, note)


def cell_rows(pair: Pair) -> Iterator[Row]:
    """Per batch size a row over all tasks (where there are several), then one per task."""
    for size in pair.batch_sizes:
        chosen = pair.at(size)
        if len({cell.task for cell in chosen}) > 1:
            learnable = [cell for cell in chosen if cell in pair.learnable]
            yield (*_labels(pair), "all", size, *_speed(pair, chosen), None, None, *_error(pair, learnable))
        for task in pair.tasks:
            own = [cell for cell in chosen if cell.task == task]
            if own:
                means = (stats.geometric_mean(side) if side else None for side in reversed(pair.finals(own)))
                ratio = _error(pair, own if task not in pair.degenerate else [])
                yield (*_labels(pair), task, size, *_speed(pair, own), *means, *ratio)


def _speed(pair: Pair, chosen: Sequence[Run]) -> Row:
    """Seconds of either side, speed-up, interval."""
    seconds = (stats.geometric_mean(side) if side else None for side in reversed(pair.seconds(chosen)))
    up = pair.speed_up(chosen)
    return (*seconds, up and up.factor, *_ends(up.interval if up else None))


def _error(pair: Pair, chosen: Sequence[Run]) -> Row:
    """Ratio, interval, runs on the smaller side."""
    pooled = pair.errors(chosen)
    runs = min(map(len, pair.finals(chosen)), default=0)
    return (pooled.ratio, *_ends(pooled.interval), runs)


def series(comparison: Comparison) -> Table:
    """What each series is, and where its throughput flattens."""
    rows: list[Row] = []
    for one in comparison.series:
        speeds = one.throughput(comparison.experiment)
        rows.append(
            (
                one.label, one.data.recording.path.name, one.data.machine_name(one.timing.environment),
                one.timing.engine, one.timing.threads, one.timing.mode, len(one.cases),
                max(speeds.values(), default=None), flattening(one, comparison.experiment),
                commit_of(one.data.recording.commit),
            )
        )  # fmt: skip
    header = (
        "series", "file", "device", "engine", "threads", "timed", "runs", "best images per s", "throughput",
        "commit",
    )  # fmt: skip
    return Table("comparison-series", "The series", header, rows)


def machines(comparison: Comparison) -> Table:
    """What the machines' fingerprints say differently."""
    about = [one.environment for one in comparison.series]
    names = dict.fromkeys(name for fingerprint in about for name in fingerprint if name != "id")
    rows: list[Row] = [
        (printable(name, 60).replace("_", " "), *values)
        for name in names
        for values in [tuple(_plain(fingerprint.get(name)) for fingerprint in about)]
        if len(set(values)) > 1
    ]
    header = ("", *(one.label for one in comparison.series))
    note = (
        f"Where the fingerprints of {counted(len(about), 'series', 'series')} differ; the rest is the same."
    )
    return Table("comparison-machines", "What differs between the machines", header, rows, note)


def _plain(value: object) -> str:
    return "" if value is None else printable(str(value), 120)
