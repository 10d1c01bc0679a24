"""The controlled experiments: equal updates beside equal epochs, rates tuned per batch size; see docs/why.md.

Tuning looks at validation images and takes seeds from 100; what is reported looks at test images and takes
seeds from 200, the same ones for every batch size, so that seeds are pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bsr.experiments import rates
from bsr.experiments.rates import Arm, RatesError, Schedule, TunedRate, tuned_rate
from bsr.run import STUDY_MODEL, Run

if TYPE_CHECKING:
    from bsr.experiments.grid import Grid

LEARNABLE: Final = ("mean", "std", "var")
"""The tasks that are trained: MNIST's median is always 0."""
BATCH_SIZES: Final = (1, 4, 16, 64, 256, 1024)
IMAGES: Final = 50_000
"""Training images; the last 10,000 of the split are for validation."""
FIRST_TUNING_SEED: Final = 100
FIRST_REPORTING_SEED: Final = 200
"""No seed both chooses a rate and reports its error."""
TEN_EPOCHS_AT: Final = {16: 37_500, 64: 9_375, 256: 2_344, 1024: 586}
"""Batch size -> updates of ten epochs, 600,000 images."""
BUDGETS: Final = (586, 2_344)
"""Updates at which batch sizes are compared: ten epochs of 1024, and of 256."""
SMALLEST, LARGEST = 16, 1024
"""The contrast to be explained, fixed beforehand: the worst of several over the best would be biased."""
SCHEDULES: Final[tuple[Schedule, ...]] = ("constant", "linear")
SCALED_FROM: Final = 32
"""The batch size at which the study tuned, from which the rules of thumb scale."""
RULES: Final = {"linear": 1.0, "square root": 0.5}
"""Rule of thumb -> the power of the batch size's ratio by which it scales the rate."""
SHORT_MEMORY: Final = 0.99
"""Adam's beta2, remembering 100 updates instead of 1,000."""
RULE_SEEDS: Final = 5
MEMORY_SEEDS: Final = 8
NOISE_SEEDS: Final = 3
FORTY_EPOCH_SEEDS: Final = 6
"""Of 1024 at 2,344 updates, forty epochs a Run."""


def tune(grid: Grid) -> Iterator[Run]:
    """Five rates per task, batch size, budget and schedule; or what lies beyond an edge that was found."""
    if grid.beyond:
        for arm, rate in grid.beyond:
            yield from _tuning(grid, arm, (rate,))
        return
    for task in _tasks(grid):
        for arm in _tuned_arms(grid, task):
            lowest = _lowest_power(arm)
            tried = [_study_rate(task) * 2.0**power for power in range(lowest, lowest + 5)]
            yield from _tuning(grid, arm, tried)


def _tuning(grid: Grid, arm: Arm, tried: Sequence[float]) -> Iterator[Run]:
    forty_epochs = (arm.batch_size, arm.steps) == (LARGEST, BUDGETS[1])
    for rate in tried:
        for seed in _seeds(grid, FIRST_TUNING_SEED)[: 1 if forty_epochs else None]:
            yield replace(_run(grid, arm, rate, seed), evaluate_on="validation")


def _tuned_arms(grid: Grid, task: str) -> Iterator[Arm]:
    """Every arm of a task whose rate is tuned."""
    both = [(steps, size) for steps in BUDGETS for size in BATCH_SIZES if (steps, size) != (BUDGETS[1], 256)]
    both.append((TEN_EPOCHS_AT[SMALLEST], SMALLEST))
    arms = [Arm(task, steps, schedule, size) for steps, size in both for schedule in SCHEDULES]
    arms += [Arm(task, TEN_EPOCHS_AT[size], "linear", size) for size in (64, 256)]
    return (arm for arm in arms if arm.batch_size in grid.batch_sizes)


def _lowest_power(arm: Arm) -> int:
    """Of two, times the study's rate: where the window of five rates begins.

    The more updates there are, and the smaller the batch, the lower the rate that serves best.
    """
    if arm.batch_size < 16:
        return -3
    if arm.batch_size == 16:
        return -3 if arm.steps == TEN_EPOCHS_AT[16] else -2
    if arm.batch_size == 64:
        return -2 if arm.steps == TEN_EPOCHS_AT[64] else -1
    return 0


