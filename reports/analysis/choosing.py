"""Which batch size reaches a given error soonest: updates from this recording, seconds from this machine.

Updates to a target depend on data, network and optimiser, seconds per update on engine and machine; their
product is the time. The arm (rate, schedule, budget) of a batch size is chosen on tuning runs alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median
from typing import Final, NamedTuple

from bsr.records.schema import steady_seconds
from bsr.result import Result
from bsr.stats.soonest import Ratio, TriedArm, chosen, over_reference
from reports.analysis.arms import FEWEST_TUNING_SEEDS, Training, arms_of
from reports.analysis.equal_epochs import gaps_of
from reports.analysis.targets import earliest, steady_from
from reports.cells import Cells
from reports.text import counted

TARGETS: Final = (0.3, 0.1, 0.03, 0.01, 0.005, 0.001)
"""Shares of the best constant's MSE, easiest first."""
A_DIRECTION: Final = 3
"""Reporting seeds that tell no more."""
EQUAL_EPOCHS: Final = "equal-epochs"
POOLED: Final = "all tasks"


@dataclass(frozen=True, slots=True)
class Choice:
    """One batch size on its way to a target: the arm that tuning runs chose, and what its Runs report."""

    training: Training
    tuning_seeds: int
    updates: tuple[float, ...]
    """Per reporting seed; infinite where it did not get there in the arm's budget."""
    earliest: int
    """Updates of the first reading that its evaluations give."""

    @property
    def or_sooner(self) -> bool:
        """Whether the first reading found it there, so that its updates are at most so many."""
        return self.median <= self.earliest

    @property
    def median(self) -> float:
        """Over all seeds, a miss as infinitely many."""
        return median(self.updates)

    @property
    def missed(self) -> int:
        """Seeds that did not get there."""
        return sum(map(math.isinf, self.updates))

    @property
    def weakly_tuned(self) -> bool:
        """Whether too few seeds chose the arm to be relied on."""
        return self.tuning_seeds < FEWEST_TUNING_SEEDS


def _by_training(results: Iterable[Result]) -> dict[Training, list[Result]]:
    found: dict[Training, list[Result]] = defaultdict(list)
    for result in results:
        found[Training.of(result.run)].append(result)
    return found


@lru_cache(maxsize=8)
def _tuned(data: Cells) -> Mapping[Training, list[Result]]:
    """The tuning runs, on validation images."""
    runs = (case.result for case in data.session.cases if case.result.run.steps)
    return _by_training(r for r in runs if r.run.evaluate_on == "validation" and r.run.model == data.shown)


@lru_cache(maxsize=256)
def tried(data: Cells, task: str, target: float) -> dict[int, list[tuple[Training, TriedArm]]]:
    """Batch size -> the arms that were tuned and reported."""
    found: dict[int, list[tuple[Training, TriedArm]]] = defaultdict(list)
    reporting = arms_of(data).with_square
    for training, tuning in _tuned(data).items():
        if training.arm.task == task and training in reporting:
            sides = (tuning, reporting[training].values())
            times = [tuple(_updates(result, target) for result in side) for side in sides]
            arm = TriedArm(times[0], times[1], training.arm.steps)
            found[training.arm.batch_size].append((training, arm))
    return dict(sorted(found.items()))


def _updates(result: Result, target: float) -> float:
    found = steady_from(result, target)
    return math.inf if found is None else found


@lru_cache(maxsize=256)
def choices(data: Cells, task: str, target: float) -> dict[int, Choice]:
    """By batch size."""
    found = {}
    for size, arms in tried(data, task, target).items():
        training, arm = arms[chosen([one for _, one in arms])]
        first = max(earliest(result.run) for result in arms_of(data).with_square[training].values())
        found[size] = Choice(training, len(arm.tuning), tuple(arm.reporting), first)
    return found


def tasks(data: Cells) -> tuple[str, ...]:
    """With something to learn, tuned and reported."""
    some = (task for task in data.tasks if task not in data.degenerate)
    return tuple(task for task in some if tried(data, task, TARGETS[0]))


