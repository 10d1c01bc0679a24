"""The networks: the study's, two beside it, and a user's own by import path.

Adding one is an entry in MODELS, or no edit at all: `package.module:attribute` names a class without
arguments. Input: floating [N, C, H, W], the data set's pixels (MNIST: raw, 0..255). Output: [N], label units.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from bsr.named import look_up
from bsr.run import STUDY_MODEL
from bsr.tasks import batch_of
from bsr.text import Refused

IMAGE_SIZE: Final = 28
PARAMETERS: Final = 21_381
LONGEST_SHAPES: Final = 300
"""Characters that a record spends on the shapes of a network's parameters."""


class RegressionCNN(nn.Module):
    """Two convolutions and two linear layers; 21,381 parameters (Lamon et al. 2021, figure 3).

    Conv2d(1,10,5) - MaxPool2d(2) - ReLU - Conv2d(10,20,5) - MaxPool2d(2) - ReLU - flatten 320 -
    Linear(320,50) - ReLU - Linear(50,1), in the order of construction that the study's seeds assume. It pools
    before the ReLU, and has no dropout.

    Input: floating [N, 1, 28, 28], raw pixels 0..255. Output: [N], label units. Raises ValueError for images
    of another shape.
    """

    channels: tuple[int, int] = (10, 20)

    def __init__(self) -> None:
        super().__init__()
        first, second = self.channels
        self.conv1 = nn.Conv2d(1, first, kernel_size=5)
        self.conv2 = nn.Conv2d(first, second, kernel_size=5)
        self.fc1 = nn.Linear(16 * second, 50)
        self.fc2 = nn.Linear(50, 1)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Predictions [N] for images [N, 1, 28, 28]."""
        if images.ndim != 4 or images.shape[1:] != (1, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"images: expected shape [N, 1, 28, 28], got {list(images.shape)}; resize or reshape them"
            )
        hidden = self.relu(self.fc1(self.convolved(images).flatten(1)))
        prediction: Tensor = self.fc2(hidden)
        return prediction.squeeze(1)

    def convolved(self, images: Tensor) -> Tensor:
        """What the linear layers see, [N, C, 4, 4]."""
        hidden = self.relu(self.pool(self.conv1(images)))
        found: Tensor = self.relu(self.pool(self.conv2(hidden)))
        return found


class WideCNN(RegressionCNN):
    """The study's network with twice the channels, 20 and 40; 52,661 parameters."""

    channels = (20, 40)


class DeepCNN(RegressionCNN):
    """The study's network with one convolution more, Conv2d(20,20,3) - ReLU on its 4x4; 25,001 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(self.channels[1], self.channels[1], kernel_size=3, padding=1)

    def convolved(self, images: Tensor) -> Tensor:
        """What the linear layers see, [N, 20, 4, 4]."""
        hidden: Tensor = self.relu(self.conv3(super().convolved(images)))
        return hidden


MODELS: Final[dict[str, Callable[[], nn.Module]]] = {
    STUDY_MODEL: RegressionCNN,
    "wide": WideCNN,
    "deep": DeepCNN,
}
"""Every network by name, made without arguments."""


class ModelError(Refused):
    """A network that cannot be trained on these images; one line: which, expected, got, remedy."""


class Identity(NamedTuple):
    """What must agree where results of a network are mixed; see Result for what it says."""

    parameter_shapes: str
    network_digest: str


def network(name: str) -> nn.Module:
    """A new network of that name, its weights drawn from the global generator.

    Raises NamedError for an unknown name, ModelError where it is no network.
    """
    made = look_up("network", name, MODELS)()
    if not isinstance(made, nn.Module) or next(made.parameters(), None) is None:
        raise ModelError(
            f"network {name!r}: expected a class of torch.nn.Module with parameters, got "
            f"{type(made).__name__}; name another"
        )
    return made


def check_predictions(name: str, predictions: object, images: int) -> None:
    """Raises ModelError for anything but one number per image: [N, 1] would broadcast to another loss."""
    if not isinstance(predictions, Tensor) or predictions.shape != (images,):
        got = list(predictions.shape) if isinstance(predictions, Tensor) else type(predictions).__name__
        raise ModelError(
            f"network {name!r}: expected predictions [{images}] for {images} images, got {got}; "
            "end it with .squeeze(1)"
        )


def check(name: str, images: Tensor) -> None:
    """Try a network on some `images`, [N, H, W] or [N, C, H, W]. Raises NamedError, ModelError, one line."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            predictions = network(name).eval()(batch_of(images).to(torch.float32, copy=True))
    except (LookupError, ModelError):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise ModelError(
            f"network {name!r}: expected one for images of {'x'.join(map(str, images.shape[1:]))}, got {said}"
        ) from error
    check_predictions(name, predictions, len(images))


def identity(name: str, made: nn.Module) -> Identity:
    """Of a network made by that name: the shapes of its parameters, a digest of the source of its classes.

    Comments, docstrings and layout do not count, nor what comes with torch or Python.
    """
    shapes = ", ".join("x".join(map(str, value.shape)) or "1" for value in made.parameters())
    digest = hashlib.sha256(shapes.encode()).hexdigest()[:12]
    if len(shapes) > LONGEST_SHAPES:
        numbers = [value.numel() for value in made.parameters()]
        shapes = f"{len(numbers)} tensors, {sum(numbers):,} numbers, {digest}"
    kinds = {look_up("network", name, MODELS), *(k for part in made.modules() for k in type(part).__mro__)}
    others = {"torch", *sys.stdlib_module_names}
    sources = sorted(_code(kind) for kind in kinds if _package(kind) not in others)
    return Identity(shapes, hashlib.sha256("\0".join(sources).encode()).hexdigest()[:12])


def _package(kind: Callable[..., object]) -> str:
    return str(getattr(kind, "__module__", "")).partition(".")[0]


@cache
def _code(kind: Callable[..., object]) -> str:
    """Its source as Python reads it, whatever the layout; its name where there is no source.

    As it was when first asked for: who edits the file later changes nothing that is loaded.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return str(getattr(kind, "__qualname__", type(kind).__qualname__))
    return repr(_canonical(tree))


def _canonical(node: object) -> object:
    """A syntax tree in plain values, without docstrings and what only some versions of Python have."""
    if isinstance(node, list):
        return [_canonical(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    documented = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return type(node).__name__, {name: _canonical(value) for name, value in fields.items()}
