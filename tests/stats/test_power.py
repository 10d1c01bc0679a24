"""What the statistics claim about their error rates and power, on simulated runs with the published spread.

Cells are log-normal with the published mean of ten runs and the log standard deviation that their range
tells. Every simulation is seeded; limits leave three standard errors of the simulated rate.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from bsr import published, stats

pytestmark = pytest.mark.slow
SIMULATIONS: Final = 200
STUDY: Final = (16, 1024)
EXTENDED: Final = (2, 2048)
LEARNABLE: Final = ("mean", "std", "var")

Shape = Callable[[int], float]
"""Batch size -> natural log of the true geometric mean."""


def published_cells(task: str) -> dict[int, tuple[float, float]]:
    """Batch size -> log of the geometric mean, log standard deviation between seeds."""
    cells = {}
    for cell in published.final_mse():
        if cell.task == task and cell.log_spread is not None:
            cells[cell.batch_size] = (math.log(cell.mean_mse) - cell.log_spread**2 / 2, cell.log_spread)
    return cells


class Simulator:
    """Draws the runs of one simulated study after another."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def cells(
        self, task: str, shape: Shape | None = None, sizes: tuple[int, int] = STUDY, seeds: int = 10
    ) -> dict[int, list[float]]:
        return {
            size: np.exp(self.rng.normal(shape(size) if shape else centre, spread, seeds)).tolist()
            for size, (centre, spread) in published_cells(task).items()
            if sizes[0] <= size <= sizes[1]
        }

    def shuffled(self, cells: dict[int, list[float]]) -> dict[int, list[float]]:
        values = self.rng.permutation(np.concatenate(list(cells.values())))
        ends = np.cumsum([len(values) for values in cells.values()])[:-1]
        return {size: part.tolist() for size, part in zip(cells, np.split(values, ends), strict=True)}

    def series(
        self, tasks: tuple[str, ...] = LEARNABLE, factor: float = 1.0, seeds: int = 10
    ) -> dict[tuple[str, int], dict[int, float]]:
        """Two of these hold independent values under the same seeds, the worst case of two devices."""
        return {
            (task, size): {size + i: factor * value for i, value in enumerate(values)}
            for task in tasks
            for size, values in self.cells(task, seeds=seeds).items()
        }

    def seconds(
        self, spread: float, factor: float = 1.0, runs: int = 10
    ) -> dict[tuple[str, int], dict[int, float]]:
        """The published seconds per epoch, varying log-normally between runs."""
        return {
            (row.task, row.batch_size): {
                i: factor * row.median_seconds_per_epoch * math.exp(self.rng.normal(0, spread))
                for i in range(runs)
            }
            for row in published.seconds_per_epoch()
        }


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


def rate(happens: Callable[[], bool], simulations: int = SIMULATIONS) -> float:
    return sum(happens() for _ in range(simulations)) / simulations


def at_most(stated: float, simulations: int = SIMULATIONS) -> float:
    return stated + 3 * math.sqrt(stated * (1 - stated) / simulations)


def rise(per_doubling: float) -> Shape:
    return lambda size: math.log2(size) * math.log(per_doubling)


# Trend


@pytest.mark.parametrize("task", LEARNABLE)
def test_shuffled_runs_show_a_trend_in_five_percent(simulator: Simulator, task: str) -> None:
    def trend() -> bool:
        return stats.rank_trend(simulator.shuffled(simulator.cells(task)), resamples=199).p.significant

    assert 0.01 <= rate(trend) <= at_most(0.05)


def test_shuffled_tasks_show_a_pooled_trend_in_five_percent(simulator: Simulator) -> None:
    def trend() -> bool:
        tasks = [simulator.shuffled(simulator.cells(task)) for task in LEARNABLE]
        return stats.rank_trend(*tasks, resamples=199).p.significant

    assert rate(trend) <= at_most(0.05)


def test_shuffled_single_seeds_show_a_trend_in_five_percent(simulator: Simulator) -> None:
    def trend() -> bool:
        return stats.rank_trend(simulator.shuffled(simulator.cells("mean", seeds=1))).p.significant

    assert rate(trend) <= at_most(0.05)


@pytest.mark.parametrize(("task", "power"), [("mean", 0.83), ("std", 1.0), ("var", 1.0)])
def test_a_planted_rise_of_ten_percent_per_doubling_is_found(
    simulator: Simulator, task: str, power: float
) -> None:
    found = rate(lambda: stats.rank_trend(simulator.cells(task, rise(1.1)), resamples=199).p.significant)
    assert found == pytest.approx(power, abs=0.08)


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("task", LEARNABLE)
def test_the_interval_holds_the_planted_slope(simulator: Simulator, task: str, seeds: int) -> None:
    def missed() -> bool:
        interval = stats.slope(simulator.cells(task, rise(1.2), seeds=seeds), resamples=499).interval
        assert interval is not None
        return interval.excludes(1.2)

    assert rate(missed) <= at_most(0.06)


