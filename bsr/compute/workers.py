"""Processes of this machine, each training one Run at a time; a killed one loses nothing but its Run's work.

A thread of the session attends to each process: it hands over one Run, hears of its epochs and its end, and
where the process dies, starts another for the same Run. A Run whose process died twice is given up by name;
the others never notice. A process that lost its device, or whose answer was refused, is ended, and replaced
likewise; after three refused answers it is replaced no more. (Python's own process pool fails every pending
Run when one process dies, and cannot say which of them was to blame.)
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn
from weakref import WeakKeyDictionary

from bsr.run import MOST_EPOCHS
from bsr.strict_json import LONGEST_LINE, one_line
from bsr.text import Refused, printable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from bsr.compute.in_process import Computed
    from bsr.run import Execution, Run

ATTEMPTS: Final = 2
"""How often a call is handed to a process before the death of another one is taken for its own doing."""
MOST_REFUSED: Final = 3
"""Answers of one worker, after which it is trusted no more."""
LARGEST_MESSAGE: Final = 2**25
"""Bytes that a process says at once: more than the longest training's result."""
_SPAWN = multiprocessing.get_context("spawn")  # a fork of a process that has run OpenMP threads can hang


class WorkerLostError(Exception):
    """The processes that this call was handed to died."""


class CallFailedError(Refused):
    """The call raised, or what it gave is no answer; the message says what."""


class _Task(NamedTuple):
    future: Future[Any]
    call: Callable[[], Any]


class Workers(Executor):
    """`count` processes, each started when there is something for it to do."""

    def __init__(self, count: int) -> None:
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._told: deque[tuple[str, int]] = deque(maxlen=MOST_EPOCHS)
        self._by = WeakKeyDictionary[Future[Any], _WorkerThread]()
        self._lines: list[str] = []
        self._starter = _ProcessStarter()
        resource_tracker.ensure_running()  # here and not in a thread, where it would unblock signals
        self._threads = [
            _WorkerThread(self._tasks, self._told, self._by, self._starter) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """How many are trusted."""
        return sum(thread.refused < MOST_REFUSED for thread in self._threads)

    @property
    def capacity(self) -> int:
        """How many Runs to keep submitted."""
        return 2 * self.workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call that can be pickled.

        Its future fails with WorkerLostError if two processes died of it, with CallFailedError if it raised.
        """
        task = _Task(Future(), partial(fn, *args, **kwargs))
        self._tasks.put(task)
        return task.future

    def compute(self, run: Run, execution: Execution) -> Future[Computed]:
        """Queue a Run."""
        return self.submit(train, run, execution, beside=len(self._threads) - 1)

    def epochs(self) -> Iterable[tuple[str, int]]:
        """(key, finished epochs) of what trains, since the last call."""
        while self._told:
            yield self._told.popleft()

    def refuse(self, future: Future[Any], why: str) -> bool:
        """What a worker gave is not believed: its process is replaced, and after three it trains no more."""
        if isinstance(future.exception(), WorkerLostError):
            return False  # it was asked again already
        if (thread := self._by.get(future)) is not None:
            thread.refuse()
            number = self._threads.index(thread) + 1
            ending = "" if thread.refused < MOST_REFUSED else f", {MOST_REFUSED} of it: it trains no more"
            self._lines.append(f"worker {number}: an answer was refused{ending}: {why}")
        return True

    def news(self) -> Iterable[str]:
        """Whose answers were refused. Raises BrokenExecutor where nobody is trusted any more."""
        lines, self._lines = self._lines, []
        if not self.workers:
            last = "".join(lines[-1:])
            raise BrokenExecutor(
                f"--bsr-workers: expected answers that can be believed, got {MOST_REFUSED} refused of every "
                f"worker ({last}); what was measured is in the journal: mend it, then go on with --bsr-resume"
            )
        return lines

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's signature
        """End when all is done; with `cancel_futures` at once, processes killed in the middle of a call."""
        if cancel_futures:
            self._starter.close()
            with suppress(queue.Empty):
                while (task := self._tasks.get_nowait()) is not None:
                    task.future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()


class _ProcessStarter:
    """Where processes are started, until it is closed."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = threading.Lock()
        self._processes: set[SpawnProcess] = set()

    def start(self) -> _Worker:
        """A new process. Raises WorkerLostError once closed."""
        here, there = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(there,), daemon=True)
        with self._lock:  # so that closing either sees this process or keeps it from starting
            if self.closed:
                raise WorkerLostError("the session ended")
            process.start()
            self._processes.add(process)
        there.close()
        return _Worker(process, here)

    def stop(self, worker: _Worker) -> None:
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


class _WorkerThread(threading.Thread):
    """Hands one task after the other to one process, and to another where that dies."""

    def __init__(
        self,
        tasks: queue.SimpleQueue[_Task | None],
        told: deque[tuple[str, int]],
        by: WeakKeyDictionary[Future[Any], _WorkerThread],
        starter: _ProcessStarter,
    ) -> None:
        super().__init__(daemon=True)
        self.refused = 0
        """How many answers were."""
        self._tasks = tasks
        self._told = told
        self._by = by
        self._starter = starter
        self._worker: _Worker | None = None
        self._suspect = False

    def refuse(self) -> None:
        """An answer was not believed; told by the session's own thread."""
        self.refused += 1
        self._suspect = True

    def run(self) -> None:
        """Until there are no more tasks."""
        if hasattr(signal, "pthread_sigmask"):  # what is started here inherits it: Ctrl-C is the session's
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        while (task := self._tasks.get()) is not None:
            if self.refused >= MOST_REFUSED:
                self._tasks.put(task)  # for those that are trusted
                break
            self._by[task.future] = self
            if task.future.set_running_or_notify_cancel():
                try:
                    task.future.set_result(self._answer(task))
                except Exception as error:  # noqa: BLE001 - whatever it is, the others wait
                    task.future.set_exception(error)
        self._let_go()

    def _answer(self, task: _Task) -> Any:
        for attempt in range(1, ATTEMPTS + 1):
            if self._worker is None or self._suspect or not self._worker.process.is_alive():
                self._let_go()
                self._worker, self._suspect = self._starter.start(), False
            process = self._worker.process
            try:
                answer = self._worker.ask(task.call, self._told.append)
            except (EOFError, OSError):  # what the pipe of a dead process gives
                self._let_go()
                continue
            if not getattr(answer, "spent", ""):
                return answer
            self._let_go()
            if answer.result.status != "failed" or attempt == ATTEMPTS:
                return answer._replace(spent="")  # it was the process's, which is gone
        if self._starter.closed:
            raise WorkerLostError("the session ended")
        raise WorkerLostError(f"its process died {ATTEMPTS} times, at last with exit code {process.exitcode}")

    def _let_go(self) -> None:
        if self._worker is not None:
            self._starter.stop(self._worker)
            self._worker = None


class _Worker(NamedTuple):
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
