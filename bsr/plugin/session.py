"""A session: which Runs are planned, what came of them, and in which order anything is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from bsr import journal
from bsr.document import Case, LabelDistribution, Study
from bsr.experiment import FINISHED, Result, Run

if TYPE_CHECKING:
    from bsr.executors import Computed
    from bsr.plugin.options import Options

LOOK_SECONDS: Final = 0.2
"""How long to wait for a Result before looking for progress and signals."""


class Watcher(Protocol):
    """Who is told what happens, to show it."""

    def epoch(self, run: Run, epoch: int) -> None:
        """A Run has finished `epoch` epochs."""

    def finished(self, result: Result, *, resumed: bool = False) -> None:
        """A Result is in the journal."""


class RunExecutor(Protocol):
    """What a session needs of an executor; see bsr.executors."""

    capacity: int

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        """Start a call, or queue it."""

    def epochs(self) -> Iterable[tuple[str, int]]:
        """(key, finished epochs) since the last call."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the standard library
        """End."""


class Session:
    """Runs in the order of their cases, each computed once whatever number of cases asks for it.

    One writer: a Result goes into the journal the moment its future completes, before anything else.
    """

    def __init__(self, options: Options, header: journal.Header, cases: dict[str, dict[str, str]]) -> None:
        """`cases` is key -> experiment -> pytest id, in the order of the cases."""
        self.options = options
        self.header = header
        self.cases = cases
        self.runs = {run.key: run for run in header.planned}
        self.results: dict[str, Result] = {}
        self.resumed: frozenset[str] = frozenset()
        self.environments = {header.environment["id"]: header.environment}
        self.labels: list[LabelDistribution] = []
        self.harness: list[Any] = []
        self.journal: journal.Journal | None = None
        self.executor: RunExecutor | None = None
        self.compute: Callable[..., Computed] | None = None
        self.watcher: Watcher | None = None
        self._pending: dict[Future[Computed], Run] = {}
        self._began = time.perf_counter()

    def resume(self, history: journal.History) -> None:
        """Take over what an earlier session finished."""
        taken = {key: result for key, result in history.results.items() if self._wanted(key, result)}
        self.results |= taken
        self.resumed = frozenset(taken)
        self.environments = history.environments | self.environments

    def _wanted(self, key: str, result: Result) -> bool:
        return key in self.runs and result.status in FINISHED

    def result_of(self, run: Run) -> Result:
        """The Result of a planned Run, computed now if it must be.

        Raises what ends the session (KeyboardInterrupt and its like), the Run recorded as interrupted.
        """
        while run.key not in self.results:
            try:
                self._submit_from(run)
                done, _ = wait(self._pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self.record(self._outcome(future))
                self._look()
            except (KeyboardInterrupt, SystemExit):
                with contextlib.suppress(journal.JournalError):
                    self.record(Result(run=run, status="interrupted", message="the session was ended"))
                raise
        return self.results[run.key]

    def record(self, result: Result) -> None:
        """Journal a Result, then let it be seen."""
        assert self.journal is not None
        self.journal.record(result)
        self.results[result.run.key] = result
        if self.watcher is not None:
            self.watcher.finished(result)

    def fail(self, run: Run, message: str) -> None:
        """What was measured stays, but an assertion after it says that it is not good."""
        self.record(replace(self.results[run.key], status="failed", message=message))

    def _submit_from(self, run: Run) -> None:
        """Keep the executor busy: this Run first, then those after it."""
        assert self.executor is not None
        assert self.compute is not None
        submitted = {pending.key for pending in self._pending.values()}
        for upcoming in self._from(run):
            if len(self._pending) >= self.executor.capacity:
                return
            if upcoming.key not in submitted and upcoming.key not in self.results:
                future = self.executor.submit(self.compute, upcoming, self.header.execution)
                self._pending[future] = upcoming

    def _from(self, run: Run) -> Iterator[Run]:
        keys = list(self.runs)
        start = keys.index(run.key)
        yield from (self.runs[key] for key in keys[start:])

    def _look(self) -> None:
        """Tell the watcher which epochs the executor heard of."""
        assert self.executor is not None
        for key, epoch in self.executor.epochs():
            if self.watcher is not None and key not in self.results:
                self.watcher.epoch(self.runs[key], epoch)

    def _outcome(self, future: Future[Computed]) -> Result:
        run = self._pending.pop(future)
        try:
            result, environment = future.result()
        except Exception as error:  # noqa: BLE001 - the worker is gone, not the session
            message = " ".join(f"{type(error).__name__}: {error}".split())
            return Result(run=run, status="failed", message=message, engine=self.header.execution.engine)
        if environment["id"] not in self.environments:
            assert self.journal is not None
            self.journal.append(journal.Environment(environment=environment))
            self.environments[environment["id"]] = environment
        return replace(result, beside=max(0, self.header.workers - 1))

    def stop(self) -> None:
        """Cancel what is queued, keep what completed meanwhile, let the executor go."""
        if self.executor is None:
            return
        executor, self.executor = self.executor, None
        executor.shutdown(cancel_futures=True)
        for future in [future for future in self._pending if future.done() and not future.cancelled()]:
            self.record(self._outcome(future))

    @property
    def complete(self) -> bool:
        """Whether every planned Run came to an end of its own."""
        return all(
            key in self.results and self.results[key].status not in {"interrupted", "not_run"} for key in self.runs
        )

    def study(self) -> Study:
        """The `bsr` part of the JSON: every planned case with its status."""
        results = {key: self.results.get(key, Result(run=run, status="not_run")) for key, run in self.runs.items()}
        return Study(
            preset=self.options.preset,
            experiments=self.options.experiments,
            command=self.header.command,
            options=self.options.given,
            dataset_digest=self.header.dataset_digest,
            started_at=self.header.started_at,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_seconds=time.perf_counter() - self._began,
            planned=len(self.runs),
            finished=sum(result.status in FINISHED for result in results.values()),
            environments=self.environments,
            cases=tuple(
                Case(key=key, cases=self.cases[key], result=result, resumed=key in self.resumed)
                for key, result in results.items()
            ),
            labels=tuple(self.labels),
            harness=tuple(self.harness),
        )


def open_journal(session: Session, path: Path) -> list[Path]:
    """Open the session's journal, going on from the one that is there if that was asked for.

    Returns the finished journals that were set aside, to be removed once the new JSON exists. Raises
    JournalError where an unfinished one would be lost or unlike results mixed.
    """
    history = journal.read(path)
    if session.options.resume:
        _check_resumable(session, history, path)
        session.resume(history)
    elif history.header is not None and not history.ended:
        raise journal.JournalError(
            f"{path}: an unfinished session with {len(history.results)} of {len(history.header.planned)} results "
            "is there; go on from it with --bsr-resume, or remove that file to start anew"
        )
    aside = [] if session.options.resume else _set_aside(path)
    session.journal = journal.Journal(path, history.whole_bytes if session.options.resume else 0)
    session.journal.append(session.header)
    return aside


def _check_resumable(session: Session, history: journal.History, path: Path) -> None:
    if history.header is None:
        return
    found = journal.differences(history.header, session.header, elsewhere=session.options.elsewhere)
    if found:
        hint = "use the options it was started with"
        if not session.options.elsewhere:
            hint += ", or --bsr-resume-elsewhere where only the machine differs"
        raise journal.JournalError(f"{path}: --bsr-resume would mix unlike results: {'; '.join(found)}; {hint}")


def _set_aside(path: Path) -> list[Path]:
    """A finished journal under a name that is free."""
    if not path.exists() or not path.stat().st_size:
        return []
    number = 1
    while (aside := path.with_name(f"{path.name}.finished-{number}")).exists():
        number += 1
    path.rename(aside)
    return [aside]


def planned_cases(runs: Iterable[tuple[str, str, Run]]) -> tuple[tuple[Run, ...], dict[str, dict[str, str]]]:
    """Distinct Runs in order, and for each key the pytest id by experiment, of (experiment, id, Run) triples."""
    distinct: dict[str, Run] = {}
    cases: dict[str, dict[str, str]] = {}
    for experiment, case_id, run in runs:
        distinct.setdefault(run.key, run)
        cases.setdefault(run.key, {})[experiment] = case_id
    return tuple(distinct.values()), cases


def extra_info(result: Result, *, resumed: bool) -> dict[str, Any]:
    """What a case carries in pytest-benchmark's JSON: the figures first, flat, then the whole record."""
    return {
        "final_mse": result.final_mse,
        "normalised_mse": result.normalised_mse,
        "training_seconds": result.total_training_seconds,
        "seed": result.run.seed,
        "status": result.status,
        "key": result.run.key,
        "images_per_second": result.images_per_second,
        "degenerate": result.degenerate,
        "engine": result.engine,
        "timing": result.timing,
        "resumed": resumed,
        "result": asdict(result),
    }
