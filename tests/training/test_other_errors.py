"""Beside the test error: the same weights on images that they trained on, and on held-out ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bsr.data.images import Split, load_images, load_split
from bsr.engines.eager import EagerLearner
from bsr.engines.graph import GraphLearner
from bsr.engines.native import NativeLearner
from bsr.training.loop import Evaluation, TimeLimitReached, initial_model, train
from trainings import CPU, RUN, Puppet, made_split, puppet

EPOCHS = RUN
STEPS = replace(RUN, epochs=0, steps=100, schedule="linear")
ENGINES = [(EPOCHS, EagerLearner), (EPOCHS, NativeLearner), (EPOCHS, GraphLearner)]
ENGINES += [(STEPS, EagerLearner), (STEPS, NativeLearner)]


class Drawing(nn.Module):
    """With batch normalisation and dropout, and it draws even where it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 2, 5, stride=4), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        predictions: Tensor = self.layers(images).squeeze(1)
        return predictions + functional.dropout(torch.ones_like(predictions), 0.5, training=True)


def held_out(split: Split) -> Split:
    """The same, with ten of its test images held out too, in another order."""
    return replace(split, validation=(split.test_images[:10].flip(0), split.test_labels[:10].flip(0)))


@pytest.mark.parametrize(("run", "learner"), ENGINES)
def test_they_are_the_errors_of_the_weights_whose_test_error_is_beside_them(run: Any, learner: Any) -> None:
    """Where test images and held-out ones are those trained on, all three are one number, to the bit."""
    made = made_split(run)
    images, labels = made.train_images[:40], made.train_labels[:40]
    everything = replace(run, train_images=40)
    result = train(
        everything, Split(images, labels, images, labels, "", run.task, (images, labels)), CPU, learner
    )
    assert result.training_mse == result.validation_mse == result.test_mse[-len(result.training_mse) :]
    assert len(result.training_mse) == (len(result.test_mse) if run.steps else 1)
    assert len(set(result.test_mse)) == len(result.test_mse)


@pytest.mark.parametrize("learner", [EagerLearner, NativeLearner, GraphLearner])
def test_they_are_of_other_images_where_those_are_others(learner: Any) -> None:
    split = held_out(made_split(EPOCHS))
    result = train(EPOCHS, split, CPU, learner)
    made: dict[str, Tensor] = {}
    train(EPOCHS, split, CPU, learner, on_weights=made.update)
    network = EagerLearner(loaded(made), EPOCHS, split, CPU)
    assert result.training_mse == pytest.approx(
        [network.evaluate(split.train_images, split.train_labels).mse]
    )
    ten = split.test_images[:10], split.test_labels[:10]
    assert result.validation_mse == pytest.approx([network.evaluate(*ten).mse])
    assert result.final_training_mse == result.training_mse[-1]
    assert result.final_validation_mse == result.validation_mse[-1]


def loaded(weights: dict[str, Tensor]) -> nn.Module:
    made = initial_model(0)[0]
    made.load_state_dict(weights)
    return made


class Unwatched(EagerLearner):
    """Computes nothing on images that are not to be tested on."""

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        tested = len(images) == self.run.test_images
        return super().evaluate(images, labels) if tested else Evaluation(1.0, 1.0, 1.0)


def test_measuring_them_changes_no_bit_of_what_is_trained() -> None:
    run = replace(STEPS, model=f"{__name__}:Drawing")
    watched, unwatched = (
        train(run, held_out(made_split(run)), CPU, each) for each in (EagerLearner, Unwatched)
    )
    assert set(unwatched.training_mse) == {1.0} != set(watched.training_mse)
    assert watched.test_mse == unwatched.test_mse
    assert watched.training_loss == unwatched.training_loss


def test_a_training_that_came_to_no_error_has_none_of_them() -> None:
    def late(self: Puppet, order: Tensor, _deadline: float) -> Tensor:
        if self.orders:
            raise TimeLimitReached
        return Puppet.train_epoch(self, order, _deadline)

    made = held_out(made_split(STEPS))
    timed_out = train(STEPS, made, replace(CPU, timeout_seconds=1), puppet(train_epoch=late))
    diverged = train(STEPS, made, CPU, puppet(mse=1e30))
    dead = train(STEPS, made, CPU, puppet(spread=0.0))
    found = [
        (each.status, len(each.training_mse), len(each.validation_mse))
        for each in (timed_out, diverged, dead)
    ]
    assert found == [
        ("timed_out", 0, 0),
        ("diverged", 0, 0),
        ("dead", len(dead.test_mse), len(dead.test_mse)),
    ]


def test_the_training_error_is_of_the_first_ten_thousand_images_at_most() -> None:
    images, labels = torch.zeros(10_001, 1, 1), torch.arange(10_001.0)
    found = Split(images, labels, images, labels, "", "mean").trained_on
    assert [len(each) for each in found] == [10_000, 10_000]
    assert found[1][-1] == 9_999


def test_held_out_images_are_those_that_would_be_validated_on_and_none_that_trains() -> None:
    mnist = load_images("MNIST").train
    controlled = replace(RUN, train_images=50_000, test_images=10_000)
    found = load_split(controlled).validation
    assert found is not None
    assert torch.equal(found[0], mnist[50_000:])
    assert torch.equal(found[1], load_split(replace(controlled, evaluate_on="validation")).test_labels)
    few = load_split(replace(controlled, train_images=59_990)).validation
    assert few is not None
    assert torch.equal(few[0], mnist[59_990:])
    assert load_split(replace(controlled, train_images=60_000)).validation is None
    assert load_split(replace(controlled, evaluate_on="validation")).validation is None


def test_held_out_images_of_another_kind_are_refused() -> None:
    split = made_split(RUN)
    other = replace(split, validation=(split.test_images.float(), split.test_labels))
    with pytest.raises(ValueError, match=r"^split.validation_images: expected images of one type and size"):
        other.check(RUN)
