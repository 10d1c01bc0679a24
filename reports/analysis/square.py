"""The second protocol's results: errors after so many updates, at settings that were tuned alike.

Whole seeds are the unit: a seed's tasks are averaged first. See docs/why.md.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from statistics import fmean
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsr import stats
from bsr.experiments import tuning
from bsr.experiments.controlled import SCALED_FROM
from bsr.experiments.settings import AMONG, Among, Problem, Setting, TunedSetting
from bsr.result import FINISHED, Result
from reports.analysis.arms import FEWEST_TUNING_SEEDS, log_error
from reports.cells import Cells, span
from reports.text import listed

WORDS: Final[dict[Among, str]] = {
    "falling": "rates falling to zero",
    "constant": "constant rates",
    "all": "schedule tuned too",
}
Rates = Among | Literal["usual"]
RATES: Final[dict[Rates, str]] = dict(WORDS) | {"usual": "one untuned rate, constant"}
"""How the learning rates of all batch sizes were found; the untuned one is the usual one of the task."""
UNIT: Final = "The unit is a whole seed, tasks counting alike; 95% intervals are Student's."
Measure = Callable[[Result], float | None]
"""Of one Run: the log of an error, or None where it was not measured."""
Logs = NDArray[np.float64]
TRAINING_ERRORS: Final = (0.1, 0.03, 0.01, 0.003, 0.001)
"""At which test errors are compared, shares of the best constant's."""
FEWEST_PAIRS: Final = 6
"""Of seeds that both cross such an error; of fewer nothing is said."""


class Place(NamedTuple):
    """A corner of the square, over all tasks."""

    images: int
    batch_size: int
    steps: int


def last(result: Result) -> float | None:
    """Log of the normalised test MSE of the last weights."""
    return log_error(result, result.run.steps)


def stopped(result: Result) -> float | None:
    """Log of the normalised test MSE of the weights with the lowest validation error along the training."""
    if result.status not in FINISHED or not result.validation_mse or not result.baseline_mse:
        return last(result) if result.status in FINISHED - {"ok"} else None
    known = [(error, index) for index, error in enumerate(result.validation_mse) if error is not None]
    value = result.test_mse[min(known)[1]] if known else None
    return math.log(max(value, 1e-300) / result.baseline_mse) if value is not None else None


def overfitting(result: Result) -> float | None:
    """Log of test over training MSE of the last weights."""
    training, test = result.final_training_mse, result.final_mse
    return math.log(test / training) if training and test else None


def at_training_error(result: Result, level: float) -> float | None:
    """Log of the normalised test MSE where the training MSE last falls below `level` of the best constant's.

    Between the evaluations that bracket it both are straight lines of their logs. None where it never falls
    below for good.
    """
    baseline, training = result.baseline_mse, result.training_mse
    if result.status != "ok" or not baseline or not training or len(training) != len(result.test_mse):
        return None
    pairs = [
        (math.log(max(a, 1e-300) / baseline), math.log(max(b, 1e-300) / baseline))
        for a, b in zip(training, result.test_mse, strict=True)
        if a is not None and b is not None
    ]
    goal = math.log(level)
    above = [index for index, (error, _) in enumerate(pairs) if error > goal]
    if not above or above[-1] == len(pairs) - 1:
        return None
    (before, test_before), (after, test_after) = pairs[above[-1] : above[-1] + 2]
    share = (before - goal) / (before - after)
    return test_before + share * (test_after - test_before)


