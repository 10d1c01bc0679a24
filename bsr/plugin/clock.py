"""The training clock: what pytest-benchmark reads in place of the wall clock."""

from __future__ import annotations

from typing import Final


class TrainingClock:
    """A timer whose seconds pass only in training.

    pytest-benchmark reads it before and after a case. In between, the case's Result advances it by the
    training seconds that were measured where and when the training ran: in another process, on another
    machine, in an earlier session. So the number in the table is training time alone.
    """

    __name__ = "training_seconds"  # pytest-benchmark writes the timer's name into its JSON

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        """Seconds trained since the last reset."""
        return self._seconds

    def reset(self) -> None:
        """Start a case at 0, so that a difference of two readings is exact."""
        self._seconds = 0.0

    def advance(self, seconds: float) -> None:
        """Let `seconds` of training pass."""
        self._seconds += seconds


CLOCK: Final = TrainingClock()
"""The one that every case is timed by."""
