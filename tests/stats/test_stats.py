"""Statistics: each against an independent oracle, by hand or from scipy or the standard library.

What they claim about error rates and power is checked in tests/stats/test_stats_power.py.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bsr import stats
from bsr.stats.basis import tails_of

SEVEN = {16: [1.0], 32: [1.1], 64: [0.9], 128: [1.3], 256: [1.7], 512: [2.1], 1024: [3.0]}
MEASURES = st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=12)


def noisy(means: Sequence[float], seeds: int = 10, spread: float = 0.3) -> dict[int, list[float]]:
    """Log-normal values around geometric means, at batch sizes 16, 32, ..."""
    rng = np.random.default_rng(7)
    return {16 * 2**i: (mean * np.exp(rng.normal(0, spread, seeds))).tolist() for i, mean in enumerate(means)}


# Intervals of a mean


def test_the_interval_of_a_mean_is_scipys_bca_at_the_expanded_level() -> None:
    values = noisy([1.0], spread=0.8)[16]
    tail = scipy.stats.norm.sf(math.sqrt(10 / 9) * scipy.stats.t.ppf(0.9, 9))
    oracle = scipy.stats.bootstrap(
        (np.array(values),),
        np.mean,
        confidence_level=1 - 2 * tail,
        n_resamples=50_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    interval = stats.mean_interval(values, level=0.8, resamples=50_000)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), rel=0.01)


def test_four_values_carry_no_interval_and_five_do() -> None:
    assert stats.mean_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert stats.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is not None


def test_ten_equal_values_have_an_interval_without_width() -> None:
    assert stats.mean_interval([0.0] * 10) == stats.Interval(0.0, 0.0)


def test_an_interval_of_collapsed_medians_does_not_underflow() -> None:
    interval = stats.mean_interval([0.0] * 9 + [4.9e-200])
    assert interval is not None
    assert 0 <= interval.low < 4.9e-201 < interval.high


@given(MEASURES)
@settings(max_examples=25, deadline=None)
def test_an_interval_lies_within_the_values(values: list[float]) -> None:
    interval = stats.mean_interval(values, resamples=199)
    assert interval is not None
    assert min(values) * 0.999999 <= interval.low <= interval.high <= max(values) * 1.000001


def test_an_interval_is_the_same_at_every_call() -> None:
    values = noisy([1.0])[16]
    assert stats.mean_interval(values) == stats.mean_interval(values)


def test_the_geometric_mean_is_that_of_the_standard_library() -> None:
    values = [0.3, 2.0, 7.5]
    assert stats.geometric_mean(values) == pytest.approx(statistics.geometric_mean(values))


def test_zero_has_no_geometric_mean() -> None:
    assert stats.geometric_mean([1.0, 0.0]) is None
    assert stats.geometric_mean([]) is None


def test_a_value_that_is_not_finite_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="leave out runs that have none"):
        stats.mean_interval([1.0, math.nan, 2.0, 3.0, 4.0])


def test_expanded_tails_are_students() -> None:
    assert tails_of(0.95, 9).tolist() == pytest.approx([-2.262157, 2.262157])
    assert tails_of(0.95, math.inf).tolist() == pytest.approx([-1.959964, 1.959964])


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


# Growth


LAWS: dict[str, Callable[[int], float]] = {
    "linear": lambda size: 0.3 + size / 400,
    "power": lambda size: 0.1 * size**0.4,
    "exponential": lambda size: 0.2 * math.exp(size / 500),
    "flat": lambda _: 0.5,
}


@pytest.mark.parametrize("law", LAWS)
def test_growth_of_a_known_law_is_recognised(law: str) -> None:
    rng = np.random.default_rng(1)
    sizes = (16, 32, 64, 128, 256, 512, 1024)
    cells = {size: (LAWS[law](size) * np.exp(rng.normal(0, 0.05, 10))).tolist() for size in sizes}
    shape = stats.growth_shape(cells)
    assert shape.best == law
    assert shape.weights[law] == max(shape.weights.values())
    assert not shape.fits.significant
    if law != "flat":
        assert shape.exponential is (law == "exponential")


def test_growth_weights_are_akaikes_from_plain_regressions_where_spreads_are_equal() -> None:
    deviations = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    cells = {
        size: np.exp(0.2 * math.log(size) + deviations * (-1) ** i).tolist()
        for i, size in enumerate((1, 2, 4, 8, 16))
    }
    x, y = np.repeat(list(cells), 5), np.log(np.concatenate(list(cells.values())))

    def criterion(predictor: np.ndarray | None) -> float:
        k = 2 if predictor is None else 3
        line = scipy.stats.linregress(x if predictor is None else predictor, y)
        residuals = y - y.mean() if predictor is None else y - line.intercept - line.slope * predictor
        return float(25 * math.log(np.sum(residuals**2) / 25) + 2 * k + 2 * k * (k + 1) / (25 - k - 1))

    weights = stats.growth_shape(cells).weights
    flat, power, exponential = criterion(None), criterion(np.log(x)), criterion(x.astype(float))
    assert math.log(weights["power"] / weights["exponential"]) == pytest.approx((exponential - power) / 2)
    assert math.log(weights["power"] / weights["flat"]) == pytest.approx((flat - power) / 2)


def test_a_law_that_none_of_the_four_is_does_not_fit() -> None:
    assert stats.growth_shape(noisy([1, 5, 1, 5, 1, 5, 1], spread=0.1)).fits.significant


def test_falling_errors_grow_by_no_law() -> None:
    assert stats.growth_shape(noisy([8, 4, 2, 1, 0.5])).best == "flat"


def test_three_batch_sizes_cannot_tell_laws_apart() -> None:
    shape = stats.growth_shape(noisy([1, 2, 4]))
    assert shape.best is None
    assert shape.exponential is None
    assert "3 batch sizes" in shape.reason


def test_exact_laws_with_one_seed_are_compared_without_a_test_of_fit() -> None:
    shape = stats.growth_shape({size: [LAWS["exponential"](size)] for size in SEVEN})
    assert shape.exponential
    assert shape.fits.value is None


# Convergence


def test_the_first_epoch_at_the_target_counts_even_if_it_is_lost_again() -> None:
    assert stats.first_epoch([1.0, 0.5, 0.1, 0.6, 0.05], 0.1) == 2
    assert stats.first_epoch([1.0, None, 0.5], 0.1) is None
    assert stats.first_epoch([0.1], 0.1) == 0


def test_a_target_is_reached_between_two_looks_in_epochs_steps_or_seconds() -> None:
    curve = [1.0, 0.5, 0.1]
    assert stats.reached(curve, 0.1) == stats.Reached(1, 2, (0, 1, 2))
    assert stats.reached(curve, 0.1, 235) == stats.Reached(235, 470, (0, 235, 470))
    assert stats.reached(curve, 0.1, [1.5, 2.0]) == stats.Reached(1.5, 3.5, (0, 1.5, 3.5))


def test_a_run_that_never_reaches_its_target_takes_longer_than_it_ran() -> None:
    assert stats.reached([1.0, 0.5, 0.4], 0.1, 10) == stats.Reached(20, None, (0, 10, 20))


def test_seconds_that_are_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 durations"):
        stats.reached([1.0, 0.5, 0.4], 0.1, [1.0])


def epochs(*moments: int | None) -> list[stats.Reached]:
    """Runs of ten epochs that reached their target by these."""
    looks = tuple(float(epoch) for epoch in range(11))
    return [stats.Reached(10.0 if by is None else max(by - 1.0, 0.0), by, looks) for by in moments]


def test_pairs_are_counted_by_who_is_certainly_later() -> None:
    order = stats.later_with_batch_size({16: epochs(1, 4), 64: epochs(4, None)})
    assert (order.larger_later, order.smaller_later, order.tied, order.undecided) == (3, 0, 1, 0)
    assert order.tau == 0.75
    assert order.never == 1


def test_a_run_that_arrives_an_epoch_later_is_later() -> None:
    order = stats.later_with_batch_size({16: epochs(1, 0), 64: epochs(2)})
    assert order.larger_later == 2


def test_two_runs_that_never_arrive_are_undecided_and_bound_tau() -> None:
    order = stats.later_with_batch_size({16: epochs(1, None), 64: epochs(3, None)})
    assert (order.larger_later, order.smaller_later, order.undecided) == (2, 1, 1)
    assert (order.low, order.tau, order.high) == (0.0, 0.25, 0.5)


def test_a_look_after_3750_steps_cannot_be_ordered_against_finer_ones() -> None:
    early, late = stats.reached([1, 0.05], 0.1, 3750), stats.reached([1.0, 0.5, 0.05], 0.1, 59)
    order = stats.later_with_batch_size({16: [early], 1024: [late]})
    assert order.undecided == 1
    assert order.tau is None
    assert order.p.value is None


def test_in_steps_there_is_no_p_because_the_looks_depend_on_the_batch_size() -> None:
    cells = {size: [stats.reached([1.0] * 5 + [0.05], 0.1, 60_000 // size)] * 5 for size in (16, 64)}
    order = stats.later_with_batch_size(cells)
    assert order.smaller_later == 25
    assert order.high == -1
    assert "different moments" in order.p.reason


def test_in_epochs_the_p_of_distinct_times_is_that_of_the_rank_trend() -> None:
    moments = {16: (1, 2), 32: (3, 5), 64: (4, 7), 128: (8, 6)}
    order = stats.later_with_batch_size({size: epochs(*times) for size, times in moments.items()})
    assert order.p.exact
    assert order.p == stats.rank_trend({size: [float(t) for t in times] for size, times in moments.items()}).p


def test_runs_that_never_arrive_count_as_later_in_the_p() -> None:
    slow = {16: epochs(1, 2, 3, 2, 1), 1024: epochs(None, None, None, None, None)}
    assert stats.later_with_batch_size(slow).p.significant


def test_three_runs_give_no_p_for_their_order() -> None:
    assert stats.later_with_batch_size({16: epochs(1), 32: epochs(2), 64: epochs(3)}).p.value is None
    assert stats.later_with_batch_size({}).tau is None


def test_a_steady_descent_does_not_fluctuate() -> None:
    assert stats.fluctuation([1e9, 100.0, 50.0, 25.0, 12.5, 6.25]) == pytest.approx(0)


def test_fluctuation_is_the_standard_deviation_of_log_changes() -> None:
    curve = [9.0, 1.0, 2.0, 1.0, 3.0]
    changes = [math.log(2), -math.log(2), math.log(3)]
    assert stats.log_changes(curve) == pytest.approx(changes)
    assert stats.fluctuation(curve) == pytest.approx(statistics.stdev(changes))


def test_two_changes_carry_no_fluctuation() -> None:
    assert stats.fluctuation([1.0, 2.0, 1.0, 2.0]) is None


def test_the_swing_leaves_out_the_untrained_network() -> None:
    assert stats.swing([100.0, 5.0, None, 2.0, 3.0]) == 3.0
    assert stats.swing([100.0]) is None


# Spread and effect


def test_seven_cells_that_all_reach_further_up_have_p_2_in_128() -> None:
    found = stats.asymmetry([(0.0, 1.0, 3.0)] * 7)
    assert (found.up, found.down) == (7, 0)
    assert found.p == stats.PValue(2 / 128, exact=True)


def test_cells_whose_mean_is_in_the_middle_take_no_side() -> None:
    found = stats.asymmetry([(1.0, 2.0, 3.0), (0.1, 0.2, 0.3), (5.0, 5.0, 5.0), (0.0, 1.0, 1.5)])
    assert (found.up, found.down) == (0, 1)
    assert found.p.value is None


def test_five_cells_give_no_sign_test() -> None:
    assert stats.asymmetry([(0.0, 1.0, 3.0)] * 5).p.value is None


def test_the_share_of_variance_is_omega_squared_from_scipys_f() -> None:
    cells = noisy([1, 1.5, 2.5, 2.0])
    f = scipy.stats.f_oneway(*(np.log(values) for values in cells.values())).statistic
    found = stats.effect(cells)
    assert found is not None
    assert found.share == pytest.approx(3 * (f - 1) / (3 * (f - 1) + 40))


def test_the_p_of_an_effect_is_near_that_of_f_for_normal_logs() -> None:
    cells = noisy([1, 1.1, 1.2, 1.25], spread=0.35)
    oracle = scipy.stats.f_oneway(*(np.log(values) for values in cells.values())).pvalue
    found = stats.effect(cells)
    assert found is not None
    assert found.size.p.value == pytest.approx(oracle, abs=0.015)


def test_an_effect_names_its_extremes_and_their_ratio() -> None:
    found = stats.effect({16: [1.0, 4.0], 32: [1.0, 1.0], 64: [9.0, 4.0]})
    assert found is not None
    assert (found.lowest, found.highest) == (32, 64)
    assert found.size.factor == pytest.approx(6)
    within = [np.var(np.log(v), ddof=1) for v in ([1, 4], [1, 1], [9, 4])]
    assert found.seed_factor == pytest.approx(math.exp(math.sqrt(np.mean(within))))
    assert found.size.interval is None


def test_the_interval_of_an_effect_is_welchs_after_bonferroni() -> None:
    cells = noisy([1, 3, 2])
    low, high = np.log(cells[16]), np.log(cells[32])
    oracle = scipy.stats.ttest_ind(high, low, equal_var=False).confidence_interval(1 - 0.05 / 3)
    found = stats.effect(cells)
    assert found is not None
    assert found.size.interval is not None
    assert (found.size.interval.low, found.size.interval.high) == pytest.approx(
        (math.exp(oracle.low), math.exp(oracle.high))
    )


def test_one_seed_per_level_has_an_effect_but_nothing_beside_it() -> None:
    found = stats.effect(SEVEN)
    assert found is not None
    assert found.size.factor == pytest.approx(3 / 0.9)
    assert (found.size.interval, found.seed_factor, found.share) == (None, None, None)
    assert found.size.p.reason
    assert stats.effect({16: [1.0]}) is None


# Two settings


def test_the_p_of_two_settings_counts_every_way_to_deal_the_values() -> None:
    a, b = [1.0, 2.0, 3.0, 2.5], [4.0, 2.2, 7.0, 9.0, 3.0]
    logs = np.log([*a, *b])
    centred = logs - logs.mean()
    sums = [abs(sum(centred[list(chosen)])) for chosen in itertools.combinations(range(9), 5)]
    expected = np.mean(np.array(sums) >= abs(centred[4:].sum()) - 1e-9)
    found = stats.difference(a, b)
    assert found.p.exact
    assert found.p.value == pytest.approx(expected)


def test_the_interval_of_two_settings_is_welchs() -> None:
    a, b = noisy([1])[16], noisy([1.0, 1.4], seeds=7, spread=0.8)[32]
    oracle = scipy.stats.ttest_ind(np.log(b), np.log(a), equal_var=False).confidence_interval()
    found = stats.difference(a, b)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (math.exp(oracle.low), math.exp(oracle.high))
    )
    assert found.factor == pytest.approx(statistics.geometric_mean(b) / statistics.geometric_mean(a))


def test_the_p_of_pairs_counts_every_sign() -> None:
    a, b = [1.0, 2.0, 3.0, 2.5, 1.1, 4.0], [1.3, 2.2, 2.8, 3.5, 1.9, 4.4]
    logs = np.log(b) - np.log(a)
    sums = [abs(np.dot(signs, logs)) for signs in itertools.product((-1, 1), repeat=6)]
    found = stats.difference(a, b, paired=True)
    assert found.p.value == pytest.approx(np.mean(np.array(sums) >= abs(logs.sum()) - 1e-9))
    oracle = scipy.stats.ttest_rel(np.log(b), np.log(a)).confidence_interval()
    assert found.interval is not None
    assert found.interval.low == pytest.approx(math.exp(oracle.low))


def test_the_random_p_of_ten_against_ten_is_near_the_t_test() -> None:
    a, b = noisy([1, 1.25]).values()
    found = stats.difference(a, b)
    assert not found.p.exact
    assert found.p.value == pytest.approx(scipy.stats.ttest_ind(np.log(a), np.log(b)).pvalue, abs=0.015)


@pytest.mark.parametrize(("n", "paired"), [(1, False), (3, False), (5, True)])
def test_too_few_values_give_no_p(n: int, paired: bool) -> None:
    found = stats.difference([1.0 + i for i in range(n)], [100.0 + i for i in range(n)], paired=paired)
    assert found.p.value is None
    assert found.p.reason
    assert (found.interval is None) == (n == 1)


def test_a_side_without_values_or_with_a_zero_has_no_ratio() -> None:
    assert not stats.difference([], [1.0]).known
    assert "zero" in stats.difference([0.0], [1.0]).p.reason
    with pytest.raises(ValueError, match="got 1 and 2"):
        stats.difference([1.0], [1.0, 2.0], paired=True)


# Two series


def series(
    cells: dict[int, list[float]], factor: float = 1.0, first_key: int = 0
) -> dict[int, dict[int, float]]:
    return {
        level: {first_key + i: factor * value for i, value in enumerate(values)}
        for level, values in cells.items()
    }


def test_one_cell_is_compared_as_welch_does() -> None:
    a, b = noisy([1])[16], noisy([1, 1.2])[32]
    oracle = scipy.stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    found = stats.agreement(series({16: a}), series({16: b}, first_key=100))
    assert found.interval is not None
    assert found.equivalence is not None
    assert math.log(found.interval.low) == pytest.approx(oracle.confidence_interval(0.95).low)
    assert math.log(found.equivalence.high) == pytest.approx(oracle.confidence_interval(0.90).high)
    assert found.p.value == pytest.approx(oracle.pvalue)
    assert found.paired_cells == 0


def test_runs_of_one_seed_are_paired() -> None:
    a, b = noisy([1])[16], [value * 1.1 for value in noisy([1])[16]]
    b[0] *= 1.01
    found = stats.agreement(series({16: a}), series({16: b}))
    assert found.paired_cells == 1
    assert found.interval is not None
    assert found.interval.within(1.09, 1.12)
    assert found.p.value == pytest.approx(scipy.stats.ttest_rel(np.log(b), np.log(a)).pvalue)


def test_cells_count_alike_and_their_variances_add() -> None:
    a, b = noisy([1, 5]), noisy([1.1, 5, 7])
    del b[64]
    b = {16: b[16][:6], 32: b[32]}
    found = stats.agreement(series(a), series(b, first_key=100))
    logs = [(np.log(a[size]), np.log(b[size])) for size in (16, 32)]
    mean = np.mean([second.mean() - first.mean() for first, second in logs])
    error = math.sqrt(sum(side.var(ddof=1) / len(side) for pair in logs for side in pair)) / 2
    assert found.ratio is not None
    assert found.interval is not None
    assert math.log(found.ratio) == pytest.approx(mean)
    assert 1.96 < math.log(found.interval.high / found.ratio) / error < 2.1
    assert found.replicates == 8


def test_one_run_per_cell_lets_the_cells_be_the_replicates() -> None:
    a, b = noisy([1, 2, 3, 4, 5], seeds=1), noisy([1.1, 2, 3.3, 4, 5.4, 1], seeds=1)
    found = stats.agreement(series(a), series(b))
    logs = [math.log(b[size][0] / a[size][0]) for size in a]
    assert found.cells == 5
    assert found.p.value == pytest.approx(scipy.stats.ttest_1samp(logs, 0).pvalue)


def test_identical_series_are_the_same_and_claim_no_p() -> None:
    found = stats.agreement(series(noisy([1, 2])), series(noisy([1, 2])))
    assert found.verdict == "same"
    assert found.ratio == 1
    assert found.p.value is None
    assert str(found) == "same within 20%"


def test_a_single_run_of_a_single_cell_cannot_tell() -> None:
    found = stats.agreement({"mean": {16: 1.0}}, {"mean": {16: 2.0}})
    assert found.verdict == "cannot tell"
    assert found.interval is None
    assert found.needed is None
    assert str(found) == "cannot tell with 1 per cell"


def test_series_without_a_common_cell_cannot_tell() -> None:
    found = stats.agreement({"mean": {16: 1.0}}, {"std": {16: 1.0}})
    assert found.verdict == "cannot tell"
    assert found.ratio is None
    assert found.cells == found.left_out == 0


def test_cells_with_a_zero_are_left_out_and_counted() -> None:
    a = {"mean": {1: 1.0, 2: 2.0}, "median": {1: 0.0, 2: 1.0}}
    found = stats.agreement(a, a)
    assert (found.cells, found.left_out) == (1, 1)


def test_a_clear_difference_is_said_with_its_interval() -> None:
    found = stats.agreement(series(noisy([1, 1, 1])), series(noisy([1, 1, 1, 1]), factor=2, first_key=50))
    assert found.verdict == "different"
    assert found.interval is not None
    low, high = round(100 * found.interval.low - 100), round(100 * found.interval.high - 100)
    assert str(found) == f"different by 100% ({low} to {high})"


def test_what_these_runs_cannot_tell_names_the_n_that_would() -> None:
    found = stats.agreement(series(noisy([1], spread=0.6)), series(noisy([1, 1], spread=0.6), first_key=50))
    assert found.verdict == "cannot tell"
    assert found.needed is not None
    assert found.needed > 10
    assert str(found) == f"cannot tell with 10 per cell; {found.needed} would"


def test_swapping_the_series_inverts_the_ratio() -> None:
    a, b = series(noisy([1, 2])), series(noisy([1.2, 2.2, 9]), first_key=50)
    forth, back = stats.agreement(a, b), stats.agreement(b, a)
    assert forth.ratio is not None
    assert back.ratio is not None
    assert forth.ratio * back.ratio == pytest.approx(1)
    assert forth.verdict == back.verdict
    assert forth.p.value == pytest.approx(back.p.value)


def test_worse_needs_both_the_threshold_and_significance() -> None:
    clear = stats.agreement(series(noisy([1, 1, 1])), series(noisy([1, 1, 1, 1]), factor=1.5, first_key=50))
    assert clear.worse_by(0.2)
    assert not clear.worse_by(0.8)
    noise = stats.agreement(
        series(noisy([1], seeds=3, spread=2)), series(noisy([1], seeds=3, spread=2), 3, 50)
    )
    assert not noise.worse_by(0.2)
    better = stats.agreement(series(noisy([1, 1, 1]), 2), series(noisy([1, 1, 1, 1]), first_key=50))
    assert not better.worse_by(0.2)


def test_the_needed_replicates_shrink_the_error_to_the_margin() -> None:
    needed = stats.needed_replicates(variance=0.1**2, replicates=10, margin=0.2)
    error = 0.1 * math.sqrt(10 / needed)
    same = scipy.stats.norm(0, error).cdf(math.log(1.2) - 1.645 * error)
    assert 2 * same - 1 == pytest.approx(0.8, abs=0.02)


def test_a_large_difference_needs_fewer_replicates_than_sameness() -> None:
    assert stats.needed_replicates(0.01, 10, ratio=2) < stats.needed_replicates(0.01, 10)


# Speed


def test_speed_up_is_the_ratio_of_the_runs_typical_medians() -> None:
    found = stats.speed_up([[2.0, 2.0, 50.0], [2.0, 2.0, 2.0]], [[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]])
    assert found is not None
    assert found.factor == pytest.approx(1)
    assert "runs and their epochs" in found.p.reason


def test_a_constant_factor_between_steady_runs_has_a_narrow_interval() -> None:
    found = stats.speed_up([[3.0, 3.0, 3.0]] * 3, [[1.5, 1.5, 1.5]] * 3)
    assert found is not None
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((2.0, 2.0))


def test_the_interval_of_a_single_run_is_called_that() -> None:
    found = stats.speed_up([[1.0, 1.1, 1.2]], [[0.5, 0.6, 0.4]])
    assert found is not None
    assert found.interval is not None
    assert "single run" in found.p.reason


def test_two_epochs_of_a_single_run_carry_no_interval() -> None:
    found = stats.speed_up([[1.0, 1.1]], [[0.5, 0.6]])
    assert found is not None
    assert found.interval is None
    assert stats.speed_up([], [[1.0]]) is None


# What must hold for all of them


@given(st.floats(1e-6, 1e6))
@settings(max_examples=10, deadline=None)
def test_nothing_depends_on_the_unit_of_the_measure(unit: float) -> None:
    cells = noisy([3, 1, 2, 4], seeds=5)
    scaled = {level: [unit * value for value in values] for level, values in cells.items()}
    assert stats.rank_trend(scaled, resamples=99) == stats.rank_trend(cells, resamples=99)
    assert stats.slope(scaled, resamples=99).factor == pytest.approx(stats.slope(cells, resamples=99).factor)
    assert stats.turning_point(scaled, resamples=99).level == stats.turning_point(cells, resamples=99).level
    mine, theirs = stats.effect(scaled, resamples=99), stats.effect(cells, resamples=99)
    assert mine is not None
    assert theirs is not None
    assert (mine.size.factor, mine.share) == pytest.approx((theirs.size.factor, theirs.share))


def test_the_order_in_which_seeds_and_batch_sizes_come_does_not_matter() -> None:
    cells = noisy([3, 1, 2, 4], seeds=5)
    turned = {level: values[::-1] for level, values in reversed(cells.items())}
    best, other = stats.best(cells), stats.best(turned)
    assert best is not None
    assert other is not None
    assert (best.level, best.tied) == (other.level, other.tied)
    assert stats.growth_shape(turned).best == stats.growth_shape(cells).best
    mine, theirs = stats.turning_point(turned).p.value, stats.turning_point(cells).p.value
    assert mine == pytest.approx(theirs)
