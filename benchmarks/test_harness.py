"""Experiment `harness`, opt-in: the engines against the loop that a user would otherwise write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr.records.schema import HarnessTiming


@pytest.mark.experiment("harness")
def test_harness(time_harness: Callable[[], list[HarnessTiming]]) -> None:
    """Time every loop at every batch size, in turn, over several rounds; no time is asserted."""
    assert all(timing.seconds for timing in time_harness())
