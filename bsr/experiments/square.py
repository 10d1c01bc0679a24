"""Every batch size at every budget of updates, tuned alike; see docs/why.md, the second protocol.

A problem is a task, a batch size, a budget and a number of training images; budgets are ten epochs' worth of
each batch size. Tuning is `tuning.wanted`, session after session; reporting takes the settings it chose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bsr.experiments import settings, tuning
from bsr.experiments.controlled import FIRST_REPORTING_SEED, SCALED_FROM, ten_epochs
from bsr.experiments.settings import AMONG, Problem, Setting, TunedSetting
from bsr.run import Run

if TYPE_CHECKING:
    from bsr.experiments.grid import Grid

BATCH_SIZES: Final = (16, 64, 256, 1024)
LONGEST: Final = 10_000_000
"""Images of one training: a problem of more is left out."""
SEEDS, SEEDS_AT_FEWEST, SEEDS_OF_LONGEST = 8, 12, 5
"""Reporting seeds; at the smallest budget; of the largest batch size where a training sees most."""
TUNED_ALIKE: Final = frozenset(("square", "travelling-rate", "usual-rate"))
"""The experiments that take what was tuned, or how far it was."""
LITTLE_DATA: Final = ((1_000, 9_375), (10_000, 2_344), (50_000, 37_500))
"""Training images, the first of the data set's, and the updates up to which they are trained on."""
LITTLE_DATA_RATE: Final = 0.001
"""Round which its rates are sought."""


def why_tune(grid: Grid) -> Iterator[Run]:
    """What the tuning of each problem tries next."""
    sizes = grid.batch_sizes if grid.parts or grid.few_points else (*grid.batch_sizes, SCALED_FROM)
    rows = AMONG[:1] if grid.parts else tuning.ROWS
    tried = dict(grid.tried)
    offered: dict[Problem, list[Setting] | None] = {}  # by all but the batch size
    for problem in problems(grid, sizes):
        usual, found = _usual_rate(grid, problem.task), tried.get(problem, {})
        any_size = problem._replace(batch_size=0)
        of_smaller = offered.get(any_size, ())
        next_runs = tuning.wanted(problem, usual, found, rows, of_smaller, few=grid.few_points)
        for setting, seed in next_runs:
            yield grid.validated(_run(grid, problem, setting, seed))
        takes_offers = tuning.points_of(problem, few=grid.few_points) != "all"
        ended = not next_runs and (of_smaller is not None or not takes_offers)
        chosen = (tuning.choice(found, row) for row in tuning.ROWS)
        offered[any_size] = [one.setting for one in chosen if one is not None] if ended else None


def square(grid: Grid) -> Iterator[Run]:
    """Each problem at its tuned settings: falling, constant, and whichever was best; of parts that alone."""
    for problem in _tuned_problems(grid):
        asked = AMONG[:1] if grid.parts else AMONG
        for setting in dict.fromkeys(settings.setting_for(_table(grid), problem, among) for among in asked):
            for seed in _seeds(grid, problem):
                yield _run(grid, problem, setting, seed)


def travelling_rate(grid: Grid) -> Iterator[Run]:
    """The setting that was tuned for 32 at larger batch sizes."""
    for problem in _tuned_problems(grid):
        if problem.batch_size > 2 * SCALED_FROM and _at_largest(grid, problem.steps):
            of_32 = problem._replace(batch_size=SCALED_FROM)
            for seed in _seeds(grid, problem):
                yield _run(grid, problem, settings.setting_for(_table(grid), of_32, "falling"), seed)


def _tuned_problems(grid: Grid) -> list[Problem]:
    """Each batch size of a budget or part can be tuned alone (`-k`), so where some were, the others wait."""
    asked, waits = [*problems(grid, grid.batch_sizes)], waiting(grid)
    return [
        one for one in asked if one.batch_size not in waits.get((one.train_images, one.steps), ())
    ] or asked


def waiting(grid: Grid) -> dict[tuple[int, int], list[int]]:
    """Training images and updates -> the batch sizes that nothing was tuned for there."""
    asked = {problem._replace(task="") for problem in _of_each_network(grid, grid.batch_sizes)}
    tuned_for = {row.problem._replace(task="") for row in _table(grid)}
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    for problem in asked - tuned_for:
        found[problem.train_images, problem.steps].add(problem.batch_size)
    return {where: sorted(found[where]) for where in sorted(found)}


def lacking(grid: Grid) -> int:
    """How many Runs the tuning that was given still tries next, for the problems that it has begun."""
    begun = {problem for problem, _ in grid.tried}
    each = (run for model in grid.models for run in why_tune(replace(grid, models=(model,))))
    return sum(Problem.of(run) in begun for run in each)


