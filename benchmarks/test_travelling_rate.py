"""Experiment `travelling-rate`: larger batch sizes at the setting that was tuned for 32."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("travelling-rate")
def test_travelling_rate(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train for so many updates at a smaller batch size's setting."""
    measure(run)
