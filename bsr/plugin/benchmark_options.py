"""pytest-benchmark's own options: what of them means something where a case trains once."""

from __future__ import annotations

import os
import shlex
import warnings
from contextlib import suppress
from typing import Final

import pytest

_DEFAULTS: Final = {"columns": ["mean"], "sort": "name", "time_unit": "s"}
"""What of pytest-benchmark's table means something with one round."""
_SHOWS: Final = ("compare", "group_by", "histogram", "name", "verbose", "cprofile")
"""Who asks for one of these wants that table."""
_OF_MANY_ROUNDS: Final = (
    "calibration_precision",
    "disable_gc",
    "max_time",
    "min_rounds",
    "min_time",
    "warmup",
    "warmup_iterations",
)


def reduce_table(config: pytest.Config) -> bool:
    """Give pytest-benchmark's table other defaults where the user chose none; returns whether that is all."""
    chosen = [name for name in _DEFAULTS if _said(config, name)]
    for name, value in _DEFAULTS.items():
        if name not in chosen:
            setattr(config.option, f"benchmark_{name}", value)
    return not chosen and not any(_said(config, name) for name in _SHOWS)


def without_meaning(config: pytest.Config) -> list[str]:
    """Options of pytest-benchmark that were given and that say nothing of a case that trains once."""
    return [f"--benchmark-{name.replace('_', '-')}" for name in _OF_MANY_ROUNDS if _said(config, name)]


def _said(config: pytest.Config, name: str) -> bool:
    """Whether a `--benchmark-` option was given, anywhere."""
    said = [
        *(str(argument) for argument in config.invocation_params.args),
        *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")),
        *config.getini("addopts"),
    ]
    return any(argument.split("=")[0] == f"--benchmark-{name.replace('_', '-')}" for argument in said)


def let_it_warn(config: pytest.Config) -> None:
    """A warning of pytest-benchmark's must not end a study, as filterwarnings = error would have it."""
    with suppress(ImportError):
        from pytest_benchmark.logger import PytestBenchmarkWarning  # noqa: PLC0415 - may be switched off

        warnings.filterwarnings("default", category=PytestBenchmarkWarning)  # until the end of configuration
        name = f"{PytestBenchmarkWarning.__module__}.{PytestBenchmarkWarning.__name__}"
        config.addinivalue_line("filterwarnings", f"default::{name}")  # and from then on
