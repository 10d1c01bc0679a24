"""The native engine against PyTorch: its gradients, its steps, its errors, at every vector width of this CPU.

Where the two largest values of a pooling window differ by less than float32 resolves, another of them may win
than in float64, and its gradient goes elsewhere. The tolerance of 1e-5 of the gradient's norm leaves room for
that; without it the kernel stays below 1e-6.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from bsr.data.images import Split, load_images, load_split
from bsr.data.label_check import labels
from bsr.engines import native
from bsr.engines.eager import EagerLearner
from bsr.engines.native import NativeLearner
from bsr.machine import compiler
from bsr.model import RegressionCNN
from bsr.result import Result
from bsr.run import Execution, Run
from bsr.training.loop import LOSSES, data_order, initial_model, train

CPU = Execution(device="cpu", threads=1)
RUN = Run(
    task="mean", batch_size=16, seed=5, learning_rate=0.0015, epochs=2, train_images=330, test_images=70
)
RATES = {("adam", "mse"): 0.0015, ("adam", "mae"): 0.0015, ("sgd", "mse"): 1e-6, ("sgd", "mae"): 1e-4}
WIDTHS = {"native": "", "AVX2": "-mavx2 -mfma", "SSE": "-msse2"}
NEEDS = {"native": "", "AVX2": "__AVX2__", "SSE": "__SSE2__"}

pytestmark = pytest.mark.usefixtures("native_kernel")


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow) if name == "SSE" else name for name in WIDTHS]
)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The kernel with as many lanes as that instruction set has; the tests that follow use it."""
    name = str(request.param)
    if NEEDS[name] not in compiler.macros(compiler.command(), compiler.target_flags()):
        pytest.skip(f"this CPU has no {name}")
    monkeypatch.setenv("BSR_KERNEL_FLAGS", WIDTHS[name])
    return native.lanes()


def made_split(run: Run) -> Split:
    """Random images with blank borders, as MNIST's: in their windows all corners are equal."""
    pixels = torch.Generator().manual_seed(run.seed)
    images = torch.zeros(run.train_images + run.test_images, 28, 28, dtype=torch.uint8)
    images[:, 5:23, 5:23] = torch.randint(0, 256, (len(images), 18, 18), dtype=torch.uint8, generator=pixels)
    labels = images.double().mean((1, 2)).float()
    n = run.train_images
    return Split(images[:n], labels[:n], images[n:], labels[n:], "made", run.task)


def learner(run: Run = RUN, split: Split | None = None) -> NativeLearner:
    return NativeLearner(initial_model(run.seed)[0], run, split or made_split(run), CPU)


@cache
def trained_eagerly(run: Run) -> Result:
    """What the eager engine makes of it; once for the kernel's vector widths."""
    return train(run, made_split(run), CPU, EagerLearner)


def eager(run: Run = RUN, split: Split | None = None) -> EagerLearner:
    return EagerLearner(initial_model(run.seed)[0], run, split or made_split(run), CPU)


def float64_gradient(model: RegressionCNN, run: Run, split: Split, order: Tensor) -> tuple[Tensor, float]:
    """Flat gradient and loss of one batch, by PyTorch in float64."""
    model = copy.deepcopy(model).double()
    predictions = model(split.train_images[order].unsqueeze(1).double())
    loss = LOSSES[run.loss](predictions, split.train_labels[order].double())
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([value.flatten() for value in gradient]), loss.item()


