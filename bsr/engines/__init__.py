"""The engines: ways of computing a Run. Each is a Learner, checked against the eager one.

An entry names the module and class, imported when first used. A class may say by `unsupported_reason(device,
precision)` what it is not for, and by `unavailable_reason()` why this machine cannot have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Final

from torch import Tensor

from bsr import training
from bsr.data import Split
from bsr.run import Execution, Result, Run

ENGINES: Final[dict[str, str]] = {
    "eager": "bsr.training:EagerLearner",
    "native": "bsr.engines.native:NativeLearner",
    "graph": "bsr.engines.graph:GraphLearner",
}
"""In rising order of speed where they work: `auto` takes the last that does."""


def learner(engine: str) -> type[training.Learner]:
    """The Learner of an engine by name. Raises KeyError for an unknown one."""
    module, _, name = ENGINES[engine].partition(":")
    found: type[training.Learner] = getattr(import_module(module), name)
    return found


def train(
    run: Run,
    split: Split,
    execution: Execution | None = None,
    on_epoch: Callable[[int], None] = lambda _epoch: None,
    on_weights: Callable[[dict[str, Tensor]], None] | None = None,
) -> Result:
    """Train one Run on the engine that `execution` names; see bsr.training.train."""
    execution = execution or Execution()
    result = training.train(run, split, execution, learner(execution.engine), on_epoch, on_weights)
    return replace(result, engine=execution.engine)


class EngineError(Exception):
    """The engine is not for this machine or device; the message says expected, got, remedy."""


def resolve(engine: str, device: str, precision: str) -> str:
    """The engine that will train where `engine` was asked for; `auto` is the fastest that works there.

    Raises EngineError for one that is not for the device or precision. One that is, but has no compiler
    here, gives way to eager: see `fallback_reason`.
    """
    if engine == "auto":
        suited = [name for name in reversed(ENGINES) if not unsupported_reason(name, device, precision)]
        return next(name for name in suited if not unavailable_reason(name))
    check_suited(engine, device, precision)
    return "eager" if unavailable_reason(engine) else engine


def check_suited(engine: str, device: str, precision: str) -> None:
    """Raises EngineError for an engine that is not for a device or precision."""
    if reason := unsupported_reason(engine, device, precision):
        raise EngineError(f"expected a Run that {engine!r} is for, got one where {reason}; use eager or auto")


def fallback_reason(engine: str, device: str, precision: str) -> str:
    """Why eager trains although `engine` was asked for, in one line; empty where nothing is amiss."""
    wanted = reversed(ENGINES) if engine == "auto" else [engine]
    suited = [name for name in wanted if not unsupported_reason(name, device, precision)]
    return unavailable_reason(suited[0]) if suited else ""


def unsupported_reason(engine: str, device: str, precision: str) -> str:
    """Why an engine is not for a device or precision, in one clause; empty where it is."""
    reason = getattr(learner(engine), "unsupported_reason", None)
    return str(reason(device, precision)) if reason is not None else ""


def unavailable_reason(engine: str) -> str:
    """Why this machine cannot have an engine, in one line; empty where it can. May compile it."""
    reason = getattr(learner(engine), "unavailable_reason", None)
    return str(reason()) if reason is not None else ""
