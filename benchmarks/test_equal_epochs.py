"""Experiment `equal-epochs`: ten epochs at the rate tuned for the batch size; see docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("equal-epochs")
def test_equal_epochs(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task for ten epochs' worth of images at its tuned rate."""
    measure(run)
