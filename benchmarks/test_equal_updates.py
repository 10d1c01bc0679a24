"""Experiment `equal-updates`: the same number of updates at every batch size; see docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("equal-updates")
def test_equal_updates(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task for so many updates, whatever the batch size."""
    measure(run)
