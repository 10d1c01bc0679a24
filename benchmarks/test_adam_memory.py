"""Experiment `adam-memory`: ten epochs with a second moment that remembers 100 updates; docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("adam-memory")
def test_adam_memory(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task with beta2 = 0.99."""
    measure(run)
