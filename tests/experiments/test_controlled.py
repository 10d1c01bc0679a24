"""The controlled protocol: budgets in updates, one stream of examples, schedules, and a validation split."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bsr.data.images import DataError, Split, load_images, load_split
from bsr.engines import ENGINES, EngineError, check_suited, learner, unavailable_reason
from bsr.engines.eager import EagerLearner
from bsr.run import Execution, Run
from bsr.tasks import TASKS
from bsr.training.loop import data_order, evaluation, initial_model, orders, train
from trainings import CPU, made_split

RUN = Run(
    task="mean",
    batch_size=16,
    seed=200,
    learning_rate=0.0015,
    epochs=0,
    steps=40,
    train_images=100,
    test_images=40,
)
batch_sizes = st.sampled_from((1, 4, 16, 64, 256, 1024))


# How long, and looked at when


def test_steps_decide_whatever_the_batch_size() -> None:
    for size in (1, 16, 1024):
        run = replace(RUN, batch_size=size, steps=586)
        assert (run.total_steps, run.evaluation_steps[-1]) == (586, 586)


def test_epochs_decide_as_before() -> None:
    run = replace(RUN, steps=0, epochs=3)
    assert run.evaluation_steps == (7, 14, 21)
    assert (run.total_steps, run.images_until(2)) == (21, 200)


def test_one_of_both_decides() -> None:
    with pytest.raises(ValueError, match=r"Run.epochs: expected a whole number from 0 to 0, got 10"):
        replace(RUN, epochs=10)
    with pytest.raises(ValueError, match=r"Run.epochs: expected a whole number from 1 to"):
        replace(RUN, steps=0)


def test_it_is_evaluated_at_half_octaves_then_quarters_and_where_ten_epochs_of_others_end() -> None:
    moments = replace(RUN, steps=37_500).evaluation_steps
    assert moments[:11] == (64, 91, 128, 181, 256, 362, 512, 586, 724, 1024, 1448)
    assert {586, 2344, 9375, 37_500} <= set(moments)
    late = [step for step in moments if step >= 2344]
    ratios = [after / before for before, after in itertools.pairwise(late)]
    assert max(ratios) < 1.2
    assert len(moments) < 40


def test_it_may_be_evaluated_earlier_at_the_same_octaves() -> None:
    run = replace(RUN, steps=586)
    earlier = replace(run, first_evaluation=8).evaluation_steps
    assert earlier == (8, 11, 16, 23, 32, 45, *run.evaluation_steps)
    with pytest.raises(ValueError, match=r"Run.first_evaluation: expected .* 64 to 64, got 8"):
        replace(run, steps=0, epochs=1, first_evaluation=8)


@given(steps=st.integers(1, 40_000), size=batch_sizes)
def test_evaluations_rise_to_the_last_step_and_count_their_images(steps: int, size: int) -> None:
    run = replace(RUN, steps=steps, batch_size=size)
    moments = run.evaluation_steps
    assert list(moments) == sorted(set(moments))
    assert moments[-1] == steps
    assert [run.images_until(n) for n in range(run.evaluations + 1)] == [
        size * step for step in (0, *moments)
    ]


# One stream of examples


def stream(run: Run) -> list[Tensor]:
    return list(orders(run, initial_model(run.seed)[1]))


@given(seed=st.integers(0, 2**31), small=batch_sizes, large=batch_sizes, steps=st.integers(1, 90))
def test_one_seed_gives_every_batch_size_the_same_examples_in_the_same_order(
    seed: int, small: int, large: int, steps: int
) -> None:
    first, second = (
        torch.cat(stream(replace(RUN, seed=seed, batch_size=size, steps=steps))) for size in (small, large)
    )
    shared = min(len(first), len(second))
    assert torch.equal(first[:shared], second[:shared])
    assert len(first) == steps * small  # no partial batch


@given(seed=st.integers(0, 2**31), size=batch_sizes)
def test_the_stream_is_the_usual_passes_one_after_the_other(seed: int, size: int) -> None:
    run = replace(RUN, seed=seed, batch_size=size, steps=20)
    found = torch.cat(stream(run))
    passes = data_order(initial_model(seed)[1], run.train_images)
    expected = torch.cat(list(itertools.islice(passes, math.ceil(len(found) / run.train_images))))
    assert torch.equal(found, expected[: len(found)])


@given(seed=st.integers(0, 2**31))
def test_an_epoch_based_run_has_the_order_it_always_had(seed: int) -> None:
    run = replace(RUN, seed=seed, steps=0, epochs=2)
    usual = list(itertools.islice(data_order(initial_model(seed)[1], run.train_images), 2))
    assert all(map(torch.equal, stream(run), usual))


def test_the_order_may_have_a_seed_of_its_own() -> None:
    other = stream(replace(RUN, seed=999, order_seed=RUN.seed))
    assert all(map(torch.equal, stream(RUN), other))
    assert not torch.equal(stream(replace(RUN, seed=999))[0], other[0])


class Handed(EagerLearner):
    """Notes what it is handed."""

    orders: list[Tensor]

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        Handed.orders.append(order)
        return super().train_epoch(order, deadline)


def test_training_hands_the_stream_to_its_engine_piece_by_piece() -> None:
    Handed.orders = []
    run = replace(RUN, steps=100)
    result = train(run, made_split(run), CPU, Handed)
    assert all(map(torch.equal, Handed.orders, stream(run)))
    assert [len(order) for order in Handed.orders] == [64 * 16, 27 * 16, 9 * 16]
    assert (result.steps, len(result.test_mse), len(result.training_loss)) == (100, 4, 3)
    assert result.final_mse == result.test_mse[-1]
    assert result.images_per_second == pytest.approx(1600 / result.total_training_seconds)


# Schedules and Adam's constants


def test_a_linear_schedule_falls_from_the_rate_to_zero() -> None:
    run = replace(RUN, schedule="linear", steps=4, learning_rate=0.4)
    assert run.rates(0, 4) == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert run.rates(2, 2) == pytest.approx([0.2, 0.1])
    assert replace(run, schedule="constant").rates(1, 2) == [0.4, 0.4]


def test_a_rate_warms_up_and_decays_over_shares_of_the_updates() -> None:
    run = replace(RUN, steps=10, learning_rate=1.0)
    assert replace(run, warmup=0.25).rates(0, 4) == pytest.approx([1 / 3, 2 / 3, 1, 1])  # ceil(2.5) updates
    assert replace(run, decay=0.4).rates(4, 6) == pytest.approx([1, 1, 1, 0.75, 0.5, 0.25])
    both = replace(run, warmup=0.2, schedule="linear")
    assert both.rates(0, 3) == pytest.approx([0.5, 0.9, 0.8])
    assert replace(run, warmup=0.2, decay=0.5).rates(1, 9) == pytest.approx(
        [1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    )


@given(shares=st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1 - 1e-6)), cut=st.integers(0, 40))
def test_the_rates_of_a_training_are_the_same_however_it_is_cut(
    shares: tuple[float, float], cut: int
) -> None:
    run = replace(RUN, steps=40, warmup=shares[0], decay=shares[1])
    whole = run.rates(0, 40)
    assert [*run.rates(0, cut), *run.rates(cut, 40 - cut)] == whole
    assert all(0 < rate <= run.learning_rate for rate in whole)


def scheduler_of(run: Run, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """PyTorch's own: constant, falling to zero, or rising first."""
    if run.warmup is not None:
        rises = math.ceil(run.warmup * run.total_steps)
        return torch.optim.lr_scheduler.LinearLR(optimiser, 1 / rises, 1.0, rises - 1)
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 1 - step / run.total_steps if run.schedule == "linear" else 1.0
    )


