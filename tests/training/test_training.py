"""The reference engine: the order and the weights of the usual loop, every status, and the study's number."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import bsr
from bsr.data.images import Split, load_split
from bsr.engines.eager import PIECE, EagerLearner
from bsr.experiments.grid import STUDY_TASKS
from bsr.model import RegressionCNN
from bsr.result import Result
from bsr.run import Execution, Run
from bsr.training.loop import (
    Evaluation,
    TimeLimitReached,
    baseline_mse,
    data_order,
    evaluation,
    initial_model,
    train,
)
from trainings import CPU, RUN, Puppet, made_split, puppet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def trained(run: Run, execution: Execution = CPU, learner: Any = EagerLearner, **options: Any) -> Result:
    return train(run, made_split(run), execution, learner, **options)


# The usual loop, on the global generator


def usual_batches(run: Run, *, build: bool = True) -> Iterator[list[Tensor]]:
    """The indices of each epoch's batches, as real DataLoaders deliver them with evaluations between."""
    torch.manual_seed(run.seed)
    if build:
        RegressionCNN()
    train_loader = DataLoader(TensorDataset(torch.arange(run.train_images)), run.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(torch.arange(run.test_images)), run.batch_size, shuffle=True)
    for _ in range(run.epochs):
        yield [batch for (batch,) in train_loader]
        assert sum(len(batch) for (batch,) in test_loader) == run.test_images


def textbook(run: Run, split: Split) -> tuple[dict[str, Tensor], list[float], list[float]]:
    """Trained weights, test MSE per epoch and loss per step of the loop that everyone writes."""
    torch.manual_seed(run.seed)
    model = RegressionCNN()
    optimisers: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    optimiser = optimisers[run.optimiser](model.parameters(), lr=run.learning_rate)
    criterion = {"mse": functional.mse_loss, "mae": functional.l1_loss}[run.loss]
    images = [part.unsqueeze(1).float() for part in (split.train_images, split.test_images)]
    train_loader = DataLoader(TensorDataset(images[0], split.train_labels), run.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(images[1], split.test_labels), run.batch_size, shuffle=True)
    test_mse, losses = [], []
    for _ in range(run.epochs):
        for batch, labels in train_loader:
            optimiser.zero_grad()
            loss = criterion(model(batch), labels)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        with torch.no_grad():
            squares = [(model(batch) - labels).double() ** 2 for batch, labels in test_loader]
        test_mse.append(float(torch.cat(squares).mean()))
    return dict(model.state_dict()), test_mse, losses


runs = st.builds(
    Run,
    task=st.just("mean"),
    batch_size=st.integers(1, 80),
    seed=st.integers(0, 2**63 - 1),
    learning_rate=st.just(0.001),
    epochs=st.integers(1, 4),
    train_images=st.integers(1, 200),
    test_images=st.integers(1, 100),
)


@settings(max_examples=100)
@given(run=runs)
def test_the_order_of_every_batch_is_that_of_a_real_data_loader(run: Run) -> None:
    orders = itertools.islice(data_order(initial_model(run.seed)[1], run.train_images), run.epochs)
    for order, batches in zip(orders, usual_batches(run), strict=True):
        ours = order.split(run.batch_size)
        assert [batch.tolist() for batch in ours] == [batch.tolist() for batch in batches]


@settings(max_examples=20)
@given(run=runs)
def test_training_hands_that_order_to_its_engine(run: Run) -> None:
    learner = puppet()
    trained(run, learner=learner)
    assert [order.tolist() for order in learner.orders] == [
        torch.cat(batches).tolist() for batches in usual_batches(run)
    ]


@pytest.mark.parametrize("batch_size", [16, 1024])
def test_the_order_of_all_of_mnist_is_that_of_a_real_data_loader(batch_size: int) -> None:
    run = replace(RUN, batch_size=batch_size, seed=batch_size, train_images=60_000, test_images=10_000)
    orders = list(itertools.islice(data_order(initial_model(run.seed)[1], run.train_images), run.epochs))
    assert all(
        torch.equal(order, torch.cat(batches))
        for order, batches in zip(orders, usual_batches(run), strict=True)
    )


def test_each_epoch_has_an_order_of_its_own() -> None:
    first, second = itertools.islice(data_order(torch.Generator().manual_seed(0), 100), 2)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert first.tolist() != second.tolist()


@given(seed=st.integers(0, 2**63 - 1))
def test_the_first_weights_are_those_of_the_usual_construction(seed: int) -> None:
    model, generator = initial_model(seed)
    torch.manual_seed(seed)
    weights = RegressionCNN().state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(generator.get_state(), torch.get_rng_state())


