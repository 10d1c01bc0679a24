"""Experiment `why-tune`: the setting of a problem, one look of its tuning."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("why-tune")
def test_why_tune(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train with one of the settings that are tried next, and look at validation images."""
    measure(run)
