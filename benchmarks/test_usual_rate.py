"""Experiment `usual-rate`: the ends of the batch sizes at a constant rate that was not tuned for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("usual-rate")
def test_usual_rate(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train for so many updates at that rate."""
    measure(run)
