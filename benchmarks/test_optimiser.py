"""Experiment `optimiser`: Adam and SGD over the log grid, which the study announced and never showed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("optimiser")
def test_optimiser(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train the mean task with one optimiser at one rate."""
    measure(run)
