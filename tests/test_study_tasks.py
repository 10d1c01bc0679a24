"""The labels of the study's four tasks: by NumPy, the standard library, their laws, and on all of MNIST."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bsr.data import label_check as data
from bsr.experiments.grid import STUDY_TASKS
from bsr.tasks import TASKS, oracle_of

if TYPE_CHECKING:
    from bsr.data.images import Images

pytestmark = pytest.mark.labels

Array = npt.NDArray[Any]
ONE_ULP = 1.2e-7  # of float32, relative

STATISTICS: dict[str, Callable[[list[int]], float]] = {
    "mean": statistics.mean,
    "median": statistics.median_low,
    "std": statistics.stdev,
    "var": statistics.variance,
}
SHA256 = {
    ("mean", "train"): "86bc9ee335c78befe8633ca84c5e457d1c8c5541bddcfe8cbe7cd5d3aa5c7e31",
    ("mean", "test"): "8b6ce31d1a5c86106cd5b3d4b5e498ccc62b1e305e003978cbff9b35da78afcf",
    ("std", "train"): "36e8b9c601461c5f1061d3d455225eaca89ef259a3b0cb0b1fe1d044ee52ccfc",
    ("std", "test"): "7befb8aa7faf6cc049654cb6dcffce04d5900218877cf431f1cea4553ab25465",
    ("var", "train"): "9fc73796b34d85c52bbd78b4d4e3b27442fd01cf998b0388bc3a2aad61aa82a4",
    ("var", "test"): "d94b5b652cc4b98e94b0c9b542c80b63b24dc5fadae5eef4b393445d9be38844",
    ("median", "train"): "dd046ccaee01de364ee5306b48d1dde4b8d06ba484eb66c2123f92f1211c30ad",
    ("median", "test"): "e7e2dcff542de95352682dc186432e98f0188084896773f1973276b0577d5305",
}
"""Of the float32 labels of MNIST, little-endian; the study's averages are checked apart."""

every_task = pytest.mark.parametrize("task", STUDY_TASKS)
spread_task = pytest.mark.parametrize("task", ["std", "var"])
shapes = array_shapes(min_dims=3, max_dims=3, max_side=9).filter(lambda shape: shape[1] * shape[2] > 1)
raw_images = arrays(np.uint8, shapes)
float_images = arrays(np.float32, shapes, elements=st.floats(0, 255, width=32))


def flat(images: Array) -> Array:
    return images.reshape(len(images), -1).astype(np.float64)


def by_numpy(task: str, images: Array) -> Array:
    """By the oracle that the task names."""
    oracle = oracle_of(TASKS[task])
    assert oracle is not None
    return oracle(images.astype(np.float64))


def label(task: str, images: Array) -> Array:
    return TASKS[task](torch.from_numpy(images)).numpy()


@every_task
@given(images=raw_images)
def test_labels_of_raw_pixels_are_those_of_numpy(task: str, images: Array) -> None:
    np.testing.assert_allclose(label(task, images), by_numpy(task, images), rtol=ONE_ULP)


@every_task
@given(images=float_images)
def test_labels_of_real_pixels_are_those_of_numpy(task: str, images: Array) -> None:
    np.testing.assert_allclose(label(task, images), by_numpy(task, images), rtol=1e-5, atol=1e-9)


@every_task
@given(pixels=st.lists(st.integers(0, 255), min_size=2, max_size=60))
def test_labels_are_those_of_the_standard_library(task: str, pixels: list[int]) -> None:
    image = np.array(pixels, np.uint8).reshape(1, 1, -1)
    assert label(task, image)[0] == pytest.approx(STATISTICS[task](pixels), rel=ONE_ULP)


@pytest.mark.parametrize(
    ("task", "expected"),
    [("mean", 4.0), ("median", 2.0), ("std", math.sqrt(50 / 3)), ("var", 50 / 3)],
)
def test_labels_of_one_image_by_hand(task: str, expected: float) -> None:
    image = torch.tensor([[[1, 2], [10, 3]]], dtype=torch.uint8)
    assert TASKS[task](image).tolist() == [pytest.approx(expected, rel=ONE_ULP)]


def test_the_median_of_an_even_number_of_pixels_is_the_lower_middle() -> None:
    assert TASKS["median"](torch.tensor([[[7, 1, 9, 3]]], dtype=torch.uint8)).tolist() == [3]


def test_std_and_var_divide_by_one_less_than_the_number_of_pixels() -> None:
    image = torch.tensor([[[0, 2]]], dtype=torch.uint8)
    assert TASKS["var"](image).tolist() == [2]
    assert TASKS["std"](image).tolist() == [pytest.approx(math.sqrt(2), rel=ONE_ULP)]


@every_task
@given(images=raw_images, random=st.randoms(use_true_random=False))
def test_the_order_of_the_pixels_does_not_matter(task: str, images: Array, random: Any) -> None:
    order = list(range(images[0].size))
    random.shuffle(order)
    permuted = flat(images)[:, order].astype(np.uint8).reshape(images.shape)
    np.testing.assert_allclose(label(task, permuted), label(task, images), rtol=ONE_ULP)


@every_task
@given(images=arrays(np.uint8, shapes, elements=st.integers(0, 127)), shift=st.integers(0, 128))
def test_a_brighter_image_moves_mean_and_median_and_leaves_the_spread(
    task: str, images: Array, shift: int
) -> None:
    moved = label(task, images) + (shift if task in {"mean", "median"} else 0)
    np.testing.assert_allclose(label(task, images + np.uint8(shift)), moved, rtol=2 * ONE_ULP)


