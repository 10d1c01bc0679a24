"""The source of a network's kernel: its chain of layers as types, for the templates of `kernel/` to compute.

The text follows from the chain and the images' dtype alone, and so does its digest: it is the same on every
machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Final

import torch

from bsr.engines.layers import IDENTITY, Activation, Layer

HEADERS: Final = Path(__file__).with_name("kernel")
PIXELS: Final = {torch.uint8: "uint8_t", torch.float32: "float"}
"""Images that a kernel can be generated for."""
LARGEST_FUSED_POOL: Final = 4
"""Pixels of the side of a pool that the kernel makes part of the convolution before it."""
WIDEST: Final = 16
"""Lanes of the widest register."""


def fused(chain: Sequence[Layer]) -> tuple[Layer, ...]:
    """Activations become part of the layer before them, pools of a convolution before them, constants one.

    What a convolution's activation does to the maximum of a window is the maximum of what it does: it rises.
    """
    found = [chain[0]]
    for layer in chain[1:]:
        found[-1:] = _merged(found[-1], layer)
    return tuple(found)


def _merged(last: Layer, layer: Layer) -> list[Layer]:
    """Two layers as one, or as they are."""
    its, own = last.activation, layer.activation
    if _tiles(layer, last):
        return [replace(last, pool=layer.kernel[0], shape=layer.shape)]
    if layer.kind == last.kind == "elementwise" and own.kind == its.kind == "Affine":
        (factor, shift), (again, more) = its.numbers, own.numbers
        return [replace(layer, activation=Activation("Affine", (factor * again, shift * again + more)))]
    takes = last.kind in {"convolution", "max", "average", "linear"} and its == IDENTITY
    follows = layer.kind == "elementwise" and layer.shape == last.shape and own.kind != "Affine"
    return [replace(last, activation=own)] if takes and follows else [last, layer]


def _tiles(pool: Layer, last: Layer) -> bool:
    """Whether a pool can be part of a convolution: small square windows side by side."""
    side, (channels, rows, columns) = pool.kernel[0], last.shape
    tiling = Layer("max", (channels, rows // side, columns // side), (side, side), (side, side))
    small = 1 < side <= LARGEST_FUSED_POOL
    return small and pool == tiling and last.kind == "convolution" and last.pool == 1


def text(chain: Sequence[Layer], dtype: torch.dtype) -> str:
    """The C++ of a network: a type per layer, by their order."""
    lines = ['#include "layers.h"', ""]
    for index, (layer, following) in enumerate(zip(chain, [*chain[1:], None], strict=True)):
        border = following.padding if following is not None and following.kind == "convolution" else (0, 0)
        numbers = enumerate(layer.activation.numbers)
        constants = {f"Constant{index}_{place}": number.hex() for place, number in numbers}
        lines += [
            f"struct {name} {{ static constexpr float VALUE = {of}f; }};" for name, of in constants.items()
        ]
        lines.append(f"typedef Map<{_listed(*layer.shape, *border)}> Map{index};")
        lines.append(f"typedef {_type(chain, index, PIXELS[dtype], constants)} Layer{index};")
    names = ", ".join(f"Layer{index}" for index in range(1, len(chain)))
    lines += ["typedef Layer0 Input;", f"typedef Chain<{names}> Network;", '#include "training.h"', ""]
    return "\n".join(lines)


def digest(source: str) -> str:
    """Of a network's source with what it includes, 12 hexadecimal digits: whatever may change its results."""
    return hashlib.sha256(source.encode() + _headers()).hexdigest()[:12]


@cache
def _headers() -> bytes:
    return b"".join(path.read_bytes() for path in sorted(HEADERS.glob("*.h")))


def workspace_bytes(chain: Sequence[Layer]) -> int:
    """About what a block of images touches on its way forward and back, with the widest registers.

    What every layer puts out, the gradient of that, and which place of a pool or number of dropout it was;
    behind a pool the input and its gradient image by image.
    """
    numbers = 0
    for before, layer in pairwise(chain):
        kinds = 3 if layer.kind in {"max", "dropout"} or layer.pool > 1 else 2
        numbers += kinds * prod(layer.shape)
        if layer.pool > 1:
            numbers += 2 * before.shape[1] * before.shape[2] * -(-before.shape[0] // WIDEST) * WIDEST
    return 4 * WIDEST * (numbers + prod(chain[0].shape))


def _type(chain: Sequence[Layer], index: int, pixel: str, constants: Iterable[str]) -> str:
    layer, maps = chain[index], f"Map{index - 1}, Map{index}"
    first = "false" if any(before.weight >= 0 for before in chain[:index]) else "true"
    window = f"Window<{_listed(*layer.kernel, *layer.stride)}>"
    at = f"At<{_listed(layer.weight, layer.bias)}>"
    kind, numbers = layer.activation.kind, _listed(*constants)
    activation = f"{kind}<{numbers}>" if numbers else kind
    dropout = sum(before.kind == "dropout" for before in chain[:index])
    kept = min(round((1 - layer.probability) * 2**32), 2**32 - 1)  # a comparison decides: all but one at most
    return {
        "image": f"Image<{pixel}, Map{index}>",
        "convolution": f"Convolution<{maps}, {window}, {layer.pool}, {at}, {activation}, {first}>",
        "max": f"MaxPool<{maps}, {window}, {_listed(*layer.padding)}, {activation}, {first}>",
        "average": f"AveragePool<{maps}, {window}, {activation}, {first}>",
        "linear": f"Linear<Map{index - 1}, {layer.shape[0]}, {at}, {activation}, {first}>",
        "elementwise": f"Elementwise<{maps}, {activation}, {first}>",
        "dropout": f"Dropout<{maps}, {kept}u, {dropout}, {first}>",
    }[layer.kind]


def _listed(*values: object) -> str:
    return ", ".join(map(str, values))
