"""Experiment `label-distribution`: how the labels lie, nothing trained (the study's figures 10 and 11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bsr.records.schema import LabelDistribution


@pytest.mark.experiment("label-distribution")
def test_label_distribution(task: str, describe_labels: Callable[[str], LabelDistribution]) -> None:
    """Compute one task's training labels and their quartiles; the case's time is that of the computation."""
    described = describe_labels(task)
    assert described.minimum <= described.lower_quartile <= described.upper_quartile <= described.maximum