def backward_in_float64(model: RegressionCNN, images: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Flat gradients for slopes [N] of the loss by prediction, and for their absolute values."""
    model = copy.deepcopy(model).double()
    predictions, parameters = model(images.unsqueeze(1).double()), list(model.parameters())
    one, other = (
        torch.autograd.grad(predictions, parameters, slopes, retain_graph=True)
        for slopes in (slope, slope.abs())
    )
    return torch.cat([value.flatten() for value in one]), torch.cat([value.flatten() for value in other])


def told_apart(model: RegressionCNN, images: Tensor) -> Tensor:
    """bool [N]: images in which float32 and float64 see the same winners and the same dead units.

    Where the two largest values of a window differ by less than float32 resolves, or a maximum lies so near
    0, another order of the sums may give the gradient to another.
    """
    model = copy.deepcopy(model).double()
    hidden = images.unsqueeze(1).double()
    clear = torch.ones(len(images), dtype=torch.bool)
    with torch.no_grad():
        for layer in (model.conv1, model.conv2):
            terms = functional.conv2d(hidden.abs(), layer.weight.abs(), layer.bias.abs())  # type: ignore[union-attr]
            values, resolved = (
                functional.unfold(each.flatten(0, 1).unsqueeze(1), 2, stride=2)
                for each in (layer(hidden), terms)
            )
            best, second = values.topk(2, dim=1).values.unbind(1)
            least = 1e-6 * resolved.amax(1)
            unsure = ((best > second) & (best - second < least) & (best > -least)) | (best.abs() < least)
            clear &= ~unsure.view(len(images), -1).any(1)
            hidden = functional.relu(functional.max_pool2d(layer(hidden), 2))
    return clear


def relative_error(run: Run, split: Split, order: Tensor, model: RegressionCNN | None = None) -> float:
    """Of the kernel's gradient of one batch, in norm; its loss is checked beside."""
    model = model or initial_model(run.seed)[0]
    wanted, wanted_loss = float64_gradient(model, run, split, order)
    gradient, loss = NativeLearner(model, run, split, CPU).gradient(order)
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    found = torch.cat([value.flatten() for value in gradient.values()]).double()
    return float((found - wanted).norm() / wanted.norm())


SIZES = (1, 5, 8, 15, 16, 17, 33, 64, 100, 1024)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "task", "steps"),
    [
        *(("native", task, steps) for task in ("mean", "std", "var") for steps in (0, 400)),
        ("AVX2", "var", 400),
        ("SSE", "std", 400),
    ],
    indirect=["width"],
)
def test_its_gradients_on_mnist_lose_nothing_on_the_way_back(width: int, task: str, steps: int) -> None:
    """Within 1e-6 in norm of float64's for the same winners and slopes of the loss, at every batch size.

    For the same slopes, since after some training a prediction and its label agree in their first digits, and
    what float32 leaves of their difference says nothing about the gradient. In norm of what the images pass
    on before that cancels in their sum.
    """
    run = Run(task=task, batch_size=16, seed=16, learning_rate=0.001, train_images=1_300)
    images = load_images("MNIST").train[:1_300]
    split = Split(images, labels(images, task), images, labels(images, task), "", task)
    trained = learner(run, split)
    trained.train_epoch(torch.arange(16 * steps) % 1_300, math.inf) if steps else None
    model = copy.deepcopy(initial_model(run.seed)[0])
    model.load_state_dict(trained.weights())
    error = trained.predictions(images) - split.train_labels
    clear = told_apart(model, images).nonzero().flatten()
    for size in SIZES if width == 16 else SIZES[:-1]:
        order = clear[torch.randperm(len(clear), generator=torch.Generator().manual_seed(size))[:size]]
        assert len(order) == size
        slope = 2 * error[order].double() / size
        wanted, uncancelled = backward_in_float64(model, images[order], slope)
        found = torch.cat([value.flatten() for value in trained.gradient(order)[0].values()]).double()
        assert float((found - wanted).norm()) < 1e-6 * float(uncancelled.norm()), size


