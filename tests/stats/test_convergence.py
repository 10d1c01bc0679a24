"""When a target is reached, who reaches it later, and how far a curve swings."""

import math
import statistics

import pytest

from bsr import stats


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
