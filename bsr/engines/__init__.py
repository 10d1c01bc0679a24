"""The engines: ways of computing a Run. Each is a Learner, checked against the eager one.

An entry names the module and class, imported when first used; a class may say by `available()` why this
machine cannot use it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Final

from torch import Tensor

from bsr import training
from bsr.data import Split
from bsr.experiment import Execution, Result, Run

ENGINES: Final[dict[str, str]] = {
    "eager": "bsr.training:EagerLearner",
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
    observe: Callable[[int], None] = lambda _epoch: None,
    keep: Callable[[dict[str, Tensor]], None] | None = None,
) -> Result:
    """Train one Run on the engine that `execution` names; see bsr.training.train."""
    execution = execution or Execution()
    result = training.train(run, split, execution, learner(execution.engine), observe, keep)
    return replace(result, engine=execution.engine)


class EngineError(Exception):
    """The engine is not for this machine or device; the message says expected, got, remedy."""


def resolve(engine: str, device: str, precision: str) -> str:
    """The engine a name stands for on a device; `auto` is the fastest that works there.

    Raises EngineError where a named one does not.
    """
    if engine != "auto":
        if reason := unavailable(engine, device, precision):
            raise EngineError(f"expected a machine for {engine!r}, got one where {reason}; use eager or auto")
        return engine
    usable = [name for name in reversed(ENGINES) if not unavailable(name, device, precision)]
    return usable[0]


def unavailable(engine: str, device: str, precision: str) -> str:
    """Why an engine cannot be used, in one clause; empty where it can."""
    reason = getattr(learner(engine), "unavailable", None)
    return str(reason(device, precision)) if reason is not None else ""
