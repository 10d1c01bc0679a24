"""The native engine for any chain of layers: read rightly or refused by name, and as exact as float32."""

from __future__ import annotations

import copy
import math
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from bsr.engines import build, generated, layers, self_check, source
from bsr.engines.eager import EagerLearner
from bsr.engines.layers import Activation, Layer, NotAChainError
from bsr.engines.native import NativeLearner
from bsr.machine import compiler
from bsr.machine.compiler import KernelError
from bsr.run import Run
from chains import (
    CHAINS,
    CPU,
    Case,
    Chained,
    Computing,
    as_given,
    clear_of_kinks,
    gradient,
    learner_of,
    made,
    run_of,
    slopes_of,
    split_of,
)

pytestmark = pytest.mark.usefixtures("native_kernel")
MOST_DRAWN = 12
"""Each is compiled, in three seconds."""
QUICK = {"oblong", "pools"}
"""Compiled in the quick suite; together they have most kinds of layers."""
EVERY = [
    pytest.param(name, id=name, marks=() if name in QUICK else pytest.mark.slow)
    for name in CHAINS
    if name != "dropping"
]


def read(*body: nn.Module, shape: tuple[int, int, int] = (1, 28, 28)) -> tuple[Layer, ...]:
    return source.fused(layers.read(Chained(*body), shape))


def flat(found: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in found.values()]).double()


