"""Experiment `batch-size`: every task at every batch size, the study's main question (its figures 5 to 9)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("batch-size")
def test_batch_size(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task at one batch size from one seed."""
    measure(run)
