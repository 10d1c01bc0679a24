"""Entries of pytest-benchmark's `benchmarks[]` for results that only a journal holds."""

from __future__ import annotations

from typing import Any, Final

from bsr.experiments import EXPERIMENTS
from bsr.schema import Case, extra_info, group

_OPTIONS: Final = {
    "disable_gc": False,
    "timer": "training_seconds",
    "min_rounds": 5,
    "max_time": 1.0,
    "min_time": 5e-06,
    "precision": None,
    "confidence": None,
    "warmup": False,
}
"""As pytest-benchmark records a case of one round that reads the training clock."""


def entry(case: Case, experiment: str) -> dict[str, Any]:
    """What pytest-benchmark writes for a case of an experiment: one round, the training time."""
    run, case_id = case.result.run, case.cases[experiment]
    function = f"test_{experiment.replace('-', '_').replace('.', '')}"
    name = f"{function}[{case_id}]"
    varied = ("task", "batch_size", "seed", *EXPERIMENTS[experiment].varies)
    return {
        "group": group(case.result),
        "name": name,
        "fullname": f"benchmarks/{function}.py::{name}",
        "params": {field: getattr(run, field) for field in varied},
        "param": case_id,
        "extra_info": extra_info(case.result, resumed=case.resumed),
        "options": _OPTIONS,
        "stats": one_round(case.result.total_training_seconds),
    }


def one_round(seconds: float) -> dict[str, Any]:
    """pytest-benchmark's statistics of a single measurement."""
    same = dict.fromkeys(
        ("min", "max", "mean", "median", "q1", "q3", "ld15iqr", "hd15iqr", "total"),
        seconds,
    )
    return {
        **same,
        "stddev": 0,
        "rounds": 1,
        "iqr": 0.0,
        "iqr_outliers": 0,
        "stddev_outliers": 0,
        "outliers": "0;0",
        "ops": 1 / seconds if seconds else 0,
        "data": [seconds],
        "iterations": 1,
    }
