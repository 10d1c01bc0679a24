"""The controlled experiments: equal updates beside equal epochs, at tuned rates; see docs/why-first.md.

Any task, data set, network and batch sizes: budgets are ten epochs' worth of two of the batch sizes, windows
of rates lie round the one that was given or tuned for 32. What is named here are MNIST's, and the defaults.

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
"""The tasks of the presets."""
CONSTANT: Final = (("MNIST", "median"),)
"""Data set and task of which all labels are the same, so that there is nothing to compare."""
BATCH_SIZES: Final = (1, 4, 16, 64, 256, 1024)
IMAGES: Final = 50_000
"""Training images; the last 10,000 of the split are for validation."""
EPOCHS: Final = 10
MOST_IMAGES: Final = 60_000
"""In an epoch: of more, the presets train on a part."""
FIRST_TUNING_SEED: Final = 100
FIRST_REPORTING_SEED: Final = 200
"""No seed both chooses a rate and reports its error."""
TEN_EPOCHS_AT: Final = {16: 37_500, 64: 9_375, 256: 2_344, 1024: 586}
"""Batch size -> updates of 600,000 images of MNIST: the study's ten epochs, twelve passes over IMAGES."""
BUDGETS: Final = (586, 2_344)
"""Updates at which its batch sizes are compared: ten epochs of 1024, and of 256."""
SMALLEST, LARGEST = 16, 1024
"""The contrast to be explained, fixed beforehand: the worst of several over the best would be biased. Smaller
ones take part in equal updates alone, where there are two of this size at least."""
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
"""Of 1024 at 2,344 updates, which are forty of the study's epochs, and 48 passes over IMAGES."""


def tune(grid: Grid) -> Iterator[Run]:
    """Five rates per task, batch size, budget and schedule; or what lies beyond an edge that was found."""
    if grid.beyond:
        for arm, rate in grid.beyond:
            yield from _tuning(grid, arm, (rate,))
        return
    for task in _tasks(grid):
        for arm in _tuned_arms(grid, task):
            lowest = _lowest_power(grid, arm)
            powers = range(lowest, lowest + 5)[:: grid.rate_stride]
            tried = [_usual_rate(grid, task) * 2.0**power for power in powers]
            yield from _tuning(grid, arm, tried)


def _tuning(grid: Grid, arm: Arm, tried: Sequence[float]) -> Iterator[Run]:
    for rate in tried:
        for seed in _seeds(grid, FIRST_TUNING_SEED)[: 1 if _many_epochs(grid, arm) else None]:
            yield grid.validated(_run(grid, arm, rate, seed))


def _tuned_arms(grid: Grid, task: str) -> Iterator[Arm]:
    """Every arm of a task whose rate is tuned."""
    ends = contrast_of(grid)
    middle = [(ten_epochs(grid, size), size) for size in compared(grid) if size not in ends]
    equal = itertools.product(budgets(grid), _whole(grid))
    both = [(steps, size) for steps, size in equal if (steps, size) not in middle]
    both += [(ten_epochs(grid, size), size) for size in ends]
    arms = [Arm(task, steps, schedule, size) for steps, size in both for schedule in _asked(grid)]
    falling = _asked(grid, SCHEDULES[1:])
    arms += [Arm(task, steps, schedule, size) for steps, size in middle for schedule in falling]
    return (arm for arm in dict.fromkeys(arms) if arm.batch_size in grid.batch_sizes)


def _lowest_power(grid: Grid, arm: Arm) -> int:
    """Of two, times the usual rate: where the window of five rates begins.

    The more updates there are, and the smaller the batch, the lower the rate that serves best.
    """
    whole = int(arm.steps == ten_epochs(grid, arm.batch_size))
    if arm.batch_size < 16:
        return -3
    if arm.batch_size < 64:
        return -2 - whole
    return -1 - whole if arm.batch_size < 256 else 0


