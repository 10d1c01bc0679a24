"""The engines: ways of computing a Run. Each is a Learner, checked against the eager one.

An entry names the module and class, imported when first used. A class may name by `honours` the fields of Run
that it trains by beside those of schema 1 (a Run with a field that an engine does not honour is refused), and
say by `unsupported_reason(run, execution)` what else it is not for, by `unavailable_reason(runs, execution)`
why this machine cannot have it, by `spent_reason()` why this process can train no more Runs with it, by
`source_digest(run, images)` which kernel of its own it has for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pkgutil import resolve_name
from typing import Final

from torch import Tensor

from bsr.data.images import Split, load_images
from bsr.machine import device as machine
from bsr.result import Result
from bsr.run import Execution, Run
from bsr.text import Refused
from bsr.training import loop as training
from bsr.training import weights

ENGINES: Final[dict[str, str]] = {
    "eager": "bsr.engines.eager:EagerLearner",
    "native": "bsr.engines.native:NativeLearner",
    "graph": "bsr.engines.graph:GraphLearner",
}
AUTO: Final = ("native", "eager")
"""What `auto` chooses from, the fastest first: engines measured on the kind of device they are for.

On a CUDA device that is eager: graph was measured on none yet.
"""


class EngineError(Refused):
    """The engine cannot train a Run as asked; the message says what, expected, got, remedy."""


def learner(engine: str) -> type[training.Learner]:
    """The Learner of an engine by name. Raises EngineError for an unknown one."""
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}; expected one of {', '.join(ENGINES)}, auto")
    found: type[training.Learner] = resolve_name(ENGINES[engine])
    return found


def train(
    run: Run,
    split: Split,
    execution: Execution | None = None,
    on_epoch: Callable[[int], None] = lambda _epoch: None,
) -> Result:
    """Train one Run as `execution` says, its device and engine found where they are `auto`.

    See bsr.training.loop.train. The weights are kept where `execution` says so. Raises EngineError where the
    engine cannot train it, machine.DeviceError.
    """
    execution = placed(execution or Execution(), [run])
    kernel = source_digest(execution.engine, run, split.train_images)
    keep = weights.writer(run, execution, kernel)
    result = training.train(run, split, execution, learner(execution.engine), on_epoch, keep)
    environment = machine.fingerprint(execution)["id"]
    return replace(result, engine=execution.engine, kernel=kernel, environment=environment)


def placed(execution: Execution, runs: Iterable[Run]) -> Execution:
    """The execution with the device and the engine that will train `runs`, where they are `auto`.

    `auto` is the fastest engine that trains them all and was measured on that kind of device. An engine asked
    for by name that has no compiler here gives way to eager: see `fallback_reason`. The native engine asked
    for by name means the CPU. Raises EngineError for an engine that cannot train them all,
    machine.DeviceError for a device that is not there.
    """
    if execution.device == "auto" and execution.engine == "native":
        execution = replace(execution, device="cpu")
    if execution.device in {"auto", "cuda"}:
        execution = replace(execution, device=machine.resolve_device(execution.device))
    return replace(execution, engine=_resolved(execution.engine, tuple(runs), execution))


def _resolved(engine: str, runs: tuple[Run, ...], execution: Execution) -> str:
    if engine == "auto":
        return next((name for name in AUTO if not _problem(name, runs, execution)), "eager")
    check_suited(engine, runs, execution)
    return "eager" if unavailable_reason(engine, runs, execution) else engine


def check_suited(engine: str, runs: Iterable[Run], execution: Execution) -> None:
    """Raises EngineError for an engine that cannot train them all."""
    if reason := unsupported_reason(engine, runs, execution):
        raise EngineError(f"{engine} {reason}; use eager or auto")


def fallback_reason(engine: str, runs: Iterable[Run], execution: Execution) -> str:
    """Why eager trains although `engine` was asked for, in one line; empty where nothing is amiss.

    `auto` on another device than the CPU is eager, and nothing is amiss.
    """
    if engine == "auto" and execution.device != "cpu":
        return ""
    return _problem(AUTO[0] if engine == "auto" else engine, tuple(runs), execution)


def _problem(engine: str, runs: tuple[Run, ...], execution: Execution) -> str:
    reason = unsupported_reason(engine, runs, execution)
    return f"{engine} {reason}" if reason else unavailable_reason(engine, runs, execution)


def unsupported_reason(engine: str, runs: Iterable[Run], execution: Execution) -> str:
    """Why an engine cannot train `runs`: what follows its name in a sentence; empty where it can."""
    honoured = getattr(learner(engine), "honours", ())
    for run in runs:
        if unknown := [name for name in run.later_fields if name not in honoured]:
            return f"does not know a Run's {unknown[0]}, here {getattr(run, unknown[0])!r}"
        if reason := _asked(engine, "unsupported_reason", run, execution):
            return reason
    return ""


def unavailable_reason(engine: str, runs: Iterable[Run] = (), execution: Execution | None = None) -> str:
    """Why this machine cannot have an engine, in one line; empty where it can. May compile it.

    What is compiled is for the networks and data sets of `runs`; without any, for the study's.
    """
    return _asked(engine, "unavailable_reason", tuple(runs), execution or Execution())


def spent_reason(engine: str) -> str:
    """Why this process can train no more Runs with an engine, in one line; empty where it can."""
    return _asked(engine, "spent_reason")


def source_digest(engine: str, run: Run, images: Tensor) -> str:
    """Of the kernel that an engine has for a Run on such images, 12 hexadecimal digits; empty without one."""
    return _asked(engine, "source_digest", run, images)


def _asked(engine: str, question: str, *about: object) -> str:
    """What an engine's class answers; empty where it does not know the question."""
    answer = getattr(learner(engine), question, None)
    return str(answer(*about)) if answer is not None else ""


def session_digest(execution: Execution, runs: Iterable[Run]) -> str:
    """Of the kernel that trains all of `runs`, or of several kernels together; empty without one."""
    kinds = {(run.dataset, run.model): run for run in runs}.values()
    images = {run.dataset: load_images(run.dataset, execution.data).train for run in kinds}
    found = {source_digest(execution.engine, run, images[run.dataset]) for run in kinds} - {""}
    return (
        "".join(found) if len(found) < 2 else hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:12]
    )
