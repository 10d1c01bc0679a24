"""A recording as columns, of its runs and of their epochs: what frames and Parquet files are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from bsr.records.schema import Case
from bsr.result import Result
from bsr.run import RUN_FIELDS

Columns = dict[str, Any]
"""By name, lists or arrays of one length."""
OF_A_RUN: Final = (
    "status",
    "message",
    "final_mse",
    "normalised_mse",
    "baseline_mse",
    "degenerate",
    "prediction_spread",
    "total_training_seconds",
    "images_per_second",
    "wall_seconds",
    "steps",
    "diverged_at_step",
    "engine",
    "device",
    "threads",
    "timing",
    "disturbed",
    "environment",
    "finished_at",
)
"""Of Result, the columns of `Recording.runs` behind those of its Run."""
OF_AN_EPOCH: Final = (
    "test_mse",
    "test_mae",
    "training_loss",
    "training_seconds",
    "device_seconds",
    "evaluation_seconds",
)
"""Of Result, the columns of `Recording.epochs`."""
FROM_EPOCH_1: Final = frozenset({"training_loss", "training_seconds", "device_seconds"})
"""The others also have a value before training, at epoch 0."""


def identity(cases: Sequence[Case]) -> Columns:
    """[runs]: key, the fields of the Run, and the experiments that it is of."""
    runs = [case.result.run for case in cases]
    return {
        "key": [case.key for case in cases],
        **{name: [getattr(run, name) for run in runs] for name in RUN_FIELDS},
        "experiments": [",".join(case.cases) for case in cases],
    }


def outcome(cases: Sequence[Case]) -> Columns:
    """[runs]: what came out."""
    return {name: [getattr(case.result, name) for case in cases] for name in OF_A_RUN}


def epochs(cases: Sequence[Case]) -> Columns:
    """[rows], one for each epoch at which anything was measured: the place of its case, and what it was."""
    results = [case.result for case in cases]
    moments = [_moments(result) for result in results]
    ends = np.cumsum(moments, dtype=np.int64)
    rows = int(ends[-1]) if len(ends) else 0
    place = np.repeat(np.arange(len(results)), moments)
    epoch = np.arange(rows) - np.repeat(ends - moments, moments)
    step = np.zeros(rows, dtype=np.int64)
    measured = {name: np.full(rows, np.nan) for name in OF_AN_EPOCH}
    for result, first, many in zip(results, (ends - moments).tolist(), moments, strict=True):
        step[first : first + many] = (0, *result.run.evaluation_steps)[:many]
        for name, column in measured.items():
            values = getattr(result, name)
            begin = first + (name in FROM_EPOCH_1)
            column[begin : begin + len(values)] = values
    said = ~np.logical_and.reduce([np.isnan(column) for column in measured.values()])
    found = {"place": place, "epoch": epoch, "step": step, **measured}
    return {name: column[said] for name, column in found.items()}


def _moments(result: Result) -> int:
    """At how many it may have measured something, the one before training among them."""
    return max(len(getattr(result, name)) + (name in FROM_EPOCH_1) for name in OF_AN_EPOCH)
