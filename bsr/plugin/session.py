"""A session: which Runs are planned, what came of them, and in which order anything is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from bsr.experiments.original import REFINED, second_look
from bsr.plugin.signals import SIGNALS
from bsr.records import journal
from bsr.records.agreement import unlike
from bsr.records.reading.check import same_baseline
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result, Status, Trait
from bsr.run import Execution, Run
from bsr.text import Refused
from bsr.text.strict_json import one_line

if TYPE_CHECKING:
    from bsr.plugin.options import Options

LOOK_SECONDS: Final = 0.2
"""How long to wait for a Result before looking for progress."""
ATTEMPTS: Final = 2
"""How often a Run is asked for before answers that are refused are taken for its own doing."""


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


class UnlikeError(Refused):
    """A result of other images, labels or code than the session's; the message says expected, got."""


class RunExecutor(Protocol):
    """What a session needs of an executor; see bsr.compute.in_process."""

    @property
    def capacity(self) -> int:
        """How many Runs to keep queued."""

    @property
    def workers(self) -> int:
        """How many processes train now; 0 where it is this one."""

    def compute(self, run: Run, execution: Execution) -> Future[Any]:
        """Train a Run, or queue it; what the future gives is for bsr.compute.answers."""

    def epochs(self) -> Iterable[tuple[str, int]]:
        """(key, finished epochs) since the last call."""

    def news(self) -> Iterable[str]:
        """Lines for a person, since the last call. Raises BrokenExecutor where no more Results will come."""

    def refuse(self, future: Future[Any], why: str) -> bool:
        """What a future gave is not believed; returns whether its Run is worth asking for again.

        Asked only where other processes train.
        """

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
        self._places = {key: place for place, key in enumerate(self.runs)}
        self.history = journal.History()
        """What is known: what its journal says that counts here."""
        self.history.take(header)
        self.resumed: frozenset[str] = frozenset()
        self.identity: dict[str, Trait] = {}
        """Of the data set, and of the labels, networks and own code of the results so far."""
        if header.dataset_digest:
            self.identity["dataset digest"] = header.dataset_digest
        self.untrained: set[str] = set()
        """Node ids of the cases that train nothing and have not come to their end."""
        self.notes: list[str] = []
        """What a person should know of where the Runs are computed."""
        self.executor: RunExecutor | None = None
        self.watcher: Watcher | None = None
        self._computed: set[str] = set()
        self._begun: set[str] = set()
        self._pending: dict[Future[Any], Run] = {}
        self._refused: Counter[str] = Counter()
        """By key: how many answers were not believed."""
        self._baselines: dict[tuple[str, str], float] = {}
        """MSE of the best constant, by task and split, of the results so far."""
        self._spent = ""
        self._workers = 0
        self._began = time.perf_counter()

    def resume(self, results: dict[str, Result], history: journal.History) -> None:
        """Take over what an earlier session finished: these of its Results, and what trained nothing."""
        history.results = dict(results)
        history.take(self.header)
        self.history = history
        for result in results.values():
            self._know(result)
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
            self._take(wait(self._pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done, executor)
        else:
            time.sleep(LOOK_SECONDS)
        for key, epoch in executor.epochs():
            run = self.runs.get(key)
            if run is not None and key not in self._computed and 0 <= epoch <= run.evaluations:
                self.epoch(run, epoch)
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
        planned = self.header.planned
        return (planned[place] for place in range(self._places[run.key], len(planned)))

    def _take(self, done: Iterable[Future[Any]], executor: RunExecutor) -> None:
        """Record what these futures hold.

        A Run that was given back, or whose answer was refused, is pending no longer: it is asked for again.
        """
        for future in done:
            if future.cancelled():
                del self._pending[future]
                continue
            with SIGNALS.held():
                result = self._outcome(future, self._pending[future], executor)
                if result is not None:
                    self.record(result)
                    self._computed.add(result.run.key)
                del self._pending[future]

    def _outcome(self, future: Future[Any], run: Run, executor: RunExecutor) -> Result | None:
        """What became of a Run; None where it is to be asked for again."""
        from bsr.compute.answers import believed  # noqa: PLC0415 - loads torch, as whoever trains has by now

        if (error := future.exception()) is not None:  # of whatever kind: it was raised elsewhere
            why = str(error) if isinstance(error, Refused) else one_line(error)
            return self._refuse(future, run, why, executor)
        try:
            computed = believed(future.result(), run)
            self._check_alike(computed.result)
        except Refused as refusal:
            return self._refuse(future, run, str(refusal), executor)
        self._spent = self._spent or computed.spent
        if computed.environment["id"] not in self.history.environments:
            self.log(journal.Environment(environment=computed.environment))
        self._know(computed.result)
        return computed.result

    def _know(self, result: Result) -> None:
        """Whatever comes after is held against it."""
        self.identity |= result.identity
        if result.baseline_mse is not None:
            self._baselines.setdefault((result.run.task, result.run.evaluate_on), result.baseline_mse)

    def _refuse(self, future: Future[Any], run: Run, why: str, executor: RunExecutor) -> Result | None:
        """An answer counts for nothing; after as many as ATTEMPTS the Run has failed of it."""
        self._refused[run.key] += 1
        elsewhere = self.header.workers or self.header.cluster
        if elsewhere and executor.refuse(future, why) and self._refused[run.key] < ATTEMPTS:
            return None
        execution = self.header.execution
        return Result(run=run, status="failed", message=why, engine=execution.engine, device=execution.device)

    def _check_alike(self, result: Result) -> None:
        """It is of the header's data set, and of the labels and networks of the results before it.

        The one place where a result of this session is held against the rest. Raises UnlikeError.
        """
        for name, one, other in unlike(self.identity, result.identity):
            raise UnlikeError(
                f"{name}: expected {one}, as before, got {other}; the code or the data changed meanwhile, or "
                "differ between processes"
            )
        run, baseline = result.run, result.baseline_mse
        if baseline is not None and not same_baseline(
            first := self._baselines.get((run.task, run.evaluate_on), baseline), baseline
        ):
            raise UnlikeError(f"baseline MSE of {run.task}: expected {first:g}, as before, got {baseline:g}")

    def stop(self) -> None:
        """Keep what is done, let the executor go, and account for what it was training."""
        if self.executor is None:
            return
        executor, self.executor = self.executor, None
        try:
            self._take([future for future in self._pending if future.done()], executor)
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