def study_rate(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the study's rate: the gap to be explained."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            for schedule in SCHEDULES if size in {SMALLEST, LARGEST} else SCHEDULES[:1]:
                yield from _reporting(grid, Arm(task, steps, schedule, size), _study_rate(task))


def equal_epochs(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the rate tuned for the batch size."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            for schedule in SCHEDULES if size in {SMALLEST, LARGEST} else SCHEDULES[1:]:
                arm = Arm(task, steps, schedule, size)
                yield from _reporting(grid, arm, _tuned(grid, arm))


def equal_updates(grid: Grid) -> Iterator[Run]:
    """The same number of updates at every batch size, at tuned rates and at the study's.

    Ten epochs of a batch size are in equal_epochs. At the study's rate and a constant schedule a smaller
    budget is the beginning of a longer Run, but for forty epochs.
    """
    for task in _tasks(grid):
        for steps, size in itertools.product(grid.budgets, grid.batch_sizes):
            forty_epochs = (size, steps) == (LARGEST, BUDGETS[1])
            if TEN_EPOCHS_AT.get(size, steps + 1) <= steps and not forty_epochs:
                continue
            for schedule in SCHEDULES:
                arm = Arm(task, steps, schedule, size)
                tried = {_tuned(grid, arm)}
                if schedule == "linear" or forty_epochs:
                    tried.add(_study_rate(task))
                for rate in sorted(tried):
                    most = FORTY_EPOCH_SEEDS if forty_epochs else None
                    yield from _reporting(grid, arm, rate, most)


def rate_rules(grid: Grid) -> Iterator[Run]:
    """Ten epochs at rates scaled from 32 by the rules of thumb."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            if size > 64:
                for power in RULES.values():
                    rate = scaled_rate(task, size, power)
                    yield from _reporting(grid, Arm(task, steps, "linear", size), rate, RULE_SEEDS)


def scaled_rate(task: str, batch_size: int, power: float) -> float:
    """The study's rate at 32, scaled by a rule of thumb to `batch_size`."""
    return float(f"{_study_rate(task) * (batch_size / SCALED_FROM) ** power:.6g}")


def adam_memory(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the study's rate, with a second moment that remembers a tenth as long."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            if size in {SMALLEST, LARGEST}:
                arm = Arm(task, steps, "constant", size)
                runs = _reporting(grid, arm, _study_rate(task), MEMORY_SEEDS)
                yield from (replace(run, beta2=SHORT_MEMORY) for run in runs)


def noise_scale(grid: Grid, task: str) -> Iterator[Run]:
    """The trainings along which the gradient's noise is measured: ten epochs at the study's rate."""
    for size, steps in _ten_epochs(grid):
        if size in {SMALLEST, LARGEST}:
            yield from _reporting(grid, Arm(task, steps, "constant", size), _study_rate(task), NOISE_SEEDS)


def rates_of(experiments: Iterable[str], grid: Grid) -> tuple[TunedRate, ...]:
    """The tuned rates that these experiments may take, for the record."""
    return _table(grid) if {"equal-epochs", "equal-updates"} & set(experiments) else ()


def networks(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the study's rate, with every network of the grid and for any task.

    The schedule is constant, so the beginning of a Run is the whole of a shorter one: equal updates are those
    of the largest batch size, looked up in the others.
    """
    for task in grid.tasks:
        for size, steps in _ten_epochs(grid):
            yield from _reporting(grid, Arm(task, steps, "constant", size), grid.rate(task, size))


def _tasks(grid: Grid) -> list[str]:
    return [task for task in LEARNABLE if task in grid.tasks]


def _ten_epochs(grid: Grid) -> list[tuple[int, int]]:
    return [(size, steps) for size, steps in TEN_EPOCHS_AT.items() if size in grid.batch_sizes]


def _study_rate(task: str) -> float:
    return tuned_rate(task, SCALED_FROM, epochs=10)


def _tuned(grid: Grid, arm: Arm) -> float:
    """Of its own budget, else of the whole one that a smoke session cuts short. Raises RatesError."""
    table, cut = _table(grid), arm._replace(steps=min(arm.steps, grid.most_steps))
    found = rates.find(table, cut) or rates.find(table, arm)
    if found is None:
        raise RatesError(
            f"expected a tuned rate for {arm}, got none; tune it with --bsr-preset tune, and give the "
            "tuned-rates.csv of its report by --bsr-rates"
        )
    return found.learning_rate


def _table(grid: Grid) -> tuple[TunedRate, ...]:
    """Raises RatesError for those that ship where other images or networks are trained."""
    if grid.rates is not None:
        return grid.rates
    if (grid.dataset, grid.models) != ("MNIST", (STUDY_MODEL,)):
        raise RatesError(
            f"expected rates tuned for {grid.dataset} and {', '.join(grid.models)}, got those that ship, of "
            f"MNIST and {STUDY_MODEL}; tune with --bsr-preset tune, and give its report's tuned-rates.csv by "
            "--bsr-rates"
        )
    return rates.shipped()


def _seeds(grid: Grid, first: int) -> tuple[int, ...]:
    return grid.seeds or tuple(first + index for index in range(grid.runs))


def _reporting(grid: Grid, arm: Arm, rate: float, most: int | None = None) -> Iterator[Run]:
    for seed in _seeds(grid, FIRST_REPORTING_SEED)[:most]:
        yield _run(grid, arm, rate, seed)


def _run(grid: Grid, arm: Arm, rate: float, seed: int) -> Run:
    """A Run of so many updates, evaluated on the test images."""
    return Run(
        task=arm.task,
        batch_size=arm.batch_size,
        seed=seed,
        learning_rate=rate,
        epochs=0,
        steps=min(arm.steps, grid.most_steps),
        schedule=arm.schedule,
        train_images=min(grid.train_images, IMAGES),
        test_images=grid.test_images,
        dataset=grid.dataset,
        precision=grid.precision,
    )
