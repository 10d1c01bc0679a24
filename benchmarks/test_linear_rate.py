"""Experiment `linear-rate`: the learning rate grows with the batch size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("linear-rate")
def test_linear_rate(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task at one batch size, at the rate scaled to it."""
    measure(run)
