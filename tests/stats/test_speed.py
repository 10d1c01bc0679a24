"""How much faster one recording trained than another."""

import pytest

from bsr import stats


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
