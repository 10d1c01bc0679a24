"""A process of this machine that trains one Run at a time, and the way to talk to it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from bsr.text import Refused, printable
from bsr.text.strict_json import LONGEST_LINE, one_line

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from bsr.compute.in_process import Computed
    from bsr.run import Execution, Run

LARGEST_MESSAGE: Final = 2**25
"""Bytes that a process says at once: more than the longest training's result."""
_SPAWN = multiprocessing.get_context("spawn")  # a fork of a process that has run OpenMP threads can hang


class WorkerLostError(Exception):
    """The processes that this call was handed to died."""


class CallFailedError(Refused):
    """The call raised, or what it gave is no answer; the message says what."""


class ProcessStarter:
    """Where processes are started, until it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._processes: set[SpawnProcess] = set()

    def start(self) -> Worker:
        """A new process. Raises WorkerLostError once closed."""
        here, there = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(there,), daemon=True)
        with self._lock:  # so that closing either sees this process or keeps it from starting
            if self.closed:
                raise WorkerLostError("the session ended")
            process.start()
            self._processes.add(process)
        there.close()
        return Worker(process, here)

    def stop(self, worker: Worker) -> None:
        """End a process, which may be dead already."""
        worker.connection.close()  # on which an idle process ends of itself
        worker.process.join(timeout=1)
        worker.process.kill()
        worker.process.join(timeout=1)
        with self._lock:
            self._processes.discard(worker.process)

    def close(self) -> None:
        """Kill all, and start no more."""
        with self._lock:
            self.closed = True
            for process in self._processes:
                process.kill()


class Worker(NamedTuple):
    """A process and the way to talk to it."""

    process: SpawnProcess
    connection: Connection

    def ask(self, call: Callable[[], Any], tell: Callable[[tuple[str, int]], None]) -> Any:
        """The call's value. Raises CallFailedError, and EOFError or OSError if the process dies meanwhile."""
        self.connection.send(call)
        while True:
            match self._heard():
                case ("value", value):
                    return value
                case ("raised", str(said)):
                    raise CallFailedError(printable(said, LONGEST_LINE))
                case ("epoch", str(key), int(epoch)):
                    tell((key, epoch))
                case _:
                    self._end_of("something else")

    def _heard(self) -> Any:
        """The next message. As `ask`."""
        try:
            content = self.connection.recv_bytes(LARGEST_MESSAGE)
        except OSError as error:
            if "bad message length" in str(error):  # longer than that
                self._end_of(f"a message of more than {LARGEST_MESSAGE:,} bytes")
            raise
        try:
            return pickle.loads(content)  # noqa: S301 - of a process of this session's own code
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            return self._end_of(f"what cannot be read: {one_line(error)}")

    def _end_of(self, got: str) -> NoReturn:
        """A process that is out of step is ended. Raises CallFailedError."""
        self.process.kill()
        self.process.join(timeout=1)
        raise CallFailedError(f"expected an answer of a worker, got {got}")


_SESSION: list[Connection] = []
"""In a worker: where to tell of epochs."""


def _work(connection: Connection) -> None:
    """A worker's life: calls, one after the other, until there is no session to send more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_session, daemon=True).start()
    _SESSION.append(connection)
    with suppress(EOFError):
        while True:
            call = connection.recv()
            try:
                answer = ForkingPickler.dumps(("value", call()))
            except BaseException as error:  # noqa: BLE001 - handed on, whatever it is
                answer = ForkingPickler.dumps(("raised", one_line(error)))
            connection.send_bytes(answer)


def _end_with_the_session() -> None:
    """Also in the middle of a Run, and however the session ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def train(run: Run, execution: Execution, beside: int) -> Computed:
    """In a worker: compute a Run with `beside` others on the machine, telling the session of epochs."""
    import torch  # noqa: PLC0415 - in the worker alone, so that the session starts them fast

    from bsr.compute.in_process import compute  # noqa: PLC0415

    torch.set_num_threads(execution.threads or 1)  # also while it loads, beside the others

    def on_epoch(epoch: int) -> None:
        _SESSION[0].send(("epoch", run.key, epoch))

    on_epoch(0)
    computed = compute(run, execution, on_epoch)
    return computed._replace(result=replace(computed.result, beside=beside))