@pytest.fixture
def hastily(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are compiled for any processor and little optimised, in half a second."""
    monkeypatch.setenv("BSR_KERNEL_FLAGS", "-O1")


def check_gradients(case: Case, sizes: tuple[int, ...], images: int = 400, *, strict: bool = True) -> None:
    """Of batches of images clear of kinks, and of any images one by one, against float64.

    For the same slopes of the loss: where a prediction and its label agree in their first digits, what
    float32 leaves of their difference says nothing about the way back. A chain that was drawn is not held so
    strictly: every image may have a unit at a kink, and a Tanh that saturates costs PyTorch as much.
    """
    run = run_of(images)
    split, model = split_of(case, images), made(case)
    learner, exact = NativeLearner(model, run, split, CPU), copy.deepcopy(model).double()
    given, labels = as_given(split), split.train_labels
    predicted, clear = (
        learner.predictions(split.train_images),
        clear_of_kinks(model, given).nonzero().flatten(),
    )
    assert len(clear) >= 50 or not strict
    for size in sizes if len(clear) else ():
        order = clear[torch.randperm(len(clear), generator=torch.Generator().manual_seed(size))[:size]]
        slope = slopes_of(predicted[order], labels[order])
        wanted, found = gradient(exact, given[order], slope), flat(learner.gradient(order)[0])
        its = float((gradient(model, given[order], slope).double() - wanted).norm())
        allowed = max(2e-6 * float(wanted.norm()), 0 if strict else 2 * its)
        assert float((found - wanted).norm()) <= allowed, (size, its)
    right = exact.eval()(given.double()).detach()
    assert float((predicted - right).abs().max()) <= 1e-5 * float(right.abs().max())
    outliers = [0, 0]
    for index in torch.arange(images).split(1)[: images // 4]:
        slope = slopes_of(predicted[index], labels[index])
        one = gradient(exact, given[index], slope)
        of_both = flat(learner.gradient(index)[0]), gradient(model, given[index], slope).double()
        for number, found in enumerate(of_both):
            outliers[number] += float((found - one).norm()) > 1e-5 * float(one.norm())
    assert outliers[0] <= 1.5 * outliers[1] + 3, outliers


@pytest.mark.parametrize("name", EVERY)
def test_its_gradients_are_float64_s_where_no_unit_is_at_a_kink(name: str) -> None:
    check_gradients(CHAINS[name], (1, 5, 16, 17, 40))


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-mavx2 -mfma", "-msse2"])
@pytest.mark.parametrize("name", ["colour", "strided", "mixed", "oblong", "large kernels"])
def test_and_at_other_vector_widths(name: str, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if f"__{flags[2:6].upper()}" not in compiler.macros(compiler.command(), compiler.target_flags()):
        pytest.skip(f"this CPU has no {flags}")
    monkeypatch.setenv("BSR_KERNEL_FLAGS", flags)
    check_gradients(CHAINS[name], (1, 5, 16, 17, 40))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["colour", "strided", "mixed", "oblong", "large kernels", "pools", "scaled"])
def test_and_by_the_other_compiler(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "clang++" if "clang" not in compiler.macros(compiler.command(), ()) else "g++"
    if not shutil.which(other):
        pytest.skip(f"no compiler {other}: no clang beside GCC")
    monkeypatch.setenv("CXX", other)
    check_gradients(CHAINS[name], (1, 5, 16, 17, 40))


@st.composite
def drawn_chains(draw: st.DrawFn) -> Case:
    """A network of up to three convolutions with any kernels, strides, paddings, activations and pools."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 9)))
        return _drawn(draw)


def _drawn(draw: st.DrawFn) -> Case:
    shape = (draw(st.integers(1, 5)), draw(st.integers(12, 26)), draw(st.integers(12, 26)))
    channels = shape[0]
    body: list[nn.Module] = []
    trial = torch.zeros(1, *shape)
    activations = st.sampled_from([nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.Identity])

    def tried(*modules: nn.Module) -> bool:
        nonlocal trial
        try:
            trial = nn.Sequential(*modules)(trial)
        except RuntimeError:  # too few pixels are left
            return False
        body.extend(modules)
        return True

    for _ in range(draw(st.integers(1, 3))):
        kernel, stride = (st.tuples(st.integers(1, most), st.integers(1, most)) for most in (7, 3))
        size = draw(kernel)
        padding = draw(st.integers(0, size[0] // 2)), draw(st.integers(0, size[1] // 2))
        out = draw(st.integers(1, 40))
        convolution = nn.Conv2d(channels, out, size, draw(stride), padding, bias=draw(st.booleans()))
        if not tried(convolution, draw(activations)()):
            continue
        channels = out
        for _ in range(draw(st.integers(0, 2))):
            side, step = draw(st.integers(1, 4)), draw(st.integers(1, 3))
            kind = draw(st.sampled_from([nn.MaxPool2d, nn.MaxPool2d, nn.AvgPool2d]))
            tried(kind(side, step if draw(st.booleans()) else side))
    body += [nn.Flatten(), nn.Linear(trial[0].numel(), 5), draw(activations)(), nn.Linear(5, 1)]
    model = Chained(*body)
    dtype = draw(st.sampled_from([torch.uint8, torch.float32]))
    return Case(lambda: copy.deepcopy(model), shape, dtype)


@pytest.mark.slow
@settings(max_examples=MOST_DRAWN, phases=(Phase.explicit, Phase.generate))  # a smaller one is compiled anew
@given(case=drawn_chains())
def test_any_chain_that_is_drawn_is_as_exact(case: Case) -> None:
    check_gradients(case, (17,), images=160, strict=False)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHAINS]
)
def test_the_same_run_gives_the_same_bits_again(name: str) -> None:
    order = torch.arange(100)
    learners = [learner_of(CHAINS[name], run_of(100)) for _ in range(2)]
    losses = [each.train_epoch(order, math.inf) for each in learners]
    assert torch.equal(losses[0], losses[1])
    assert all(torch.equal(value, learners[1].weights()[key]) for key, value in learners[0].weights().items())


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_twenty_of_its_steps_are_those_of_the_eager_engine(optimiser: str, loss: str) -> None:
    case = CHAINS["oblong"]
    run = run_of(320, optimiser=optimiser, loss=loss, learning_rate=0.001, model="chains:Oblong")
    split, order = split_of(case, 320), torch.arange(320)
    wanted = EagerLearner(made(case), run, split, CPU)
    found = NativeLearner(made(case), run, split, CPU)
    torch.testing.assert_close(
        found.train_epoch(order, math.inf), wanted.train_epoch(order, math.inf), rtol=1e-4, atol=1e-5
    )
    tested = split.test_images, split.test_labels
    assert found.evaluate(*tested).mse == pytest.approx(wanted.evaluate(*tested).mse, rel=1e-4)


# ---- what is read ------------------------------------------------------------------------------------------


def test_what_is_written_in_several_ways_is_read_as_one() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 4, 5)
            self.last = nn.Linear(576, 1)

        def forward(self, images: Tensor) -> Tensor:
            hidden = functional.max_pool2d(self.first(images), 2).relu_()
            found: Tensor = self.last(hidden.reshape(len(hidden), -1))[:, 0]
            return found

    modules = read(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 1))
    assert source.fused(layers.read(Written(), (1, 28, 28))) == modules
    assert [layer.kind for layer in modules] == ["image", "convolution", "linear"]
    assert modules[1] == Layer(
        "convolution", (4, 12, 12), (5, 5), weight=0, bias=100, pool=2, activation=Activation("Relu")
    )