def test_training_leaves_the_random_state_of_the_caller_alone() -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    first = trained(RUN)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(100)
    assert trained(RUN).test_mse == first.test_mse


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize(("optimiser", "rate"), [("adam", 0.0015), ("sgd", 1e-6)])
def test_weights_and_errors_are_those_of_the_textbook_loop(optimiser: Any, rate: float, loss: Any) -> None:
    run = replace(RUN, optimiser=optimiser, learning_rate=rate, loss=loss)
    weights, test_mse, losses = textbook(run, made_split(run))
    ours: dict[str, Tensor] = {}
    result = trained(run, on_weights=ours.update)
    torch.testing.assert_close(ours, weights, rtol=1e-3, atol=1e-5)
    assert result.test_mse[1:] == pytest.approx(test_mse, rel=1e-3)
    sizes = [16] * 5 + [10]
    per_epoch = [np.average(part, weights=sizes) for part in (losses[:6], losses[6:])]
    assert result.training_loss == pytest.approx(per_epoch, rel=1e-3)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_a_batch_that_goes_through_in_pieces_is_one_step_all_the_same(loss: Any) -> None:
    run = replace(RUN, train_images=3 * PIECE, batch_size=2 * PIECE + 50, loss=loss, epochs=1)
    weights, test_mse, losses = textbook(run, made_split(run))
    ours: dict[str, Tensor] = {}
    result = trained(run, on_weights=ours.update)
    torch.testing.assert_close(ours, weights, rtol=1e-4, atol=1e-6)
    assert result.steps == 2
    assert result.test_mse[1:] == pytest.approx(test_mse, rel=1e-4)
    assert result.training_loss == pytest.approx(
        [np.average(losses, weights=[2 * PIECE + 50, PIECE - 50])], rel=1e-5
    )


@pytest.mark.slow
def test_the_mean_task_at_batch_size_1024_gives_the_published_error() -> None:
    """Test MSE 5.87 after the first epoch; later epochs and smaller batches are chaotic."""
    run = Run(task="mean", batch_size=1024, seed=1024, learning_rate=0.0015, epochs=1)
    result = train(run, load_split(run), CPU, EagerLearner)
    assert result.steps == 59
    assert result.test_mse[1] == pytest.approx(5.87, rel=0.02)
    assert result.baseline_mse == pytest.approx(124.442, abs=5e-4)


# What a Result says


