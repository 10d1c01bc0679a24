"""Experiment `learning-rate`: the learning rates per task at batch size 32 (the study's figure 12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("learning-rate")
def test_learning_rate(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task at one learning rate."""
    measure(run)
