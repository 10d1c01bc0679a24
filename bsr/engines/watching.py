"""A network watched at work: which of PyTorch's operators it calls, on what, and in which of its modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class Call(NamedTuple):
    """An operator called in the forward pass of a module."""

    function: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    found: Any
    module: str
    """`body.1 (GELU)`: its path and class; the class alone of the network itself."""

    @property
    def name(self) -> str:
        """`gelu in body.1 (GELU)`."""
        return f"{str(self.function).removeprefix('aten.')} in {self.module}"

    def argument(self, position: int, default: Any = None) -> Any:
        """What was given there; operators leave out what they have no need of."""
        return self.arguments[position] if len(self.arguments) > position else default


class _Watch(TorchDispatchMode):
    """Notes every call; holding them keeps every tensor alive, so that none gets the identity of another."""

    def __init__(self, path: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._path = path

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: else PyTorch loads its compiler for the first call, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call it, and note that."""
        found = function(*args, **(kwargs or {}))
        self.calls.append(Call(function.overloadpacket, args, kwargs or {}, found, self._path[-1]))
        return found


def watched(model: nn.Module, images: Tensor, *, training: bool) -> tuple[list[Call], Any]:
    """What a network calls for these images, without gradients, and what it gives.

    It is left as it was, and so is the global random state. What the network raises passes through.
    """
    watch = torch.no_grad(), torch.random.fork_rng(devices=[])
    with watch[0], watch[1], _followed(model, training=training) as path, _Watch(path) as calls:
        found = model(images)
    return calls.calls, found


def module_name(model: nn.Module, path: str) -> str:
    """A module by its path and class, `body.1 (GELU)`; the network itself by its class."""
    kind = type(model.get_submodule(path)).__name__
    return f"{path} ({kind})" if path else kind


@contextmanager
def _followed(model: nn.Module, *, training: bool) -> Iterator[list[str]]:
    """Which module computes at each moment, the last of the list; afterwards all is as before."""
    path = [module_name(model, "")]
    before = {module: module.training for module in model.modules()}
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(partial(_enter, path, module_name(model, name))))
        hooks.append(module.register_forward_hook(partial(_leave, path)))
    try:
        model.train(training)
        yield path
    finally:
        for hook in hooks:
            hook.remove()
        for module, was in before.items():
            module.training = was


def _enter(path: list[str], name: str, *_called: Any) -> None:
    path.append(name)


def _leave(path: list[str], *_called: Any) -> None:
    path.pop()
