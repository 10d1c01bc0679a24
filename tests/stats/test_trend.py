"""Rank trend, slope, best level and turning point, each against an independent oracle."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from bsr import stats
from bsr.stats import basis
from noisy_cells import SEVEN, noisy

# Rank trend


def brute_force_p(cells: dict[int, list[float]]) -> float:
    """Share of all orders of the values whose |rho| is at least the observed one."""
    levels = [level for level, values in cells.items() for _ in values]
    values = [value for values in cells.values() for value in values]
    x, y = scipy.stats.rankdata(levels), scipy.stats.rankdata(values)
    rhos = [abs(np.corrcoef(x, order)[0, 1]) for order in itertools.permutations(y)]
    return float(np.mean(np.array(rhos) >= abs(np.corrcoef(x, y)[0, 1]) - 1e-9))


def test_rho_is_scipys_spearman() -> None:
    cells = noisy([1, 1.2, 1.1, 2.0])
    levels = np.repeat(list(cells), 10)
    oracle = scipy.stats.spearmanr(levels, np.concatenate(list(cells.values()))).statistic
    assert stats.rank_trend(cells, resamples=99).rho == pytest.approx(oracle)


@pytest.mark.parametrize(
    "cells",
    [
        SEVEN,
        {16: [1.0, 2.0], 32: [1.5, 3.0], 64: [4.0, 5.0]},
        {1: [1.0, 1.0], 2: [1.0, 2.0], 3: [2.0, 3.0]},
        {1: [3.0], 2: [2.0], 3: [1.0], 4: [0.5], 5: [0.7]},
    ],
)
def test_the_p_of_few_values_counts_every_order(cells: dict[int, list[float]]) -> None:
    trend = stats.rank_trend(cells)
    assert trend.p.exact
    assert trend.p.value == pytest.approx(brute_force_p(cells))


def test_seven_rising_values_reach_two_in_5040() -> None:
    rising = {2**i: [float(i)] for i in range(7)}
    assert stats.rank_trend(rising).p == stats.PValue(2 / 5040, exact=True)
    assert stats.rank_trend(rising).rho == pytest.approx(1)


def test_four_values_give_no_p_and_say_why() -> None:
    trend = stats.rank_trend({2**i: [float(i)] for i in range(4)})
    assert trend.rho == pytest.approx(1)
    assert trend.p.value is None
    assert "0.083" in trend.p.reason
    assert not trend.p.significant


def test_many_values_are_permuted_at_random_and_agree_with_the_normal_approximation() -> None:
    cells = noisy([1, 1, 1.1, 1.15], spread=0.3)
    trend = stats.rank_trend(cells)
    assert trend.rho is not None
    assert not trend.p.exact
    assert trend.p.value == pytest.approx(2 * scipy.stats.norm.sf(abs(trend.rho) * math.sqrt(39)), abs=0.02)


def test_a_random_p_is_never_zero() -> None:
    assert stats.rank_trend(noisy([1, 10, 100]), resamples=99).p.value == 0.01


@pytest.mark.parametrize(("together", "drawn"), [(60_000, 2_000), (300, 999)])
def test_more_values_are_permuted_less_often_and_never_too_seldom(
    monkeypatch: pytest.MonkeyPatch, together: int, drawn: int
) -> None:
    monkeypatch.setattr(basis, "MOST_PERMUTED", together)
    assert stats.rank_trend(noisy([1, 10, 100])).p.value == 1 / (drawn + 1)


def test_zeros_have_ranks() -> None:
    assert stats.rank_trend({2**i: [0.0 if i < 3 else float(i)] for i in range(7)}).rho == pytest.approx(
        0.964, abs=1e-3
    )


@pytest.mark.parametrize("cells", [{}, {16: [1.0, 2.0, 3.0]}, {16: [0.0, 0.0], 32: [0.0, 0.0]}])
def test_without_two_batch_sizes_or_any_variation_there_is_no_trend(cells: dict[int, list[float]]) -> None:
    trend = stats.rank_trend(cells)
    assert trend.rho is None
    assert trend.p.value is None
    assert trend.p.reason


def test_tasks_are_pooled_by_their_ranks_and_never_compared_with_each_other() -> None:
    small, large = noisy([1, 1, 1]), {k: [1e4 * v for v in values] for k, values in noisy([1, 1, 1]).items()}
    assert stats.rank_trend(small, large).rho == pytest.approx(stats.rank_trend(small).rho)
    only_large_at_large = {level * 64: values for level, values in large.items()}
    assert not stats.rank_trend(small, only_large_at_large).p.significant


def test_tasks_of_one_seed_are_permuted_together_so_that_one_measured_twice_proves_no_more() -> None:
    few = {16: [1.0, 2.0], 32: [1.5, 3.0], 64: [4.0, 5.0]}
    assert stats.rank_trend(few, few).p == stats.rank_trend(few).p
    assert stats.rank_trend(few, few).values == 12
    assert not stats.rank_trend(few, {16: [5.0, 4.0], 32: [3.0, 1.5], 64: [2.0, 1.0]}).p.significant


def test_a_task_that_does_not_vary_adds_nothing_to_the_pooled_trend() -> None:
    cells = noisy([1, 1.5, 2])
    assert stats.rank_trend(cells, {16: [0.0], 32: [0.0]}).rho == stats.rank_trend(cells).rho


# Slope


def test_the_slope_is_scipys_regression_of_the_logs() -> None:
    cells = noisy([1, 1.2, 1.1, 2.0])
    x = np.log2(np.repeat(list(cells), 10))
    oracle = scipy.stats.linregress(x, np.log(np.concatenate(list(cells.values())))).slope
    assert stats.slope(cells).factor == pytest.approx(math.exp(oracle))


def test_an_exact_doubling_doubles_per_doubling() -> None:
    found = stats.slope({16: [1.0], 32: [2.0], 64: [4.0]})
    assert found.factor == pytest.approx(2)


def test_one_seed_has_a_slope_without_an_interval_and_says_why() -> None:
    found = stats.slope(SEVEN)
    assert found.known
    assert found.interval is None
    assert "seeds" in found.p.reason


def test_the_interval_of_the_slope_is_near_the_parametric_one_where_spreads_are_equal() -> None:
    cells = noisy([1, 1.2, 1.4, 1.7], seeds=40)
    x = np.log2(np.repeat(list(cells), 40))
    line = scipy.stats.linregress(x, np.log(np.concatenate(list(cells.values()))))
    interval = stats.slope(cells).interval
    assert interval is not None
    half = math.log(interval.high / interval.low) / 2
    assert half == pytest.approx(1.96 * line.stderr, rel=0.1)


def test_zeros_have_no_slope() -> None:
    assert not stats.slope({16: [0.0], 32: [1.0]}).known


# Best


def test_the_best_is_the_lowest_geometric_mean_and_its_shares_sum_to_one() -> None:
    best = stats.best(noisy([2, 1, 1.05, 3]))
    assert best is not None
    assert best.level in best.tied
    assert sum(best.shares.values()) == pytest.approx(1)
    assert best.shares[best.level] == max(best.shares.values())


def test_what_seeds_cannot_separate_ties_and_what_they_can_does_not() -> None:
    best = stats.best(noisy([2, 1, 1.02, 5], spread=0.1))
    assert best is not None
    assert best.tied == (32, 64)
    assert not best.at_edge


def test_an_optimum_at_the_edge_is_flagged() -> None:
    best = stats.best({1e-3: [1.0], 1e-2: [2.0], 1e-1: [3.0]})
    assert best is not None
    assert best.level == 1e-3
    assert best.at_edge
    assert best.tied == ()
    assert best.reason


def test_a_tie_is_left_only_when_welch_says_so_after_bonferroni() -> None:
    cells = noisy([1, 1.3, 1.6], spread=0.3)
    a, *others = (np.log(values) for values in cells.values())
    expected = [16] + [
        level
        for level, other in zip((32, 64), others, strict=True)
        if scipy.stats.ttest_ind(other, a, equal_var=False, alternative="greater").pvalue >= 0.05 / 2
    ]
    best = stats.best(cells)
    assert best is not None
    assert list(best.tied) == expected


def test_collapsed_medians_have_no_best() -> None:
    assert stats.best({16: [0.0], 32: [1.0]}) is None


# Turning point


def test_a_clear_u_turns_at_its_bottom() -> None:
    found = stats.turning_point(noisy([4, 2, 1, 2, 4]))
    assert found.found
    assert found.level == 64


@pytest.mark.parametrize("means", [[1, 2, 4, 8, 16], [16, 8, 4, 2, 1], [1, 1, 1, 1, 8], [1, 2, 4, 2, 1]])
def test_what_only_rises_only_falls_or_has_a_top_does_not_turn(means: list[float]) -> None:
    found = stats.turning_point(noisy(means, spread=0.1))
    assert found.p.value is not None
    assert not found.found


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (SEVEN, "seeds"),
        ({16: [1.0, 2.0, 3.0], 32: [1.0, 2.0, 3.0]}, "place to turn"),
        ({16: [0.0] * 3, 32: [1.0] * 3, 64: [1.0] * 3}, "logarithm"),
    ],
)
def test_too_little_for_a_turning_point_says_why(cells: dict[int, list[float]], reason: str) -> None:
    found = stats.turning_point(cells)
    assert not found.found
    assert reason in found.p.reason


def test_with_three_batch_sizes_each_line_is_one_welch_test() -> None:
    cells = noisy([1.3, 1, 1.25], spread=0.3)
    left, middle, right = (np.log(values) for values in cells.values())
    p = max(
        scipy.stats.ttest_ind(outer, middle, equal_var=False, alternative="greater").pvalue
        for outer in (left, right)
    )
    assert stats.turning_point(cells).p.value == pytest.approx(p, abs=0.01)
