"""The committed recordings as plain dicts, and how README and docs spell a figure: for tests that compute
again what those say, by NumPy and SciPy alone."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bsr.run import Run

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Errors = Mapping[int, float]
"""Seed -> log of the normalised error."""
Setting = tuple[float, float, float, float]
"""Rate, decay, warm-up, Adam's beta2."""


def prose(path: str) -> str:
    """A document with its lines joined."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


@cache
def recorded(pattern: str) -> list[dict[str, Any]]:
    """Results of journals, of each Run the first."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob(pattern)):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            entry = json.loads(line)
            if entry["kind"] == "result":
                found.setdefault(entry["key"], entry["result"])
    return list(found.values())


def setting(run: dict[str, Any]) -> Setting:
    linear = float(run.get("schedule", "constant") == "linear")
    decay = run.get("decay")
    warmup, beta2 = run.get("warmup") or 0.0, run.get("beta2", 0.999)
    return run["learning_rate"], linear if decay is None else decay, warmup, beta2


def tried(pattern: str, **problem: str | int) -> dict[Setting, dict[int, float]]:
    """Setting -> tuning seed -> validation MSE of the last weights, infinite where the training was lost."""
    found: dict[Setting, dict[int, float]] = {}
    for result in recorded(pattern):
        run = result["run"]
        if all(run[name] == value for name, value in problem.items()):
            value = result["test_mse"][-1] if result["status"] in {"ok", "dead"} else math.inf
            found.setdefault(setting(run), {})[run["seed"]] = value
    return found


def lowest(some: dict[Setting, dict[int, float]]) -> Setting:
    """By geometric mean, of those with the most seeds."""
    most = max(map(len, some.values()))
    whole = {one: errors for one, errors in some.items() if len(errors) == most}
    return min(whole, key=lambda one: float(np.mean(np.log(list(whole[one].values())))))


@cache
def moments(steps: int, batch_size: int) -> tuple[int, ...]:
    """The updates after which a controlled Run was evaluated, 0 first."""
    run = Run(task="mean", batch_size=batch_size, seed=0, learning_rate=1.0, epochs=0, steps=steps)
    return (0, *run.evaluation_steps)


def by_seed(pairs: Iterable[tuple[Errors, Errors]]) -> NDArray[np.float64]:
    """Second less first, the mean over pairs of every seed that all of them have."""
    rows = [{seed: b[seed] - a[seed] for seed in a.keys() & b.keys()} for a, b in pairs]
    seeds = sorted(set.intersection(*map(set, rows)))
    return np.array([np.mean([row[seed] for row in rows]) for seed in seeds])


def said(logs: NDArray[np.float64]) -> str:
    """`x1.08 (0.93 to 1.25)`, Student's interval over whole seeds."""
    reach = float(stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs))
    low, high = (short(math.exp(float(logs.mean()) + end)) for end in (-reach, reach))
    return f"\N{MULTIPLICATION SIGN}{short(math.exp(float(logs.mean())))} ({low} to {high})"


def short(value: float) -> str:
    """Two decimals below ten, two digits beyond."""
    return f"{value:.2f}" if value < 9.995 else f"{float(f'{value:.2g}'):,.0f}"
