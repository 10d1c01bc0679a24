"""What must hold of any task: those of TASKS, whatever they are, and two that stand for a user's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bsr.data import label_check as data
from bsr.experiments.grid import STUDY_TASKS
from bsr.tasks import TASKS, Task, checked_by, oracle_of

if TYPE_CHECKING:
    from bsr.data.images import Images

pytestmark = pytest.mark.labels

Array = npt.NDArray[Any]
ROUNDING = 1e-5
"""Of float32 sums over an image, relative to the largest label."""


@checked_by(lambda images: images.max(axis=(1, 2)))
def brightest(images: Tensor) -> Tensor:
    return images.amax(dim=(1, 2)).float()


def contrast(images: Tensor) -> Tensor:
    """Names no oracle; may be negative, and is nearly zero where nearly everything cancels."""
    wide = images.float()
    return wide[:, : wide.shape[1] // 2].mean(dim=(1, 2)) - wide[:, wide.shape[1] // 2 :].mean(dim=(1, 2))


OWN: dict[str, Task] = {"brightest": brightest, "contrast": contrast}
ANY = {**TASKS, **OWN}
every_task = pytest.mark.parametrize("task", ANY)


def made(seed: int, count: int, side: int) -> Tensor:
    """From black over strokes on black to noise, and from dark to bright."""
    stream = np.random.default_rng(seed)
    inked = stream.random((count, side, side)) < stream.choice([0, 0.2, 1], (count, 1, 1))
    pixels = stream.random((count, side, side)) * stream.choice([1, 30, 256], (count, 1, 1)) * inked
    return torch.from_numpy(pixels.astype(np.uint8))


raw_images = st.builds(made, st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([28, 32]))


@pytest.fixture
def raw_pixels() -> Tensor:
    return torch.arange(3 * 28 * 28).mul(7).remainder(256).to(torch.uint8).reshape(3, 28, 28)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    """As their entries in TASKS would."""
    with mock.patch.dict(TASKS, OWN):
        yield


def assert_same(labels: Any, expected: Any) -> None:
    scale = float(np.abs(np.asarray(expected)).max())
    np.testing.assert_allclose(labels, expected, rtol=ROUNDING, atol=ROUNDING * scale)


@every_task
@given(images=raw_images)
def test_there_is_one_finite_float32_per_image(task: str, images: Tensor) -> None:
    labels = ANY[task](images)
    assert labels.dtype == torch.float32
    assert labels.shape == (len(images),)
    assert labels.isfinite().all()


@every_task
@given(images=raw_images)
def test_the_same_images_have_the_same_labels_whatever_was_drawn_before(task: str, images: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):
        first = ANY[task](images)
        torch.rand(1)
        assert torch.equal(ANY[task](images), first)


@every_task
@given(images=raw_images, at=st.integers(0, 4))
def test_each_image_has_its_own_label_whatever_lies_beside_it(task: str, images: Tensor, at: int) -> None:
    parts = [part for part in (images[:at], images[at:]) if len(part)]
    together = ANY[task](images)
    assert_same(torch.cat([ANY[task](part) for part in parts]), together)
    assert_same(torch.cat([ANY[task](image[None]) for image in images]), together)


@every_task
@given(images=raw_images)
def test_labels_are_those_of_the_oracle_that_the_task_names(task: str, images: Tensor) -> None:
    if oracle := oracle_of(ANY[task]):
        assert_same(ANY[task](images), oracle(images.numpy().astype(np.float64)))


def test_a_task_may_name_an_oracle_or_none() -> None:
    oracle = oracle_of(brightest)
    assert oracle is not None
    assert oracle(np.array([[[1.0, 3.0]]])).tolist() == [3]
    assert oracle_of(contrast) is None
    assert all(oracle_of(TASKS[task]) for task in STUDY_TASKS)


@every_task
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_labels_are_on_the_device_of_the_images(task: str, device: str, raw_pixels: Tensor) -> None:
    if not {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[device]:
        pytest.skip(f"this machine has no {device} device")
    there = ANY[task](raw_pixels.to(device))
    assert there.device.type == device
    assert_same(there.cpu(), ANY[task](raw_pixels))


@every_task
def test_a_view_has_the_labels_of_its_pixels_and_is_not_changed(task: str, raw_pixels: Tensor) -> None:
    before = raw_pixels.clone()
    view = raw_pixels.transpose(1, 2)[:, ::2]
    assert_same(ANY[task](view), ANY[task](view.contiguous()))
    assert torch.equal(raw_pixels, before)


@every_task
def test_all_test_images_of_mnist_have_their_labels_whatever_the_pieces(
    mnist: Images, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = data.labels(mnist.test, task)
    monkeypatch.setattr(data, "LABELS_AT_ONCE", 777)
    assert_same(data.labels(mnist.test, task), labels)
    assert_same(labels[:2_000], ANY[task](mnist.test[:2_000]))
    if oracle := oracle_of(ANY[task]):
        assert_same(labels[:2_000], oracle(mnist.test[:2_000].numpy().astype(np.float64)))


# Refusals: by the door that every task goes through, and by the study's tasks themselves

no_images = pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(28, 28), ValueError, r"shape \[N, H, W\] or \[N, C, H, W\], got \[28, 28\]"),
        (torch.zeros(2, 1, 1, 28, 28), ValueError, r"\[N, C, H, W\], got \[2, 1, 1, 28, 28\]"),
        (
            torch.zeros(2, 3, 3, dtype=torch.int64),
            TypeError,
            "expected dtype uint8 or floating, got torch.int64",
        ),
        (
            torch.zeros(2, 3, 3, dtype=torch.bool),
            TypeError,
            "expected dtype uint8 or floating, got torch.bool",
        ),
        (torch.zeros(2, 3, 3, dtype=torch.cfloat), TypeError, "uint8 or floating, got torch.complex64"),
        (np.zeros((2, 3, 3), np.uint8), TypeError, "expected a torch.Tensor, got ndarray"),
        (
            torch.zeros(0, 28, 28),
            ValueError,
            r"at least one image of one pixel, got shape \[0, 28, 28\]",
        ),
        (
            torch.zeros(2, 0, 28),
            ValueError,
            r"at least one image of one pixel, got shape \[2, 0, 28\]",
        ),
        (torch.tensor([[[0.0, math.nan]]]), ValueError, "expected finite pixels, got NaN or infinity"),
        (torch.tensor([[[0.0, math.inf]]]), ValueError, "expected finite pixels, got NaN or infinity"),
    ],
    ids=[
        "rank 2",
        "rank 5",
        "int64",
        "bool",
        "complex",
        "an array",
        "no image",
        "no pixel",
        "NaN",
        "infinity",
    ],
)


@every_task
@no_images
def test_what_is_no_batch_of_images_is_refused(
    task: str, images: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        data.labels(images, task)


@pytest.mark.parametrize("task", STUDY_TASKS)
@no_images
def test_the_studys_tasks_refuse_it_themselves(
    task: str, images: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TASKS[task](images)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (
            lambda images: images.float().mean(),
            TypeError,
            r"expected float32 labels \[3\] of 3 images, got torch.float32 \[\]; return one",
        ),
        (lambda images: images.double().mean(dim=(1, 2)), TypeError, r"got torch.float64 \[3\]"),
        (lambda images: images.float().mean(dim=1), TypeError, r"got torch.float32 \[3, 28\]"),
        (
            lambda images: images[:, 0, 0] / images[:, 0, 0],
            ValueError,
            "expected finite labels, got NaN or infinity; mend the task",
        ),
        (
            lambda images: images.float().mean(dim=(1, 2)) - images.float().mean(),
            ValueError,
            "the same label alone and among others, at every call, got .*; mend the task",
        ),
        (
            lambda images: torch.rand(len(images)),
            ValueError,
            "expected an image to have the same label alone and among others",
        ),
    ],
    ids=["one label for all", "float64", "a row each", "NaN", "of all images together", "drawn"],
)
def test_a_task_that_gives_no_label_per_image_is_refused_by_name(
    task: Task, error: type[Exception], message: str, raw_pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TASKS, "new", task)
    with pytest.raises(error, match=f"task 'new': .*{message}"):
        data.labels(raw_pixels, "new")
