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
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from bsr.own.code import canonical, digests
from bsr.own.named import NamedError, look_up
from bsr.own.network import PROBED, handed_out_before, probe_of, seeded, structure_digest
from bsr.own.trial import problem_of, problem_of_predictions
from bsr.run import STUDY_MODEL
from bsr.tasks import batch_of
from bsr.text import Refused
from bsr.text.strict_json import one_line, words

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
    code: tuple[tuple[str, str], ...] = ()
    structure: str = ""
    probe: tuple[float, ...] = ()


def factory(name: str) -> Callable[[], Any]:
    """What makes the networks of that name; its module, imported here, may draw random numbers too.

    Raises NamedError for an unknown name.
    """
    return look_up("network", name, MODELS)


def network(name: str) -> nn.Module:
    """A new network of that name, its weights drawn from the global generator.

    Raises NamedError for an unknown name, ModelError where it is no network, or one that was there before.
    """
    made = factory(name)()
    if not issubclass(type(made), nn.Module) or next(made.parameters(), None) is None:
        raise ModelError(
            f"network {name!r}: expected a class of torch.nn.Module with parameters, got "
            f"{type(made).__name__}; name another"
        )
    if what := handed_out_before(made):
        raise ModelError(
            f"network {name!r}: expected weights of its own at every call, got {what} of an earlier network; "
            "make all of it anew, and clone what is shared"
        )
    return made  # type: ignore[no-any-return]


def check_predictions(name: str, predictions: object, images: int) -> None:
    """Raises ModelError for anything but one number per image: [N, 1] would broadcast to another loss."""
    if problem := problem_of_predictions(predictions, images):
        raise ModelError(f"network {name!r}: {problem}")


def check(name: str, images: Tensor, batches: Iterable[int] = ()) -> None:
    """Try a network on copies of some `images`, [N, H, W] or [N, C, H, W], raw pixels.

    A user's own is tried as it will be used, trained at the sizes of `batches` too, of as many images at
    most. Raises NamedError, ModelError, one line.
    """
    factory(name)
    try:
        with torch.random.fork_rng(devices=[]):
            if name in MODELS:
                predictions = network(name).eval()(batch_of(images).float())
                problem = problem_of_predictions(predictions, len(images))
            else:
                problem = problem_of(lambda: network(name), batch_of(images), batches)
    except (NamedError, ModelError):
        raise
    except Exception as error:
        said = " ".join(words(error).split())[:200] if type(error) is ValueError else one_line(error)
        raise ModelError(
            f"network {name!r}: expected one for images of {'x'.join(map(str, images.shape[1:]))}, got {said}"
        ) from error
    if problem:
        raise ModelError(f"network {name!r}: {problem}")


def identity(name: str, made: nn.Module, images: Tensor | None = None) -> Identity:
    """Of a network made by that name: the shapes of its parameters, a digest of the source of its classes.

    Comments, docstrings and layout do not count, nor what comes with torch or Python. Of a user's own also
    its code and structure, and its probe where there are `images`, [N, H, W] or [N, C, H, W].
    """
    shapes = ", ".join("x".join(map(str, value.shape)) or "1" for value in made.parameters())
    digest = hashlib.sha256(shapes.encode()).hexdigest()[:12]
    if len(shapes) > LONGEST_SHAPES:
        numbers = [value.numel() for value in made.parameters()]
        shapes = f"{len(numbers)} tensors, {sum(numbers):,} numbers, {digest}"
    classes: set[type] = {kind for part in made.modules() for kind in type(part).__mro__}
    kinds: set[Callable[..., object]] = {factory(name), *classes}
    others = {"torch", *sys.stdlib_module_names}
    sources = sorted(_code(kind) for kind in kinds if _package(kind) not in others)
    found = Identity(shapes, hashlib.sha256("\0".join(sources).encode()).hexdigest()[:12])
    if name in MODELS:
        return found
    steady, probed = _fixed(name, images)  # which imports what is imported late
    files = code_of((name, *(f"{kind.__module__}:" for kind in classes)))
    return found._replace(code=files, structure=steady or structure_digest(made), probe=probed)


def code_of(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(file, digest) of the code that import paths among these names reach; see bsr.own.code."""
    return tuple(digests(name.partition(":")[0] for name in names if ":" in name).items())


_FIXED: Final[dict[tuple[int, bytes], tuple[Any, str, tuple[float, ...]]]] = {}


def _fixed(name: str, images: Tensor | None) -> tuple[str, tuple[float, ...]]:
    """(structure, probe) by a fixed seed, once per process.

    The structure is empty where no seed decides it: then each network that is trained says its own.
    """
    makes = factory(name)
    few = images[:PROBED].contiguous() if images is not None else None
    key = id(makes), b"" if few is None else few.numpy().tobytes() + repr(list(few.shape)).encode()
    if key not in _FIXED:
        one, other = (seeded(lambda: network(name), seed) for seed in (0, 1))
        said = structure_digest(one)
        steady = said == structure_digest(other)
        computed = probe_of(one, batch_of(few).to(torch.float32, copy=True)) if few is not None else ()
        _FIXED[key] = makes, "" if steady else said, computed  # held, so that its id stays its own
    return _FIXED[key][1:]


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
    return repr(canonical(tree))
