"""Runs on a Dask cluster (optional extra `bsr[dask]`): any number of machines, data travel with the package.

Dask schedules, retries what a lost worker was training, and streams results back; nothing of that is ours.
Here its workers are checked before they are trusted, and each trains one Run at a time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import bsr
from bsr import engines, machine
from bsr.capacity import usable_cores
from bsr.data import DataError, load_images
from bsr.executors import (
    Computed,
    UntrainableError,
    check_trainable,
    compute,
    identities,
    spent_reason,
)
from bsr.run import Execution, Run
from bsr.strict_json import one_line

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS: Final = 10
IN_FLIGHT_PER_WORKER: Final = 4
"""Runs submitted ahead, so that a worker never waits for the session."""


class ClusterError(Exception):
    """The cluster cannot be used as asked; the message says expected, got, remedy."""


class Identity(NamedTuple):
    """What a worker must share with every other for their results to be mixed."""

    version: str
    digest: str
    """Of the data set's pixels."""
    host: str
    environment: dict[str, Any]
    problem: str = ""
    trained: tuple[tuple[str, str], ...] = ()
    """Its labels and networks, see bsr.executors.identities."""


class Cluster(Executor):
    """An executor over the workers of a Dask cluster, through `Client.get_executor()`."""

    def __init__(self, address: str, execution: Execution, dataset: str, runs: tuple[Run, ...] = ()) -> None:
        """Connect to the scheduler at `address`, or start a cluster on this machine for `local`.

        On a CUDA device each Run takes one unit of the resource `GPU`. Raises ClusterError.
        """
        self._client, self._started = connect(address)
        self._ended = f"bsr-ended-{uuid.uuid4().hex}"
        try:
            self.identities = self._identities(execution, dataset, runs)
            first = check(self.identities)
        except BaseException:
            self.close()
            raise
        self.execution = replace(execution, device=first.environment["device"])
        self.environment = first.environment
        self.digest = first.digest
        self.trained = dict(first.trained)
        self.capacity = IN_FLIGHT_PER_WORKER * len(self.identities)
        self._hosts = Counter(identity.host for identity in self.identities.values())
        gpu = self.execution.device.startswith("cuda")
        try:
            check_resources(self._client.scheduler_info(n_workers=-1)["workers"] if gpu else {})
        except ClusterError:
            self.close()
            raise
        self._executor = self._client.get_executor(pure=False, **({"resources": {"GPU": 1}} if gpu else {}))

    def _identities(self, execution: Execution, dataset: str, runs: tuple[Run, ...]) -> dict[str, Identity]:
        """Of every worker, by address. Raises ClusterError where one has no bsr that could say."""
        try:
            found: dict[str, Identity] = self._client.run(identify, execution, dataset, runs)
        except Exception as error:
            raise ClusterError(
                f"expected workers with bsr {bsr.__version__}, got {one_line(error)}; install the same there"
            ) from error
        return found

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call on the cluster."""
        future: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        return future

    def compute(self, run: Run, execution: Execution) -> Future[Computed]:
        """Queue a Run on whichever worker is free."""
        expected = (bsr.__version__, self.digest, self.trained)
        return self.submit(compute_on_worker, run, execution, expected, dict(self._hosts), self._ended)

    def epochs(self) -> Iterable[tuple[str, int]]:
        """Nothing: a cluster tells of Runs, not of epochs."""
        return ()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """End; with `cancel_futures` queued Runs are cancelled and running ones stop after their epoch."""
        if cancel_futures:
            from distributed import Event  # noqa: PLC0415

            with suppress(Exception):
                Event(self._ended, client=self._client).set()
        self._executor.shutdown(wait=wait and not cancel_futures)
        self.close()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._client.close(timeout=2)
        if self._started is not None:
            self._started.close(timeout=5)


def connect(address: str) -> tuple[Client, LocalCluster | None]:
    """A client of the scheduler at `address`; for `local`, of a cluster started here, one worker per core.

    Raises ClusterError.
    """
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ClusterError(
            f"expected dask.distributed, got {error}; install it with: pip install distributed"
        ) from error
    try:
        if address != "local":
            _knock(address)
            return Client(address, timeout=CONNECT_SECONDS, set_as_default=False), None
        started = LocalCluster(
            n_workers=usable_cores(), threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        return Client(started, set_as_default=False), started
    except (OSError, ValueError, TimeoutError) as error:
        got = str(error) or "something else that listens there"
        raise ClusterError(
            f"expected a Dask scheduler at {address!r}, got {got}; "
            "start one with: dask scheduler, or use --bsr-dask local"
        ) from error


def _knock(address: str) -> None:
    """See that a scheduler answers: a client that waits for one in vain neither gives up nor lets go.

    Raises OSError, TimeoutError, and ValueError for what is no address.
    """
    from distributed.comm.core import connect as open_comm  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    async def knock() -> None:
        arguments = Security().get_connection_args("client")
        comm = await asyncio.wait_for(
            open_comm(address, timeout=CONNECT_SECONDS, **arguments), CONNECT_SECONDS + 1
        )
        comm.abort()

    asyncio.run(knock())


def identify(execution: Execution, dataset: str, runs: tuple[Run, ...]) -> Identity:
    """On a worker: what it is, or why it cannot train some of `runs`."""
    host = socket.gethostname()
    try:
        device = machine.resolve_device(execution.device)
        for precision in {run.precision for run in runs}:
            machine.check_precision(precision, device)
        engines.check_suited(execution.engine, runs, replace(execution, device=device))
        if reason := engines.unavailable_reason(execution.engine):
            return Identity(bsr.__version__, "", host, {}, f"{reason}; or use the engine eager")
        digest = load_images(dataset, execution.data).digest
        check_trainable(runs, execution.data)
        return Identity(
            bsr.__version__,
            digest,
            host,
            machine.fingerprint(replace(execution, device=device)),
            trained=tuple(identities(runs, execution.data).items()),
        )
    except (machine.DeviceError, engines.EngineError, DataError, UntrainableError) as error:
        return Identity(bsr.__version__, "", host, {}, str(error))


def check(identities: dict[str, Identity]) -> Identity:
    """The first worker's identity, which all share. Raises ClusterError for none, or for one that differs."""
    if not identities:
        raise ClusterError(
            "expected at least one worker, got none; start them with: dask worker ADDRESS --nthreads 1"
        )
    first = next(iter(identities.values()))
    for address, identity in identities.items():
        if identity.problem:
            raise ClusterError(f"worker {address}: {identity.problem}")
        if identity.version != bsr.__version__:
            raise ClusterError(
                f"worker {address}: expected bsr {bsr.__version__}, got {identity.version}; "
                "install the same there"
            )
        if identity.digest != first.digest:
            raise ClusterError(
                f"worker {address}: expected data with digest {first.digest}, got {identity.digest}; "
                "give every worker the same files"
            )
        if unlike := _unlike(dict(first.trained), identity.trained):
            raise ClusterError(f"worker {address}: {unlike}; give every worker the same code")
    return first


