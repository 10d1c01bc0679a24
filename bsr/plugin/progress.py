"""What a person sees while it runs: a line per case, and on a terminal a live line meanwhile."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bsr.plugin.estimate import Forecast, duration
from bsr.plugin.session import Session
from bsr.result import FINISHED, Result
from bsr.run import Run
from bsr.text import printable
from bsr.text.strict_json import LONGEST_LINE

LABEL_WIDTH: Final = 30


class Display:
    """Shows Runs as they go. It draws when told of something: no thread of its own beside the training."""

    def __init__(self, reporter: pytest.TerminalReporter, session: Session, estimate: Forecast) -> None:
        self._reporter = reporter
        self._session = session
        self._estimate = estimate
        self._shown: set[str] = set()
        self._waiting = {
            key: 0.0 if estimate.problem else estimate.run(run)
            for key, run in session.runs.items()
            if key not in session.results
        }
        self._expected = sum(self._waiting.values())
        self._noted = set(session.notes)
        self._workers = session.executor.workers if session.executor else 0
        self._running: dict[str, tuple[Run, int]] = {}
        self._live = _LiveLine(len(session.runs)) if _LiveLine.possible() else None

    def epoch(self, run: Run, epoch: int) -> None:
        """See Watcher."""
        self._running[run.key] = (run, epoch)
        self._draw()

    def finished(self, result: Result) -> None:
        """See Watcher."""
        self._running.pop(result.run.key, None)
        self._expected -= self._waiting.pop(result.run.key, 0.0)
        if result.status == "ok":
            self._estimate.learn(result.run, result.wall_seconds)
        self._draw()

    def workers(self, count: int) -> None:
        """See Watcher."""
        self._workers = count
        self._draw()

    def case(self, case_id: str, result: Result, *, resumed: bool) -> None:
        """A case is done: its line."""
        self._clear()
        self._shown.add(result.run.key)  # of two experiments' cases that are one Run the first line says one
        done = ", ".join([f"{len(self._shown)}/{len(self._session.header.cases)}", *self._ahead()])
        again = " (resumed)" if resumed else ""
        colour = {} if result.status == "ok" else {"yellow" if result.status in FINISHED else "red": True}
        self._reporter.ensure_newline()
        self._reporter.write_line(f"  {case_id:<{LABEL_WIDTH}} {outcome(result)}{again}  [{done}]", **colour)
        for note in (*notes(result), *self._session.notes):
            if note not in self._noted:
                self._noted.add(note)
                self._reporter.write_line(f"    {printable(note)}", yellow=True)
        self._reporter.flush()

    def stop(self) -> None:
        """Remove the live line for good."""
        if self._live is not None:
            self._live.close()
            self._live = None

    def _draw(self) -> None:
        if self._live is not None:
            now = [_where(run, epoch) for run, epoch in self._running.values()]
            self._live.draw(len(self._session.results), ", ".join([*now, *self._ahead()]))

    def _clear(self) -> None:
        if self._live is not None:
            self._live.clear()

    def _ahead(self) -> list[str]:
        """By how many of a cluster the rest will be trained, and how long it will take."""
        many = self._session.header.cluster
        workers = [f"{self._workers} worker{'' if self._workers == 1 else 's'}"] if many else []
        return [*workers, *self._left()]

    def _left(self) -> list[str]:
        """How long the Runs that have no Result will take, those in progress in part."""
        seconds = self._estimate.left(self._expected, self._running.values())
        return [f"{duration(max(seconds, 0.0))} left"] if self._waiting and seconds is not None else []


def _where(run: Run, epoch: int) -> str:
    """How far a Run is."""
    if not run.steps:
        return f"{run.label} epoch {epoch}/{run.epochs}"
    done = run.evaluation_steps[epoch - 1] if epoch else 0
    return f"{run.label} step {done:,}/{run.steps:,}"


class _LiveLine:
    """One line at the bottom of a terminal, only while a case trains, so that it never meets pytest's."""

    def __init__(self, total: int) -> None:
        assert sys.__stdout__ is not None
        # pytest captures descriptor 1 while a case runs; this one stays the terminal
        self._terminal = os.fdopen(os.dup(sys.__stdout__.fileno()), "w", encoding="utf-8", errors="replace")
        self._progress = Progress(
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(file=self._terminal),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar = self._progress.add_task("", total=total)

    @staticmethod
    def possible() -> bool:
        """Whether there is a terminal that can go back on a line."""
        return sys.__stdout__ is not None and sys.__stdout__.isatty() and os.environ.get("TERM") != "dumb"

    def draw(self, done: int, text: str) -> None:
        """Show it, or show it anew."""
        with suppress(OSError):  # the terminal may be gone: the training goes on
            if not self._progress.live.is_started:
                self._progress.start()
            self._progress.update(self._bar, completed=done, description=text, refresh=True)

    def clear(self) -> None:
        """Take it away."""
        with suppress(OSError):
            self._progress.stop()

    def close(self) -> None:
        """Take it away and let the terminal go."""
        self.clear()
        with suppress(OSError):
            self._terminal.close()


class WaitingLine:
    """For how long there has been no worker of a cluster, of how long that may be."""

    def __init__(self, address: str, limit: float) -> None:
        remedy = f"; start them with: dask worker {address} --nthreads 1" if address != "local" else ""
        self.text = f"waiting up to {duration(limit)} for workers of the Dask cluster {address}{remedy}"
        self.live = _LiveLine(round(limit)) if _LiveLine.possible() else None

    def waited(self, seconds: float) -> None:
        """So long, so far."""
        if self.live is not None:
            self.live.draw(round(seconds), f"s: {self.text}")

    def close(self) -> None:
        """There is one, or no hope."""
        if self.live is not None:
            self.live.close()


def notes(result: Result) -> tuple[str, ...]:
    """What should be known of a Result beside how it came out."""
    disturbed = (f"the GPU was {result.disturbed}: in no statement on speed",) if result.disturbed else ()
    return (*result.notes, *disturbed)


def outcome(result: Result) -> str:
    """One Result in a few words."""
    if result.final_mse is None:
        return printable(f"{result.status}: {result.message}", LABEL_WIDTH + LONGEST_LINE).rstrip(": ")
    relative = "degenerate task" if result.degenerate else f"{result.normalised_mse:.3g} of the best constant"
    flag = "" if result.status == "ok" else f"{result.status}: "
    return f"{flag}MSE {result.final_mse:.4g} ({relative})  {result.total_training_seconds:.2f} s"