# Best and turning point


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_true_best_batch_size_is_among_the_ties(simulator: Simulator, seeds: int) -> None:
    def lost() -> bool:
        best = stats.best(simulator.cells("mean", sizes=EXTENDED, seeds=seeds), resamples=99)
        assert best is not None
        return 64 not in best.tied  # the lowest published geometric mean

    assert rate(lost) <= at_most(0.05)


@pytest.mark.parametrize(
    ("task", "seeds", "power"), [("mean", 10, 0.93), ("std", 10, 1.0), ("var", 10, 0.69), ("std", 3, 0.63)]
)
def test_the_published_turning_point_is_found_at_the_stated_power(
    simulator: Simulator, task: str, seeds: int, power: float
) -> None:
    def found() -> bool:
        return stats.turning_point(simulator.cells(task, sizes=EXTENDED, seeds=seeds), resamples=999).found

    assert rate(found, 100) == pytest.approx(power, abs=0.13)


MONOTONE: Final[dict[str, Shape]] = {
    "flat": lambda _size: 0.0,
    "rising": rise(1.3),
    "falling": rise(0.8),
    "flat, then rising": lambda size: max(0.0, math.log2(size / 64)) / 2,
    "a step up": lambda size: 2.0 * (size >= 512),
    "falling, then flat": lambda size: -min(math.log2(size), 6.0),
    "exponential": lambda size: size / 1000,
}


@pytest.mark.parametrize("truth", MONOTONE)
@pytest.mark.parametrize("seeds", [3, 10])
def test_what_is_flat_or_monotone_turns_in_at_most_five_percent(
    simulator: Simulator, truth: str, seeds: int
) -> None:
    def found() -> bool:
        cells = simulator.cells("std", MONOTONE[truth], EXTENDED, seeds)
        return stats.turning_point(cells, resamples=999).found

    assert rate(found) <= at_most(0.05)


# Growth


LAWS: Final[dict[str, Shape]] = {
    "linear": lambda size: math.log(1 + size / 250),
    "power": lambda size: 0.3 * math.log(size),
    "exponential": lambda size: 0.0015 * size,
}


@pytest.mark.parametrize(("task", "power"), [("mean", 0.36), ("std", 0.9), ("var", 0.99)])
def test_planted_exponential_growth_is_called_that_at_the_stated_power(
    simulator: Simulator, task: str, power: float
) -> None:
    shapes = [stats.growth_shape(simulator.cells(task, LAWS["exponential"])) for _ in range(SIMULATIONS)]
    assert np.mean([shape.exponential is True for shape in shapes]) == pytest.approx(power, abs=0.1)
    assert np.mean([shape.exponential is False for shape in shapes]) <= at_most(0.01)


@pytest.mark.parametrize("law", ["linear", "power"])
@pytest.mark.parametrize("task", LEARNABLE)
def test_other_growth_is_hardly_ever_called_exponential(simulator: Simulator, task: str, law: str) -> None:
    shapes = [stats.growth_shape(simulator.cells(task, LAWS[law])) for _ in range(SIMULATIONS)]
    assert np.mean([shape.exponential is True for shape in shapes]) <= at_most(0.01)
    assert np.mean([shape.fits.significant for shape in shapes]) <= at_most(0.08)


# Spread and effect


def test_seeds_alone_are_called_an_effect_in_at_most_five_percent(simulator: Simulator) -> None:
    found = [
        stats.effect({2**i: simulator.rng.lognormal(0, 0.4, 10).tolist() for i in range(7)}, resamples=199)
        for _ in range(SIMULATIONS)
    ]
    effects = [effect for effect in found if effect is not None]
    sizes = [effect.size for effect in effects]
    intervals = [size.interval for size in sizes if size.interval is not None]
    assert len(intervals) == SIMULATIONS
    assert np.mean([size.p.significant for size in sizes]) <= at_most(0.05)
    assert np.mean([interval.excludes(1) for interval in intervals]) <= at_most(0.05)
    assert np.mean([effect.share for effect in effects]) < 0.04


# Comparison of two series


def comparisons(
    simulator: Simulator, factor: float, tasks: tuple[str, ...] = LEARNABLE
) -> list[stats.Agreement]:
    return [
        stats.agreement(simulator.series(tasks), simulator.series(tasks, factor)) for _ in range(SIMULATIONS)
    ]


def share(found: list[stats.Agreement], verdict: str) -> float:
    return sum(comparison.verdict == verdict for comparison in found) / len(found)


def test_two_runs_of_one_distribution_are_the_same_and_never_different_more_than_stated(
    simulator: Simulator,
) -> None:
    found = comparisons(simulator, 1.0)
    assert share(found, "different") <= 0.05
    assert share(found, "same") >= 0.95
    assert np.mean([comparison.p.significant for comparison in found]) <= at_most(0.05)
    assert not any(comparison.worse_by(0.2) for comparison in found)


@pytest.mark.parametrize("task", LEARNABLE)
def test_one_task_alone_is_not_called_different_more_than_stated(simulator: Simulator, task: str) -> None:
    assert share(comparisons(simulator, 1.0, tasks=(task,)), "different") <= at_most(0.05)


