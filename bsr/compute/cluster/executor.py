"""An executor over the workers of a Dask cluster, whatever their number is at the time.

Its futures are made here and not by Dask's `get_executor`, whose futures stay open for ever where an answer
cannot be unpickled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import bsr
from bsr.compute.cluster.connection import ClusterError, connect, open_door
from bsr.compute.cluster.roster import Roster
from bsr.compute.cluster.worker import compute_on_worker
from bsr.compute.process import LARGEST_MESSAGE, CallFailedError
from bsr.run import Execution, Run

WAIT_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.5
"""How often the scheduler is asked who is there."""
IN_FLIGHT_PER_WORKER: Final = 2
"""One that trains, and one ahead, so that a worker never waits for the session."""


ANSWER_SECONDS: Final = 5.0
"""How long an answer that is there may take to arrive before it is seen whether it still is."""
ANSWER_ATTEMPTS: Final = 12


class _Sent(NamedTuple):
    """What was asked of whom."""

    task: Any
    """Dask's own future."""
    workers: frozenset[str]
    of: str
    """Key of its Run; empty for another call."""


def _answer_of(task: Any) -> Any:
    """What a Dask future gives, if its worker was not lost meanwhile. Raises whatever the task raised."""
    from distributed import TimeoutError as Late  # noqa: PLC0415 - the optional extra

    for _ in range(ANSWER_ATTEMPTS - 1):
        with suppress(Late):
            return task.result(timeout=ANSWER_SECONDS)
        if task.status != "finished":
            break
    return task.result(timeout=ANSWER_SECONDS)


class Cluster(Executor):
    """An executor over the workers of a Dask cluster.

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
        cuda = self.execution.device.startswith("cuda")
        self._resources = {"resources": {"GPU": 1}} if cuda else {}
        self._sent = WeakKeyDictionary[Future[Any], _Sent]()
        self._refused_by: dict[str, set[str]] = {}
        """Key of a Run -> workers whose answer for it was refused."""
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
        return self._submit("", partial(fn, *args, **kwargs))

    def _submit(self, key: str, call: Callable[[], Any]) -> Future[Any]:
        """Where others are trusted, to none whose answer for the same Run was refused."""
        trusted = frozenset(self._roster.trusted)
        workers = trusted - self._refused_by.get(key, set()) or trusted
        task = self._client.submit(call, pure=False, workers=sorted(workers), **self._resources)
        future: Future[Any] = Future()
        self._sent[future] = _Sent(task, workers, key)
        future.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        task.add_done_callback(partial(self._hand_on, future))
        return future

    def _hand_on(self, future: Future[Any], task: Any) -> None:
        """What became of a task, whatever that is; the answer of a lost worker is given back."""
        error: BaseException | None = None
        answer = None
        try:
            size = self._client.nbytes([task.key], summary=False).get(task.key, 0)
            if size > LARGEST_MESSAGE:
                error = CallFailedError(f"expected an answer of {LARGEST_MESSAGE:,} bytes, got {size:,}")
            else:
                answer = _answer_of(task)
        except BaseException as raised:  # noqa: BLE001 - what it raised, or what unpickling it raises here
            error = raised
        if task.status not in {"finished", "error"}:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)

    def compute(self, run: Run, execution: Execution) -> Future[Any]:
        """Queue a Run on whichever worker is free."""
        expected = (bsr.__version__, self.digest, self.trained)
        return self._submit(run.key, partial(compute_on_worker, run, execution, expected))

    def refuse(self, future: Future[Any], why: str) -> bool:
        """What a worker gave is not believed: it goes to others, and after three that one trains no more."""
        from distributed import KilledWorker  # noqa: PLC0415 - the optional extra

        if isinstance(future.exception(), KilledWorker):
            return False  # Dask has asked others
        sent = self._sent[future]
        for worker in self._givers(sent):
            self._refused_by.setdefault(sent.of, set()).add(worker)
            self._roster.refuse(worker, why)
            self._lines.append(f"worker {worker}: an answer was refused: {why}")
        return True

    def _givers(self, sent: _Sent) -> list[str]:
        """Who gave an answer, or an error, as the scheduler has it; else the only one that could."""

        def givers(key: str, dask_scheduler: Any) -> list[str]:  # in here, as in open_door
            task = dask_scheduler.tasks.get(key)
            if task is None:
                return []
            return sorted({worker.address for worker in task.who_has or ()} | {*(task.erred_on or ())})

        try:
            found: list[str] = self._client.run_on_scheduler(givers, sent.task.key)
        except Exception:  # noqa: BLE001 - a scheduler may refuse to say
            found = []
        return found or (list(sent.workers) if len(sent.workers) == 1 else [])

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
        if self._roster.all_struck_out:
            raise BrokenExecutor(
                f"--bsr-dask: expected a worker at {self._address} whose answers can be believed, got none "
                f"({list(refused)[-1]}); what was measured is in the journal: mend it, then go on with "
                "--bsr-resume"
            )
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
        for future, sent in list(self._sent.items()):
            if not future.done() and sent.workers.isdisjoint(self._roster.trusted):
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """End; with `cancel_futures` queued Runs are cancelled and running ones stop after their epoch."""
        waited_for = [future for future in self._sent if not future.done()]
        if cancel_futures or not wait:
            self._client.cancel([self._sent[future].task for future in waited_for])
        else:
            wait_for(waited_for)
        self.close()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._client.close(timeout=2)
        if self._started is not None:
            self._started.close(timeout=5)
