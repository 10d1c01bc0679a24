"""An executor over the workers of a Dask cluster, whatever their number is at the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import replace
from typing import Any, Final

import bsr
from bsr.compute.cluster.connection import ClusterError, connect, open_door
from bsr.compute.cluster.roster import Roster
from bsr.compute.cluster.worker import compute_on_worker
from bsr.compute.in_process import Computed
from bsr.run import Execution, Run

WAIT_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.5
"""How often the scheduler is asked who is there."""
IN_FLIGHT_PER_WORKER: Final = 2
"""One that trains, and one ahead, so that a worker never waits for the session."""


class Cluster(Executor):
    """An executor over the workers of a Dask cluster, through `Client.get_executor()`.

    A Run goes to the workers that are trusted as it is submitted. Dask trains it again where one of them is
    lost; where all of them are, its future is cancelled: it is to be submitted again.
    """

    def __init__(
        self,
        address: str,
        execution: Execution,
        dataset: str,
        runs: tuple[Run, ...] = (),
        wait: float = WAIT_SECONDS,
        tell: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Connect to the scheduler at `address`, or start a cluster on this machine for `local`.

        Up to `wait` seconds are spent without a worker, now and later; `tell` is told how many have passed.
        On a CUDA device each Run takes one unit of the resource `GPU`. Raises ClusterError.
        """
        self._address = address
        self._wait = wait
        self._client, self._started = connect(address, wait)
        try:
            self._roster = Roster(self._client, execution, dataset, runs)
            self._await_workers(tell)
        except BaseException:
            self.close()
            raise
        first = self._roster.first
        assert first is not None
        self.execution = replace(execution, device=first.environment["device"])
        self.environment = first.environment
        self.digest = first.digest
        self.kernel = first.kernel
        self.trained = dict(first.trained)
        gpu = {"resources": {"GPU": 1}} if self.execution.device.startswith("cuda") else {}
        self._executor = self._client.get_executor(pure=False, **gpu)
        self._sent: dict[Future[Any], frozenset[str]] = {}
        self._lines = [line] if (line := open_door(self._client)) else []
        self._told: set[str] = set()
        self._looked = 0.0

    def _await_workers(self, tell: Callable[[float], None]) -> None:
        """Until one is trusted, and all that are there are checked. Raises ClusterError for an unfit one."""
        began = time.monotonic()
        roster = self._roster
        while not roster.trusted or roster.checking:
            roster.look()
            if roster.refused:
                raise ClusterError(next(iter(roster.refused.values())))
            if roster.hopeless_seconds > self._wait:
                raise ClusterError(
                    f"expected at least one worker within {self._wait:g} s, got none; start them with: "
                    f"dask worker {self._address} --nthreads 1, or wait longer with --bsr-dask-wait"
                )
            tell(time.monotonic() - began)
            time.sleep(LOOK_SECONDS)

    @property
    def workers(self) -> int:
        """How many may train now."""
        return len(self._roster.trusted)

    @property
    def capacity(self) -> int:
        """How many Runs to keep submitted."""
        return IN_FLIGHT_PER_WORKER * self.workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call for the workers that are trusted."""
        workers = frozenset(self._roster.trusted)
        future: Future[Any] = self._executor.submit(fn, *args, workers=sorted(workers), **kwargs)
        self._sent[future] = workers
        return future

    def compute(self, run: Run, execution: Execution) -> Future[Computed]:
        """Queue a Run on whichever worker is free."""
        return self.submit(compute_on_worker, run, execution, (bsr.__version__, self.digest, self.trained))

    def epochs(self) -> Iterable[tuple[str, int]]:
        """Nothing: a cluster tells of Runs, not of epochs."""
        return ()

    def news(self) -> Iterable[str]:
        """See who is there, give back what waits for the lost, and say what is new: who was refused.

        Raises BrokenExecutor where there was no worker for as long as is waited.
        """
        lines, self._lines = self._lines, []
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return lines
        self._roster.look()
        self._looked = time.monotonic()
        self._give_back_the_stranded()
        refused = self._roster.refused.values()
        if self._roster.hopeless_seconds > self._wait:
            unfit = "".join(f" ({line})" for line in list(refused)[-1:])
            raise BrokenExecutor(
                f"--bsr-dask: expected a worker at {self._address}, got none for {self._wait:g} s{unfit}; "
                "start them, then go on with --bsr-resume"
            )
        lines += [f"{line}; it trains nothing" for line in refused if line not in self._told]
        self._told.update(refused)
        return lines

    def _give_back_the_stranded(self) -> None:
        """What may run only on workers that are gone would wait for ever."""
        self._sent = {future: workers for future, workers in self._sent.items() if not future.done()}
        for future, workers in self._sent.items():
            if workers.isdisjoint(self._roster.trusted):
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """End; with `cancel_futures` queued Runs are cancelled and running ones stop after their epoch."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self.close()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._client.close(timeout=2)
        if self._started is not None:
            self._started.close(timeout=5)
