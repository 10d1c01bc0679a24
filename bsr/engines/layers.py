"""A network read as a chain of layers: what the native engine's kernel is generated from.

One forward pass of a few images is watched at the level of PyTorch's operators, where nn.ReLU, F.relu and
.relu() are one. Each operator must take what the one before it gave, and nothing of another image. What
cannot be read so is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import mod
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from bsr.own.watching import Call, module_name, watched

Shape = tuple[int, int, int]
"""Channels, rows, columns."""
Sides = tuple[int, int]
"""Of a row and a column."""
WATCHED: Final = 3
"""Images that go through the network while it is watched."""
MOST_DROPOUTS: Final = 255
SMALLEST, LARGEST = 1e-9, 1e9
"""Four in a row are within float32; what scales images and labels is far below."""


class NotAChainError(ValueError):
    """A network that no kernel can be generated for: the rest of a sentence that begins with `native`."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What is done to each number: `Identity`, `Relu`, `Tanh`, `LeakyRelu`, `Affine`."""

    kind: str = "Identity"
    numbers: tuple[float, ...] = ()
    """LeakyRelu's slope; Affine's factor and shift."""


IDENTITY: Final = Activation()


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, and the activation behind it."""

    kind: str
    """`image`, `convolution`, `max`, `average`, `linear`, `elementwise`, `dropout`."""
    shape: Shape
    """Of what it puts out."""
    kernel: Sides = (1, 1)
    stride: Sides = (1, 1)
    padding: Sides = (0, 0)
    weight: int = -1
    bias: int = -1
    """Where its parameters lie, counted in numbers, in the order of `parameters()`; -1 without one."""
    pool: int = 1
    """Side of the max pool that is part of a convolution."""
    activation: Activation = IDENTITY
    probability: float = 0.0
    """Of a number to be dropped."""


# ---- what is known of PyTorch's operators ----


class Operator(NamedTuple):
    """One of PyTorch's operators as a layer."""

    layer: Callable[[Call, Shape], Layer | None]
    """All but its weights, for a call and the shape of what it takes; None where nothing is computed."""
    known: str = ""
    """What of it is known; the rest is refused."""
    fits: Callable[[Call], bool] = lambda _call: True
    """Whether a call is that."""


def shape_of(values: Tensor) -> Shape:
    """Of each image's numbers; a side that is not there is 1."""
    channels, rows, columns = (*values.shape[1:], 1, 1)[:3]
    return channels, rows, columns


def _each(kind: str, numbers: Callable[[Call], tuple[float, ...]] = lambda _call: ()) -> Callable[..., Layer]:
    """Of an activation."""
    return lambda call, shape: Layer("elementwise", shape, activation=Activation(kind, numbers(call)))


def _scaled(numbers: Callable[[float], tuple[float, float]]) -> Operator:
    """By the factor and the shift of data beside a number."""
    known = f"numbers from {SMALLEST:g} to {LARGEST:g} beside the data, or a 0 that does not divide it"
    return Operator(_each("Affine", lambda call: numbers(float(call.given["other"]))), known, _scales)


def _scales(call: Call) -> bool:
    number, plain = abs(call.given["other"]), {"alpha": 1, "rounding_mode": None}
    usual = SMALLEST <= number <= LARGEST or (number == 0 and call.operator != "div")
    real = usual and call.found.is_floating_point()
    return real and all(call.given.get(name, value) == value for name, value in plain.items())


def _dropout(call: Call, shape: Shape) -> Layer | None:
    drops = call.given["train"] and call.given["p"] > 0
    return Layer("dropout", shape, probability=call.given["p"]) if drops else None


def _windows(call: Call) -> tuple[Sides, Sides, Sides]:
    """Kernel, stride (the kernel's where there is none) and padding."""
    sides = call.given.get("kernel_size") or call.given["weight"].shape[2:]
    given = sides, call.given["stride"] or sides, call.given["padding"]
    kernel, stride, padding = ((each[0], each[-1]) for each in given)
    return kernel, stride, padding


