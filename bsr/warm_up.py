"""Work done for what it prepares, and undone: a device plans, loads and allocates what it meets first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def undone(model: nn.Module, optimiser: torch.optim.Optimizer, wait: Callable[[], None]) -> Iterator[None]:
    """Afterwards, in place: the weights as before, the optimiser's moments and step zero.

    `wait` is for all that was asked of the device: what is undone must not overtake it on another stream.
    """
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    yield
    wait()
    with torch.no_grad():
        for parameter, before in zip(model.parameters(), weights, strict=True):
            parameter.copy_(before)
        for state in optimiser.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