def test_a_gradient_of_almost_nothing_is_as_exact(width: int) -> None:
    """The median's labels are 0: what is left of its gradient is small in every digit that float32 has."""
    run = Run(task="median", batch_size=16, seed=16, learning_rate=0.001, train_images=256)
    images = load_images("MNIST").train[:256]
    split = Split(images, torch.zeros(256), images, torch.zeros(256), "", "median")
    trained = learner(run, split)
    trained.train_epoch(torch.arange(6_400) % 256, math.inf)
    model = copy.deepcopy(initial_model(run.seed)[0])
    model.load_state_dict(trained.weights())
    order = torch.arange(100)
    wanted, _ = float64_gradient(model, run, split, order)
    found = torch.cat([value.flatten() for value in trained.gradient(order)[0].values()]).double()
    assert float((found - wanted).abs().max()) < 1e-4 * float(wanted.abs().max()) + 1e-5


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_its_gradients_are_those_of_pytorch_in_float64(width: int, loss: str) -> None:
    run = replace(RUN, loss=loss)  # type: ignore[arg-type]
    split = made_split(run)
    for size in (1, width - 1, width, width + 1, 64, 330):
        order = torch.randperm(330, generator=torch.Generator().manual_seed(size))[:size]
        assert relative_error(run, split, order) < 1e-5


def test_of_equal_values_in_a_window_the_first_takes_the_gradient(width: int) -> None:
    """The first layer copies a pixel each, of which many are equal and their neighbours are not."""
    model = initial_model(RUN.seed)[0]
    with torch.no_grad():
        model.conv1.weight.zero_()
        model.conv1.weight[:, 0, 2, 2] = 1
        torch.nn.init.zeros_(model.get_parameter("conv1.bias"))
    split = made_split(RUN)
    few = replace(split, train_images=split.train_images % 3)
    assert relative_error(RUN, few, torch.arange(20), model) < 1e-5


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 70),
    loss=st.sampled_from(["mse", "mae"]),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([0.01, 1.0, 1000.0]),
)
def test_any_batch_size_and_any_labels_give_pytorchs_gradient(
    width: int, size: int, loss: str, seed: int, scale: float
) -> None:
    run = replace(RUN, seed=seed, loss=loss, train_images=90)  # type: ignore[arg-type]
    split = made_split(run)
    split = replace(
        split, train_labels=scale * torch.randn(90, generator=torch.Generator().manual_seed(seed))
    )
    model, images = initial_model(seed)[0], split.train_images
    with torch.no_grad():
        predictions = model(images.unsqueeze(1).float())
    off = (predictions - split.train_labels).abs()
    clear = told_apart(model, images) & (off > 0.1 * predictions.abs())  # else float32 cancels in the loss
    assume(int(clear.sum()) >= size)
    assert relative_error(run, split, clear.nonzero().flatten()[:size]) < 1e-5


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_twenty_of_its_steps_are_those_of_the_eager_engine(width: int, optimiser: str, loss: str) -> None:
    run = replace(RUN, optimiser=optimiser, loss=loss, learning_rate=RATES[optimiser, loss], train_images=320)  # type: ignore[arg-type]
    order = next(data_order(torch.Generator().manual_seed(1), run.train_images))
    wanted = eager(run).train_epoch(order, math.inf)
    found = learner(run).train_epoch(order, math.inf)
    assert len(wanted) == 20
    assert wanted[-5:].mean() < 0.9 * wanted[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 80), images=st.integers(1, 70))
def test_every_batch_counts_and_the_last_is_what_is_left(width: int, size: int, images: int) -> None:
    run = replace(RUN, batch_size=size, train_images=images, learning_rate=1e-5)
    split, order = made_split(run), torch.randperm(images, generator=torch.Generator().manual_seed(size))
    wanted, found = eager(run, split), learner(run, split)
    losses = found.train_epoch(order, math.inf)
    assert len(losses) == run.steps_per_epoch
    torch.testing.assert_close(losses, wanted.train_epoch(order, math.inf), rtol=1e-4, atol=1e-6)
    for name, value in wanted.weights().items():
        torch.testing.assert_close(found.weights()[name], value, rtol=1e-4, atol=2e-5)