@every_task
@given(images=arrays(np.uint8, shapes, elements=st.integers(0, 51)), factor=st.integers(0, 5))
def test_a_scaled_image_scales_its_label_and_its_variance_by_the_square(
    task: str, images: Array, factor: int
) -> None:
    scaled = label(task, images) * factor ** (2 if task == "var" else 1)
    np.testing.assert_allclose(label(task, images * np.uint8(factor)), scaled, rtol=2 * ONE_ULP)


@given(images=raw_images)
def test_the_negative_mirrors_the_mean_and_keeps_the_spread(images: Array) -> None:
    negative = 255 - images
    np.testing.assert_allclose(label("mean", negative), 255 - label("mean", images), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(label("std", negative), label("std", images), rtol=ONE_ULP)


@given(images=float_images)
def test_the_variance_is_the_square_of_the_standard_deviation(images: Array) -> None:
    squared = label("std", images).astype(np.float64) ** 2
    subnormal = float(np.finfo(np.float32).tiny)  # below it float32 has fewer digits
    np.testing.assert_allclose(squared, label("var", images), rtol=1e-6, atol=subnormal)


def test_the_variance_of_almost_nothing_is_as_good_as_float32_has_digits_for_it() -> None:
    images = np.array([[[0.0, 2e-22]]])
    assert label("var", images)[0] == pytest.approx(2e-44, abs=float(np.finfo(np.float32).tiny))


@given(images=raw_images)
def test_labels_stay_within_the_bounds_that_the_pixels_set(images: Array) -> None:
    pixels = flat(images)
    low, high, count = pixels.min(axis=1), pixels.max(axis=1), pixels.shape[1]
    for task in ("mean", "median"):
        assert (low <= label(task, images)).all()
        assert (label(task, images) <= high).all()
    widest = (high - low) / 2 * math.sqrt(count / (count - 1))  # Popoviciu's inequality, unbiased
    assert (label("std", images) >= 0).all()
    assert (label("std", images) <= widest * (1 + 1e-6)).all()


@given(images=raw_images)
def test_the_median_is_one_of_the_pixels(images: Array) -> None:
    assert all(value in image for value, image in zip(label("median", images), images, strict=True))


@given(pixel=st.floats(0, 255, width=32), shape=shapes)
def test_a_constant_image_has_its_pixel_as_mean_and_median_and_no_spread(
    pixel: float, shape: tuple[int, ...]
) -> None:
    images = np.full(shape, pixel, np.float32)
    np.testing.assert_allclose(label("mean", images), pixel, rtol=ONE_ULP)
    np.testing.assert_array_equal(label("median", images), np.float32(pixel))
    np.testing.assert_array_equal(label("std", images), 0)
    np.testing.assert_array_equal(label("var", images), 0)


@pytest.mark.parametrize("task", ["mean", "median"])
def test_an_image_of_one_pixel_has_a_mean_and_a_median(task: str) -> None:
    assert TASKS[task](torch.full((2, 1, 1), 9, dtype=torch.uint8)).tolist() == [9, 9]


@every_task
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_labels_are_float32_whatever_type_the_pixels_have(task: str, dtype: torch.dtype) -> None:
    raw = torch.arange(2 * 5 * 6, dtype=torch.uint8).reshape(2, 5, 6)
    labels = TASKS[task](raw.to(dtype))
    assert labels.dtype == torch.float32
    assert labels.shape == (2,)
    assert torch.equal(labels, TASKS[task](raw))


@spread_task
def test_an_image_of_one_pixel_has_no_spread(task: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected at least 2 pixel\(s\) per image, got 1: n - 1 divides them"
    ):
        TASKS[task](torch.zeros(3, 1, 1, dtype=torch.uint8))


@pytest.fixture(scope="module")
def labels_of(mnist: Images) -> Callable[[str, str], torch.Tensor]:
    """All labels of a task and split, computed once."""
    return cache(lambda task, split: data.labels(getattr(mnist, split), task))


@every_task
@pytest.mark.parametrize("split", ["train", "test"])
def test_all_labels_of_mnist_are_those_of_numpy(
    mnist: Images, labels_of: Callable[[str, str], torch.Tensor], task: str, split: str
) -> None:
    images = getattr(mnist, split).numpy()
    labels = labels_of(task, split).numpy()
    pieces = [by_numpy(task, some) for some in np.array_split(images, len(images) // 1_000)]
    np.testing.assert_allclose(labels, np.concatenate(pieces), rtol=ONE_ULP)
    assert hashlib.sha256(labels.astype("<f4").tobytes()).hexdigest() == SHA256[task, split]


@pytest.mark.parametrize(("task", "average"), [("mean", "33.318"), ("std", "76.884"), ("var", "6058.67")])
def test_the_training_labels_average_as_in_the_study(
    labels_of: Callable[[str, str], torch.Tensor], task: str, average: str
) -> None:
    decimals = len(average.partition(".")[2])
    assert f"{labels_of(task, 'train').double().mean():.{decimals}f}" == average


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_median_of_mnist_is_zero(
    mnist: Images, labels_of: Callable[[str, str], torch.Tensor], split: str
) -> None:
    assert labels_of("median", split).count_nonzero() == 0
    most = max(int(np.count_nonzero(image)) for image in getattr(mnist, split).numpy())
    assert most <= 351  # fewer than half of 784
