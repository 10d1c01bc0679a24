"""Which setting reaches a target soonest: the choice of arms, the ratios, and how often they are right."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from bsr.run import Run
from bsr.stats.soonest import TriedArm, chosen, over_reference

SIMULATIONS = 200
MOMENTS = np.array(
    Run(task="mean", batch_size=16, seed=0, learning_rate=1, epochs=0, steps=37_500).evaluation_steps
)


def arm(tuning: list[float], budget: int = 1000, reporting: tuple[float, ...] = (1.0,)) -> TriedArm:
    return TriedArm(tuning, reporting, budget)


def test_the_arm_that_misses_least_is_chosen_then_the_fastest_then_the_longest() -> None:
    never = math.inf
    assert chosen([arm([10, never, never]), arm([900, 900, never])]) == 1
    assert chosen([arm([300, 300, 300]), arm([200, 200, 900])]) == 1
    assert chosen([arm([200, 200], budget=500), arm([200, 200], budget=2000)]) == 1


def test_a_ratio_is_of_medians_over_whole_tasks() -> None:
    tasks = [
        {16: [arm([1.0], reporting=(400.0,) * 5)], 64: [arm([1.0], reporting=(100.0,) * 5)]},
        {16: [arm([1.0], reporting=(100.0,) * 5)], 64: [arm([1.0], reporting=(100.0,) * 5)]},
    ]
    found = over_reference(tasks, 16)
    assert found[64].factor == pytest.approx(0.5)
    assert found[64].interval is not None
    assert (found[64].interval.low, found[64].interval.high) == pytest.approx((0.5, 0.5))
    assert (found[16].factor, found[16].interval) == (1.0, None)


def test_a_setting_that_never_gets_there_is_no_number() -> None:
    tasks = [{16: [arm([1.0], reporting=(4.0,) * 5)], 64: [arm([1.0], reporting=(math.inf,) * 5)]}]
    assert (over_reference(tasks, 16)[64].factor, over_reference(tasks, 16)[64].interval) == (math.inf, None)
    assert over_reference(tasks, 64)[16].factor == math.inf


def test_draws_whose_tuning_seeds_choose_too_short_an_arm_are_counted() -> None:
    short = TriedArm([300, 300, math.inf], [math.inf] * 5, 500)
    long = TriedArm([400, 400, 400], [400.0] * 5, 5000)
    found = over_reference([{16: [short, long], 64: [long]}], 64)[16]
    assert found.factor == 1.0
    assert 0.2 < found.lost < 0.4  # (2/3)^3 of the draws leave the miss out


def planted(random: np.random.Generator, middle: float, seeds: int) -> list[float]:
    """Updates of runs, as evaluations at the study's moments resolve them."""
    updates = np.exp(np.log(middle) + 0.25 * random.standard_normal(seeds))
    return [float(MOMENTS[min(np.searchsorted(MOMENTS, each), len(MOMENTS) - 1)]) for each in updates]


def recorded(random: np.random.Generator, middles: dict[int, float]) -> list[dict[int, list[TriedArm]]]:
    """Three tasks, four arms a batch size, the best of which needs the planted updates."""
    return [
        {
            size: [
                TriedArm(
                    planted(random, middle * task * worse, 5),
                    planted(random, middle * task * worse, 10),
                    9_375,
                )
                for worse in (1.0, 1.4, 2.0, 3.0)
            ]
            for size, middle in middles.items()
        }
        for task in (0.7, 1.0, 1.6)
    ]


COSTS = {16: 1.0, 64: 2.33}
"""Seconds per update of the eager engine, over those at 16."""


@pytest.mark.slow
@pytest.mark.parametrize("apart", [1.5, 1.1])
def test_the_soonest_is_named_where_it_is_told_and_ties_are_ties(apart: float) -> None:
    random = np.random.default_rng(7)
    outcomes: Counter[str] = Counter()
    held = 0
    for _ in range(SIMULATIONS):
        middles = {16: 1_000.0, 64: 1_000.0 * apart / COSTS[64]}  # seconds at 64 over 16: `apart`
        found = over_reference(recorded(random, middles), 16)[64]
        assert found.interval is not None
        low, high = (end * COSTS[64] for end in (found.interval.low, found.interval.high))
        outcomes["16" if low > 1 else "64" if high < 1 else "tied"] += 1
        held += low <= apart <= high
    print(apart, dict(outcomes), held)
    assert held / SIMULATIONS >= 0.9
    if apart == 1.5:
        assert outcomes["16"] >= 0.95 * SIMULATIONS
    else:
        assert outcomes["64"] <= 0.05 * SIMULATIONS
        assert outcomes["tied"] >= outcomes["16"]
