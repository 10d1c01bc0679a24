"""Ctrl-C and its like end a session, but never in the middle of a record."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Final


class Terminated(KeyboardInterrupt):
    """The system asked the session to end: it does as on Ctrl-C, everything written."""


class Signals:
    """The signals that end a session short of a kill: from Ctrl-C, `kill`, a scheduler, a closed terminal."""

    names: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._holds = 0
        self._waiting: int | None = None

    def take_over(self) -> None:
        """Handle them here from now on, but those that are ignored (nohup, a background job)."""
        for name in self.names:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in {signal.SIG_IGN, None}:
                with suppress(ValueError):  # not in the main thread, which alone gets signals
                    self._before[number] = signal.signal(number, self._arrived)

    def give_back(self) -> None:
        """Handle them as before; one that was held to the end is forgotten, since the session has ended."""
        while self._before:
            signal.signal(*self._before.popitem())
        self._holds, self._waiting = 0, None

    @contextmanager
    def held(self) -> Iterator[None]:
        """What arrives within comes into force at its end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._waiting is not None and not self._holds:
                number, self._waiting = self._waiting, None
                _end(number)

    def hold(self) -> None:
        """Nothing comes into force any more, until given back."""
        self._holds += 1

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if self._holds:
            self._waiting = number
        else:
            _end(number)


def with_lines(trace: TracebackType | None) -> TracebackType | None:
    """A traceback less its entries without a line, which pytest's summary of an interrupt cannot take.

    Where a signal comes between two lines, CPython 3.11 knows none.
    """
    if trace is None:
        return None
    line: int | None = trace.tb_lineno
    trace.tb_next = with_lines(trace.tb_next)
    return trace.tb_next if line is None else trace


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(signal.Signals(number).name)


SIGNALS: Final = Signals()
"""The process's; pytest runs one session at a time."""
