"""Experiment `loss`: training on MSE and on MAE, both evaluated on both (the study's figure 4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("loss")
def test_loss(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task on one loss at the tuned rate."""
    measure(run)
