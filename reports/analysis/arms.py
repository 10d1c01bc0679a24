"""The controlled experiments' results as their chapters ask for them: an arm's error at a budget, by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Final, Literal, NamedTuple

import numpy as np

from bsr import stats
from bsr.experiments import PRESETS, rates
from bsr.experiments.controlled import LARGEST, SMALLEST, TEN_EPOCHS_AT
from bsr.experiments.rates import Arm, Schedule, TunedRate, tuned_rate
from bsr.result import Result
from bsr.run import Run
from reports.cells import Cells

USUAL_MEMORY = 0.999
Kind = Literal["study", "tuned"]
KINDS: Final[tuple[Kind, ...]] = ("study", "tuned")
"""Of a rate: the study's, tuned once at batch size 32, or that tuned for the arm."""


class Training(NamedTuple):
    """What one line of the plan trains: its Runs differ by their seed alone."""

    arm: Arm
    learning_rate: float | None
    beta2: float = USUAL_MEMORY

    @classmethod
    def of(cls, run: Run) -> Training:
        """The line that a Run belongs to."""
        return cls(Arm.of(run), run.learning_rate, run.beta2)


@dataclass(frozen=True, eq=False)
class Arms:
    """All reporting Runs of the controlled experiments."""

    data: Cells

    @cached_property
    def trainings(self) -> dict[Training, dict[int, Result]]:
        """What was trained -> seed -> result: of the network shown, and evaluated on test images."""
        found: dict[Training, dict[int, Result]] = {}
        for case in self.data.session.cases:
            run = case.result.run
            reported = run.steps and run.evaluate_on == "test" and run.model == self.data.shown
            if set(case.cases) & _REPORTING and reported:
                found.setdefault(Training.of(run), {})[run.seed] = case.result
        return found

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """With something to learn, the study's order first."""
        named = {training.arm.task for training in self.trainings}
        return tuple(task for task in self.data.tasks if task in named and task not in self.data.degenerate)

    def rate(self, arm: Arm, kind: Kind) -> float | None:
        """The study's, or the one tuned for that budget; None where none was recorded."""
        if kind == "study":
            return tuned_rate(arm.task, arm.batch_size, epochs=10)
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
        """The four gaps of LARGEST against SMALLEST, equal updates at `steps`; None where one lacks."""
        arms: dict[str, dict[int, float]] = {}
        for kind in KINDS:
            for size in (SMALLEST, LARGEST):
                for how, updates in (("epochs", TEN_EPOCHS_AT[size]), ("updates", steps)):
                    arms[f"{kind} {how} {size}"] = self.errors_at(Arm(task, updates, schedule, size), kind)
        seeds = sorted(set.intersection(*(set(arm) for arm in arms.values())))
        if not seeds:
            return None

        def gap(name: str) -> list[float]:
            large, small = (arms[f"{name} {size}"] for size in (LARGEST, SMALLEST))
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


_REPORTING = frozenset(PRESETS["why"].experiments)


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