@dataclass(frozen=True, eq=False)
class Square:
    """What was reported, by problem and by which settings were chosen among."""

    data: Cells

    @cached_property
    def reported(self) -> dict[tuple[Problem, Among], dict[int, Result]]:
        """Seed -> result of the network shown, on tasks that have something to learn."""
        found: dict[tuple[Problem, Among], dict[int, Result]] = defaultdict(dict)
        for result in self.data.results("square"):
            if result.run.task not in self.data.degenerate:
                problem = Problem.of(result.run)
                for among in AMONG:
                    if Setting.of(result.run) == self._chosen.get((problem, among)):
                        found[problem, among][result.run.seed] = result
        return dict(found)

    @cached_property
    def travelled(self) -> dict[Problem, dict[int, Result]]:
        """Seed -> result at the falling setting that was tuned for SCALED_FROM; tasks as above.

        Where a batch size's own is the same, it was reported as that.
        """
        found: dict[Problem, dict[int, Result]] = defaultdict(dict)
        for name in ("square", "travelling-rate"):
            for result in self.data.results(name):
                problem = Problem.of(result.run)
                travelling = self._chosen.get((problem._replace(batch_size=SCALED_FROM), "falling"))
                if problem.task not in self.data.degenerate and Setting.of(result.run) == travelling:
                    found[problem][result.run.seed] = result
        return dict(found)

    @cached_property
    def _chosen(self) -> dict[tuple[Problem, Among], Setting]:
        return {(row.problem, row.among): row.setting for row in self.data.session.settings}

    @cached_property
    def places(self) -> list[Place]:
        """Every one that was reported, few images first, then by updates and batch size."""
        named = {Place(p.train_images, p.batch_size, p.steps) for p, _ in self.reported}
        return sorted(named, key=lambda place: (place.images, place.steps, place.batch_size))

    @property
    def parts(self) -> list[int]:
        """Numbers of training images."""
        return sorted({place.images for place in self.places})

    @cached_property
    def of_little_data(self) -> bool:
        """Whether each problem was reported as tuned alone, and not at a falling or a constant rate too."""
        found: dict[Problem, set[Setting]] = defaultdict(set)
        for result in self.data.results("square"):
            found[Problem.of(result.run)].add(Setting.of(result.run))
        return all(settings == {self._chosen.get((one, "all"))} for one, settings in found.items())

    @property
    def schedules(self) -> tuple[Among, ...]:
        """Those that settings were chosen among and reported: of little data all together alone."""
        return AMONG[:1] if self.of_little_data else AMONG

    @property
    def little_data(self) -> tuple[Place, int] | None:
        """The largest batch after the most updates with the fewest images, and the smallest batch size.

        None where the schedule was not tuned alone, or one batch size was reported.
        """
        if not self.parts or not self.of_little_data or len(sizes := self.sizes(self.parts[0])) < 2:
            return None
        images = self.parts[0]
        return Place(images, sizes[-1], self.budgets(images)[-1]), sizes[0]

    def sizes(self, images: int) -> list[int]:
        """Batch sizes that were reported with so many training images."""
        return sorted({place.batch_size for place in self.places if place.images == images})

    def budgets(self, images: int) -> list[int]:
        """Updates."""
        return sorted({place.steps for place in self.places if place.images == images})

    def budgets_of(self, images: int, size: int) -> list[int]:
        """Updates of one batch size."""
        return sorted(place.steps for place in self.places if place[:2] == (images, size))

    @cached_property
    def tasks(self) -> list[str]:
        """That were reported."""
        return [task for task in self.data.tasks if task in {problem.task for problem, _ in self.reported}]

    def errors(self, place: Place, rates: Rates, measure: Measure = last) -> dict[int, float]:
        """Seed -> the mean over tasks of what is measured; of seeds that all tasks have.

        At the usual rate the last error alone.
        """
        if rates == "usual":
            return self._at_usual_rate(place) if measure is last else {}
        own = {problem: results for (problem, which), results in self.reported.items() if which == rates}
        return self._over_tasks(own, place, measure)

    def _at_usual_rate(self, place: Place) -> dict[int, float]:
        """At a constant rate that was not tuned; of a longer training its beginning."""
        cut: dict[Problem, dict[int, Result]] = defaultdict(dict)
        for result in self.data.results("usual-rate"):
            problem = Problem.of(result.run)
            if (problem.train_images, problem.batch_size) == place[:2] and problem.steps >= place.steps:
                cut[problem._replace(steps=place.steps)][result.run.seed] = result
        cut = {problem: results for problem, results in cut.items() if problem.task in self.tasks}
        return self._over_tasks(cut, place, partial(log_error, steps=place.steps))

    def _over_tasks(
        self, found: Mapping[Problem, Mapping[int, Result]], place: Place, measure: Measure = last
    ) -> dict[int, float]:
        of_tasks: dict[str, dict[int, float]] = {}
        for problem, results in found.items():
            if Place(problem.train_images, problem.batch_size, problem.steps) == place:
                values = {seed: measure(result) for seed, result in results.items()}
                of_tasks[problem.task] = {s: value for s, value in values.items() if value is not None}
        if len(of_tasks) < len(self.tasks):
            return {}
        seeds = set.intersection(*(set(errors) for errors in of_tasks.values()))
        return {seed: fmean(errors[seed] for errors in of_tasks.values()) for seed in sorted(seeds)}

    def over_smallest(
        self, place: Place, rates: Rates, measure: Measure = last, *, luck: bool = False
    ) -> stats.Estimate | None:
        """The error of a place over that of the smallest batch size there, paired by seed; None without."""
        smallest = place._replace(batch_size=self.sizes(place.images)[0])
        logs = by_seed(self.errors(smallest, rates, measure), self.errors(place, rates, measure))
        if len(logs) < 2:
            return None
        both = self.luck(place, rates), self.luck(smallest, rates)
        lucky = both[0] - both[1] if luck and both[0] is not None and both[1] is not None else None
        return None if luck and lucky is None else stats.student(logs, lucky)

    def travelling(self, place: Place) -> stats.Estimate | None:
        """The error at the falling setting of SCALED_FROM over that at the own; None where it is the same."""
        logs = by_seed(self.errors(place, "falling"), self._over_tasks(self.travelled, place))
        return stats.student(logs) if len(logs) > 1 and logs.any() else None

    def outdone(self, place: Place) -> stats.Estimate | None:
        """That, if its interval is below 1: the own setting was then not the best. None otherwise."""
        travelled = self.travelling(place)
        interval = travelled.interval if travelled else None
        return travelled if interval and interval.high < 1 else None

    def edges(self, places: Iterable[Place], among: Among) -> str:
        """A sentence that names those tuned at an edge of what was tried, if any: they give no verdict."""
        found = self._tuned(places, among, lambda row: bool(row.at_the_edge))
        what = f"The rate tuned for {found} lies at an edge of those tried"
        return f" {what}: a better one may lie beyond, so this gives no verdict." if found else ""

    def few_seeds(self, places: Iterable[Place], among: Among) -> str:
        """A sentence that names those tuned on few seeds, if any: they give no verdict."""
        found = self._tuned(places, among, lambda row: row.seeds < FEWEST_TUNING_SEEDS)
        what = f"The setting of {found} was chosen on fewer than {FEWEST_TUNING_SEEDS} seeds"
        return f" {what}: luck may have chosen it, so this gives no verdict." if found else ""

    def _tuned(self, places: Iterable[Place], among: Among, has: Callable[[TunedSetting], bool]) -> str:
        """Those whose setting has a property for some task, in words."""
        named = {
            Place(row.train_images, row.batch_size, row.updates)
            for row in self.data.session.settings
            if (row.model, row.among) == (self.data.shown, among) and has(row)
        }
        return listed(f"{place.batch_size} at {place.steps:,} updates" for place in places if place in named)

    def luck(self, place: Place, rates: Rates) -> Logs | None:
        """Draws of what tuning's luck adds to the log error, mean over tasks; None where none is recorded.

        None too where the setting was taken from a smaller budget: what else it could be was not tried.
        """
        found = [
            stats.regrets(contenders)
            for problem, which in self.reported
            if which == rates and Place(problem.train_images, problem.batch_size, problem.steps) == place
            if self._chosen[problem, which] in (contenders := self._contenders(problem, which))
        ]
        if len(found) < len(self.tasks):
            return None
        return np.asarray(np.mean(found, axis=0))  # of whole tuning seeds, the same in every draw

    def _contenders(self, problem: Problem, among: Among) -> dict[Setting, list[float]]:
        """Validation errors by setting, over the seeds of those that were tried with most of them."""
        tried = self.tried.get(problem, {})
        some = {
            s: [errors[seed] for seed in sorted(errors)] for s, errors in tried.items() if s.is_among(among)
        }
        most = max(map(len, some.values()), default=0)
        return {setting: errors for setting, errors in some.items() if len(errors) == most}

    @cached_property
    def tried(self) -> dict[Problem, tuning.Tried]:
        """What was tried for each problem, where the recording holds the tuning too."""
        return tuning.tried_settings(self.data.results("why-tune"))


