"""Networks that are chains of layers, each for images of its own, and what holds a kernel against float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bsr.data.images import Split
from bsr.engines.native import NativeLearner
from bsr.model import MODELS
from bsr.own.watching import watched
from bsr.run import Execution, Run

CPU: Final = Execution(device="cpu", threads=1)


class Chained(nn.Module):
    """Modules one after the other, and then one number per image."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, images: Tensor) -> Tensor:
        predictions: Tensor = self.body(images).squeeze(1)
        return predictions


class Computing(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


class Case(NamedTuple):
    """A network and the images it takes."""

    made: Callable[[], nn.Module]
    shape: tuple[int, int, int]
    dtype: torch.dtype = torch.uint8


def _colour() -> nn.Module:
    return Chained(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 1)),
    )


def _strided() -> nn.Module:
    return Chained(
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1)),
    )


def _mixed() -> nn.Module:
    return Chained(
        *(nn.Conv2d(3, 7, 3, padding=1), nn.LeakyReLU(0.1), nn.MaxPool2d(3)),
        *(nn.Conv2d(7, 18, 3, padding=1), nn.Tanh(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(18, 33, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(33, 1)),
    )


def _oblong() -> nn.Module:
    return Chained(
        *(nn.Conv2d(2, 5, (3, 5), stride=(2, 1), padding=(1, 2), bias=False), nn.LeakyReLU()),
        *(nn.AvgPool2d((2, 3)), nn.Conv2d(5, 9, (2, 1), stride=(1, 2)), nn.Tanh()),
        *(nn.MaxPool2d((2, 1), 1), nn.Flatten(), nn.Linear(90, 1, bias=False)),
    )


def _pools() -> nn.Module:
    return Chained(
        *(nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(1, 6, 4, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(54, 1)),
    )


def _scaled() -> nn.Module:
    return Chained(
        *(Computing(lambda images: images / 255 - 0.5), nn.Conv2d(1, 4, 5), nn.ReLU()),
        *(Computing(lambda hidden: 1 - 2 * hidden), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Tanh()),
        *(nn.Flatten(), nn.Linear(64, 8), Computing(functional.relu), Computing(lambda hidden: -hidden)),
        nn.Linear(8, 1),
    )


def _perceptron() -> nn.Module:
    return Chained(nn.Flatten(), nn.Linear(35, 19), nn.Tanh(), nn.Linear(19, 5), nn.ReLU(), nn.Linear(5, 1))


def _regrouped() -> nn.Module:
    return Chained(
        *(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Unflatten(1, (3, 4, 4))),
        *(nn.Conv2d(3, 17, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(68, 1)),
    )


def _large_kernels() -> nn.Module:
    return Chained(
        *(nn.Conv2d(3, 20, 7, padding=3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(20, 40, 7, stride=3, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(360, 1)),
    )


def _tiny() -> nn.Module:
    return Chained(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1))


def _dropping() -> nn.Module:
    return Chained(
        *(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Dropout(0.25), nn.Conv2d(8, 8, 5, stride=2)),
        *(nn.Dropout(0.5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 1)),
    )


CHAINS: Final = {
    **{name: Case(made, (1, 28, 28)) for name, made in MODELS.items()},
    "colour": Case(_colour, (3, 32, 32)),
    "strided": Case(_strided, (1, 48, 48)),
    "mixed": Case(_mixed, (3, 48, 48), torch.float32),
    "oblong": Case(_oblong, (2, 17, 31), torch.float32),
    "pools": Case(_pools, (1, 27, 27)),
    "scaled": Case(_scaled, (1, 16, 16)),
    "perceptron": Case(_perceptron, (1, 5, 7), torch.float32),
    "regrouped": Case(_regrouped, (1, 8, 8)),
    "large kernels": Case(_large_kernels, (3, 20, 20)),
    "tiny": Case(_tiny, (1, 3, 3)),
    "dropping": Case(_dropping, (1, 32, 32), torch.float32),
}


def made(case: Case, seed: int = 0) -> nn.Module:
    """Its network, the weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return case.made()


def split_of(case: Case, count: int, seed: int = 0) -> Split:
    """Random images: any bytes, or floats of either sign; their means are the labels."""
    draw = torch.Generator().manual_seed(seed)
    if case.dtype == torch.uint8:
        images = torch.randint(0, 256, (count, *case.shape), dtype=torch.uint8, generator=draw)
    else:
        images = 3 * torch.randn(count, *case.shape, generator=draw)
    labels = images.double().mean((1, 2, 3)).float()
    shown = images.squeeze(1) if case.shape[0] == 1 else images
    return Split(shown, labels, shown, labels, "made", "mean")


def run_of(count: int, **fields: object) -> Run:
    """A Run on so many of them."""
    given = {"batch_size": 16, "seed": 1, "learning_rate": 0.001, **fields}
    return Run(task="mean", train_images=count, test_images=count, **given)  # type: ignore[arg-type]


def learner_of(case: Case, run: Run) -> NativeLearner:
    """The native engine's, for a Run on its images."""
    return NativeLearner(made(case), run, split_of(case, run.train_images), CPU)


def as_given(split: Split) -> Tensor:
    """Its training images as a network takes them, float32 [N, C, H, W]."""
    images = split.train_images
    return (images if images.ndim == 4 else images.unsqueeze(1)).float()


def gradient(model: nn.Module, images: Tensor, slopes: Tensor) -> Tensor:
    """Flat, for the slopes of a loss by each prediction, in the network's own precision; dropout is off."""
    model.eval()
    dtype = next(model.parameters()).dtype
    found = torch.autograd.grad(model(images.to(dtype)), list(model.parameters()), slopes.to(dtype))
    return torch.cat([value.flatten() for value in found])


def slopes_of(predictions: Tensor, labels: Tensor) -> Tensor:
    """Of the mean squared error by each prediction, [N]."""
    return 2 * (predictions.detach() - labels) / len(labels)


def clear_of_kinks(model: nn.Module, images: Tensor, margin: float = 1e-5) -> Tensor:
    """bool [N]: images in which float32 decides as float64 does, whatever the order of its sums.

    Of each layer's scale, its largest value: no unit is so near to 0 and not 0, and no window's two largest
    values are so near to each other and not equal.
    """
    clear = torch.ones(len(images), dtype=torch.bool)
    calls, _ = watched(copy.deepcopy(model).double(), images.double(), training=False)
    for call in calls:
        if call.operator in {"relu", "leaky_relu"}:
            given = call.given["self"]
            near = (given != 0) & (given.abs() < margin * given.abs().max())
            clear &= ~near.view(len(images), -1).any(1)
        elif call.operator == "max_pool2d_with_indices" and max(call.given["kernel_size"]) > 1:
            given, *window = (call.given[name] for name in ("self", "kernel_size", "stride", "padding"))
            windows = _windows(given, *window)
            best, second = windows.topk(2, dim=1).values.unbind(1)
            near = (best > second) & (best - second < margin * given.abs().max())
            clear &= ~near.view(len(images), -1).any(1)
    return clear


def _windows(given: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    """[N * C, places of a window, windows]; what lies beyond the rim never wins."""
    flat = given.flatten(0, 1).unsqueeze(1)
    down, right = (kernel[0], kernel[-1])
    step, pad = stride or kernel, padding
    flat = functional.pad(flat, (pad[-1], pad[-1] + right, pad[0], pad[0] + down), value=-1e300)
    return functional.unfold(flat, (down, right), stride=(step[0], step[-1]))