def test_padding_that_keeps_the_sides_is_read_in_pixels() -> None:
    end = nn.Flatten(), nn.Linear(3136, 1)
    same, given = (read(nn.Conv2d(1, 4, 5, padding=padding), *end) for padding in ("same", 2))
    assert same == given


def test_constants_one_after_the_other_are_one_layer() -> None:
    scaling = Computing(lambda images: 1 - (images / 2 - 3) * 4)
    _, scaled, _ = read(scaling, nn.Flatten(), nn.Linear(784, 1))
    assert scaled.activation == Activation("Affine", (-2.0, 13.0))


def test_dropout_between_a_convolution_and_its_pool_keeps_them_apart() -> None:
    body = nn.Conv2d(1, 4, 5), nn.Dropout(0.25), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(576, 1)
    kinds = [(layer.kind, layer.probability) for layer in read(*body)]
    assert kinds[:4] == [("image", 0), ("convolution", 0), ("dropout", 0.25), ("elementwise", 0)]


def test_its_source_names_shapes_alone_and_its_digest_all_that_shapes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = {
        generated.read(made(case), case.shape, dtype)
        for case in CHAINS.values()
        for dtype in (torch.uint8, torch.float32)
    }
    assert len(texts) == 2 * len(CHAINS)
    assert len({source.digest(text) for text in texts}) == len(texts)
    assert max(map(len, texts)) < 2_500
    one = texts.pop()
    before = source.digest(one)
    shutil.copytree(source.HEADERS, tmp_path / "kernel")
    (tmp_path / "kernel" / "linear.h").write_text("// another\n", encoding="utf-8")
    monkeypatch.setattr(source, "HEADERS", tmp_path / "kernel")
    source._headers.cache_clear()
    assert source.digest(one) != before
    source._headers.cache_clear()


class Residual(nn.Module):
    """Adds what it was given to what it made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.convolution(images)  # type: ignore[no-any-return]


class Twice(nn.Module):
    """One layer, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(784, 784)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(self.layer(images.flatten(1)))  # type: ignore[no-any-return]


class Evaluated(nn.Module):
    """Another network when it is evaluated."""

    def forward(self, images: Tensor) -> Tensor:
        return images if self.training else images.relu()


class Scaled(nn.Module):
    """Takes its weights through a function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 1, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.weight.tanh())


class Keeping(nn.Module):
    """Keeps a tensor that its first forward pass made."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3)
        self.kept: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = torch.full((), 2.0)
        return self.layer(images) * self.kept  # type: ignore[no-any-return]


def _end() -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.LazyLinear(1)


