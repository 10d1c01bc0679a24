"""Experiment `study-rate`: ten epochs at the rate tuned at 32, the gap to be explained; docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("study-rate")
def test_study_rate(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task for ten epochs' worth of images at the study's rate."""
    measure(run)
