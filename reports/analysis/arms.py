"""The controlled experiments' results as their chapters ask for them: an arm's error at a budget, by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from statistics import fmean
from typing import Final, Literal, NamedTuple

import numpy as np

from bsr import stats
from bsr.experiments import PRESETS, rates
from bsr.experiments.controlled import BATCH_SIZES, BUDGETS, IMAGES, SCALED_FROM, TEN_EPOCHS_AT
from bsr.experiments.rates import Arm, Schedule, TunedRate, tuned_rate
from bsr.result import Result
from bsr.run import Run
from reports.cells import Cells

USUAL_MEMORY = 0.999
Kind = Literal["study", "tuned"]
KINDS: Final[tuple[Kind, ...]] = ("study", "tuned")
"""Of a rate: the study's, tuned once at batch size 32, or that tuned for the arm."""
FEWEST_TUNING_SEEDS: Final = 3
"""Of fewer, what was best may have been lucky."""


class Training(NamedTuple):
    """What one line of the plan trains: its Runs differ by their seed alone."""

    arm: Arm
    learning_rate: float | None
    beta2: float = USUAL_MEMORY
    warmup: float | None = None
    decay: float | None = None
    """None: as the arm's schedule says."""

    @classmethod
    def of(cls, run: Run) -> Training:
        """The line that a Run belongs to."""
        return cls(Arm.of(run), run.learning_rate, run.beta2, run.warmup, run.decay)


class Compared(NamedTuple):
    """The batch sizes of a recording, and the updates after which they are compared."""

    ten_epochs: Mapping[int, int]
    """Batch size -> updates, from the smallest of the contrast to the largest."""
    budgets: tuple[int, ...]
    """Equal updates, fewest first: ten epochs of the largest, which are primary, and of a middle one."""
    images: int
    """That a Run trains on."""
    sizes: tuple[int, ...]
    """All that were trained, those of equal updates alone too."""

    @property
    def smallest(self) -> int:
        """Of the contrast."""
        return min(self.ten_epochs)

    @property
    def largest(self) -> int:
        """Of the contrast."""
        return max(self.ten_epochs)

    @property
    def scaled(self) -> tuple[int, ...]:
        """To which the rules of thumb scale the rate at 32."""
        return tuple(size for size in self.ten_epochs if size > 2 * SCALED_FROM)

    @property
    def same_images(self) -> int:
        """What every batch size sees in its ten epochs."""
        return self.smallest * self.ten_epochs[self.smallest]

    @property
    def own(self) -> bool:
        """Whether batch sizes or images are a user's own, and not those of the plan in docs/why-first.md."""
        return self is not PLANNED


PLANNED: Final = Compared(TEN_EPOCHS_AT, BUDGETS, IMAGES, BATCH_SIZES)
"""MNIST's, of which a recording may hold a part: ten epochs of 60,000 are twelve passes over 50,000."""