def test_it_evaluates_as_the_eager_engine_does(width: int) -> None:
    for images in (1, width, 70):
        split = made_split(replace(RUN, test_images=images))
        made = eager(RUN, split), learner(RUN, split)
        wanted, found = (each.evaluate(split.test_images, split.test_labels) for each in made)
        assert found.mse == pytest.approx(wanted.mse, rel=1e-5)
        assert found.mae == pytest.approx(wanted.mae, rel=1e-5)
        assert found.prediction_spread == pytest.approx(wanted.prediction_spread, rel=1e-4)


@pytest.mark.slow
def test_it_trains_mnist_to_the_same_error_in_the_first_epoch_at_batch_size_1024() -> None:
    """On a quarter of it, to save time; smaller batches take more steps and are chaotic."""
    run = Run(task="mean", batch_size=1024, seed=1024, learning_rate=0.0015, epochs=1, train_images=15_360)
    split = load_split(run)
    wanted, found = train(run, split, CPU, EagerLearner), train(run, split, CPU, NativeLearner)
    assert found.test_mse == pytest.approx(wanted.test_mse, rel=0.02)
    assert found.order_digest == wanted.order_digest


def test_the_same_run_gives_the_same_bits_again() -> None:
    first, again = (train(RUN, made_split(RUN), CPU, NativeLearner) for _ in range(2))
    assert first.test_mse == again.test_mse
    assert first.training_loss == again.training_loss


def test_equal_predictions_have_no_spread_at_all() -> None:
    dead = initial_model(RUN.seed)[0]
    torch.nn.init.zeros_(dead.fc2.weight)
    split = made_split(RUN)
    found = NativeLearner(dead, RUN, split, CPU).evaluate(split.test_images, split.test_labels)
    assert found.prediction_spread == 0.0


def test_an_error_of_exactly_nothing_has_no_gradient_under_mae() -> None:
    model = initial_model(RUN.seed)[0]
    torch.nn.init.zeros_(model.fc2.weight)
    torch.nn.init.constant_(model.fc2.bias, 0.25)
    run = replace(RUN, loss="mae")
    split = replace(made_split(run), train_labels=torch.full((330,), 0.25))
    gradient, loss = NativeLearner(model, run, split, CPU).gradient(torch.arange(20))
    assert loss == 0
    assert all(not value.any() for value in gradient.values())


@pytest.mark.parametrize("gradient", [2e-8, 5e-38])
def test_adams_epsilon_is_pytorchs_for_the_smallest_gradients_too(gradient: float) -> None:
    """One step of a single weight; the second gradient's first moment is subnormal."""
    model = initial_model(RUN.seed)[0]
    for name in ("fc2.weight", "fc2.bias"):
        torch.nn.init.zeros_(model.get_parameter(name))
    split = replace(made_split(RUN), train_labels=torch.full((330,), -gradient / 2))
    trained = NativeLearner(model, replace(RUN, batch_size=330), split, CPU)
    trained.train_epoch(torch.arange(330), math.inf)
    step = RUN.learning_rate * gradient / (gradient + 1e-8)
    assert trained.weights()["fc2.bias"].item() == pytest.approx(-step, rel=1e-5, abs=0)


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize(
    ("optimiser", "rate"),
    [("adam", 1e9), ("adam", 3e8), ("sgd", 1e9), ("sgd", 1e3), ("sgd", 1.0), ("sgd", 0.1), ("sgd", 0.01)],
)
def test_a_divergence_is_found_at_the_step_at_which_eager_finds_it(
    width: int, optimiser: str, rate: float, loss: str
) -> None:
    """A gradient of 0 is skipped, so that 0 times infinity is no NaN here: the loss tells all the same."""
    run = replace(RUN, learning_rate=rate, optimiser=optimiser, loss=loss, epochs=3)  # type: ignore[arg-type]
    result, wanted = train(run, made_split(run), CPU, NativeLearner), trained_eagerly(run)
    assert result.diverged_at_step == wanted.diverged_at_step
    assert wanted.diverged_at_step or (optimiser, loss) == ("sgd", "mae")