def test_thirty_percent_in_pooled_mse_is_found(simulator: Simulator) -> None:
    found = comparisons(simulator, 1.3)
    assert share(found, "different") >= 0.95
    assert np.mean([comparison.worse_by(0.2) for comparison in found]) >= 0.8
    assert np.mean([comparison.ratio or 0 for comparison in found]) == pytest.approx(1.3, abs=0.02)


def test_two_percent_in_pooled_mse_is_not_called_different(simulator: Simulator) -> None:
    assert share(comparisons(simulator, 1.02), "different") <= 0.05


def test_a_difference_at_the_margin_is_called_the_same_in_five_percent(simulator: Simulator) -> None:
    assert share(comparisons(simulator, 1.2), "same") <= at_most(0.05)


def test_a_margin_of_ten_percent_cannot_be_shown_with_ten_seeds(simulator: Simulator) -> None:
    found = [stats.agreement(simulator.series(), simulator.series(), margin=0.1) for _ in range(SIMULATIONS)]
    assert 0.3 < share(found, "same") < 0.6


def test_the_mean_task_alone_needs_the_n_that_it_is_told(simulator: Simulator) -> None:
    told = [comparison.needed or 0 for comparison in comparisons(simulator, 1.0, tasks=("mean",))]
    needed = int(np.median(told))
    found = [
        stats.agreement(simulator.series(("mean",), seeds=needed), simulator.series(("mean",), seeds=needed))
        for _ in range(SIMULATIONS)
    ]
    assert share(found, "same") == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize(("spread", "runs"), [(0.02, 1), (0.02, 10), (0.1, 1), (0.1, 10)])
def test_thirty_percent_in_time_is_found_and_two_percent_is_not_called_different(
    simulator: Simulator, spread: float, runs: int
) -> None:
    def verdicts(factor: float) -> list[stats.Agreement]:
        slower = (simulator.seconds(spread, factor, runs) for _ in range(SIMULATIONS // 2))
        return [stats.agreement(simulator.seconds(spread, runs=runs), second) for second in slower]

    assert share(verdicts(1.3), "different") >= 0.95
    assert share(verdicts(1.02), "different") <= 0.05
    assert share(verdicts(1.0), "different") <= 0.05


def test_the_published_seconds_of_one_model_vary_by_two_percent_between_tasks() -> None:
    by_size: dict[int, list[float]] = {}
    for row in published.seconds_per_epoch():
        by_size.setdefault(row.batch_size, []).append(math.log(row.median_seconds_per_epoch))
    assert math.sqrt(np.mean([np.var(logs, ddof=1) for logs in by_size.values()])) == pytest.approx(
        0.015, abs=0.006
    )


# Time to a target


def reaching(simulator: Simulator, slowdown: float) -> dict[int, list[stats.Reached]]:
    """Ten runs per batch size, exponential descent with noise, slower by `slowdown` per doubling."""
    cells = {}
    for doublings, size in enumerate((16, 32, 64, 128, 256, 512, 1024)):
        descent = -0.35 * (1 - slowdown) ** doublings * np.arange(11)
        noise = simulator.rng.normal(0, 0.3, (10, 11))
        cells[size] = [stats.reached(np.exp(descent + row).tolist(), 0.15) for row in noise]
    return cells


def test_equally_fast_convergence_is_called_slower_in_five_percent(simulator: Simulator) -> None:
    def found() -> bool:
        return stats.later_with_batch_size(reaching(simulator, 0.0), resamples=199).p.significant

    assert rate(found) <= at_most(0.05)


def test_slower_convergence_is_found_though_some_runs_never_arrive(simulator: Simulator) -> None:
    orders = [stats.later_with_batch_size(reaching(simulator, 0.1), resamples=199) for _ in range(50)]
    assert sum(order.never for order in orders) > 0
    assert all(order.p.significant and (order.low or 0) > 0 for order in orders)


# Two settings


def test_two_settings_of_one_distribution_differ_in_five_percent(simulator: Simulator) -> None:
    def pair() -> stats.Estimate:
        return stats.difference(*(simulator.rng.lognormal(0, 0.6, 5).tolist() for _ in range(2)))

    found = [pair() for _ in range(SIMULATIONS)]
    assert np.mean([difference.p.significant for difference in found]) <= at_most(0.05)
    intervals = [difference.interval for difference in found if difference.interval is not None]
    assert np.mean([interval.excludes(1) for interval in intervals]) <= at_most(0.05)


@pytest.mark.parametrize(("runs", "spread"), [(1, 0.0), (3, 0.03), (10, 0.03)])
def test_the_interval_of_a_speed_up_holds_it(simulator: Simulator, runs: int, spread: float) -> None:
    def seconds(factor: float) -> list[list[float]]:
        levels = simulator.rng.normal(0, spread, runs)
        return [(factor * np.exp(level + simulator.rng.normal(0, 0.05, 10))).tolist() for level in levels]

    def missed() -> bool:
        found = stats.speed_up(seconds(1.3), seconds(1.0))
        assert found is not None
        assert found.interval is not None
        return found.interval.excludes(1.3)

    assert rate(missed, 100) <= at_most(0.06, 100)
