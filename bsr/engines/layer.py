"""A network as a chain of layers: what the native engine's kernel is generated from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Shape = tuple[int, int, int]
"""Channels, rows, columns."""


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
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    weight: int = -1
    bias: int = -1
    """Where its parameters lie, counted in numbers, in the order of `parameters()`; -1 without one."""
    pool: int = 1
    """Side of the max pool that is part of a convolution."""
    activation: Activation = IDENTITY
    probability: float = 0.0
    """Of a number to be dropped."""

    @property
    def count(self) -> int:
        """Numbers that it puts out."""
        channels, rows, columns = self.shape
        return channels * rows * columns
