"""Means and their intervals, against scipy and the standard library."""

import math
import statistics

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bsr import stats
from bsr.stats.basis import tails_of
from noisy_cells import noisy

MEASURES = st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=12)


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
