"""Experiment `std-at-0.01`: the std task at the rate behind the study's "difference of 1300"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("std-at-0.01")
def test_std_at_001(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train std at rate 0.01, ten times the tuned one."""
    measure(run)
