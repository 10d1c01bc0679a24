"""Processes of this machine, each training one Run at a time; a killed one loses nothing but its Run's work.

Python's process pool breaks for every pending future when one of its processes dies. Here the pool is then
rebuilt and what was unfinished goes in again, one by one, so that a Run which breaks it a second time is
known by name.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, InvalidStateError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from bsr.executors import Computed, compute
from bsr.experiment import Execution, Run

_SPAWN = multiprocessing.get_context("spawn")  # a fork of a process that has run OpenMP threads can hang


class WorkerLostError(Exception):
    """The process that trained this Run died, twice, the second time with no other Run beside it."""


@dataclass(eq=False, slots=True)
class _Task:
    """A submitted call until it is done."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    future: Future[Any] = field(default_factory=Future)
    suspect: bool = False
    """Whether it was in a pool when that broke."""


class Workers(Executor):
    """`count` processes, started with the first submission."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.capacity = 2 * count
        self._lock = threading.RLock()
        self._told, self._telling = _SPAWN.Pipe(duplex=False)
        self._inside: set[_Task] = set()
        self._waiting: deque[_Task] = deque()
        self._ended = False
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.count, mp_context=_SPAWN, initializer=_begin_worker, initargs=(self._telling,)
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Queue a call; its future fails with WorkerLostError if it breaks the pool twice."""
        task = _Task(partial(fn, **kwargs) if kwargs else fn, args)
        with self._lock:
            self._waiting.append(task)
            self._feed()
        return task.future

    def epochs(self) -> Iterable[tuple[str, int]]:
        """(key, finished epochs) of what trains, since the last call."""
        while self._told.poll():
            yield self._told.recv()

    def _feed(self) -> None:
        """Hand waiting tasks to the pool: all, or while some broke it before, those alone and one by one."""
        while self._waiting and not self._ended:
            careful = self._waiting[0].suspect or any(task.suspect for task in self._inside)
            if careful and self._inside:
                return
            task = self._waiting.popleft()
            self._inside.add(task)
            try:
                inner = self._pool.submit(task.fn, *task.args)
            except BrokenProcessPool:  # it broke since; its callbacks rebuild it
                self._inside.discard(task)
                self._waiting.appendleft(task)
                if not self._inside:
                    self._pool = self._new_pool()
                    continue
                return
            inner.add_done_callback(partial(self._done, task))

    def _done(self, task: _Task, inner: Future[Any]) -> None:
        with self._lock:
            alone = len(self._inside) == 1
            self._inside.discard(task)
            error = None if inner.cancelled() else inner.exception()
            if isinstance(error, BrokenProcessPool) and not self._ended:
                self._broken(task, was_alone=alone)
            else:
                _settle(task.future, inner, error)
            self._feed()

    def _broken(self, task: _Task, *, was_alone: bool) -> None:
        if task.suspect and was_alone:
            _settle(task.future, None, WorkerLostError("its process died twice, the second time training nothing else"))
        else:
            task.suspect = True
            self._waiting.appendleft(task)
        if not self._inside:
            self._pool = self._new_pool()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """End. With `cancel_futures` the processes are ended where they are, without waiting for their Runs."""
        with self._lock:
            self._ended = True
            waiting, self._waiting = list(self._waiting), deque()
        for task in waiting:
            task.future.cancel()
        processes = list((self._pool._processes or {}).values())  # noqa: SLF001 - public only from Python 3.14
        self._pool.shutdown(wait=wait and not cancel_futures, cancel_futures=cancel_futures)
        if cancel_futures:
            for process in processes:
                process.kill()
            for process in processes:
                process.join(timeout=1)


def _settle(future: Future[Any], inner: Future[Any] | None, error: BaseException | None) -> None:
    with suppress(InvalidStateError):  # cancelled meanwhile
        if error is not None:
            future.set_exception(error)
        elif inner is None or inner.cancelled():
            future.cancel()
        else:
            future.set_result(inner.result())


_TELLING: list[Connection] = []
"""In a worker: where to tell of epochs. Its messages are shorter than a pipe writes at once, so no lock,
which a killed worker would keep."""


def _begin_worker(telling: Connection) -> None:
    """Ctrl-C is the session's to handle; without its session a worker ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _TELLING.append(telling)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def compute_in_worker(run: Run, execution: Execution) -> Computed:
    """`compute`, telling the session of epochs."""
    telling = _TELLING[0]

    def observe(epoch: int) -> None:
        with suppress(OSError):
            telling.send((run.key, epoch))

    observe(0)
    return compute(run, execution, observe)