def _unlike(expected: dict[str, str], got: Iterable[tuple[str, str]]) -> str:
    """The first of the labels and networks of `got` that is another than expected; empty where all agree."""
    return next(
        (
            f"expected {name} {expected[name]}, got {value}"
            for name, value in got
            if expected.get(name, value) != value
        ),
        "",
    )


def check_resources(workers: dict[str, dict[str, Any]]) -> None:
    """Raises ClusterError where a worker lacks the resource that a Run on a GPU takes and would await.

    `workers` are the scheduler's own descriptions, by address.
    """
    lacking = [address for address, about in workers.items() if not about.get("resources", {}).get("GPU")]
    if lacking:
        raise ClusterError(
            f"worker {lacking[0]}: expected the resource GPU, got none; start it with: --resources GPU=1"
        )


class UnlikeWorkerError(Exception):
    """A worker that came later differs from those that were checked."""


class AbandonedError(Exception):
    """The session ended while this Run was training."""


_ONE_AT_A_TIME = threading.Lock()  # threads, precision and memory are a process's, whatever Dask's nthreads


def compute_on_worker(
    run: Run,
    execution: Execution,
    expected: tuple[str, str, dict[str, str]],
    hosts: dict[str, int],
    ended: str,
) -> Computed:
    """`compute` on a worker that is checked again, stopped after an epoch once the session has ended.

    `expected` are the session's version, data digest, labels and networks, `hosts` the number of workers by
    host, `ended` the name of the event that tells of the end. Raises UnlikeWorkerError.
    """
    from distributed import Event, get_client  # noqa: PLC0415

    client = get_client()

    def on_epoch(_epoch: int) -> None:
        if Event(ended, client=client).is_set():
            raise AbandonedError

    with _ONE_AT_A_TIME:
        _leave_if(spent_reason(execution))
        mine = identify(execution, run.dataset, (run,))
        version, digest, trained = expected
        if mine.problem or (mine.version, mine.digest) != (version, digest):
            found = mine.problem or f"version {mine.version}, data {mine.digest}"
            raise UnlikeWorkerError(f"expected bsr {version} and data {digest}, got {found}")
        if unlike := _unlike(trained, mine.trained):
            raise UnlikeWorkerError(f"on {mine.host}: {unlike}; give it the same code")
        computed = compute(run, execution, on_epoch)
        if computed.result.status == "failed":
            _leave_if(computed.spent)
    beside = max(0, hosts.get(socket.gethostname(), 1) - 1)
    return Computed(replace(computed.result, beside=beside), computed.environment)


def _leave_if(spent: str) -> None:
    """End a process that can train no more; the scheduler hands its Run on, and a nanny starts another."""
    if spent:
        print(f"bsr: {spent}", file=sys.stderr, flush=True)
        os._exit(1)