REFUSED: dict[str, tuple[Callable[[], tuple[nn.Module, ...]], str]] = {
    "batch norm": (
        lambda: (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), *_end()),
        r"knows no buffers, here running_mean of body\.1 \(BatchNorm2d\)",
    ),
    "residual": (lambda: (Residual(), *_end()), r"add in body\.0 \(Residual\) takes something else"),
    "of the batch": (
        lambda: (Computing(lambda x: x - x.mean()), *_end()),
        r"means over an image's rows and columns, here mean in body\.0 \(Computing\)",
    ),
    "layer norm": (
        lambda: (nn.Flatten(), nn.LayerNorm(784), nn.Linear(784, 1)),
        r"does not know native_layer_norm of layer_norm in body\.1 \(LayerNorm\)",
    ),
    "gelu": (lambda: (nn.Conv2d(1, 4, 3), nn.GELU(), *_end()), r"does not know gelu in body\.1 \(GELU\)"),
    "groups": (
        lambda: (nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), *_end()),
        r"without groups or dilation, here convolution of conv2d in body\.1 \(Conv2d\)",
    ),
    "dilation": (lambda: (nn.Conv2d(1, 4, 3, dilation=2), *_end()), r"without groups or dilation, here conv"),
    "turned round": (
        lambda: (nn.ConvTranspose2d(1, 4, 3), *_end()),
        r"without groups or dilation, here convolution of conv_transpose2d in body\.0 \(ConvTranspose2d\)",
    ),
    "linear in every row": (
        lambda: (nn.Linear(28, 5), *_end()),
        r"linear layers of whole images, here linear",
    ),
    "pooled images": (
        lambda: (Computing(lambda x: functional.max_pool2d(x[:, 0], 2)), *_end()),
        r"max pools of images \[N, C, H, W\] without dilation, here max_pool2d in body\.0",
    ),
    "dilated pool": (lambda: (nn.MaxPool2d(2, dilation=2), *_end()), r"without dilation, here max_pool2d in"),
    "a number less data": (
        lambda: (Computing(lambda x: torch.sub(1, x)), *_end()),
        r"here sub in body\.0 \(Computing\) takes something else",
    ),
    "a number twice": (
        lambda: (Computing(lambda x: torch.add(x, 3, alpha=2)), *_end()),
        r"knows numbers from 1e-09 to 1e\+09 .*, here add in body\.0",
    ),
    "a large number": (
        lambda: (Computing(lambda x: x * 2e9), *_end()),
        r"knows numbers from .*, here mul in",
    ),
    "by nothing": (lambda: (Computing(lambda x: x / 0), *_end()), r"knows numbers from .*, here div in"),
    "imaginary": (
        lambda: (Computing(lambda x: (x * 1j).real), *_end()),
        r"knows numbers from .*, here mul in",
    ),
    "rounded": (
        lambda: (Computing(lambda x: torch.div(x, 2, rounding_mode="floor")), *_end()),
        r"knows numbers from .*, here div in",
    ),
    "padded apart": (
        lambda: (nn.ZeroPad2d(1), *_end()),
        r"does not know constant_pad_nd of pad in body\.0 \(ZeroPad2d\)",
    ),
    "dropped altogether": (
        lambda: (nn.Dropout(1.0), *_end()),
        r"dropout that leaves something, here dropout",
    ),
    "two outputs": (
        lambda: (nn.Flatten(), nn.Linear(784, 2)),
        r"ends in a prediction for each image, here \[3, 2\] for 3 images",
    ),
    "used twice": (
        lambda: (Twice(), nn.Linear(784, 1)),
        r"each used once, here linear in body\.0\.layer \(Linear\)",
    ),
    "evaluated otherwise": (lambda: (Evaluated(), *_end()), r"differs in dropout alone when it is evaluated"),
    "dropout of channels": (
        lambda: (nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), *_end()),
        r"does not know new_empty of feature_dropout in body\.1 \(Dropout2d\)",
    ),
    "dropout for ever": (
        lambda: (Computing(lambda x: functional.dropout(x, 0.5)), *_end()),
        r"differs in dropout alone when it is evaluated",
    ),
    "dropout that does not grow": (
        lambda: (Computing(lambda x: x * torch.empty_like(x).bernoulli_(0.5)), *_end()),
        r"does not know empty_like in body\.0 \(Computing\)",
    ),
    "weights computed": (
        lambda: (Scaled(), *_end()),
        r"here tanh in body\.0 \(Scaled\) takes something else",
    ),
    "falling leak": (lambda: (nn.LeakyReLU(-0.1), *_end()), r"a slope above 0, here leaky_relu in body\.0"),
    "padded mean": (
        lambda: (nn.AvgPool2d(3, padding=1), *_end()),
        r"without padding, .*avg_pool2d in body\.0",
    ),
    "unequal windows": (lambda: (nn.AdaptiveAvgPool2d(5), *_end()), r"pools of equal windows, here"),
    "turned": (
        lambda: (Computing(lambda x: x.transpose(2, 3)), *_end()),
        r"does not know transpose in body\.0 \(Computing\)",
    ),
    "beside one another": (
        lambda: (Computing(lambda x: torch.cat([x, x], 1)), *_end()),
        r"does not know cat in body\.0 \(Computing\)",
    ),
    "in double": (
        lambda: (Computing(lambda x: x.double().float()), *_end()),
        r"in float32, here to_copy of to in",
    ),
    "too large": (
        lambda: (nn.Conv2d(1, 800, 1), nn.ReLU(), *_end()),
        r"fit into 64 MiB, here \d+ in Chained",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_chain_is_refused_by_the_module_s_path(what: str) -> None:
    body, message = REFUSED[what]
    model = Chained(*body())
    images = torch.randint(0, 256, (20, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        model.eval()(images[:2].unsqueeze(1).float())  # lazy layers find their shapes
    model.train()
    state = torch.get_rng_state()
    with pytest.raises(NotAChainError, match=message) as caught:
        generated.read(model, (1, 28, 28), torch.uint8)
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    split = replace(split_of(CHAINS["study"], 20))
    with pytest.raises(ValueError, match=r"^the native engine .*; use the eager engine$"):
        NativeLearner(model, run_of(20), split, CPU)


def test_more_layers_of_dropout_than_are_told_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "MOST_DROPOUTS", 2)
    with pytest.raises(NotAChainError, match="knows at most 2 layers of dropout, here 3 in Chained"):
        read(*(nn.Dropout(0.1) for _ in range(3)), nn.Flatten(), nn.Linear(784, 1))


def test_a_network_that_was_looked_at_trains_with_what_it_kept() -> None:
    model = Chained(Keeping(), nn.Flatten(), nn.Linear(676, 1))
    with pytest.raises(NotAChainError, match=r"does not know full in body\.0 \(Keeping\)"):
        layers.read(model, (1, 28, 28))
    model(torch.ones(2, 1, 28, 28)).sum().backward()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_parameters_that_are_not_trained_in_float32_are_refused(frozen: bool) -> None:
    model = Chained(nn.Flatten(), nn.Linear(784, 1))
    if frozen:
        model.requires_grad_(requires_grad=False)
    else:
        model.double()
    with pytest.raises(NotAChainError, match=r"parameters of float32, here body\.1\.weight, which is"):
        generated.read(model, (1, 28, 28), torch.uint8)


@pytest.mark.usefixtures("hastily")
def test_what_depends_on_the_batch_s_size_is_found_before_it_trains() -> None:
    """No operator shows it: the network is read as if three images were a constant."""
    model = Chained(Computing(lambda x: x / len(x)), nn.Flatten(), nn.Linear(9, 1))
    case = Case(lambda: model, (1, 3, 3))
    with pytest.raises(
        KernelError, match=r"^the native kernel computes Chained otherwise than PyTorch for \d+ of"
    ):
        learner_of(case, run_of(40))


@pytest.mark.usefixtures("hastily")
def test_a_network_that_was_read_wrongly_does_not_train() -> None:
    images, first, *rest = source.fused(layers.read(made(CHAINS["tiny"]), (1, 3, 3)))
    wrong = (images, replace(first, activation=Activation("Relu")), *rest)
    text = source.text(wrong, torch.uint8)
    split = split_of(CHAINS["tiny"], 40)
    with pytest.raises(KernelError, match="otherwise than PyTorch for . of 8 images; use the eager engine"):
        self_check.check(text, made(CHAINS["tiny"]), split.train_images, run_of(40))


# ---- dropout -----------------------------------------------------------------------------------------------


class Passing(nn.Module):
    """Dropout of 1,000 ones, whose sum is the prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)
        self.sum = nn.Linear(1000, 1)
        nn.init.ones_(self.sum.weight)
        nn.init.zeros_(self.sum.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.sum(self.drop(images.flatten(1))).squeeze(1)  # type: ignore[no-any-return]


def drops(seed: int, times: int = 1) -> list[Tensor]:
    """What passes of each of 1,000 ones, for one image after the other: the gradient of the sum's weights."""
    images, labels = torch.ones(1, 20, 50), torch.full((1,), -1e30)
    split = replace(split_of(Case(Passing, (1, 20, 50), torch.float32), 1), train_images=images)
    run = run_of(1, seed=seed, loss="mae", batch_size=1)
    learner = NativeLearner(Passing(), run, replace(split, train_labels=labels), CPU)
    one = torch.zeros(1, dtype=torch.int64)
    return [learner.gradient(one)[0]["sum.weight"].flatten() for _ in range(times)]


@pytest.mark.usefixtures("hastily")
def test_dropout_keeps_what_it_should_and_no_two_images_the_same() -> None:
    kept = torch.stack(drops(seed=5, times=400))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.7])
    share = (kept > 0).double()
    assert share.mean().item() == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / share.numel()))
    assert kept.double().mean().item() == pytest.approx(1, abs=0.005)
    assert kept.double().var().item() == pytest.approx(0.3 / 0.7, rel=0.02)
    of_images, of_places = share.mean(1), share.mean(0)
    assert of_images.var().item() == pytest.approx(0.21 / 1000, rel=0.35)
    assert of_places.var().item() == pytest.approx(0.21 / 400, rel=0.25)
    correlations = torch.corrcoef(share[:40])
    assert float((correlations - torch.eye(40)).abs().max()) < 5 / math.sqrt(1000)


