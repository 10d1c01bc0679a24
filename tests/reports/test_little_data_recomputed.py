"""What docs/why.md says of training with little data, computed again by NumPy and SciPy alone."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from recomputed import RESULTS, Errors, by_seed, prose, recorded, said

REPORTED = "cpu-little-data.journal.jsonl.gz"
TUNED = "cpu-little-data-tune-*.journal.jsonl.gz"
SEEDS = range(200, 208)
pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")
Setting = tuple[float, float, float, float]
"""Rate, decay, warm-up, Adam's beta2."""


def setting(run: dict[str, Any]) -> Setting:
    linear = float(run.get("schedule", "constant") == "linear")
    decay = run.get("decay")
    warmup, beta2 = run.get("warmup") or 0.0, run.get("beta2", 0.999)
    return run["learning_rate"], linear if decay is None else decay, warmup, beta2


@cache
def tried(size: int, steps: int) -> dict[Setting, dict[int, float]]:
    """Setting -> tuning seed -> validation MSE of the last weights, infinite where the training was lost."""
    found: dict[Setting, dict[int, float]] = {}
    for result in recorded(TUNED):
        run = result["run"]
        if (run["batch_size"], run["steps"], run["train_images"]) == (size, steps, 1_000):
            value = result["test_mse"][-1] if result["status"] in {"ok", "dead"} else math.inf
            found.setdefault(setting(run), {})[run["seed"]] = value
    return found


def lowest(some: dict[Setting, dict[int, float]]) -> Setting:
    """By geometric mean, of those with the most seeds."""
    most = max(map(len, some.values()))
    whole = {one: errors for one, errors in some.items() if len(errors) == most}
    return min(whole, key=lambda one: float(np.mean(np.log(list(whole[one].values())))))


def chosen(size: int, steps: int) -> Setting:
    """As tuned; where a training sees nine million images, from the next smaller budget."""
    if size * steps < 9_000_000:
        return lowest(tried(size, steps))
    falling = {one: errors for one, errors in tried(size, steps).items() if one[1] == 1}
    smaller = tried(size, 2_344)
    best = lowest(smaller)
    if best[1] == 0:
        return best
    there = lowest({one: errors for one, errors in smaller.items() if one[1] == 1})
    return (lowest(falling)[0] * best[0] / there[0], *best[1:])


@cache
def reported(size: int, steps: int) -> dict[int, dict[str, Any]]:
    """Seed -> result."""
    return {
        result["run"]["seed"]: result
        for result in recorded(REPORTED)
        if (result["run"]["batch_size"], result["run"]["steps"]) == (size, steps)
    }


def last(result: dict[str, Any]) -> float:
    return math.log(result["test_mse"][-1] / result["baseline_mse"])


def stopped(result: dict[str, Any]) -> float:
    at = int(np.argmin(result["validation_mse"]))
    return math.log(result["test_mse"][at] / result["baseline_mse"])


def errors(size: int, steps: int, measure: Any) -> Errors:
    return {seed: measure(result) for seed, result in reported(size, steps).items()}


def over_sixteen(size: int, measure: Any, steps: int = 9_375) -> NDArray[np.float64]:
    """[seeds] log ratios."""
    return by_seed([(errors(16, steps, measure), errors(size, steps, measure))])


def p_of(logs: NDArray[np.float64]) -> float:
    return float(stats.ttest_1samp(logs, 0.0).pvalue)


def test_what_was_reported_is_what_the_tuning_chose() -> None:
    for size in (16, 64, 256, 1_000):
        for steps in (586, 2_344, 9_375):
            results = reported(size, steps)
            assert sorted(results) == list(SEEDS), (size, steps)
            (got,) = {setting(result["run"]) for result in results.values()}
            assert got == pytest.approx(chosen(size, steps)), (size, steps)
            assert not set(SEEDS) & {seed for errors in tried(size, steps).values() for seed in errors}


@pytest.mark.parametrize("steps", [586, 2_344, 9_375])
def test_every_ratio_of_the_last_weights(steps: int) -> None:
    row = " | ".join(said(over_sixteen(size, last, steps)) for size in (64, 256, 1_000))
    assert f"| {steps:,} | {row} |" in prose("docs/why.md")


def test_the_ratios_with_early_stopping() -> None:
    row = " | ".join(said(over_sixteen(size, stopped)) for size in (64, 256, 1_000))
    assert f"| 9,375, stopped early | {row} |" in prose("docs/why.md")


def test_both_planned_contrasts() -> None:
    ps = {measure.__name__: p_of(over_sixteen(1_000, measure)) for measure in (last, stopped)}
    smaller, larger = sorted(ps.values())
    significant = (smaller <= 0.025) + (smaller <= 0.025 and larger <= 0.05)  # Holm
    text = {2: "both hold after Holm's correction", 1: "the first alone holds after Holm's correction"}
    said_of = ", ".join(f"p = {ps[name]:.1g}" for name in ("last", "stopped"))
    assert f"{said_of}; {text[significant]}" in prose("docs/why.md")


def test_what_more_updates_do_at_either_end() -> None:
    for size, where in ((16, "at 16"), (1_000, "at the full batch")):
        few, many = errors(size, 586, last), errors(size, 9_375, last)
        assert f"{said(by_seed([(few, many)]))} {where}" in prose("docs/why.md")


def at_level(level: float, size: int) -> Errors:
    """Seed -> log test error where the training error last falls below a share of the best constant's."""
    found = {}
    for seed, result in reported(size, 9_375).items():
        train, test = (
            np.log(np.maximum(result[name], 1e-300) / result["baseline_mse"])
            for name in ("training_mse", "test_mse")
        )
        above = np.flatnonzero(train > math.log(level))
        if len(above) and above[-1] < len(train) - 1:
            ends = slice(above[-1], above[-1] + 2)
            found[seed] = float(np.interp(-math.log(level), -train[ends], test[ends]))
    return found


def test_where_the_training_errors_are_the_same_the_ratio_crosses_one() -> None:
    for level, where in ((0.1, "10%"), (0.001, "0.1%")):
        logs = by_seed([(at_level(level, 16), at_level(level, 1_000))])
        assert len(logs) >= 6
        assert f"{said(logs)} at {where}" in prose("docs/why.md")


def test_every_batch_size_has_learned_its_images_by_heart() -> None:
    for size in (16, 1_000):
        for result in reported(size, 9_375).values():
            assert result["training_mse"][-1] < 0.003 * result["baseline_mse"], size
    assert "training errors lie below 0.3% of the best constant's" in prose("docs/why.md")


def test_readme_says_the_same() -> None:
    factor = said(over_sixteen(1_000, last)).partition(" (")[0]
    assert f"with 1,000 rotated digits a full batch is: {factor}" in prose("README.md")
