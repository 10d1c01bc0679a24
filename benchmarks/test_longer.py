"""Experiment `longer`: three times the epochs, since the study says that more than ten overfit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr import Result, Run


@pytest.mark.experiment("longer")
def test_longer(run: Run, measure: Callable[[Run], Result]) -> None:
    """Train one cell for three times the epochs."""
    measure(run)
