"""What happens on a worker of a Dask cluster: it says what it is, and trains."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import bsr
from bsr import engines
from bsr.compute.answers import packed
from bsr.compute.in_process import (
    Computed,
    UntrainableError,
    check_trainable,
    compute,
    identities,
    spent_reason,
)
from bsr.compute.process import CallFailedError
from bsr.data.images import DataError, load_images
from bsr.machine import device as machine
from bsr.records.agreement import unlike
from bsr.result import Trait
from bsr.run import Execution, Run
from bsr.text import Refused
from bsr.text.strict_json import one_line


class WorkerIdentity(NamedTuple):
    """What a worker must share with every other for their results to be mixed."""

    version: str
    digest: str
    """Of the data set's pixels."""
    environment: dict[str, Any]
    problem: str = ""
    trained: tuple[tuple[str, Trait], ...] = ()
    """Its labels and networks, see bsr.compute.in_process.identities."""
    kernel: str = ""
    """See bsr.engines.session_digest."""


_ONE_AT_A_TIME = threading.RLock()
"""Threads, precision, memory and the random stream that weights are drawn from are a process's, whatever
Dask's nthreads: nothing is checked beside a training either, since to try a network is to draw."""


def identify(execution: Execution, dataset: str, runs: tuple[Run, ...]) -> WorkerIdentity:
    """On a worker: what it is, or why it cannot train some of `runs`."""
    with _ONE_AT_A_TIME:
        return _identity(execution, dataset, runs)


def _identity(execution: Execution, dataset: str, runs: tuple[Run, ...]) -> WorkerIdentity:
    try:
        device = machine.resolve_device(execution.device)
        for precision in {run.precision for run in runs}:
            machine.check_precision(precision, device)
        engines.check_suited(execution.engine, runs, replace(execution, device=device))
        if reason := engines.unavailable_reason(execution.engine, runs, execution):
            return WorkerIdentity(bsr.__version__, "", {}, f"{reason}; or use the engine eager")
        digest = load_images(dataset, execution.data).digest
        check_trainable(runs, execution.data)
        return WorkerIdentity(
            bsr.__version__,
            digest,
            machine.fingerprint(replace(execution, device=device)),
            trained=tuple(identities(runs, execution.data).items()),
            kernel=engines.session_digest(execution, runs),
        )
    except (machine.DeviceError, engines.EngineError, DataError, UntrainableError) as error:
        return WorkerIdentity(bsr.__version__, "", {}, str(error))


def unfit_because(identity: WorkerIdentity, first: WorkerIdentity) -> str:
    """Why a worker cannot train beside the first, which was found fit; empty where it can."""
    if identity.problem:
        return identity.problem
    if identity.version != bsr.__version__:
        return f"expected bsr {bsr.__version__}, got {identity.version}; install the same there"
    if identity.digest != first.digest:
        return (
            f"expected data with digest {first.digest}, got {identity.digest}; "
            "give every worker the same files"
        )
    for name, one, other in unlike(dict(first.trained), dict(identity.trained)):
        return f"expected {name} {one}, got {other}; give every worker the same code"
    return ""


class UnlikeWorkerError(Refused):
    """A worker is no longer what it was when it was checked."""


class AbandonedError(Exception):
    """Nobody waits for this Run any more: the session or the worker ended, or it trains elsewhere."""


def compute_on_worker(
    run: Run, execution: Execution, expected: tuple[str, str, Mapping[str, Trait]]
) -> bytes:
    """`compute` on a worker that is checked again, stopped after an epoch once nobody waits for it.

    `expected` are the session's version, data digest, labels and networks. Returns what
    bsr.compute.answers believes. Raises UnlikeWorkerError, and CallFailedError for whatever else is raised
    here: an exception of any other kind may not be understood where it arrives.
    """
    try:
        with _ONE_AT_A_TIME:
            return packed(_computed(run, execution, expected))
    except UnlikeWorkerError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001 - handed on, whatever it is
        raise CallFailedError(one_line(error)) from None


def _computed(run: Run, execution: Execution, expected: tuple[str, str, Mapping[str, Trait]]) -> Computed:
    _leave_if(spent_reason(execution))
    mine = identify(execution, run.dataset, (run,))
    version, digest, trained = expected
    if mine.problem or (mine.version, mine.digest) != (version, digest):
        found = mine.problem or f"version {mine.version}, data {mine.digest}"
        raise UnlikeWorkerError(f"expected bsr {version} and data {digest}, got {found}")
    for name, one, other in unlike(trained, dict(mine.trained)):
        raise UnlikeWorkerError(
            f"on {socket.gethostname()}: expected {name} {one}, got {other}; give it the same code"
        )
    neighbours = _neighbours()
    computed = compute(run, execution, lambda _epoch: _stop_if_abandoned())
    if computed.result.status == "failed":
        _leave_if(computed.spent)
    beside = max(neighbours, _neighbours())
    return Computed(replace(computed.result, beside=beside), computed.environment)


def _leave_if(spent: str) -> None:
    """End a process that can train no more; the scheduler hands its Run on, and a nanny starts another."""
    if spent:
        print(f"bsr: {spent}", file=sys.stderr, flush=True)
        os._exit(1)


def _stop_if_abandoned() -> None:
    """Asked of the worker and not of the scheduler, which a cut link would make it wait for."""
    from distributed import Status, get_worker  # noqa: PLC0415

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state == "cancelled" or worker.status in {Status.closing, Status.closed}:
        raise AbandonedError


def _neighbours() -> int:
    """How many other workers of the cluster this machine has, by its address."""
    from distributed import get_worker  # noqa: PLC0415
    from distributed.utils import sync  # noqa: PLC0415

    worker: Any = get_worker()
    workers = sync(worker.loop, worker.scheduler.identity, n_workers=-1)["workers"]
    mine = workers.get(worker.contact_address)
    return sum(worker["host"] == mine["host"] for worker in workers.values()) - 1 if mine else 0
