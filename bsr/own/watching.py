"""A network watched at work: which of PyTorch's operators it calls, on what, and in which of its modules."""

from __future__ import annotations

from collections.abc import Container
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


class Call(NamedTuple):
    """An operator called in the forward pass of a module."""

    operator: str
    """`relu`, whether in place or not."""
    called: str
    """The operator that the module called, which this one may be a part of: `layer_norm`."""
    given: dict[str, Any]
    """Its arguments by PyTorch's names for them, with those that were left out."""
    found: Any
    module: str
    """`body.1 (GELU)`: its path and class; the class alone of the network itself."""

    @property
    def data(self) -> Any:
        """What it is done to: its first argument."""
        return next(iter(self.given.values()))

    @property
    def name(self) -> str:
        """`gelu in body.1 (GELU)`, `native_layer_norm of layer_norm in body.1 (LayerNorm)`."""
        whole = "" if self.operator == self.called else f" of {self.called}"
        return f"{self.operator}{whole} in {self.module}"


class _Watch(TorchDispatchMode):
    """Notes every call; holding them keeps every tensor alive, so that none gets the identity of another."""

    def __init__(self, path: list[str], whole: Container[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._path, self._whole, self._called = path, whole, ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: else PyTorch loads its compiler for the first call, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call it, and note that; or what it is made of."""
        named = kwargs or {}
        operator = str(function.overloadpacket).removeprefix("aten.").strip("_")
        before, called = self._called, self._called or operator
        if operator not in self._whole:
            self._called = called
            with self:
                found = function.decompose(*args, **named)
            self._called = before
            if found is not NotImplemented:
                return found
        found = function(*args, **named)
        known = function._schema.arguments  # noqa: SLF001 - nothing else names them
        given = {each.name: each.default_value for each in known}
        given |= dict(zip(given, args, strict=False)) | named
        self.calls.append(Call(operator, called, given, found, self._path[-1]))
        return found


def watched(
    model: nn.Module, images: Tensor, *, training: bool, whole: Container[str] = ()
) -> tuple[list[Call], Any]:
    """What a network calls for these images, without gradients, and what it gives.

    Operators that are made of others are seen as those, but for the ones named by `whole`. The network is
    left as it was, and so is the global random state. What it raises passes through.
    """
    path: list[str] = []
    with ExitStack() as around:
        for name, module in model.named_modules():
            around.callback(setattr, module, "training", module.training)
            enter = partial(_enter, path, module_name(model, name))
            around.enter_context(module.register_forward_pre_hook(enter))
            around.enter_context(module.register_forward_hook(partial(_leave, path)))
        model.train(training)
        # below autograd operators are whole; in inference mode what a network keeps for later could not train
        below_autograd = torch._C._AutoDispatchBelowAutograd()  # noqa: SLF001
        with torch.random.fork_rng(devices=[]), torch.no_grad(), below_autograd, _Watch(path, whole) as watch:
            return watch.calls, model(images)


def module_name(model: nn.Module, path: str) -> str:
    """A module by its path and class, `body.1 (GELU)`; the network itself by its class."""
    kind = type(model.get_submodule(path)).__name__
    return f"{path} ({kind})" if path else kind


def _enter(path: list[str], name: str, *_called: Any) -> None:
    path.append(name)


def _leave(path: list[str], *_called: Any) -> None:
    path.pop()
