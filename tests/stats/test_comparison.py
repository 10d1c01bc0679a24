"""Two recorded series: the same, different, or not to be told."""

import math

import numpy as np
import pytest
import scipy.stats

from bsr import stats
from noisy_cells import noisy


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
