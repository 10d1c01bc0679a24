"""A session: which Runs are planned, what came of them, and in which order anything is written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from bsr.experiments.original import REFINED, second_look
from bsr.plugin.signals import SIGNALS
from bsr.records import journal
from bsr.records.agreement import held_against
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result, Status
from bsr.run import Execution, Run
from bsr.strict_json import one_line

if TYPE_CHECKING:
    from bsr.compute.in_process import Computed
    from bsr.plugin.options import Options

LOOK_SECONDS: Final = 0.2
"""How long to wait for a Result before looking for progress."""


class Watcher(Protocol):
    """Who is told what happens, to show it."""

    def epoch(self, run: Run, epoch: int) -> None:
        """A Run has finished `epoch` epochs."""

    def finished(self, result: Result) -> None:
        """A Result is in the journal."""

    def workers(self, count: int) -> None:
        """So many processes train from now on."""


class UnplannedError(Exception):
    """A Run that no case of the session is for; the message says expected, got, remedy."""


class ProcessSpentError(Exception):
    """The session's own process can train no more; the message says why, and the remedy."""


class RunExecutor(Protocol):
    """What a session needs of an executor; see bsr.compute.in_process."""

    @property
    def capacity(self) -> int:
        """How many Runs to keep queued."""

    @property
    def workers(self) -> int:
        """How many processes train now; 0 where it is this one."""

    def compute(self, run: Run, execution: Execution) -> Future[Computed]:
        """Train a Run, or queue it."""

    def epochs(self) -> Iterable[tuple[str, int]]:
        """(key, finished epochs) since the last call."""

    def news(self) -> Iterable[str]:
        """Lines for a person, since the last call. Raises BrokenExecutor where no more Results will come."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the standard library
        """End."""


class Session:
    """Runs in the order of their cases, each computed once whatever number of cases asks for it.

    One writer: a Result goes into the journal the moment its future completes, before anything else.
    """

    def __init__(self, options: Options, header: journal.Header, log: journal.Journal) -> None:
        """`log` has the header."""
        self.options = options
        self.header = header
        self.journal = log
        self.runs = {run.key: run for run in header.planned}
        self.history = journal.History()
        """What is known: what its journal says that counts here."""
        self.history.take(header)
        self.resumed: frozenset[str] = frozenset()
        self.identity = {"dataset digest": header.dataset_digest} if header.dataset_digest else {}
        """Of the data set, and of the labels and networks of the results so far."""
        self.untrained: set[str] = set()
        """Node ids of the cases that train nothing and have not come to their end."""
        self.notes: list[str] = []
        """What a person should know of where the Runs are computed."""
        self.executor: RunExecutor | None = None
        self.watcher: Watcher | None = None
        self._computed: set[str] = set()
        self._begun: set[str] = set()
        self._pending: dict[Future[Computed], Run] = {}
        self._spent = ""
        self._workers = 0
        self._began = time.perf_counter()

    def resume(self, results: dict[str, Result], history: journal.History) -> None:
        """Take over what an earlier session finished: these of its Results, and what trained nothing."""
        history.results = dict(results)
        history.take(self.header)
        self.history = history
        for result in results.values():
            self.identity |= result.identity
        self.resumed = frozenset(results)
        self._computed |= self.resumed

    @property
    def results(self) -> dict[str, Result]:
        """By the Run's key."""
        return self.history.results

    def result_of(self, run: Run) -> Result:
        """The Result of a planned Run, computed now if it must be.

        Raises JournalError, UnplannedError, once it is recorded ProcessSpentError, and BrokenExecutor where
        nobody trains any more.
        """
        assert self.executor is not None
        if run.key not in self.runs:
            raise UnplannedError(
                f"measure: expected the Run of a case, as the fixture `run` gives it, got {run} of which "
                "nothing was planned; train it with bsr.train, or add it to an experiment"
            )
        while run.key not in self._computed:
            self._submit_from(run, self.executor)
            if run in self._pending.values():
                self._begun.add(run.key)
            self._look(self.executor)
        if self._spent:
            raise ProcessSpentError(
                f"{self._spent}; what was measured is in the journal: run the same command with --bsr-resume "
                "(a session begun with --bsr-workers 1 replaces such a process itself)"
            )
        return self.results[run.key]

    def wait_for_pending(self) -> None:
        """Until nothing trains; what comes after is handed over when its case asks for it."""
        while self._pending and self.executor is not None:
            self._look(self.executor)

    def _look(self, executor: RunExecutor) -> None:
        """Wait a little for what is pending, and take it; hear what else there is."""
        if self._pending:
            self._take(wait(self._pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done)
        else:
            time.sleep(LOOK_SECONDS)
        for key, epoch in executor.epochs():
            if key not in self._computed:
                self.epoch(self.runs[key], epoch)
        self.hear(executor)

    def hear(self, executor: RunExecutor) -> None:
        """What there is to know of where the Runs are computed."""
        self.notes += executor.news()
        if executor.workers != self._workers:
            self._workers = executor.workers
            if self.watcher is not None:
                self.watcher.workers(self._workers)

    def epoch(self, run: Run, epoch: int) -> None:
        """A Run has finished `epoch` epochs, 0 as it begins."""
        self._begun.add(run.key)
        if self.watcher is not None:
            self.watcher.epoch(run, epoch)

    def record(self, result: Result) -> None:
        """Journal a Result, then let it be seen."""
        with SIGNALS.held():
            self.log(journal.ResultLine(key=result.run.key, result=result))
            if self.watcher is not None:
                self.watcher.finished(result)

    def log(self, entry: journal.Entry) -> None:
        """Journal what was found, and know it: what a journal could not hold the JSON still does."""
        with SIGNALS.held():
            try:
                self.journal.append(entry)
            finally:
                self.history.take(entry)

    def note(self, run: Run, status: Status, message: str) -> None:
        """Record what became of a Run where its training does not say it.

        Whatever was measured stays with it.
        """
        execution = self.header.execution
        known = self.results.get(
            run.key, Result(run=run, status=status, engine=execution.engine, device=execution.device)
        )
        self.record(replace(known, status=status, message=message))

    def _submit_from(self, run: Run, executor: RunExecutor) -> None:
        """Keep the executor busy: this Run first, then those after it."""
        queued = {pending.key for pending in self._pending.values()}
        for upcoming in self._from(run):
            if len(self._pending) >= executor.capacity:
                return
            if upcoming.key not in queued and upcoming.key not in self._computed:
                self._pending[executor.compute(upcoming, self.header.execution)] = upcoming

    def _from(self, run: Run) -> Iterator[Run]:
        keys = list(self.runs)
        yield from (self.runs[key] for key in keys[keys.index(run.key) :])

    def _take(self, done: Iterable[Future[Computed]]) -> None:
        """Record what these futures hold; a Run that was given back is no longer pending."""
        for future in done:
            if future.cancelled():
                del self._pending[future]
                continue
            with SIGNALS.held():
                result = self._outcome(future, self._pending[future])
                self.record(result)
                self._computed.add(result.run.key)
                del self._pending[future]

    def _outcome(self, future: Future[Computed], run: Run) -> Result:
        try:
            result, environment, spent = future.result()
        except Exception as error:  # noqa: BLE001 - the worker is gone, not the session
            execution = self.header.execution
            return Result(
                run=run,
                status="failed",
                message=one_line(error),
                engine=execution.engine,
                device=execution.device,
            )
        self._spent = self._spent or spent
        if environment["id"] not in self.history.environments:
            self.log(journal.Environment(environment=environment))
        return self._alike(result)

    def _alike(self, result: Result) -> Result:
        """The Result, failed where it is of other data, labels or another network than before."""
        if found := held_against(self.identity, result.identity):
            said = f"{found.name}: expected {found.one}, as before, got {found.other}"
            message = f"{said}; the code or the data changed meanwhile"
            return replace(result, status="failed", message=message)
        return result

    def stop(self) -> None:
        """Keep what is done, let the executor go, and account for what it was training."""
        if self.executor is None:
            return
        executor, self.executor = self.executor, None
        try:
            self._take([future for future in self._pending if future.done()])
        finally:
            executor.shutdown(cancel_futures=True)
        for key in self._begun - self._computed - self.results.keys():
            self.note(self.runs[key], "interrupted", "the session ended while it trained")

    @property
    def complete(self) -> bool:
        """Whether every case came to an end of its own."""
        ended = all(key in self.results and self.results[key].status != "interrupted" for key in self.runs)
        return ended and not self.untrained

    def _second_look(self, run: Run) -> bool | None:
        if REFINED not in self.header.cases[run.key]:
            return None
        return run.learning_rate in second_look(self.options.grid, run.task)

    def as_record(self) -> SessionRecord:
        """The `bsr` part of the JSON: every planned case with its status."""
        results = {
            key: self.results.get(key, Result(run=run, status="not_run")) for key, run in self.runs.items()
        }
        return self.history.exported(
            [
                Case(
                    key=key,
                    cases=self.header.cases[key],
                    result=result,
                    resumed=key in self.resumed,
                    second_look=self._second_look(result.run),
                )
                for key, result in results.items()
            ],
            preset=self.options.preset,
            experiments=self.options.experiments,
            options=self.options.given,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_seconds=time.perf_counter() - self._began,
        )
