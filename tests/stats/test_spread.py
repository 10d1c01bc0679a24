"""The spread between seeds, and what a factor does beside it."""

import math

import numpy as np
import pytest
import scipy.stats

from bsr import stats
from noisy_cells import SEVEN, noisy


def test_seven_cells_that_all_reach_further_up_have_p_2_in_128() -> None:
    found = stats.asymmetry([[(0.0, 1.0, 3.0)]] * 7)
    assert (found.up, found.down) == (7, 0)
    assert found.p == stats.PValue(2 / 128, exact=True)


def test_cells_whose_mean_is_in_the_middle_take_no_side() -> None:
    found = stats.asymmetry([[(1.0, 2.0, 3.0), (0.1, 0.2, 0.3)], [(5.0, 5.0, 5.0), (0.0, 1.0, 1.5)]])
    assert (found.up, found.down) == (0, 1)
    assert found.p.value is None


def test_five_cells_give_no_sign_test() -> None:
    assert stats.asymmetry([[(0.0, 1.0, 3.0)]] * 5).p.value is None


def test_cells_that_share_seeds_change_sides_together() -> None:
    up, down = (0.0, 1.0, 3.0), (0.0, 2.0, 3.0)
    found = stats.asymmetry([[up, up, up]] * 6 + [[up, down, down]])
    assert (found.up, found.down) == (19, 2)
    assert found.p == stats.PValue(4 / 128, exact=True)  # 17 or more, up or down, by the sides of seven


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