@lru_cache(maxsize=8)
def square_of(data: Cells) -> Square:
    """The second protocol of a recording."""
    return Square(data)


def by_seed(first: Mapping[int, float], second: Mapping[int, float]) -> Logs:
    """Second less first over the seeds that both have."""
    return np.array([second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())])


def over_updates(
    found: Square, images: int, among: Among, measure: Measure = last, *, over: bool = True
) -> dict[str, dict[int, stats.Estimate]]:
    """Batch size in words -> updates -> what is measured, as a multiple of the smallest's where `over`."""
    rows: dict[str, dict[int, stats.Estimate]] = {}
    smallest, *larger = found.sizes(images)
    for size in larger if over else (smallest, *larger):
        for steps in found.budgets_of(images, size):
            place = Place(images, size, steps)
            logs = np.array([*found.errors(place, among, measure).values()])
            own = stats.student(logs) if len(logs) > 1 and not over else None
            if one := found.over_smallest(place, among, measure) if over else own:
                rows.setdefault(f"batch size {size}", {})[steps] = one
    return rows


class AtTrainingError(NamedTuple):
    """What two batch sizes have where their training errors are the same, of their longest Runs."""

    images: int
    batch_size: int
    level: float
    """Share of the best constant's MSE."""
    smallest: int
    """Seeds of the smallest batch size that fall below the level for good."""
    this: int
    """Of this one."""
    pairs: int
    """That both do."""
    ratio: stats.Estimate | None
    """Test error over the smallest's; None of fewer than FEWEST_PAIRS."""


