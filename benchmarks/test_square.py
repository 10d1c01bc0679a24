"""Experiment `square`: every batch size after every number of updates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("square")
def test_square(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train for so many updates at a setting that was tuned for that."""
    measure(run)