def test_the_same_seed_gives_the_same_result_to_the_last_bit() -> None:
    first: dict[str, Tensor] = {}
    again: dict[str, Tensor] = {}
    one, other = trained(RUN, on_weights=first.update), trained(RUN, on_weights=again.update)
    assert (one.test_mse, one.test_mae, one.training_loss) == (
        other.test_mse,
        other.test_mae,
        other.training_loss,
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert trained(replace(RUN, seed=4)).test_mse != one.test_mse


def test_the_order_digest_depends_on_the_seed_and_on_nothing_of_the_engine() -> None:
    assert trained(RUN).order_digest == trained(RUN, learner=puppet()).order_digest
    assert trained(RUN).order_digest != trained(replace(RUN, seed=4)).order_digest


def test_a_result_holds_every_epoch() -> None:
    result = trained(RUN)
    assert (result.status, result.message) == ("ok", "")
    assert len(result.test_mse) == len(result.test_mae) == len(result.evaluation_seconds) == 3
    assert len(result.training_loss) == len(result.training_seconds) == 2
    assert result.final_mse == result.test_mse[2]
    assert result.setup_seconds > 0
    spent = result.total_training_seconds + sum(result.evaluation_seconds) + result.setup_seconds
    assert spent <= result.wall_seconds
    assert result.finished_at.endswith("+00:00")


@given(train_images=st.integers(1, 60), batch_size=st.integers(1, 30))
def test_a_partial_last_batch_is_a_step_and_counts_by_its_images(train_images: int, batch_size: int) -> None:
    run = replace(RUN, epochs=1, train_images=train_images, batch_size=batch_size)
    sizes = [len(part) for part in torch.zeros(train_images).split(batch_size)]
    losses = torch.arange(1.0, len(sizes) + 1)
    result = trained(run, learner=puppet(train_epoch=lambda _self, _order, _deadline: losses))
    assert result.steps == len(sizes)
    assert result.training_loss[0] == pytest.approx(np.average(losses.numpy(), weights=sizes))


def test_the_last_images_of_an_epoch_are_trained_on() -> None:
    """The same first steps, then five images more: the weights move once more."""
    split = made_split(replace(RUN, train_images=37))
    learner = EagerLearner(RegressionCNN(), RUN, split, CPU)
    learner.train_epoch(torch.arange(32), math.inf)
    before = learner.weights()["fc2.bias"]
    assert len(learner.train_epoch(torch.arange(32, 37), math.inf)) == 1
    assert not torch.equal(learner.weights()["fc2.bias"], before)


def test_the_loss_of_a_step_is_that_of_its_own_images_before_the_step() -> None:
    split, (model, _) = made_split(RUN), initial_model(0)
    chosen = torch.tensor([5, 80, 2])
    with torch.no_grad():
        error = model(split.train_images[chosen].unsqueeze(1).float()) - split.train_labels[chosen]
    for loss, expected in (("mse", error.square().mean()), ("mae", error.abs().mean())):
        run = replace(RUN, loss=loss)  # type: ignore[arg-type]
        learner = EagerLearner(initial_model(0)[0], run, split, CPU)
        torch.testing.assert_close(learner.train_epoch(chosen, math.inf), expected.reshape(1))


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_both_losses_are_evaluated_on_both_measures(loss: Any) -> None:
    run = replace(RUN, loss=loss, learning_rate=0.001)
    weights: dict[str, Tensor] = {}
    result = trained(run, on_weights=weights.update)
    model = RegressionCNN()
    model.load_state_dict(weights)
    split = made_split(run)
    with torch.no_grad():
        predictions = model(split.test_images.unsqueeze(1).float()).double()
    error = (predictions - split.test_labels.double()).numpy()
    assert result.test_mse[-1] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert result.test_mae[-1] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert result.prediction_spread == pytest.approx(predictions.numpy().std(), rel=1e-5)


def test_the_first_error_is_that_of_the_untrained_network() -> None:
    split, (model, _) = made_split(RUN), initial_model(RUN.seed)
    with torch.no_grad():
        error = model(split.test_images.unsqueeze(1).float()).double() - split.test_labels
    assert trained(RUN).test_mse[0] == pytest.approx(float(error.square().mean()), rel=1e-5)


@given(
    pairs=st.lists(
        st.tuples(st.floats(-1e5, 1e5, width=32), st.floats(-1e5, 1e5, width=32)), min_size=1, max_size=40
    )
)
def test_an_evaluation_is_that_of_numpy_in_double_precision(pairs: list[tuple[float, float]]) -> None:
    predictions, labels = np.array(pairs, np.float32).T
    measured = evaluation(torch.from_numpy(predictions.copy()), torch.from_numpy(labels.copy()))
    error = predictions.astype(np.float64) - labels
    assert measured.mse == pytest.approx(np.mean(error**2), rel=1e-12)
    assert measured.mae == pytest.approx(np.mean(np.abs(error)), rel=1e-12)
    assert (measured.prediction_spread == 0) == (len(set(predictions.tolist())) == 1)


def test_an_error_too_small_for_single_precision_is_not_lost() -> None:
    """The study published medians down to 1e-89."""
    tiny = torch.full((3,), 1e-44)
    assert evaluation(tiny, torch.zeros(3)).mse == pytest.approx(float(tiny[0]) ** 2, rel=1e-12)


@pytest.mark.parametrize("task", STUDY_TASKS)
def test_the_baseline_is_the_population_variance_of_the_test_labels(task: str) -> None:
    split = load_split(Run(task=task, batch_size=32, seed=0, learning_rate=0.001))
    labels = split.test_labels.double().numpy()
    assert baseline_mse(split) == pytest.approx(np.var(labels), rel=1e-12)
    assert (baseline_mse(split) == 0) == (task == "median")


def test_the_median_of_dark_images_is_degenerate_and_not_dead() -> None:
    run = replace(RUN, task="median")
    split = made_split(run)
    dark = replace(split, train_labels=split.train_labels * 0, test_labels=split.test_labels * 0)
    result = train(run, dark, CPU, puppet(spread=0.0))
    assert result.status == "ok"
    assert result.degenerate
    assert result.normalised_mse is None


def test_the_weights_that_are_kept_are_the_models_own_on_the_cpu() -> None:
    kept: dict[str, Tensor] = {}
    trained(RUN, on_weights=kept.update)
    assert {name: value.shape for name, value in kept.items()} == {
        name: value.shape for name, value in RegressionCNN().state_dict().items()
    }
    assert all(value.device.type == "cpu" and value.is_contiguous() for value in kept.values())


def test_a_split_of_another_size_than_the_runs_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"split.train_images: expected .* \[91, H, W\] .*, got torch.uint8 \[90, ",
    ):
        train(replace(RUN, train_images=91), made_split(RUN), CPU, EagerLearner)