def study_rate(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the usual rate, of MNIST the study's: the gap to be explained."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            for schedule in _asked(grid, SCHEDULES if size in contrast_of(grid) else SCHEDULES[:1]):
                yield from _reporting(grid, Arm(task, steps, schedule, size), _usual_rate(grid, task))


def equal_epochs(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the rate tuned for the batch size."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            for schedule in _asked(grid, SCHEDULES if size in contrast_of(grid) else SCHEDULES[1:]):
                arm = Arm(task, steps, schedule, size)
                yield from _reporting(grid, arm, _tuned(grid, arm))


def equal_updates(grid: Grid) -> Iterator[Run]:
    """The same number of updates at every batch size, at tuned rates and at the usual one.

    Ten epochs of a batch size are in equal_epochs. At the usual rate and a constant schedule a smaller budget
    is the beginning of a longer Run, where that is evaluated then.
    """
    for task in _tasks(grid):
        for steps, size in itertools.product(budgets(grid), grid.batch_sizes):
            if size in compared(grid) and ten_epochs(grid, size) == steps:
                continue
            for schedule in _asked(grid):
                arm = Arm(task, steps, schedule, size)
                tried = {_tuned(grid, arm)}
                if schedule == "linear" or not _within_a_longer(grid, arm):
                    tried.add(_usual_rate(grid, task))
                most = FORTY_EPOCH_SEEDS if _many_epochs(grid, arm) else None
                for rate in sorted(tried):
                    yield from _reporting(grid, arm, rate, most)


def _within_a_longer(grid: Grid, arm: Arm) -> bool:
    """Whether ten epochs at the same batch size and a constant rate are evaluated after so many updates.

    Of a batch size that makes no ten epochs nothing is asked at the usual constant rate.
    """
    if arm.batch_size not in compared(grid):
        return True
    longer = replace(_run(grid, arm, 1.0, 0), steps=ten_epochs(grid, arm.batch_size))
    return arm.steps < longer.steps and arm.steps in longer.evaluation_steps


def rate_rules(grid: Grid) -> Iterator[Run]:
    """Ten epochs at rates scaled from 32 by the rules of thumb."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            if size > 64:
                for power in RULES.values():
                    rate = scaled_rate(task, size, power, _usual_rate(grid, task))
                    yield from _reporting(grid, Arm(task, steps, "linear", size), rate, RULE_SEEDS)


def scaled_rate(task: str, batch_size: int, power: float, usual: float | None = None) -> float:
    """The usual rate at 32, by default the study's, scaled by a rule of thumb to `batch_size`."""
    rate = tuned_rate(task, SCALED_FROM, epochs=EPOCHS) if usual is None else usual
    return float(f"{rate * (batch_size / SCALED_FROM) ** power:.6g}")


def adam_memory(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the usual rate, with a second moment that remembers a tenth as long."""
    for task in _tasks(grid):
        for size, steps in _ten_epochs(grid):
            if size in contrast_of(grid):
                arm = Arm(task, steps, "constant", size)
                runs = _reporting(grid, arm, _usual_rate(grid, task), MEMORY_SEEDS)
                yield from (replace(run, beta2=SHORT_MEMORY) for run in runs)


def noise_scale(grid: Grid, task: str) -> Iterator[Run]:
    """The trainings along which the gradient's noise is measured: ten epochs at the usual rate."""
    for size, steps in _ten_epochs(grid):
        if size in contrast_of(grid):
            arm = Arm(task, steps, "constant", size)
            yield from _reporting(grid, arm, _usual_rate(grid, task), NOISE_SEEDS)


def rates_of(experiments: Iterable[str], grid: Grid) -> tuple[TunedRate, ...]:
    """The tuned rates that these experiments may take, for the record."""
    return _table(grid) if {"equal-epochs", "equal-updates"} & set(experiments) else ()


def networks(grid: Grid) -> Iterator[Run]:
    """Ten epochs at the usual rate, with every network of the grid.

    The schedule is constant, so the beginning of a Run is the whole of a shorter one: equal updates are those
    of the largest batch size, looked up in the others.
    """
    for task in grid.tasks:
        for size, steps in _ten_epochs(grid):
            yield from _reporting(grid, Arm(task, steps, "constant", size), grid.rate(task, size))


def budgets(grid: Grid) -> tuple[int, ...]:
    """Updates at which batch sizes are compared: ten epochs' worth of the largest, and of a middle one."""
    sizes = compared(grid)
    worth = (ten_epochs(grid, size) for size in (sizes[-1], sizes[len(sizes) // 2]))
    return tuple(dict.fromkeys(worth))[: grid.budgets]


def contrast_of(grid: Grid) -> tuple[int, int]:
    """The batch sizes whose gap is to be explained: the smallest and the largest that make ten epochs."""
    sizes = compared(grid)
    return sizes[0], sizes[-1]


def compared(grid: Grid) -> tuple[int, ...]:
    """The batch sizes that make ten epochs, rising: not those that would take hours, if there are others.

    Where it was said on how many images they train, all of them do.
    """
    whole = _whole(grid)
    if grid.run_images is not None:
        return whole
    large = tuple(size for size in whole if size >= SMALLEST)
    return large if len(large) > 1 else whole


def ten_epochs(grid: Grid, batch_size: int) -> int:
    """Their updates, or those of as many images as the grid says."""
    images = grid.run_images or EPOCHS * min(grid.part_images, MOST_IMAGES)
    return -(-images // batch_size)


def _whole(grid: Grid) -> tuple[int, ...]:
    """The batch sizes of the whole plan, rising: who names some of the presets' has a part of that."""
    usual = tuple(size for size in BATCH_SIZES if size <= grid.train_images)
    part = grid.run_images is None and set(grid.batch_sizes) <= set(usual)
    return usual if part else tuple(sorted(grid.batch_sizes))


def _many_epochs(grid: Grid, arm: Arm) -> bool:
    """Whether it sees more than twice the images of ten epochs, so that fewer seeds must do."""
    return arm.steps > 2 * ten_epochs(grid, arm.batch_size)


def _tasks(grid: Grid) -> list[str]:
    return [task for task in grid.tasks if (grid.dataset, task) not in CONSTANT]


def _ten_epochs(grid: Grid) -> list[tuple[int, int]]:
    return [(size, ten_epochs(grid, size)) for size in compared(grid) if size in grid.batch_sizes]


def _asked(grid: Grid, schedules: Sequence[Schedule] = SCHEDULES) -> list[Schedule]:
    return [schedule for schedule in schedules if schedule in grid.schedules]


def _usual_rate(grid: Grid, task: str) -> float:
    """The one that was given for the task, else tuned at 32 for the study's protocol."""
    return grid.rate(task, SCALED_FROM)


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
        train_images=grid.beside_validation,
        test_images=grid.test_images,
        dataset=grid.dataset,
        precision=grid.precision,
        first_evaluation=grid.first_evaluation,
    )
