"""The law by which an error grows with the batch size, where the law is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from bsr import stats
from noisy_cells import SEVEN, noisy

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