@pytest.mark.usefixtures("hastily")
def test_dropout_draws_from_the_run_s_seed() -> None:
    first, again, other = (torch.stack(drops(seed, times=3)) for seed in (7, 7, 2**40 + 7))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("hastily")
def test_nothing_is_dropped_when_it_is_evaluated() -> None:
    split = replace(split_of(Case(Passing, (1, 20, 50), torch.float32), 20))
    learner = NativeLearner(Passing(), run_of(20), split, CPU)
    found = learner.predictions(split.test_images)
    torch.testing.assert_close(found, split.test_images.sum((1, 2)), rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_with_dropout_it_learns_as_the_eager_engine_does() -> None:
    """Other draws: the final errors of eight seeds lie among one another."""
    case = CHAINS["dropping"]
    found: dict[type, list[float]] = {NativeLearner: [], EagerLearner: []}
    for kind, errors in found.items():
        for seed in range(8):
            run, split = (
                run_of(2_000, seed=seed, learning_rate=0.002, model="chains:Dropping"),
                split_of(case, 2_000),
            )
            learner = kind(made(case, seed), run, split, CPU)
            torch.manual_seed(seed)
            for epoch in range(3):
                order = torch.randperm(2_000, generator=torch.Generator().manual_seed(epoch))
                learner.train_epoch(order, math.inf)
            errors.append(math.log(learner.evaluate(split.test_images, split.test_labels).mse))
    mine, its = (torch.tensor(errors) for errors in found.values())
    apart = float(mine.mean() - its.mean()) / math.sqrt(float(mine.var() + its.var()) / 8)
    assert abs(apart) < 3.5, (mine, its)


# ---- other processors --------------------------------------------------------------------------------------

CROSS, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which(CROSS) and shutil.which(EMULATOR)), reason=f"no {CROSS} or {EMULATOR}")
@pytest.mark.parametrize("name", ["study", "oblong", "pools"])
def test_on_neon_its_gradients_and_twenty_steps_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    """The aarch64 kernel under emulation: four lanes, and room for 32 registers."""
    case, written = CHAINS[name], tmp_path / "network.cpp"
    written.write_text(generated.read(made(case), case.shape, case.dtype), encoding="ascii")
    library, driver = tmp_path / "kernel.so", tmp_path / "driver"
    for command in (
        [CROSS, *build.FLAGS, f"-I{source.HEADERS}", "-o", library, written],
        [CROSS, "-std=c++17", "-O1", "-o", driver, Path(__file__).with_name("kernel_driver.cpp"), "-ldl"],
    ):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    run: Run = run_of(140, batch_size=7, learning_rate=0.0015, model="chains:Any")
    split, model = split_of(case, 140), made(case)
    order = torch.randperm(140, generator=torch.Generator().manual_seed(1))
    start = torch.cat([value.flatten() for value in model.state_dict().values()])
    rates = torch.full((20,), run.learning_rate, dtype=torch.float64)
    sizes = torch.tensor([140, 7, len(start), split.train_images.numel() * split.train_images.itemsize, 140])
    parts = (sizes, start, split.train_images, split.train_labels, order, rates)
    done = subprocess.run(
        [EMULATOR, "-L", "/usr/aarch64-linux-gnu", driver, library],
        input=b"".join(part.detach().numpy().tobytes() for part in parts),
        capture_output=True,
        check=True,
    )
    found, losses, weights = torch.frombuffer(bytearray(done.stdout), dtype=torch.float32).split(
        [len(start), 20, len(start)]
    )
    exact = copy.deepcopy(model).double()
    images, labels = as_given(split)[order[:7]], split.train_labels[order[:7]]
    wanted = gradient(exact, images, slopes_of(exact(images.double()), labels))
    assert float((found.double() - wanted).norm() / wanted.norm()) < 1e-5
    reference = EagerLearner(model, run, split, CPU)
    torch.testing.assert_close(losses, reference.train_epoch(order, math.inf), rtol=1e-4, atol=1e-5)
    trained = torch.cat([value.flatten() for value in reference.weights().values()])
    torch.testing.assert_close(weights, trained, rtol=1e-3, atol=1e-4)
