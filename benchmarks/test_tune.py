"""Experiment `tune`: the learning rate per task, batch size, budget in updates and schedule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("tune")
def test_tune(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train for so many updates at one of five rates, and look at validation images."""
    measure(run)
