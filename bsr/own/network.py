"""What a network is made of, whether it is new, and what it computes with weights that a formula gives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy

from bsr.own.code import digest_of
from bsr.text.strict_json import elements

PROBED: Final = 8
"""Images of which the probe keeps the predictions."""
NORMS: Final = 8
"""Numbers in which it keeps the norms of the gradients, whatever the number of parameters."""
MOST_DEEP: Final = 6
_EVERY_MODULE_S: Final = frozenset(vars(nn.Module()))
_AS_THEY_ARE: Final = frozenset({bool, int, float, complex, str, bytes, type(None), type(...)})
_OF_TORCH: Final = (torch.dtype, torch.device, torch.memory_format, torch.layout)
_FUNCTIONS: Final = frozenset({FunctionType, BuiltinFunctionType})
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)


T = TypeVar("T")


def seeded(call: Callable[[], T], seed: int) -> T:
    """What it gives where torch's global generator was given that seed; the caller's is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return call()


_HANDED_OUT: Final[dict[int, StorageWeakRef]] = {}
"""The memory of every parameter and buffer of every network so far, as long as anything holds it."""


def handed_out_before(made: nn.Module) -> str:
    """The first parameter or buffer whose numbers are an earlier network's; empty where all are new.

    They would go on being trained. What is new is old from then on.
    """
    for known in [known for known, reference in _HANDED_OUT.items() if reference.expired()]:
        del _HANDED_OUT[known]
    new = {}
    for name, value in (*made.named_parameters(), *made.named_buffers()):
        if value.layout == torch.strided and not is_lazy(value):
            reference = StorageWeakRef(value.untyped_storage())
            if reference.cdata in _HANDED_OUT:
                return name
            new[reference.cdata] = reference
    _HANDED_OUT.update(new)
    return ""


def structure(made: nn.Module) -> tuple[str, ...]:
    """A line for each submodule: its class, its plain attributes, the shapes of its own weights and buffers.

    Of an attribute that is no plain value the type counts. Runs nothing of a user's but `named_modules`.
    """
    return tuple(f"{name or 'the network'}: {_of_one(part)}" for name, part in made.named_modules())


def structure_digest(made: nn.Module) -> str:
    """`2.9.1 0123456789ab`: the version of torch, another one of which may keep other attributes, and it."""
    return f"{str(torch.__version__).partition('+')[0]} {digest_of(repr(structure(made)).encode())}"


def _of_one(part: nn.Module) -> str:
    its = {name: value for name, value in vars(part).items() if name not in _EVERY_MODULE_S}
    tensors = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
    shapes = " ".join(f"{name}={_plain(value)}" for name, value in sorted(tensors, key=lambda pair: pair[0]))
    said = ", ".join(f"{name}={_plain(its[name])}" for name in sorted(its))
    return f"{_name(type(part))}({said}) {shapes}"


def _plain(value: Any, depth: int = 0) -> str:
    """Text of a value that is the same in every process; no method of a user's is called."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return repr(value)
    if issubclass(kind, _OF_TORCH):
        return str(value)
    if issubclass(kind, Tensor):
        return f"{value.dtype}{list(value.shape)}{'' if value.requires_grad else ' fixed'}"
    if kind is functools.partial:
        return f"partial({_plain([value.func, value.args, value.keywords], depth + 1)})"
    if issubclass(kind, _CONTAINERS) and depth < MOST_DEEP:
        return f"{_name(kind)}[{', '.join(_items(value, kind, depth + 1))}]"
    return _name(value if issubclass(kind, type) or kind in _FUNCTIONS else kind)


def _items(value: Any, kind: type, depth: int) -> Iterator[str]:
    if issubclass(kind, dict):
        pairs = ((_plain(key, depth), _plain(item, depth)) for key, item in dict.items(value))
        yield from sorted(f"{key}: {item}" for key, item in pairs)
    else:
        found = [_plain(item, depth) for item in elements(value)]
        yield from found if issubclass(kind, (list, tuple)) else sorted(found)


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def probe_of(made: nn.Module, images: Tensor) -> tuple[float, ...]:
    """Predictions of eight images, then norms of their sum's gradients, by weights that a formula gives.

    `images`, floating, one at least, as the network takes them; they are repeated to eight. In evaluation
    mode, on the CPU; what the network draws, it draws from one seed. Nothing where it cannot be computed, of
    which training will say more. Changes `made`.
    """
    try:
        return _probed(made, images)
    except Exception:  # noqa: BLE001 - a stranger's network
        return ()


def _probed(made: nn.Module, images: Tensor) -> tuple[float, ...]:
    set_weights(made)
    made.eval()
    made.zero_grad(set_to_none=True)
    with torch.enable_grad():
        predictions = seeded(lambda: made(images[torch.arange(PROBED) % len(images)]), 0)
        if predictions.requires_grad:
            predictions.sum().backward()
    if predictions.shape != (PROBED,):
        return ()
    return (*_numbers(predictions), *_numbers(_norms(made)))


def set_weights(made: nn.Module) -> None:
    """Every weight by a formula: sines, as large as the fan-in lets them be."""
    with torch.no_grad():
        for position, value in enumerate(made.parameters()):
            if value.is_floating_point():
                fan_in = max(1, value.numel() // len(value)) if value.ndim else 1
                numbers = torch.arange(1, value.numel() + 1, dtype=torch.float64) + position
                value.copy_((numbers.sin() / fan_in**0.5).reshape(value.shape))


def _norms(made: nn.Module) -> Tensor:
    """Of the parameters in as many groups as there are numbers to keep, in their order."""
    found = [
        value.grad.double().norm() if value.grad is not None else torch.zeros((), dtype=torch.float64)
        for value in made.parameters()
    ]
    return torch.stack([torch.stack(part).norm() for part in _groups(found)])


def _groups(values: list[Tensor]) -> Iterator[list[Tensor]]:
    size = -(-len(values) // NORMS)
    yield from (values[start : start + size] for start in range(0, len(values), size))


def _numbers(values: Tensor) -> tuple[float, ...]:
    """Seven digits of each, and what is not finite as numbers that are."""
    finite = values.detach().double().nan_to_num(nan=0.0, posinf=1e300, neginf=-1e300)
    return tuple(float(f"{value:.7g}") for value in finite.tolist())
