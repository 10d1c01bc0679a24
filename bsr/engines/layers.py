"""A network read as a chain of layers.

One forward pass of a few images is watched at the level of PyTorch's operators, where nn.ReLU, F.relu and
.relu() are one. Each operator must take what the one before it gave, and nothing of another image. What
cannot be read so is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from bsr.engines.layer import IDENTITY, Activation, Layer, NotAChainError, Shape
from bsr.engines.watching import Call, module_name, watched

aten = torch.ops.aten
WATCHED: Final = 3
"""Images that go through the network while it is watched."""
LARGEST_FUSED_POOL: Final = 4
"""Pixels of the side of a pool that the kernel makes part of the convolution before it."""
MOST_DROPOUTS: Final = 255
SMALLEST_CONSTANT: Final = 1e-9
LARGEST_CONSTANT: Final = 1e9
"""Four in a row are within float32; what scales images and labels is far below."""
VIEWS: Final = {
    *("view", "unsafe_view", "reshape", "squeeze", "unsqueeze", "slice", "select"),
    *("clone", "alias", "detach", "to_copy"),
}
"""Operators that may leave every number of an image as it is, and in its order."""
FIXED: Final = {
    "relu": Activation("Relu"),
    "tanh": Activation("Tanh"),
    "neg": Activation("Affine", (-1.0, 0.0)),
}
"""Operators that do one thing to each number, and have nothing to be told."""


def read(model: nn.Module, shape: Shape) -> tuple[Layer, ...]:
    """The chain that `model` computes for images of `shape`, the first layer its images.

    The model is left as it was, and so is the global random state. Raises NotAChainError; what the network
    itself raises for such images passes through.
    """
    places = _places(model)
    learning, evaluated = (_read(model, shape, places, training=training) for training in (True, False))
    _need(
        tuple(layer for layer in learning if layer.kind != "dropout") == evaluated,
        f"needs a network that differs in dropout alone when it is evaluated, here {module_name(model, '')}",
    )
    return fused(learning)


def fused(chain: Sequence[Layer]) -> tuple[Layer, ...]:
    """Activations become part of the layer before them, pools of a convolution before them, constants one.

    What a convolution's activation does to the maximum of a window is the maximum of what it does: it rises.
    """
    found = [chain[0]]
    for layer in chain[1:]:
        last, own = found[-1], layer.activation
        if layer.kind == "elementwise" and layer.shape == last.shape and own.kind != "Affine":
            takes = last.kind in {"convolution", "max", "average", "linear"} and last.activation == IDENTITY
            merged = replace(last, activation=own) if takes else None
        elif layer.kind == last.kind == "elementwise" and own.kind == last.activation.kind == "Affine":
            (factor, shift), (again, more) = last.activation.numbers, own.numbers
            both = Activation("Affine", (factor * again, shift * again + more))
            merged = replace(layer, activation=both)
        elif layer.kind == "max" and _tiles(layer, last):
            merged = replace(last, pool=layer.kernel[0], shape=layer.shape)
        else:
            merged = None
        found[-1:] = [last, layer] if merged is None else [merged]
    return tuple(found)


def _tiles(pool: Layer, last: Layer) -> bool:
    """Whether a pool can be part of a convolution: small square windows side by side."""
    side, (_, rows, columns) = pool.kernel[0], last.shape
    return (
        last.kind == "convolution"
        and last.pool == 1
        and 1 < side <= LARGEST_FUSED_POOL
        and pool.kernel == pool.stride == (side, side)
        and pool.padding == (0, 0)
        and pool.shape[1:] == (rows // side, columns // side)
    )


def _places(model: nn.Module) -> dict[int, int]:
    """Where each parameter lies in the flat array, by its identity. Raises NotAChainError."""
    if (buffer := next(model.named_buffers(), None)) is not None:
        owner, _, name = buffer[0].rpartition(".")
        raise NotAChainError(f"knows no buffers, here {name} of {module_name(model, owner)}")
    places, count = {}, 0
    for name, value in model.named_parameters():
        what = "frozen" if value.dtype == torch.float32 else str(value.dtype)
        trained = value.dtype == torch.float32 and value.requires_grad
        _need(trained, f"trains parameters of float32, here {name}, which is {what}")
        places[id(value)] = count
        count += value.numel()
    return places


def _read(model: nn.Module, shape: Shape, places: dict[int, int], *, training: bool) -> tuple[Layer, ...]:
    images = torch.rand(WATCHED, *shape, generator=torch.Generator().manual_seed(0)) * 255
    calls, found = watched(model, images, training=training)
    reader = _Reader(places, images, shape)
    for call in calls:
        reader.take(call)
    got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
    _need(
        found is reader.current and got == [WATCHED],
        f"needs a chain of layers that ends in a prediction for each image, here {got} for {WATCHED} images, "
        f"in {module_name(model, '')}",
    )
    return tuple(reader.chain)


class _Mask(NamedTuple):
    """What dropout multiplies with, and the probability of a number to be kept."""

    values: Tensor
    kept: float
    divided: bool = False


class _Reader:
    """The chain so far, and the tensor that the next operator must take."""

    def __init__(self, places: dict[int, int], images: Tensor, shape: Shape) -> None:
        self.places = places
        self.chain = [Layer("image", shape)]
        self.current: Any = images
        self.used: set[int] = set()
        self.transposed: dict[int, Tensor] = {}
        self.masks: dict[int, _Mask] = {}

    def take(self, call: Call) -> None:
        """One operator more. Raises NotAChainError."""
        function, arguments = call.function, call.arguments
        if function is aten.t:
            self.transposed[id(call.found)] = arguments[0]
        elif function in {aten.empty_like, aten.new_empty, aten.bernoulli_, aten.div_} and self._draws(call):
            pass
        else:
            given = any(each is self.current for each in _tensors(arguments))
            _need(given, f"needs a chain of layers, here {call.name} takes something else")
            kind = str(function).removeprefix("aten.").strip("_")
            if kind in VIEWS:
                self._view(call)
            elif kind in FIXED:
                self._activated(FIXED[kind])
            else:
                getattr(self, f"_read_{kind}", _unknown)(call)
            self.current = call.found[0] if isinstance(call.found, tuple) else call.found

    def _draws(self, call: Call) -> bool:
        """Whether it makes what dropout multiplies with: drawn in place, divided by how many are kept."""
        values = call.found
        if call.function in {aten.empty_like, aten.new_empty}:
            return call.arguments[0] is self.current
        if call.function is aten.bernoulli_ and not isinstance(kept := call.argument(1, 0.5), Tensor):
            self.masks[id(values)] = _Mask(values, float(kept))
            return True
        mask = self.masks.get(id(values))
        if mask is None or call.argument(1) != mask.kept or mask.divided:
            return False
        self.masks[id(values)] = mask._replace(divided=True)
        return True

    def _view(self, call: Call) -> None:
        found, before = call.found, self.current
        _need(
            found.shape[0] == WATCHED and found.numel() == before.numel() and found.dtype == torch.float32,
            f"needs images kept apart and whole, in float32, here {call.name} makes {list(found.shape)} of "
            f"{list(before.shape)}",
        )

    # ---- operators by PyTorch's name for them, in place or not ----

    def _read_convolution(self, call: Call) -> None:
        _, weight, bias, stride, padding, dilation, turned, _, groups = call.arguments[:9]
        plain = not turned and groups == 1 and all(step == 1 for step in dilation) and weight.ndim == 4
        _need(plain, f"knows only plain 2D convolutions, without groups or dilation, here {call.name}")
        self._append(
            Layer(
                "convolution", _shape(call.found), _pair(weight.shape[2:]), _pair(stride), _pair(padding),
                self._place(weight, call), self._place(bias, call),
            )
        )  # fmt: skip

    def _read_addmm(self, call: Call) -> None:
        self._linear(call, *call.arguments[:3])

    def _read_mm(self, call: Call) -> None:
        self._linear(call, None, *call.arguments[:2])

    def _linear(self, call: Call, bias: Any, data: Any, turned: Any) -> None:
        weight = self.transposed.get(id(turned))
        own = data is self.current and weight is not None and set(call.named.values()) <= {1}
        _need(own, f"needs linear layers with weights of their own, here {call.name}")
        shape = (call.found.shape[1], 1, 1)
        self._append(Layer("linear", shape, weight=self._place(weight, call), bias=self._place(bias, call)))

    def _read_max_pool2d_with_indices(self, call: Call) -> None:
        _need(set(call.argument(4, ())) <= {1}, f"knows pools without dilation, here {call.name}")
        self._append(Layer("max", _shape(call.found[0]), *_pooling(call.arguments)))

    def _read_avg_pool2d(self, call: Call) -> None:
        kernel, stride, padding = _pooling(call.arguments)
        plain = padding == (0, 0) and not call.argument(4) and call.argument(6) is None
        _need(
            plain, f"knows mean pools without padding, ceil_mode or a divisor of their own, here {call.name}"
        )
        self._append(Layer("average", _shape(call.found), kernel, stride))

    def _read_adaptive_avg_pool2d(self, call: Call) -> None:
        before, after = (each[1:] for each in (_shape(self.current), _shape(call.found)))
        equal = not any(large % small for large, small in zip(before, after, strict=True))
        _need(equal, f"knows adaptive pools of equal windows, here {call.name}")
        kernel = (before[0] // after[0], before[1] // after[1])
        self._append(Layer("average", _shape(call.found), kernel, kernel))

    def _read_mean(self, call: Call) -> None:
        data = self.current
        of_sides = data.ndim == 4 and sorted(each % 4 for each in call.argument(1) or ()) == [2, 3]
        _need(of_sides, f"knows means over an image's rows and columns, here {call.name}")
        channels, *sides = _shape(data)
        self._append(Layer("average", (channels, 1, 1), _pair(sides), _pair(sides)))

    def _read_leaky_relu(self, call: Call) -> None:
        slope = float(call.argument(1, 0.01))
        _need(slope > 0, f"knows leaky ReLUs with a slope above 0, here {call.name} with {slope:g}")
        self._activated(Activation("LeakyRelu", (slope,)))

    def _read_add(self, call: Call) -> None:
        other = self._other(call)
        self._affine(1.0, other * float(call.named.get("alpha", 1)))

    def _read_sub(self, call: Call) -> None:
        other = self._other(call) * float(call.named.get("alpha", 1))
        self._affine(*((1.0, -other) if call.arguments[0] is self.current else (-1.0, other)))

    def _read_rsub(self, call: Call) -> None:
        _need(call.named.get("alpha", 1) == 1, f"does not know {call.name} with an alpha")
        self._affine(-1.0, self._other(call))

    def _read_mul(self, call: Call) -> None:
        other = next((each for each in call.arguments if each is not self.current), None)
        mask = self.masks.get(id(other))
        if mask is None or not mask.divided:
            self._affine(self._other(call), 0.0)
            return
        each = mask.values.shape == self.current.shape
        _need(each, f"knows dropout of single numbers, not of whole channels, here {call.name}")
        self._append(Layer("dropout", self._here(), probability=1 - mask.kept))
        few = sum(layer.kind == "dropout" for layer in self.chain) <= MOST_DROPOUTS
        _need(few, f"knows at most {MOST_DROPOUTS} layers of dropout, here {call.name}")

    def _read_div(self, call: Call) -> None:
        other = self._other(call)
        divided = call.arguments[0] is self.current and other and not call.named.get("rounding_mode")
        _need(bool(divided), f"knows division by a constant, here {call.name}")
        self._affine(1.0 / other, 0.0)

    # ---- helpers ----

    def _other(self, call: Call) -> float:
        """The number beside the data."""
        others = [each for each in call.arguments if each is not self.current]
        _need(
            len(others) == 1 and not isinstance(others[0], Tensor),
            f"needs a chain of layers that keeps images apart, here {call.name} takes another tensor",
        )
        number = float(others[0])
        usual = number == 0 or SMALLEST_CONSTANT <= abs(number) <= LARGEST_CONSTANT
        _need(usual, f"knows constants from 1e-9 to 1e9, here {call.name} takes {number:g}")
        return number

    def _affine(self, factor: float, shift: float) -> None:
        self._activated(Activation("Affine", (factor, shift)))

    def _activated(self, activation: Activation) -> None:
        self._append(Layer("elementwise", self._here(), activation=activation))

    def _here(self) -> Shape:
        """The data's shape as the next layer counts it: its own where it has rows and columns."""
        return _shape(self.current) if self.current.ndim == 4 else self.chain[-1].shape

    def _append(self, layer: Layer) -> None:
        """The layer, after one that counts its input otherwise where a view did so."""
        if layer.kind != "linear" and self._here() != self.chain[-1].shape:
            self.chain.append(Layer("elementwise", self._here()))
        self.chain.append(layer)

    def _place(self, value: Any, call: Call) -> int:
        if value is None:
            return -1
        place = self.places.get(id(value), -1)
        _need(place >= 0, f"needs layers whose weights are parameters as they are, here {call.name}")
        _need(place not in self.used, f"knows parameters that are used once, here {call.name} uses one again")
        self.used.add(place)
        return place


def _unknown(call: Call) -> None:
    raise NotAChainError(f"does not know {call.name}")


def _need(met: bool, sentence: str) -> None:  # noqa: FBT001 - it reads as an assertion
    if not met:
        raise NotAChainError(sentence)


def _tensors(arguments: Sequence[Any]) -> Iterator[Tensor]:
    for each in arguments:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from _tensors(each)


def _shape(value: Tensor) -> Shape:
    channels, rows, columns = value.shape[1:]
    return channels, rows, columns


def _pair(values: Sequence[int]) -> tuple[int, int]:
    """Of a row and a column, where one number may stand for both."""
    return (values[0], values[-1])


def _pooling(arguments: tuple[Any, ...]) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """A pool's kernel, stride and padding."""
    kernel = _pair(arguments[1])
    stride = _pair(arguments[2]) if len(arguments) > 2 and arguments[2] else kernel
    return kernel, stride, _pair(arguments[3]) if len(arguments) > 3 else (0, 0)
