"""The noise of the gradient: what it says of other batches, and that measuring it changes nothing."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest
import torch

from bsr import engines
from bsr.data.images import Split, load_split
from bsr.engines.eager import EagerLearner
from bsr.engines.native import NativeLearner
from bsr.probes.noise import checkpoints, measure
from bsr.records.schema import NoiseScale
from bsr.run import Execution, Run
from bsr.training.loop import initial_model, orders

RUN = Run(
    task="mean",
    batch_size=16,
    seed=200,
    learning_rate=0.0015,
    epochs=0,
    steps=4,
    train_images=1_024,
    test_images=64,
)
needs_native = pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="needs a compiler")


@pytest.fixture(scope="module")
def split() -> Split:
    return load_split(RUN)


@pytest.fixture(scope="module")
def measured(split: Split) -> NoiseScale:
    return measure(RUN, split, Execution(engine="auto"))


def test_it_is_measured_at_halvings_of_the_training(measured: NoiseScale) -> None:
    assert checkpoints(37_500) == [292, 585, 1_171, 2_343, 4_687, 9_375, 18_750, 37_500]
    assert checkpoints(4) == [1, 2, 4]
    assert [(point.step, point.cooled) for point in measured.points] == [
        (step, cooled) for step in (1, 2, 4) for cooled in (False, True)
    ]
    assert measured.answers(RUN)
    assert not measured.answers(replace(RUN, learning_rate=0.002))


def test_it_predicts_the_gradients_of_batches_of_another_size(split: Split, measured: NoiseScale) -> None:
    """The mean square of a batch's gradient is |G|^2 + tr(S) / B, less what few images leave."""
    first = measured.points[0]
    one_step = replace(RUN, steps=1)
    model, generator = initial_model(RUN.seed)
    learner = EagerLearner(model, RUN, split, Execution())
    order = next(iter(orders(one_step, generator)))
    learner.train_epoch(order, float("inf"))
    generator = torch.Generator().manual_seed(1)
    squares = []
    for _ in range(150):
        batch = torch.randperm(RUN.train_images, generator=generator)[:8]
        gradient, _ = learner.gradient(batch)
        squares.append(sum(float(part.square().sum()) for part in gradient.values()))
    expected = first.square + first.trace / 8 * (1 - 8 / RUN.train_images)
    assert fmean(squares) == pytest.approx(expected, rel=0.15)


def test_two_batch_sizes_say_the_same(measured: NoiseScale) -> None:
    for point in measured.points:
        assert point.trace_two_batches == pytest.approx(point.trace, rel=1e-3)
    first = measured.points[0]
    assert first.square_two_batches == pytest.approx(first.square, rel=0.2)


@needs_native
@pytest.mark.slow
def test_the_engines_agree(split: Split, measured: NoiseScale) -> None:
    eager = measure(RUN, split, Execution(engine="eager"))
    assert (eager.engine, measured.engine) == ("eager", "native")
    for ours, theirs in zip(measured.points, eager.points, strict=True):
        assert ours.trace == pytest.approx(theirs.trace, rel=0.02)


@needs_native
def test_a_gradient_of_eager_is_that_of_the_kernel_and_changes_nothing(split: Split) -> None:
    order = torch.arange(300)
    eager, native = (
        kind(initial_model(RUN.seed)[0], RUN, split, Execution()) for kind in (EagerLearner, NativeLearner)
    )
    before = eager.weights()
    (ours, loss), (theirs, other) = eager.gradient(order), native.gradient(order)
    assert loss == pytest.approx(other, rel=1e-5)
    for name, part in ours.items():
        torch.testing.assert_close(part, theirs[name], rtol=1e-4, atol=1e-4 * float(part.abs().max()))
    assert all(torch.equal(value, before[name]) for name, value in eager.weights().items())
