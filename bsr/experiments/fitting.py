"""Which controlled experiments fit into so many minutes, by what a training costs; see docs/choosing.md.

Nothing here measures or trains: costs, an example of the grid and minutes give a plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from statistics import median
from typing import Any, Final

from bsr.experiments import EXPERIMENTS, PRESETS, Grid
from bsr.experiments.rates import Arm, TunedRate
from bsr.result import Result
from bsr.run import Run
from bsr.text import Refused

FILLED: Final = 0.8
"""Share of the minutes that is planned: sessions begin, are measured and drawn in the rest."""
FEWEST_UPDATES: Final = 256
"""Of the largest batch size: eleven evaluations, from 8 on."""
MOST_RUN_IMAGES: Final = 600_000
"""Of one Run: the study's ten epochs."""
LOWERED_TO: Final = 16
"""Times the smallest batch size: below that the largest is not lowered."""
FEWEST_SIZES: Final = 3
FEW_TEST_IMAGES: Final = 2_000
EVALUATING: Final = 0.25
"""Share of the time from which on evaluating is cut to FEW_TEST_IMAGES."""
SEEDS: Final = ((3, 1, 1), (5, 2, 2), (8, 3, 4))
"""Reporting seeds, tuning seeds, and how many times FEWEST_UPDATES fit before there are so many."""
REPORTING: Final = ("study-rate", "equal-epochs", "equal-updates")
SECONDS_PER_MINUTE: Final = 60


class PlanError(Refused):
    """Nothing fits, or something else keeps the question from being answered; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a training costs on this machine, in seconds of one of its workers."""

    update: Mapping[int, float]
    """By batch size."""
    evaluated_image: float
    run: float
    """What a Run takes beside."""
    workers: int = 1
    """Runs trained at once."""

    @classmethod
    def measured(cls, results: Sequence[Result]) -> Costs:
        """From short trainings at every batch size, medians. Raises PlanError where one was not trained."""
        by_size: dict[int, list[float]] = {}
        for result in results:
            if not result.training_seconds or not result.evaluation_seconds:
                ended = f"{result.status}: {result.message}"
                raise PlanError(f"{result.run.label}: expected it to train, got {ended}")
            trained = result.run.evaluation_steps[len(result.training_seconds) - 1]
            by_size.setdefault(result.run.batch_size, []).append(result.total_training_seconds / trained)
        evaluated = ((r.evaluation_seconds, r.run.test_images) for r in results)
        beside = (r.wall_seconds - r.total_training_seconds - sum(r.evaluation_seconds) for r in results)
        return cls(
            update={size: median(seconds) for size, seconds in sorted(by_size.items())},
            evaluated_image=median(each / images for seconds, images in evaluated for each in seconds),
            run=max(0.0, median(beside)),
            workers=1 + max(result.beside for result in results),
        )

    def of(self, run: Run) -> float:
        """A Run's seconds."""
        return self.run + run.total_steps * self._update(run.batch_size) + self.evaluating(run)

    def evaluating(self, run: Run) -> float:
        """Those of them in which it is evaluated."""
        return (run.evaluations + 1) * run.test_images * self.evaluated_image

    def _update(self, size: int) -> float:
        """Interpolated between measured batch sizes; beyond them an image costs as at the last."""
        sizes = sorted(self.update)
        for low, high in pairwise(sizes):
            if low <= size <= high:
                share = (size - low) / (high - low)
                return self.update[low] + share * (self.update[high] - self.update[low])
        last = sizes[-1] if size > sizes[-1] else sizes[0]
        return self.update[last] * max(1.0, size / last)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPlan:
    """What is trained, and how long it takes."""

    batch_sizes: tuple[int, ...]
    run_images: int
    """Trained on by each Run of equal epochs."""
    test_images: int
    seeds: int
    tuning_seeds: int
    seconds: dict[str, float]
    """Wall seconds by session: `tune`, `edges` at most, `answer`."""
    left_out: tuple[str, ...] = ()
    """What was asked for and is not in it, a line each."""

    @property
    def total(self) -> float:
        """Wall seconds of all sessions."""
        return sum(self.seconds.values())


def grid_of(results: Sequence[Result]) -> Grid:
    """Everything that was asked for, from short trainings of all of it."""

    def named(field: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(getattr(result.run, field) for result in results))

    run = results[0].run
    return replace(
        PRESETS["answer"].grid,
        tasks=named("task"),
        models=named("model"),
        batch_sizes=tuple(sorted(named("batch_size"))),
        dataset=run.dataset,
        train_images=run.train_images,
        test_images=run.test_images,
        part_images=run.train_images,
        validation_images=run.test_images,
    )


def fitted(grid: Grid, costs: Costs, minutes: float) -> FittedPlan:
    """The richest plan of the ladder of reductions that fills no more than FILLED of the minutes.

    `grid` has everything that was asked for, smallest batch size first. Raises PlanError, which says how many
    minutes are needed.
    """
    if not _of_one_seed(grid, FEWEST_UPDATES)[0]:
        named = ", ".join(grid.tasks)
        raise PlanError(f"--tasks: expected one with something to learn, got {named}; name others")
    seconds = FILLED * SECONDS_PER_MINUTE * minutes
    for sizes in reductions(grid.batch_sizes):
        if found := _on_images(replace(grid, batch_sizes=sizes), costs, seconds):
            return replace(found, left_out=tuple(_left_out(grid, costs, found)))
    least = min(_needed(replace(grid, batch_sizes=sizes), costs) for sizes in reductions(grid.batch_sizes))
    raise PlanError(
        f"--minutes: expected at least {least}, got {minutes:g}: so long takes the smallest plan, of "
        f"{FEWEST_UPDATES} updates at the largest batch size; give more, or fewer tasks or batch sizes"
    )