def at_training_errors(found: Square, images: int) -> Iterator[AtTrainingError]:
    """Each larger batch size at each level, whether or not enough seeds fall below it."""
    smallest, *larger = found.sizes(images)
    for size in larger:
        for level in TRAINING_ERRORS:
            measure = partial(at_training_error, level=level)
            small, large = (
                found.errors(Place(images, one, max(found.budgets_of(images, one))), "all", measure)
                for one in (smallest, size)
            )
            logs = by_seed(small, large)
            ratio = stats.student(logs) if len(logs) >= FEWEST_PAIRS else None
            yield AtTrainingError(images, size, level, len(small), len(large), len(logs), ratio)


def over_training_error(found: Square, images: int) -> dict[str, dict[float, stats.Estimate]]:
    """Batch size in words -> training error -> test error there over the smallest's, where enough come."""
    rows: dict[str, dict[float, stats.Estimate]] = {}
    for one in at_training_errors(found, images):
        if one.ratio:
            rows.setdefault(f"batch size {one.batch_size}", {})[one.level] = one.ratio
    return rows


def seeds_of(found: Square) -> str:
    """`8 seeds per batch size and number of updates`, or `5 to 12 seeds` of them."""
    counts = [len(found.errors(place, among)) for place in found.places for among in found.schedules]
    seeds = span([count for count in counts if count] or [0], "seed")
    return f"{seeds} per batch size and number of updates"
