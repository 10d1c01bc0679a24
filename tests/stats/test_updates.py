"""Doublings at equal epochs and at equal updates, on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bsr.stats import Curves, Doublings, doublings, unmatched

SIZES = (16, 32, 64, 128)
EPOCHS = 10


def planted(
    updates: float, batch: float, *, seeds: int = 10, noise: float = 0.3, start: int = 0
) -> dict[int, Curves]:
    """Errors that fall as updates to the power -`updates` and rise as the batch size to the power `batch`."""
    rng = np.random.default_rng(start)
    found = {}
    for size in SIZES:
        per_epoch = 60_000 // size
        steps = per_epoch * np.arange(1, EPOCHS + 1)
        clean = 1000.0 * steps**-updates * size**batch
        of_seeds = np.exp(rng.normal(0, noise, (seeds, 1)))  # a seed's luck lasts
        found[size] = Curves(per_epoch, (clean * of_seeds).tolist())
    return found


def of_few_images(epochs: int) -> dict[int, Curves]:
    """1,500 images make 47 updates in an epoch of 32 and 24 in one of 64: twice 24 are one too many."""
    found = {}
    for size, steps in ((32, 47), (64, 24)):
        made = steps * np.arange(1, epochs + 1)
        found[size] = Curves(steps, (np.ones((3, 1)) * made**-0.5).tolist())
    return found


def of(*tasks: dict[int, Curves]) -> Doublings:
    found = doublings(*tasks)
    assert found is not None
    return found


def test_an_error_that_knows_updates_alone_does_not_change_at_equal_updates() -> None:
    found = of(planted(0.5, 0.0, noise=0.0))
    assert found.equal_updates.factor == pytest.approx(1.0, abs=0.002)
    assert found.equal_epochs.factor == pytest.approx(2**0.5, rel=0.002)
    assert list(found.pairs) == [(16, 32), (32, 64), (64, 128)]


def test_an_error_that_knows_the_batch_size_alone_changes_as_much_either_way() -> None:
    found = of(planted(0.0, 0.4, noise=0.0))
    assert found.equal_updates.factor == pytest.approx(2**0.4)
    assert found.equal_epochs.factor == pytest.approx(2**0.4)


def test_both_causes_are_told_apart() -> None:
    found = of(planted(0.5, -0.2, noise=0.0))
    assert found.equal_updates.factor == pytest.approx(2**-0.2, rel=0.002)
    assert found.equal_epochs.factor == pytest.approx(2**0.3, rel=0.002)


@pytest.mark.slow
def test_intervals_hold_the_planted_factor_as_often_as_they_say() -> None:
    held = 0
    for start in range(200):
        found = doublings(planted(0.5, 0.0, start=start), resamples=499)
        assert found is not None
        assert found.equal_updates.interval is not None
        held += found.equal_updates.interval.low <= 1.0 <= found.equal_updates.interval.high
    assert 0.90 <= held / 200 <= 0.99


def test_two_seeds_give_values_and_no_interval() -> None:
    found = of(planted(0.5, 0.0, seeds=2))
    assert found.equal_updates.interval is None
    assert found.equal_updates.factor > 0


def test_tasks_count_alike() -> None:
    found = of(planted(0.5, 0.2, noise=0.0), planted(0.5, -0.2, noise=0.0))
    assert found.equal_updates.factor == pytest.approx(1.0, abs=0.002)


def test_three_copies_of_one_task_are_no_more_than_one() -> None:
    cells = planted(0.5, 0.0)
    one, three = of(cells).equal_updates.interval, of(cells, cells, cells).equal_updates.interval
    assert one is not None
    assert three is not None
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


@pytest.mark.parametrize(
    "cells",
    [
        {},
        {16: Curves(3750, [[1.0, 0.5]])},
        {16: Curves(3750, [[1.0]]), 32: Curves(1875, [[1.0]])},  # one epoch
        {16: Curves(3750, [[1.0, 0.5]]), 64: Curves(938, [[1.0, 0.5]])},  # no neighbours
        {16: Curves(3750, [[1.0, 0.0]]), 32: Curves(1875, [[1.0, 0.5]])},  # no logarithm
        {16: Curves(3, [[1.0, 0.5]]), 32: Curves(2, [[1.0, 0.5]])},  # a partial batch that counts
    ],
)
def test_what_cannot_be_compared_is_not(cells: dict[int, Curves]) -> None:
    assert doublings(cells) is None


def test_batch_sizes_that_never_make_the_same_updates_are_named() -> None:
    assert doublings(of_few_images(10)) is None
    assert unmatched(of_few_images(10)) == {(32, 64)}
    assert unmatched(planted(0.5, 0.0)) == set()


def test_the_epochs_that_match_are_compared_though_they_are_not_twice_as_many() -> None:
    """24 epochs of 47 updates are 47 of 24."""
    found = of(of_few_images(60))
    assert found.equal_updates.factor == pytest.approx(1.0, abs=0.005)
    assert found.equal_epochs.factor == pytest.approx((47 / 24) ** 0.5)
