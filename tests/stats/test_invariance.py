"""What must hold for every statistic: no unit and no order of the values matters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsr import stats
from noisy_cells import noisy


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
