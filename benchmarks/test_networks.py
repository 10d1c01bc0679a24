"""Experiment `networks`: the batch size's effect with a wider and a deeper network beside the study's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("networks")
def test_networks(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one network for ten epochs' worth of images."""
    measure(run)