def test_labels_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="^split: expected labels of 'std', got 'mean'; use load_split"):
        train(replace(RUN, task="std"), made_split(RUN), CPU, EagerLearner)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", lambda labels: labels.unsqueeze(1)),  # would broadcast to another loss
        ("labels", lambda labels: labels[:-1]),
        ("labels", lambda labels: torch.cat([labels, labels])),
        ("labels", lambda labels: labels.double()),
        ("labels", lambda labels: labels.long()),
        ("labels", lambda labels: labels.index_fill(0, torch.tensor([1]), torch.nan)),
        ("images", lambda images: images / 255),
        ("images", lambda images: images > 100),
        ("images", lambda images: images.long()),
        ("images", lambda images: images.unsqueeze(1)),
        ("images", lambda images: images[:-1]),
    ],
)
def test_what_would_train_nonsense_is_refused_by_name(
    part: str, name: str, change: Callable[[Tensor], Tensor]
) -> None:
    split = made_split(RUN)
    field = f"{part}_{name}"
    with pytest.raises(ValueError, match=rf"^split\.(train|test)_{name}: expected .*, got "):
        changed: Any = {field: change(getattr(split, field))}
        train(RUN, replace(split, **changed), CPU, EagerLearner)


def test_weights_are_kept_where_the_execution_says_so(tmp_path: Path) -> None:
    result = bsr.train(RUN, made_split(RUN), replace(CPU, save_models=str(tmp_path / "models")))
    assert result.notes == ()
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{RUN.key}-eager.safetensors"]


def test_weights_that_nobody_can_keep_are_a_note_on_the_result() -> None:
    def full(_weights: dict[str, Tensor]) -> None:
        raise OSError("No space left on device")

    result = trained(RUN, on_weights=full)
    assert (result.status, result.notes) == ("ok", ("OSError: No space left on device",))
    assert result.final_mse is not None


def test_an_absurd_error_is_a_divergence_although_it_is_finite() -> None:
    class Absurd(EagerLearner):
        def evaluate(self, _images: Tensor, _labels: Tensor) -> Evaluation:
            return Evaluation(mse=1e34, mae=1e17, prediction_spread=1e16)

    result = trained(RUN, learner=Absurd)
    assert (result.status, result.final_mse) == ("diverged", None)
    assert "times that of the best constant" in result.message
    assert result.test_mse[-1] == 1e34


def test_an_observer_hears_of_every_finished_epoch() -> None:
    heard: list[int] = []
    trained(replace(RUN, epochs=3), learner=puppet(), on_epoch=heard.append)
    assert heard == [1, 2, 3]


def test_training_time_has_no_evaluation_in_it() -> None:
    def slowly(_self: Puppet, _images: Tensor, _labels: Tensor) -> Evaluation:
        time.sleep(0.2)
        return Evaluation(1.0, 1.0, 1.0)

    result = trained(replace(RUN, epochs=1), learner=puppet(evaluate=slowly))
    assert result.total_training_seconds < 0.2 <= min(result.evaluation_seconds)


def test_warming_up_is_neither_set_up_nor_training() -> None:
    def warm_up(self: Puppet, model: RegressionCNN, run: Run, split: Split, execution: Execution) -> None:
        Puppet.__init__(self, model, run, split, execution)
        time.sleep(0.2)

    result = trained(replace(RUN, epochs=1), learner=puppet(__init__=warm_up, warmup_seconds=0.2))
    assert result.warmup_seconds == 0.2
    assert result.setup_seconds < 0.2
    assert result.total_training_seconds < 0.2


def test_it_trains_on_as_many_threads_as_asked_and_says_so() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def count(_self: Puppet, order: Tensor, _deadline: float) -> Tensor:
        seen.append(torch.get_num_threads())
        return torch.ones(6)

    result = trained(replace(RUN, epochs=1), Execution(threads=before + 1), puppet(train_epoch=count))
    assert seen == [result.threads] == [before + 1]
    assert torch.get_num_threads() == before
    assert trained(RUN, Execution(), puppet()).threads == before


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_every_precision_trains(precision: Any) -> None:
    result = trained(replace(RUN, precision=precision))
    assert result.status == "ok"
    assert result.test_mse[-1] == pytest.approx(trained(RUN).test_mse[-1], rel=0.2)


# How a training can end


def sgd(rate: float) -> Run:
    return Run(
        task="mean",
        batch_size=32,
        seed=32,
        learning_rate=rate,
        epochs=3,
        optimiser="sgd",
        train_images=320,
        test_images=100,
    )


