"""Processes of this machine, each training one Run at a time; a killed one loses nothing but its Run's work.

A thread of the session attends to each process: it hands over one Run, hears of its epochs and its end, and
where the process dies, starts another for the same Run. A Run whose process died twice is given up by name;
the others never notice. A process that lost its device, or whose answer was refused, is ended, and replaced
likewise; after three refused answers it is replaced no more. (Python's own process pool fails every pending
Run when one process dies, and cannot say which of them was to blame.)
"""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from bsr.compute.process import ProcessStarter, Worker, WorkerLostError, train
from bsr.run import MOST_EPOCHS

if TYPE_CHECKING:
    from bsr.compute.in_process import Computed
    from bsr.run import Execution, Run

ATTEMPTS: Final = 2
"""How often a call is handed to a process before the death of another one is taken for its own doing."""
MOST_REFUSED: Final = 3
"""Answers of one worker, after which it is trusted no more."""


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
        self._starter = ProcessStarter()
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


class _WorkerThread(threading.Thread):
    """Hands one task after the other to one process, and to another where that dies."""

    def __init__(
        self,
        tasks: queue.SimpleQueue[_Task | None],
        told: deque[tuple[str, int]],
        by: WeakKeyDictionary[Future[Any], _WorkerThread],
        starter: ProcessStarter,
    ) -> None:
        super().__init__(daemon=True)
        self.refused = 0
        """How many answers were."""
        self._tasks = tasks
        self._told = told
        self._by = by
        self._starter = starter
        self._worker: Worker | None = None
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
