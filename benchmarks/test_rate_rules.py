"""Experiment `rate-rules`: ten epochs at rates scaled from 32 by the rules of thumb; docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("rate-rules")
def test_rate_rules(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one task at a rate scaled with the batch size, or with its square root."""
    measure(run)