@lru_cache(maxsize=8)
def batch_sizes_compared(data: Cells) -> tuple[int, ...]:
    """Batch sizes that were trained for equal epochs in every task: all of them far enough to be compared."""
    alike = gaps_of(data).get("falling", {})
    of_square = {place.batch_size for gap in alike.values() for place in (gap.small, gap.large)}
    sizes = [
        (of_square or _of_equal_epochs(data, task)) & set(tried(data, task, TARGETS[0]))
        for task in tasks(data)
    ]
    return tuple(sorted(set.intersection(*sizes))) if sizes else ()


def _of_equal_epochs(data: Cells, task: str) -> set[int]:
    runs = (case.result.run for case in data.session.cases if EQUAL_EPOCHS in case.cases)
    return {run.batch_size for run in runs if run.task == task}


def strictest(data: Cells) -> float | None:
    """The strictest target that every compared batch size reaches in most seeds of every task."""
    everywhere = [
        target
        for target in TARGETS
        if all(
            math.isfinite(choices(data, task, target)[size].median)
            for task in tasks(data)
            for size in batch_sizes_compared(data)
        )
    ]
    return min(everywhere, default=None)


def no_later_than(data: Cells, target: float, size: int) -> int | None:
    """Updates of the first reading, if it found the batch size at the target in any task, else None."""
    rows = (choices(data, task, target) for task in tasks(data))
    return max((row[size].earliest for row in rows if size in row and row[size].or_sooner), default=None)


def at_first_reading(data: Cells, target: float) -> dict[int, int]:
    """Compared batch size that a first reading found at the target -> its updates.

    Evaluations do not tell then which batch size is soonest.
    """
    found = {size: no_later_than(data, target, size) for size in batch_sizes_compared(data)}
    return {size: updates for size, updates in found.items() if updates is not None}


@lru_cache(maxsize=64)
def updates_over(data: Cells, target: float, reference: int) -> dict[int, Ratio]:
    """Updates to the target over those of a reference, over all tasks, by batch size."""
    arms = [
        {size: [arm for _, arm in found] for size, found in tried(data, task, target).items()}
        for task in tasks(data)
    ]
    return over_reference(arms, reference)


@lru_cache(maxsize=8)
def seconds_per_update(data: Cells) -> dict[str, dict[int, float]]:
    """By how it was timed -> batch size -> seconds per update, the Runs' own engine first.

    The harness's loops are timed alone and in turn, so they come first where they were measured; in a report
    that was asked for another machine (`--on`), only that one's.
    """
    elsewhere = data.on is not None
    session = data.on.session if data.on is not None else data.session
    machine = f" on {data.on.path.name}" if data.on is not None else ""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for loop in session.harness:
        threads = "" if loop.loop.startswith("native") else f", {counted(loop.threads, 'thread')}"
        sizes = found[f"{loop.loop}{threads}, alone{machine}"][loop.batch_size]
        sizes += [s * loop.batch_size / loop.train_images for s in steady_seconds(loop, session.harness)]
    ours = (
        [] if elsewhere else [r for results in arms_of(data).with_square.values() for r in results.values()]
    )
    for timing, results in data.timings(ours).items():
        for result in results:
            each = result.total_training_seconds / result.run.total_steps
            found[data.timing_label(timing)][result.run.batch_size].append(each)
    engine = next((result.engine for result in ours if result.engine), "native")
    ordered = sorted(found.items(), key=lambda item: not item[0].startswith(engine))
    return {
        name: {size: median(each) for size, each in sorted(sizes.items()) if each} for name, sizes in ordered
    }