def test_sgd_trains_on_raw_pixels_at_a_small_rate() -> None:
    run = sgd(1e-5)
    result = train(run, load_split(run), CPU, EagerLearner)
    assert result.status == "ok"
    assert result.final_mse is not None
    assert result.test_mse[0] is not None
    assert result.final_mse < result.test_mse[0] / 2


def test_sgd_diverges_on_raw_pixels_at_the_step_where_the_textbook_loop_does() -> None:
    run = sgd(1e-4)
    split = load_split(run)
    result = train(run, split, CPU, EagerLearner)
    losses = textbook(run, split)[2]
    first = next(step for step, loss in enumerate(losses, start=1) if not math.isfinite(loss))
    assert result.status == "diverged"
    assert result.diverged_at_step == first <= 5  # within four steps of the first
    assert result.message == f"the training loss was not finite at step {first}"
    assert (len(result.test_mse), len(result.training_loss)) == (2, 1)
    assert result.test_mse[-1] is result.training_loss[-1] is result.final_mse is None
    assert result.test_mse[0] is not None


@pytest.mark.parametrize(("losses", "first"), [([1, 2, math.inf, 1, math.nan, 1], 3), ([math.nan] * 6, 1)])
def test_the_first_step_that_is_not_finite_is_named(losses: list[float], first: int) -> None:
    result = trained(RUN, learner=puppet(train_epoch=lambda _self, _order, _deadline: torch.tensor(losses)))
    assert (result.status, result.diverged_at_step, result.steps) == ("diverged", first, 6)


def test_steps_are_counted_from_the_start_of_the_training() -> None:
    epochs = itertools.chain([torch.ones(6)], itertools.repeat(torch.tensor([1, 1, math.inf, 1, 1, 1])))
    result = trained(
        replace(RUN, epochs=5), learner=puppet(train_epoch=lambda _self, _order, _deadline: next(epochs))
    )
    assert (result.diverged_at_step, result.steps) == (9, 12)


def test_a_test_error_that_is_not_finite_is_a_divergence_too() -> None:
    result = trained(RUN, learner=puppet(mse=math.nan))
    assert (result.status, result.diverged_at_step) == ("diverged", None)
    assert result.message == "the test MSE was not finite after step 6"


class DeadLearner(EagerLearner):
    """Ends every epoch with all that reaches the last layer switched off."""

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        losses = super().train_epoch(order, deadline)
        assert isinstance(self.model, RegressionCNN)
        with torch.no_grad():
            self.model.fc1.bias.fill_(-math.inf)
        return losses


def test_constant_predictions_of_varying_labels_are_dead_and_have_their_error() -> None:
    result = trained(RUN, learner=DeadLearner)
    assert result.status == "dead"
    assert result.message == "the predictions are constant where the labels are not"
    assert result.prediction_spread == 0
    assert result.normalised_mse is not None
    assert result.normalised_mse >= 1  # no constant is better than the best


def test_a_training_past_its_time_stops_between_two_steps() -> None:
    result = trained(RUN, Execution(threads=1, timeout_seconds=0.001))
    assert (result.status, result.message) == ("timed_out", "stopped after 0.001 s")
    assert (len(result.test_mse), result.training_loss, result.final_mse) == (1, (), None)


def test_epochs_before_the_time_limit_are_kept() -> None:
    epochs = iter([torch.ones(6)])

    def second_one_too_long(_self: Puppet, _order: Tensor, deadline: float) -> Tensor:
        assert time.monotonic() < deadline < time.monotonic() + 60
        for losses in epochs:
            return losses
        raise TimeLimitReached

    result = trained(RUN, Execution(timeout_seconds=60), puppet(train_epoch=second_one_too_long))
    assert (result.status, result.message) == ("timed_out", "stopped after 60 s")
    assert len(result.training_loss) == len(result.training_seconds) == len(result.test_mse) - 1 == 1


@pytest.mark.parametrize("where", ["__init__", "train_epoch", "evaluate"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has ..."),
        MemoryError("no room"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
    ids=repr,
)
def test_running_out_of_memory_is_a_result_with_the_batch_size(where: str, error: Exception) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    result = trained(RUN, learner=puppet(**{where: fail}))
    assert result.status == "out_of_memory"
    assert result.message == f"batch size 16: {(str(error) or 'MemoryError').splitlines()[0]}"
    assert len(result.test_mse) == (1 if where == "train_epoch" else 0)


def test_any_other_error_is_raised_and_the_settings_are_as_before() -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="a bug"):
        trained(RUN, Execution(threads=threads + 1), puppet(train_epoch=fail))
    assert torch.get_num_threads() == threads