@pytest.mark.parametrize("name", list(initial_model(0)[0].state_dict()))
def test_a_weight_that_is_not_a_number_reaches_the_loss(width: int, name: str) -> None:
    model = initial_model(RUN.seed)[0]
    with torch.no_grad():
        model.get_parameter(name).flatten()[-1] = math.nan
    assert math.isnan(NativeLearner(model, RUN, made_split(RUN), CPU).gradient(torch.arange(5))[1])


@pytest.mark.parametrize("corner", range(4))
def test_a_value_that_is_not_a_number_wins_its_window(width: int, corner: int) -> None:
    """An infinite value in a corner of the first layer's output meets a weight of zero."""
    row, column = divmod(corner, 2)
    model = initial_model(RUN.seed)[0]
    with torch.no_grad():
        model.conv1.weight.zero_()
        model.conv1.weight[0, 0, 4 * row, 4 * column] = 3e38
        model.conv2.weight[:, 0, 4 * row, 4 * column] = 0
    split = made_split(RUN)
    split.train_images.zero_()[:, 27 * row, 27 * column] = 255
    assert math.isnan(NativeLearner(model, RUN, split, CPU).gradient(torch.arange(5))[1])


def test_gradients_change_nothing_and_weights_are_a_copy() -> None:
    trained = learner()
    before = trained.weights()
    trained.gradient(torch.arange(7))
    trained.weights()["fc2.bias"].fill_(7)
    torch.testing.assert_close(trained.weights(), before, rtol=0, atol=0)
    assert list(before) == list(initial_model(RUN.seed)[0].state_dict())


def test_it_stops_when_the_time_is_over() -> None:
    run = replace(RUN, train_images=20_000)
    split = made_split(run)
    result = train(run, split, replace(CPU, timeout_seconds=0.05), NativeLearner)
    assert result.status == "timed_out"


def test_other_threads_go_on_while_it_trains() -> None:
    split = made_split(replace(RUN, train_images=4_000))
    trained = learner(replace(RUN, train_images=4_000, batch_size=4_000), split)
    ticks: list[float] = []
    training = threading.Thread(target=trained.train_epoch, args=(torch.arange(4_000), math.inf))
    training.start()
    while training.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    assert len(ticks) > 3


@pytest.mark.parametrize(("device", "precision"), [("cuda", "float32"), ("cpu", "bfloat16"), ("cpu", "tf32")])
def test_what_it_is_not_made_for_is_refused_in_one_line(device: str, precision: str) -> None:
    run = replace(RUN, precision=precision)  # type: ignore[arg-type]
    there = replace(CPU, device=device)
    assert NativeLearner.unsupported_reason(run, there)
    with pytest.raises(ValueError, match=r"^the native engine (needs|computes in) .*; use the eager engine$"):
        NativeLearner(initial_model(1)[0], run, made_split(run), there)


@pytest.mark.parametrize("order", [[0, 330], [-1, 3], []])
def test_an_order_outside_the_images_is_refused(order: list[int]) -> None:
    with pytest.raises(IndexError, match=r"expected indices 0\.\.329"):
        learner().train_epoch(torch.tensor(order, dtype=torch.int64), math.inf)


def test_images_of_another_kind_are_refused() -> None:
    split = made_split(RUN)
    with pytest.raises(ValueError, match=r"expected uint8 or float32 \[330, H, W\] or .*, got torch.int32"):
        learner(RUN, replace(split, train_images=split.train_images.int()))
    with pytest.raises(
        ValueError,
        match=r"^images: expected \(\(1, 28, 28\), torch\.uint8\), as those to train on, got .*float32",
    ):
        learner(RUN, split).evaluate(split.test_images.float(), split.test_labels)