@dataclass(frozen=True, slots=True)
class Soonest:
    """The answer at one target, in one way of timing."""

    target: float
    timed: str
    costs: Mapping[int, float]
    """Batch size -> seconds per update."""
    seconds: Mapping[int, float]
    """Batch size -> geometric mean over tasks of the median seconds; infinite where one never got there."""
    ratios: Mapping[int, Ratio]
    """Seconds over those of the soonest."""

    @property
    def size(self) -> int:
        """The soonest batch size."""
        return min(self.seconds, key=self.seconds.__getitem__)

    @property
    def tied(self) -> list[int]:
        """Batch sizes that cannot be told from it."""
        found = [size for size in self.seconds if size != self.size]
        return [size for size in found if not _told(self.ratios[size])]

    @property
    def at_an_end(self) -> bool:
        """Whether nothing was tried beyond it, on one side."""
        return self.size in {min(self.seconds), max(self.seconds)}


def _told(ratio: Ratio) -> bool:
    return math.isinf(ratio.factor) or (ratio.interval is not None and ratio.interval.excludes(1.0))


def soonest(data: Cells, target: float, timed: str, costs: Mapping[int, float]) -> Soonest | None:
    """Which compared batch size is there soonest where an update costs `costs` seconds; None without any."""
    sizes = [size for size in batch_sizes_compared(data) if size in costs]
    middles = {size: _middle(data, target, size) * costs[size] for size in sizes}
    reached_by = {size: seconds for size, seconds in middles.items() if math.isfinite(seconds)}
    if len(sizes) < 2 or not reached_by:
        return None
    first = min(reached_by, key=reached_by.__getitem__)
    times = {
        size: _scaled(ratio, costs[size] / costs[first])
        for size, ratio in updates_over(data, target, first).items()
        if size in sizes
    }
    return Soonest(target, timed, {size: costs[size] for size in sizes}, middles, times)


def passes(data: Cells) -> float:
    """Over the training images, of the Runs of equal epochs."""
    for gap in gaps_of(data).get("falling", {}).values():
        return gap.small.batch_size * gap.small.steps / gap.small.images
    runs = (case.result.run for case in data.session.cases if EQUAL_EPOCHS in case.cases)
    return max(run.total_steps * run.batch_size / run.train_images for run in runs)


def fewest_seeds(data: Cells, found: Soonest) -> int:
    """That report one of its batch sizes, in any task."""
    rows = (choices(data, task, found.target) for task in tasks(data))
    return min(len(row[size].updates) for row in rows for size in found.costs)


@lru_cache(maxsize=8)
def answers(data: Cells) -> tuple[Soonest, ...]:
    """At the target asked for, else the strictest: one per way of timing, the Runs' own engine first.

    None where evaluations do not resolve it: what is easier, they resolve even less.
    """
    target = data.target or strictest(data)
    if target is None or at_first_reading(data, target):
        return ()
    found = [soonest(data, target, timed, costs) for timed, costs in seconds_per_update(data).items()]
    return tuple(one for one in found if one is not None)


class Point(NamedTuple):
    """What it takes to reach the target; infinite where the median run never got there."""

    updates: float
    images: float
    seconds: float


def points(data: Cells, found: Soonest) -> dict[str, dict[int, Point]]:
    """Task, and POOLED where there are several -> batch size -> what it takes."""
    medians = {
        task: {size: choices(data, task, found.target)[size].median for size in found.costs}
        for task in tasks(data)
    }
    if len(medians) > 1:
        medians[POOLED] = {size: _middle(data, found.target, size) for size in found.costs}
    return {
        name: {size: Point(n, n * size, n * found.costs[size]) for size, n in row.items()}
        for name, row in medians.items()
    }


def _middle(data: Cells, target: float, size: int) -> float:
    """Geometric mean over tasks of the median updates."""
    medians = [choices(data, task, target)[size].median for task in tasks(data)]
    return math.exp(sum(map(math.log, medians)) / len(medians))


def _scaled(ratio: Ratio, factor: float) -> Ratio:
    interval = ratio.interval
    scaled = None if interval is None else type(interval)(interval.low * factor, interval.high * factor)
    return replace(ratio, factor=ratio.factor * factor, interval=scaled)
