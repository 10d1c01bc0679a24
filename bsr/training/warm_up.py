"""Work done for what it prepares, and undone: a device plans, loads and allocates what it meets first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def undone(model: nn.Module, optimiser: torch.optim.Optimizer, wait: Callable[[], None]) -> Iterator[None]:
    """Afterwards, in place: the weights and buffers as before, the optimiser's moments and step zero.

    `wait` is for all that was asked of the device: what is undone must not overtake it on another stream.
    """
    state = [*model.parameters(), *model.buffers()]
    weights = [value.detach().clone() for value in state]
    yield
    wait()
    with torch.no_grad():
        for value, before in zip(state, weights, strict=True):
            value.copy_(before)
        for moments in optimiser.state.values():
            for value in moments.values():
                if isinstance(value, Tensor):
                    value.zero_()