def usual_rate(grid: Grid) -> Iterator[Run]:
    """The smallest and the largest batch size at the usual constant rate: a prefix is a smaller budget.

    Each seed is trained to the largest budget that has so many seeds.
    """
    for task in grid.tasks:
        for size in (min(grid.batch_sizes), max(grid.batch_sizes)):
            rising = [one for one in _tuned_problems(grid) if (one.task, one.batch_size) == (task, size)]
            longest = {seed: problem for problem in rising for seed in _seeds(grid, problem)}
            if longest and size == min(grid.batch_sizes):
                longest = dict.fromkeys(longest, rising[-1])
            for seed, problem in sorted(longest.items()):
                yield _run(grid, problem, Setting(_usual_rate(grid, task), decay=0.0), seed)


def problems(grid: Grid, batch_sizes: tuple[int, ...]) -> Iterator[Problem]:
    """Every one whose trainings are not too long, budgets rising."""
    budgets = sorted({min(ten_epochs(grid, size), grid.most_steps) for size in grid.batch_sizes})
    for task in grid.tasks:
        parts = {min(images, grid.beside_validation): most for images, most in grid.parts}
        for images, most in (parts or {grid.beside_validation: budgets[-1]}).items():
            for size in dict.fromkeys(min(size, images) for size in sorted(batch_sizes)):
                for steps in budgets:
                    compared = size in grid.batch_sizes or size == images or _at_largest(grid, steps)
                    if steps <= most and size * steps <= LONGEST and compared:
                        yield Problem(task, size, steps, images, grid.dataset, grid.models[0])


def _of_each_network(grid: Grid, batch_sizes: tuple[int, ...]) -> Iterator[Problem]:
    """The problems of every network; those of an experiment are of one."""
    for model in grid.models:
        yield from problems(replace(grid, models=(model,)), batch_sizes)


def tuned(tried: Mapping[Problem, tuning.Tried]) -> Iterator[TunedSetting]:
    """What was chosen for each problem, as rows of the table that the report writes.

    A problem whose trainings are longest was tuned in its falling rate alone; the rest it takes from the next
    smaller budget.
    """
    for problem, settings_tried in sorted(tried.items()):
        for among in AMONG:
            found = tuning.choice(settings_tried, among)
            if problem.batch_size * problem.steps >= tuning.LONGEST_RUN and among != "falling":
                found = _from_smaller(problem, among, tried)
            if found is not None:
                setting, error, seeds, untried = found
                yield TunedSetting.of(
                    problem, among, setting, error=error, seeds=seeds, at_edge=bool(untried)
                )


def _from_smaller(
    problem: Problem, among: settings.Among, tried: Mapping[Problem, tuning.Tried]
) -> tuning.Chosen | None:
    """The next smaller budget's setting; where it falls, at as many times the falling rate as there."""
    smaller = [other for other in tried if other._replace(steps=problem.steps) == problem]
    smaller = sorted(other for other in smaller if other.steps < problem.steps)
    own = tuning.choice(tried[problem], "falling")
    there = {which: tuning.choice(tried[smaller[-1]], which) for which in AMONG} if smaller else {}
    taken, falling = there.get(among), there.get("falling")
    if own is None or taken is None or falling is None or taken.setting.decay == 0:
        return taken
    times = taken.setting.learning_rate / falling.setting.learning_rate
    return own._replace(setting=taken.setting._replace(learning_rate=own.setting.learning_rate * times))


def _at_largest(grid: Grid, steps: int) -> bool:
    """Whether the largest batch size is trained for so many updates, too."""
    return steps * max(grid.batch_sizes) <= LONGEST


def _usual_rate(grid: Grid, task: str) -> float:
    given = dict(grid.learning_rates).get(task)
    return given or (LITTLE_DATA_RATE if grid.parts else grid.rate(task, SCALED_FROM))


def _seeds(grid: Grid, problem: Problem) -> tuple[int, ...]:
    if grid.seeds:
        return grid.seeds
    count = grid.runs
    if not (grid.parts or grid.few_points) and count == SEEDS:
        longest = problem.batch_size * problem.steps >= tuning.LONGEST_RUN
        fewest = problem.steps == ten_epochs(grid, max(grid.batch_sizes))
        count = SEEDS_AT_FEWEST if fewest else count
        count = SEEDS_OF_LONGEST if longest and problem.batch_size == max(grid.batch_sizes) else count
    return tuple(FIRST_REPORTING_SEED + index for index in range(count))


def settings_of(experiments: Iterable[str], grid: Grid) -> tuple[TunedSetting, ...]:
    """The tuned settings that these experiments take, for the record: those of the grid's problems."""
    if not TUNED_ALIKE & set(experiments):
        return ()
    asked = set(_of_each_network(grid, (*grid.batch_sizes, SCALED_FROM)))
    return tuple(row for row in _table(grid) if row.problem in asked)


def _table(grid: Grid) -> tuple[TunedSetting, ...]:
    return settings.shipped_settings() if grid.settings is None else grid.settings


def _run(grid: Grid, problem: Problem, setting: Setting, seed: int) -> Run:
    """A Run of a problem, evaluated on the test images."""
    run = problem.run(setting.learning_rate, seed)
    return setting.applied_to(replace(run, test_images=grid.test_images, precision=grid.precision))