@dataclass(frozen=True, eq=False)
class Arms:
    """All reporting Runs of the controlled experiments."""

    data: Cells

    @cached_property
    def trainings(self) -> dict[Training, dict[int, Result]]:
        """What was trained -> seed -> result: of the network shown, and evaluated on test images."""
        return self._by_training(_REPORTING)

    @cached_property
    def with_square(self) -> dict[Training, dict[int, Result]]:
        """The same, and what the second protocol tuned and reported."""
        return self._by_training(_REPORTING | {SQUARE})

    def _by_training(self, experiments: AbstractSet[str]) -> dict[Training, dict[int, Result]]:
        found: dict[Training, dict[int, Result]] = {}
        for result in self._reported(experiments):
            found.setdefault(Training.of(result.run), {})[result.run.seed] = result
        return found

    def _reported(self, experiments: AbstractSet[str]) -> Iterator[Result]:
        for case in self.data.session.cases:
            run = case.result.run
            reported = run.steps and run.evaluate_on == "test" and run.model == self.data.shown
            if experiments & set(case.cases) and reported:
                yield case.result

    @cached_property
    def compared(self) -> Compared:
        """What this recording compares; PLANNED where that is a part of it, or where nothing is compared."""
        whole = [result.run for result in self._reported({"study-rate", "equal-epochs"})]
        found = dict(sorted({run.batch_size: run.steps for run in whole}.items()))
        falling = all(few < many for many, few in pairwise(found.values()))  # a smoke session cuts all short
        if len(found) < 2 or not falling or found.items() <= TEN_EPOCHS_AT.items():
            return PLANNED
        equal = {result.run.steps for result in self._reported({"equal-updates"})}
        sizes = sorted({training.arm.batch_size for training in self.trainings})
        budgets = sorted(equal | {min(found.values())})
        return Compared(found, tuple(budgets), whole[0].train_images, tuple(sizes))

    @cached_property
    def _usual(self) -> dict[str, float]:
        return {result.run.task: result.run.learning_rate for result in self._reported({"study-rate"})}

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """With something to learn, the study's order first."""
        named = {training.arm.task for training in self.trainings}
        return tuple(task for task in self.data.tasks if task in named and task not in self.data.degenerate)

    def rate(self, arm: Arm, kind: Kind) -> float | None:
        """The study's, of other data the one given, or that tuned for the budget; None without one."""
        if kind == "study":
            return self._usual.get(arm.task) or tuned_rate(arm.task, arm.batch_size, epochs=10)
        found = self.tuned(arm)
        return found.learning_rate if found else None

    def tuned(self, arm: Arm) -> TunedRate | None:
        """The row of the table of rates that the session took."""
        return rates.find(self.data.session.rates, arm)

    def errors(self, arm: Arm, rate: float | None, beta2: float = USUAL_MEMORY) -> dict[int, float]:
        """Seed -> log of the normalised test MSE after the arm's updates; empty where it was not measured.

        A constant schedule's smaller budget is the beginning of a longer Run. A training that died or
        diverged counts as no better than the best constant; one that failed was not measured.
        """
        alike = {
            training.arm.steps: results
            for training, results in self.trainings.items()
            if training == Training(arm._replace(steps=training.arm.steps), rate, beta2)
        }
        found: dict[int, float] = {}
        for steps in sorted(alike, reverse=True):  # its own Runs last, over beginnings of longer ones
            if steps == arm.steps or (steps > arm.steps and arm.schedule == "constant"):
                values = {seed: log_error(result, arm.steps) for seed, result in alike[steps].items()}
                found |= {seed: value for seed, value in values.items() if value is not None}
        return found

    def errors_at(self, arm: Arm, kind: Kind, beta2: float = USUAL_MEMORY) -> dict[int, float]:
        """The same, at the arm's rate of that kind."""
        return self.errors(arm, self.rate(arm, kind), beta2)

    def contrast(self, steps: int, schedule: Schedule, task: str) -> stats.Gaps | None:
        """The four gaps of largest against smallest, equal updates at `steps`; None where one lacks."""
        compared, arms = self.compared, dict[str, dict[int, float]]()
        ends = compared.smallest, compared.largest
        for kind in KINDS:
            for size in ends:
                for how, updates in (("epochs", compared.ten_epochs[size]), ("updates", steps)):
                    arms[f"{kind} {how} {size}"] = self.errors_at(Arm(task, updates, schedule, size), kind)
        seeds = sorted(set.intersection(*(set(arm) for arm in arms.values())))
        if not seeds:
            return None

        def gap(name: str) -> list[float]:
            small, large = (arms[f"{name} {size}"] for size in ends)
            return [large[seed] - small[seed] for seed in seeds]

        return stats.Gaps(
            seeds, gap("study epochs"), gap("tuned epochs"), gap("study updates"), gap("tuned updates")
        )

    def chosen(self, training: Training) -> bool:
        """Whether its rate is the study's or the tuned one: a rule of thumb's was chosen by nobody."""
        rates_chosen = {self.rate(training.arm, kind) for kind in KINDS}
        return training.beta2 == USUAL_MEMORY and training.learning_rate in rates_chosen

    def ended(self) -> tuple[Result, ...]:
        """Every result at a chosen rate, for captions that say how Runs ended."""
        chosen = (results for training, results in self.trainings.items() if self.chosen(training))
        return tuple(result for results in chosen for result in results.values())


_REPORTING = frozenset(PRESETS["why-first"].experiments)
SQUARE: Final = "square"
"""The second protocol's experiment; see analysis.square."""


@lru_cache(maxsize=8)
def arms_of(data: Cells) -> Arms:
    """The controlled experiments of a recording."""
    return Arms(data)


def log_error(result: Result, steps: int) -> float | None:
    """Of the normalised test MSE after so many updates; None where that was not measured."""
    run, baseline = result.run, result.baseline_mse
    if not baseline or result.status not in {"ok", "dead", "diverged"}:
        return None
    moments = (0, *run.evaluation_steps)
    if steps not in moments:
        return None
    index = moments.index(steps)
    value = result.test_mse[index] if index < len(result.test_mse) else None
    if result.status != "ok" and (value is None or index == len(moments) - 1):
        return math.log(max(1.0, (value or 0.0) / baseline))
    return math.log(max(value, 1e-300) / baseline) if value is not None else None


def geometric(errors: Mapping[int, float]) -> stats.Estimate | None:
    """The geometric mean of an arm's normalised errors, with its interval."""
    return stats.over_seeds(np.array([errors[seed] for seed in sorted(errors)])) if errors else None


def over_tasks(pairs: Iterable[tuple[Mapping[int, float], Mapping[int, float]]]) -> stats.Estimate | None:
    """Second over first, all pairs with a common seed counting alike; the unit is a seed that all have."""
    ratios = [
        {seed: second[seed] - first[seed] for seed in first.keys() & second.keys()} for first, second in pairs
    ]
    ratios = [row for row in ratios if row]
    seeds = sorted(set.intersection(*map(set, ratios))) if ratios else []
    means = [fmean(row[seed] for row in ratios) for seed in seeds]
    return stats.over_seeds(np.array(means)) if means else None