def plainly(run: Run, split: Split) -> list[Tensor]:
    """As it would be written in plain PyTorch: its own scheduler, its own loop."""
    model, generator = initial_model(run.seed)
    optimiser: torch.optim.Optimizer = torch.optim.Adam(
        model.parameters(), lr=run.learning_rate, betas=(run.beta1, run.beta2), eps=run.eps
    )
    scheduler = scheduler_of(run, optimiser)
    for batch in torch.cat(list(orders(run, generator))).split(run.batch_size):
        optimiser.zero_grad()
        images = split.train_images[batch].unsqueeze(1).float()
        functional.mse_loss(model(images), split.train_labels[batch]).backward()
        optimiser.step()
        scheduler.step()
    return [value.detach() for value in model.parameters()]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"schedule": "linear"},
        {"beta2": 0.99},
        {"beta1": 0.5, "eps": 1e-4, "schedule": "linear"},
        {"warmup": 0.5},
    ],
)
def test_weights_are_those_of_plain_pytorch(changes: dict[str, Any]) -> None:
    run = replace(RUN, **changes)
    split = made_split(run)
    kept: dict[str, Tensor] = {}
    train(run, split, CPU, EagerLearner, on_weights=kept.update)
    for mine, its in zip(kept.values(), plainly(run, split), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(bool(unavailable_reason("native")), reason="no compiler on this machine")
@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "linear"},
        {"beta2": 0.99},
        {"beta1": 0.5, "eps": 1e-4},
        {"schedule": "linear", "epochs": 3, "steps": 0},
        {"warmup": 0.3, "decay": 0.5},
    ],
)
def test_the_native_engine_honours_every_field(changes: dict[str, Any]) -> None:
    run = replace(RUN, **changes)
    split = made_split(run)
    losses = []
    for engine in ("eager", "native"):
        worker = learner(engine)(initial_model(run.seed)[0], run, split, CPU)
        pieces = [worker.train_epoch(order, math.inf) for order in orders(run, initial_model(run.seed)[1])]
        losses.append(torch.cat(pieces)[:20])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{"steps": 40, "epochs": 0}, {"schedule": "linear"}])
