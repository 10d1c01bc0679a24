"""Two settings, against every order of their values and against Welch."""

import itertools
import math
import statistics

import numpy as np
import pytest
import scipy.stats

from bsr import stats
from noisy_cells import noisy


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