def reductions(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The ladder: as asked; the largest halved, to 16 times the smallest; then middle ones left out.

    Batch sizes that the largest has come down to are one with it.
    """
    left = tuple(sorted(sizes))
    yield left
    while (largest := left[-1] // 2) >= LOWERED_TO * left[0]:
        left = (*(size for size in left if size < largest), largest)
        yield left
    while len(left) > FEWEST_SIZES:
        inner = range(1, len(left) - 1)
        closest = min(inner, key=lambda index: left[index + 1] / left[index - 1])
        left = (*left[:closest], *left[closest + 1 :])
        yield left


def _on_images(grid: Grid, costs: Costs, seconds: float) -> FittedPlan | None:
    """On all test images, on fewer where evaluating would take a quarter; None where it does not fit."""
    found = _filled(grid, costs, seconds)
    updates = found.run_images // grid.batch_sizes[-1] if found else FEWEST_UPDATES
    if grid.test_images > FEW_TEST_IMAGES and _evaluating(grid, costs, updates) >= EVALUATING:
        return _filled(_on_few(grid), costs, seconds)
    return found


def _on_few(grid: Grid) -> Grid:
    """Evaluated on FEW_TEST_IMAGES, and tuned on no more."""
    few = min(grid.validation_images, FEW_TEST_IMAGES)
    return replace(grid, test_images=FEW_TEST_IMAGES, validation_images=few)


def _filled(grid: Grid, costs: Costs, seconds: float) -> FittedPlan | None:
    """With as many seeds, then images, as fit; None where the fewest do not."""
    largest = grid.batch_sizes[-1]
    most = max(FEWEST_UPDATES, MOST_RUN_IMAGES // largest)
    best: FittedPlan | None = None
    for seeds, tuning_seeds, times in SEEDS:
        taken = partial(_seconds, grid, costs, seeds, tuning_seeds)
        fit = _most(lambda updates: sum(taken(updates).values()) <= seconds, FEWEST_UPDATES, most)  # noqa: B023
        longer = best is not None and best.run_images < most * largest
        if fit is None or (longer and fit < times * FEWEST_UPDATES):
            break
        best = FittedPlan(
            batch_sizes=grid.batch_sizes,
            run_images=fit * largest,
            test_images=grid.test_images,
            seeds=seeds,
            tuning_seeds=tuning_seeds,
            seconds=taken(fit),
        )
    return best


def _most(fits: Callable[[int], bool], least: int, most: int) -> int | None:
    """The most that fits, found by halving to half a percent; None where the least does not."""
    if not fits(least):
        return None
    if fits(most):
        return most
    while most - least > max(1, least // 200):
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least


def _seconds(grid: Grid, costs: Costs, seeds: int, tuning_seeds: int, updates: int) -> dict[str, float]:
    """Wall seconds by session; one rate more per arm is kept for an edge."""
    tuning, reporting = (sum(map(costs.of, runs)) / costs.workers for runs in _of_one_seed(grid, updates))
    tried = len(range(5)[:: grid.rate_stride])
    return {
        "tune": tuning_seeds * tuning,
        "edges": tuning_seeds * tuning / tried,
        "answer": seeds * reporting,
    }


@lru_cache(maxsize=256)
def _of_one_seed(grid: Grid, updates: int) -> tuple[list[Run], list[Run]]:
    """The Runs that tune and those that report, of one seed each, the largest batch size making `updates`."""
    one = replace(grid, runs=1, run_images=updates * grid.batch_sizes[-1], rates=())
    tuning = list(EXPERIMENTS["tune"].planned(one))
    arms = dict.fromkeys(Arm.of(run) for run in tuning)
    rated = replace(one, rates=tuple(_some_rate(arm) for arm in arms))
    return tuning, [run for name in REPORTING for run in EXPERIMENTS[name].planned(rated)]


def _some_rate(arm: Arm) -> TunedRate:
    """None that is usual: where it is found to be, one Run does for two."""
    return TunedRate(
        task=arm.task,
        batch_size=arm.batch_size,
        steps=arm.steps,
        schedule=arm.schedule,
        learning_rate=0.12345,
        validation_mse=0.0,
        seeds=1,
        at_edge=False,
    )


def _evaluating(grid: Grid, costs: Costs, updates: int) -> float:
    """Share of the time."""
    runs: Iterable[Run] = [run for runs in _of_one_seed(grid, updates) for run in runs]
    return sum(map(costs.evaluating, runs)) / sum(map(costs.of, runs))


def _needed(grid: Grid, costs: Costs) -> int:
    """Minutes in which these batch sizes fit."""
    few = grid
    if grid.test_images > FEW_TEST_IMAGES and _evaluating(grid, costs, FEWEST_UPDATES) >= EVALUATING:
        few = _on_few(grid)
    seconds = sum(_seconds(few, costs, *SEEDS[0][:2], FEWEST_UPDATES).values())
    return math.ceil(seconds / FILLED / SECONDS_PER_MINUTE)


def _left_out(grid: Grid, costs: Costs, found: FittedPlan) -> Iterator[str]:
    """What the plan lacks of what was asked for."""
    gone = [size for size in grid.batch_sizes if size not in found.batch_sizes]
    if gone:
        named = ", ".join(map(str, gone))
        yield f"batch size {named}: to compare all that were asked for takes --minutes {_needed(grid, costs)}"
    if found.test_images < grid.test_images:
        yield (
            f"{grid.test_images - found.test_images:,} of {grid.test_images:,} test images: evaluating all "
            f"would take a quarter of the time or more"
        )
