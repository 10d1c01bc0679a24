"""The workers of a Dask cluster as they come and go: each is checked before it is trusted with a Run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import bsr
from bsr.compute.cluster.worker import WorkerIdentity, identify, unfit_because
from bsr.compute.workers import MOST_REFUSED
from bsr.run import Execution, Run
from bsr.text.strict_json import one_line

if TYPE_CHECKING:
    from distributed import Client

ANSWER_SECONDS: Final = 5
"""How long the scheduler may take to say which workers it has; then it is asked again."""
CHECK_SECONDS: Final = 120
"""How long a worker may take to import torch, unpack the images and say what it is, or it counts as none."""


class Roster:
    """Who may train, `trusted`, by address; and what those said who may not, `refused`."""

    def __init__(self, client: Client, execution: Execution, dataset: str, runs: tuple[Run, ...]) -> None:
        """Of the workers of a client's scheduler, which are to train `runs`. It knows none until `look`."""
        self.trusted: dict[str, WorkerIdentity] = {}
        self.refused: dict[str, str] = {}
        self.first: WorkerIdentity | None = None
        """The first that was found fit, which every other must be like."""
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._asked = (execution, dataset, runs)
        self._checking: dict[str, tuple[Future[WorkerIdentity], float]] = {}
        self._wanted: Future[Any] | None = None
        self._hoped = time.monotonic()
        self._answers_refused: Counter[str] = Counter()

    def refuse(self, address: str, why: str) -> None:
        """An answer of a worker was not believed; after MOST_REFUSED it is trusted no more."""
        self._answers_refused[address] += 1
        if self._answers_refused[address] >= MOST_REFUSED and self.trusted.pop(address, None) is not None:
            self.refused[address] = f"worker {address}: {MOST_REFUSED} answers were refused, the last: {why}"

    @property
    def all_struck_out(self) -> bool:
        """Whether nobody is left, and not because the workers went."""
        struck_out = any(count >= MOST_REFUSED for count in self._answers_refused.values())
        return struck_out and not self.trusted and not self.checking

    @property
    def checking(self) -> bool:
        """Whether a worker may still be found fit or unfit."""
        now = time.monotonic()
        return any(now - began < CHECK_SECONDS for _, began in self._checking.values())

    @property
    def hopeless_seconds(self) -> float:
        """For how long there has been no worker that trains, nor one that is being checked."""
        return time.monotonic() - self._hoped

    def look(self) -> None:
        """Ask the scheduler who is there, begin to check who is new, and hear what those checked have said.

        A scheduler that does not answer changes nothing: it is busy, or the client connects anew.
        """
        try:
            workers = self._workers()
        except (OSError, RuntimeError):
            return
        for known in (self.trusted, self.refused, self._checking):
            for address in known.keys() - workers.keys():
                del known[address]
        for address in workers.keys() - self.trusted.keys() - self.refused.keys() - self._checking.keys():
            future = self._executor.submit(identify, *self._asked, workers=[address])
            self._checking[address] = (future, time.monotonic())
        self._hear(workers)
        self._want_one(workers)
        if self.trusted or self.checking:
            self._hoped = time.monotonic()

    def _workers(self) -> dict[str, dict[str, Any]]:
        """The scheduler's own descriptions, by address."""
        scheduler: Any = self._client.scheduler
        about = self._client.sync(scheduler.identity, n_workers=-1, callback_timeout=ANSWER_SECONDS)
        workers: dict[str, dict[str, Any]] = about["workers"]
        return workers

    def _hear(self, workers: dict[str, dict[str, Any]]) -> None:
        """Trust or refuse those that have said what they are; one whose answer was lost is asked anew."""
        for address, (future, _) in list(self._checking.items()):
            if not future.done():
                continue
            del self._checking[address]
            if future.cancelled():
                continue
            identity = _answer(future)
            problem = unfit_because(identity, self.first or identity) or lacking_resource(
                identity, workers[address]
            )
            if problem:
                self.refused[address] = f"worker {address}: {problem}"
            else:
                self.first = self.first or identity
                self.trusted[address] = identity

    def _want_one(self, workers: Iterable[str]) -> None:
        """A call that any worker answers: an adaptive cluster starts none while nothing waits for one."""
        if workers:
            self._wanted = None  # which releases it
        elif self._wanted is None:
            self._wanted = self._executor.submit(int)


def _answer(future: Future[WorkerIdentity]) -> WorkerIdentity:
    """What a worker said; one without this package, or with one that is too different, can say nothing."""
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, the worker does not train
        problem = f"expected bsr {bsr.__version__}, got {one_line(error)}; install the same there"
        return WorkerIdentity("", "", {}, problem)


def lacking_resource(identity: WorkerIdentity, about: dict[str, Any]) -> str:
    """Of a worker that lacks the resource which a Run on a GPU takes, and would await for ever."""
    if not identity.environment["device"].startswith("cuda") or about.get("resources", {}).get("GPU"):
        return ""
    return "expected the resource GPU, got none; start it with: --resources GPU=1"
