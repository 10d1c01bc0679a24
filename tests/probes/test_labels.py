"""How labels are distributed, against NumPy and by what a box plot promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bsr.data import label_check as data
from bsr.data.images import Images
from bsr.probes.labels import label_distribution

if TYPE_CHECKING:
    from bsr.records.schema import LabelDistribution

SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


def distribution_of(means: Any) -> LabelDistribution:
    """The distribution of the mean over images that are constant."""
    images = torch.from_numpy(means)[:, None, None].expand(-1, 2, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bsr.probes.labels.load_images", lambda _dataset, _folder: Images(images, images, "made")
        )
        return label_distribution("MNIST", None, "mean", "train")


@given(means=arrays(np.uint8, st.integers(1, 60)))
def test_a_box_and_its_whiskers_are_those_of_numpy(means: Any) -> None:
    found = distribution_of(means)
    lower, middle, upper = np.percentile(means, [25, 50, 75])
    assert (found.lower_quartile, found.median, found.upper_quartile) == pytest.approx((lower, middle, upper))
    assert (found.minimum, found.maximum, found.count) == (means.min(), means.max(), len(means))
    assert found.mean == pytest.approx(means.mean())
    reach = 1.5 * (upper - lower)
    inside = means[(means >= lower - reach) & (means <= upper + reach)]
    assert (found.lower_whisker, found.upper_whisker) == (inside.min(), inside.max())
    assert found.outliers_below + found.outliers_above == len(means) - len(inside)


def test_outliers_are_counted_on_their_side() -> None:
    found = distribution_of(np.array([0, 1, 100, 101, 102, 103, 104, 255], np.uint8))
    assert (found.outliers_below, found.outliers_above) == (2, 1)
    assert (found.lower_whisker, found.upper_whisker) == (100, 104)


@pytest.mark.parametrize("split", SPLITS)
def test_the_labels_of_mnist_are_distributed_as_their_numbers_say(
    mnist: Images, split: Literal["train", "test"]
) -> None:
    found = label_distribution("MNIST", None, "std", split)
    labels = data.labels(getattr(mnist, split), "std").numpy()
    assert found.count == len(labels)
    assert found.mean == pytest.approx(labels.mean(dtype=np.float64))
    assert found.median == pytest.approx(np.median(labels))
    assert (
        found.minimum <= found.lower_whisker <= found.lower_quartile <= found.upper_whisker <= found.maximum
    )


def test_a_degenerate_task_has_a_box_of_no_height(mnist: Images) -> None:
    found = label_distribution("MNIST", None, "median", "test")
    assert (found.minimum, found.median, found.maximum, found.mean) == (0, 0, 0, 0)
    assert found.outliers_below == found.outliers_above == 0