def _mean(call: Call, shape: Shape) -> Layer:
    """Of windows side by side that are as large as the sides allow."""
    after = shape_of(call.found)
    kernel = (shape[1] // after[1], shape[2] // after[2])
    return Layer("average", after, kernel, kernel)


def _images(**wanted: object) -> Callable[[Call], bool]:
    """Whether a call takes images [N, C, H, W], with these arguments."""
    return lambda call: call.data.ndim == 4 and wanted.items() <= call.given.items()


def _keeps_images(call: Call) -> bool:
    before, after = call.data, call.found
    whole = after.numel() == before.numel() and len(after) == len(before)
    return whole and after.dtype == torch.float32


VIEWS: Final = (
    *("view", "unsafe_view", "reshape", "squeeze", "unsqueeze", "slice", "select"),
    *("clone", "alias", "detach", "to_copy"),
)
"""Operators that may leave every number of an image as it is, and in its order."""
OPERATORS: Final[dict[str, Operator]] = {
    "relu": Operator(_each("Relu")),
    "tanh": Operator(_each("Tanh")),
    "leaky_relu": Operator(
        _each("LeakyRelu", lambda call: (float(call.given["negative_slope"]),)),
        "leaky ReLUs with a slope above 0", lambda call: call.given["negative_slope"] > 0,
    ),
    "neg": Operator(_each("Affine", lambda _call: (-1.0, 0.0))),
    "add": _scaled(lambda number: (1.0, number)),
    "sub": _scaled(lambda number: (1.0, -number)),
    "rsub": _scaled(lambda number: (-1.0, number)),
    "mul": _scaled(lambda number: (number, 0.0)),
    "div": _scaled(lambda number: (1.0 / number, 0.0)),
    "dropout": Operator(_dropout, "dropout that leaves something", lambda call: call.given["p"] < 1),
    "linear": Operator(
        lambda call, _: Layer("linear", shape_of(call.found)),
        "linear layers of whole images", lambda call: call.data.ndim == 2,
    ),
    "convolution": Operator(
        lambda call, _: Layer("convolution", shape_of(call.found), *_windows(call)),
        "convolutions of images [N, C, H, W] without groups or dilation",
        _images(transposed=False, groups=1, dilation=[1, 1]),
    ),
    "max_pool2d": Operator(
        lambda call, _: Layer("max", shape_of(call.found), *_windows(call)),
        "max pools of images [N, C, H, W] without dilation", _images(dilation=[1, 1]),
    ),
    "avg_pool2d": Operator(
        lambda call, _: Layer("average", shape_of(call.found), *_windows(call)),
        "mean pools of images [N, C, H, W] without padding, ceil_mode or a divisor",
        _images(padding=[0, 0], ceil_mode=False, divisor_override=None),
    ),
    "adaptive_avg_pool2d": Operator(
        _mean, "adaptive pools of equal windows",
        lambda call: call.data.ndim == 4 and not any(map(mod, call.data.shape, call.found.shape)),
    ),
    "mean": Operator(
        _mean, "means over an image's rows and columns",
        lambda call: call.data.ndim == 4 and {each % 4 for each in call.given.get("dim") or ()} == {2, 3},
    ),
    **dict.fromkeys(
        VIEWS, Operator(lambda *_: None, "views that keep images apart and whole, in float32", _keeps_images)
    ),
}  # fmt: skip
"""By PyTorch's name, in place or not."""


# ---- what is read ----


def read(model: nn.Module, shape: Shape) -> tuple[Layer, ...]:
    """The chain that `model` computes for images of `shape`, the first layer its images.

    The model is left as it was, and so is the global random state. Raises NotAChainError; what the network
    itself raises for such images passes through.
    """
    places = _places(model)
    learning, evaluated = (_read(model, shape, dict(places), training=training) for training in (True, False))
    kept, whole = tuple(layer for layer in learning if layer.kind != "dropout"), module_name(model, "")
    _need(kept == evaluated, "needs a network that differs in dropout alone when it is evaluated", whole)
    few = len(learning) - len(kept) <= MOST_DROPOUTS
    _need(few, f"knows at most {MOST_DROPOUTS} layers of dropout", f"{len(learning) - len(kept)} in {whole}")
    return learning


def _places(model: nn.Module) -> dict[int, int]:
    """Where each parameter lies in the flat array, by its identity. Raises NotAChainError."""
    for name, _ in model.named_buffers():
        owner, _, own = name.rpartition(".")
        raise NotAChainError(f"knows no buffers, here {own} of {module_name(model, owner)}")
    places, count = {}, 0
    for name, value in model.named_parameters():
        what = "frozen" if value.dtype == torch.float32 else str(value.dtype)
        trained = value.dtype == torch.float32 and value.requires_grad
        _need(trained, "trains parameters of float32", f"{name}, which is {what}")
        places[id(value)] = count
        count += value.numel()
    return places


def _read(model: nn.Module, shape: Shape, places: dict[int, int], *, training: bool) -> tuple[Layer, ...]:
    """The chain with a layer for each operator. Takes from `places` what is used."""
    data = torch.rand(WATCHED, *shape, generator=torch.Generator().manual_seed(0)) * 255
    calls, found = watched(model, data, training=training, whole=OPERATORS)
    chain = [Layer("image", shape)]
    for call in calls:
        chain += _layers(call, data, chain[-1].shape, places)
        data = call.found
    got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
    _need(
        found is data and got == [WATCHED],
        "needs a chain of layers that ends in a prediction for each image",
        f"{got} for {WATCHED} images, in {module_name(model, '')}",
    )
    return tuple(chain)


def _layers(call: Call, data: Tensor, counted: Shape, places: dict[int, int]) -> list[Layer]:
    """What an operator adds to a chain whose last layer counts its numbers in that shape."""
    known = OPERATORS.get(call.operator)
    if known is None:
        raise NotAChainError(f"does not know {call.name}")
    tensors = {name for name, value in call.given.items() if isinstance(value, Tensor)} - {"weight", "bias"}
    alone = call.data is data and len(tensors) == 1
    _need(alone, "needs a chain of layers", f"{call.name} takes something else")
    _need(known.fits(call), f"knows {known.known}", call.name)
    here = shape_of(data) if data.ndim == 4 else counted
    layer = known.layer(call, here)
    if layer is None:
        return []
    weight, bias = (_place(call, name, places) for name in ("weight", "bias"))
    layer = replace(layer, weight=weight, bias=bias)
    return [layer] if layer.kind == "linear" or here == counted else [Layer("elementwise", here), layer]


def _place(call: Call, name: str, places: dict[int, int]) -> int:
    """Where a parameter lies that is the call's own; -1 without one. Takes it from `places`."""
    value = call.given.get(name)
    if value is None:
        return -1
    _need(id(value) in places, "needs layers with parameters as they are, each used once", call.name)
    return places.pop(id(value))


def _need(met: bool, sentence: str, here: str) -> None:  # noqa: FBT001 - it reads as an assertion
    if not met:
        raise NotAChainError(f"{sentence}, here {here}")