def test_graph_refuses_by_name_what_it_was_not_taught(changes: dict[str, Any]) -> None:
    run = replace(replace(RUN, steps=0, epochs=2), **changes)
    name = "steps" if "steps" in changes else "schedule"
    with pytest.raises(EngineError, match=f"graph does not know a Run's {name}"):
        check_suited("graph", [run], Execution(engine="graph", device="cuda:0"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("changes", [{"beta2": 0.99}, {"order_seed": 3}, {"evaluate_on": "validation"}])
def test_every_engine_knows_the_rest(engine: str, changes: dict[str, Any]) -> None:
    device = "cuda:0" if engine == "graph" else "cpu"
    check_suited(
        engine, [replace(RUN, steps=0, epochs=2, **changes)], Execution(engine=engine, device=device)
    )


# The validation split


def test_validation_images_are_the_last_of_training_and_never_trained_on() -> None:
    run = replace(RUN, train_images=50_000, test_images=10_000, evaluate_on="validation")
    images = load_images("MNIST")
    split = load_split(run)
    assert torch.equal(split.test_images, images.train[50_000:])
    assert torch.equal(split.train_images, images.train[:50_000])
    assert torch.equal(split.test_labels, TASKS["mean"](split.test_images))
    assert torch.equal(load_split(replace(run, evaluate_on="test")).test_images, images.test)


def test_images_to_train_on_and_to_validate_on_never_overlap() -> None:
    run = replace(RUN, train_images=50_001, test_images=10_000, evaluate_on="validation")
    with pytest.raises(DataError, match="at most 60000 images to train and validate on, got 50001 and 10000"):
        load_split(run)


def test_a_validation_error_is_of_another_cell_than_a_test_error() -> None:
    assert RUN.cell != replace(RUN, evaluate_on="validation").cell
    assert RUN.cell == replace(RUN, seed=3, order_seed=9).cell


def test_what_is_evaluated_is_what_the_split_holds() -> None:
    split = made_split(RUN)
    worker = EagerLearner(initial_model(1)[0], RUN, split, CPU)
    model = initial_model(1)[0].eval()
    with torch.inference_mode():
        predictions = model(split.test_images.unsqueeze(1).float())
    found = worker.evaluate(split.test_images, split.test_labels)
    assert found.mse == pytest.approx(evaluation(predictions, split.test_labels).mse, rel=1e-5)


# Keys and cases


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "linear"},
        {"evaluate_on": "validation"},
        {"order_seed": 0},
        {"beta1": 0.8},
        {"beta2": 0.99},
        {"eps": 1e-7},
        {"steps": 41},
        {"warmup": 0.05},
        {"decay": 0.5},
        {"first_evaluation": 8},
    ],
)
def test_each_field_makes_another_run(changes: dict[str, Any]) -> None:
    assert replace(RUN, **changes).key != RUN.key


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine"},
        {"evaluate_on": "train"},
        {"beta2": 1.0},
        {"beta1": -0.1},
        {"eps": 0.0},
        {"order_seed": -1},
        {"steps": -1},
        {"steps": 10_000_001},
        {"steps": 1.5},
        {"warmup": 0.0},
        {"warmup": 1.5},
        {"decay": 1.0},
        {"decay": 0},
        {"decay": True},
        {"first_evaluation": 0},
        {"first_evaluation": 65},
    ],
)
def test_a_value_that_no_run_can_have_is_refused_by_name(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(ValueError, match=rf"Run\.{name}: expected "):
        replace(RUN, **changes)


def test_a_schedule_and_a_decay_contradict_so_that_no_training_has_two_keys() -> None:
    with pytest.raises(ValueError, match="Run.decay: expected none beside the schedule 'linear', got 0.5"):
        replace(RUN, schedule="linear", decay=0.5)
