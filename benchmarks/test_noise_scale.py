"""Experiment `noise-scale`: the noise of the gradient along trainings at 16 and 1024; docs/why-first.md."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr.records.schema import NoiseScale


@pytest.mark.experiment("noise-scale")
def test_noise_scale(task: str, measure_noise: Callable[[str], list[NoiseScale]]) -> None:
    """Train one task with pauses in which the noise is measured; the case's time is all of it."""
    assert all(scale.points for scale in measure_noise(task))
