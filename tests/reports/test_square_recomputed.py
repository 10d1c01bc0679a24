"""What docs/why.md says of equal updates at settings tuned alike, computed again by NumPy and SciPy alone."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from recomputed import RESULTS, ROOT, Errors, Setting, by_seed, lowest, prose, recorded, said, setting, tried

TASKS = ("mean", "std", "var")
SIZES = (16, 64, 256, 1024)
SEEDS = {586: 12, 2_344: 8}
"""Updates -> reporting seeds."""
DECAYS = {"falling to zero": {1.0}, "constant": {0.0}, "as tuned": {0.0, 0.5, 1.0}}
pytestmark = pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")


def of_tuning(task: str, size: int, steps: int) -> dict[Setting, dict[int, float]]:
    pattern = f"cpu-square-{steps}-tune-*.journal.jsonl.gz"
    return tried(pattern, task=task, batch_size=size, steps=steps)


def chosen(task: str, size: int, steps: int, schedule: str) -> Setting:
    some = of_tuning(task, size, steps).items()
    return lowest({one: errors for one, errors in some if one[1] in DECAYS[schedule]})


def reported(task: str, size: int, steps: int, taken: Setting) -> dict[int, dict[str, Any]]:
    """Seed -> result."""
    return {
        result["run"]["seed"]: result
        for result in recorded(f"cpu-square-{steps}.journal.jsonl.gz")
        if (result["run"]["task"], result["run"]["batch_size"], result["run"]["steps"]) == (task, size, steps)
        if setting(result["run"]) == pytest.approx(taken)
    }


def errors(task: str, size: int, steps: int, taken: Setting) -> Errors:
    """A run that died or diverged counts as no better than the best constant."""
    found = {}
    for seed, result in reported(task, size, steps, taken).items():
        value = (result["test_mse"][-1] or 0.0) / result["baseline_mse"]
        found[seed] = math.log(value if result["status"] == "ok" else max(1.0, value))
    return found


def over_sixteen(size: int, steps: int, schedule: str, tasks: tuple[str, ...] = TASKS) -> NDArray[np.float64]:
    """[seeds] log ratios."""

    def of(task: str, one: int) -> Errors:
        return errors(task, one, steps, chosen(task, one, steps, schedule))

    return by_seed((of(task, 16), of(task, size)) for task in tasks)


def at_the_rate_of_32(size: int, steps: int) -> NDArray[np.float64]:
    """[seeds] log of the error at the falling setting that was tuned for 32, over that at its own."""
    settings = {task: [chosen(task, one, steps, "falling to zero") for one in (size, 32)] for task in TASKS}
    pairs = ([errors(task, size, steps, one) for one in both] for task, both in settings.items())
    return by_seed((own, travelled) for own, travelled in pairs)


@pytest.mark.parametrize("steps", SEEDS)
def test_what_was_reported_is_what_the_tuning_chose(steps: int) -> None:
    for task in TASKS:
        for size in SIZES:
            for schedule in DECAYS:
                found = reported(task, size, steps, chosen(task, size, steps, schedule))
                assert sorted(found) == list(range(200, 200 + SEEDS[steps])), (task, size, schedule)
            assert max(max(seeds) for seeds in of_tuning(task, size, steps).values()) < 200


@pytest.mark.parametrize("steps", SEEDS)
@pytest.mark.parametrize("schedule", DECAYS)
def test_every_ratio(steps: int, schedule: str) -> None:
    row = " | ".join(said(over_sixteen(size, steps, schedule)) for size in SIZES[1:])
    assert f"| {steps:,} | {schedule} | {SEEDS[steps]} | {row} |" in prose("docs/why.md")


@pytest.mark.parametrize("steps", SEEDS)
def test_the_planned_contrast(steps: int) -> None:
    p = float(stats.ttest_1samp(over_sixteen(1024, steps, "falling to zero"), 0.0).pvalue)
    assert f"after {steps:,} updates p = {p:.1g}" in prose("docs/why.md")


def of_luck(task: str, size: int, steps: int, schedule: str) -> NDArray[np.float64]:
    """[draws] log of what the setting that resampled tuning seeds choose costs over the best."""
    some = {one: e for one, e in of_tuning(task, size, steps).items() if one[1] in DECAYS[schedule]}
    most = max(map(len, some.values()))
    whole = [[errors[seed] for seed in sorted(errors)] for errors in some.values() if len(errors) == most]
    logs = np.log([errors for errors in whole if np.isfinite(errors).all()])
    drawn = np.random.default_rng(1).integers(most, size=(100_000, most))  # whole seeds: the same for all
    each = logs.mean(axis=1)
    return np.asarray(each[logs[:, drawn].mean(axis=2).argmin(axis=0)] - each.min())


@pytest.mark.parametrize("steps", SEEDS)
@pytest.mark.parametrize("schedule", DECAYS)
def test_the_intervals_with_the_tuning_s_luck(steps: int, schedule: str) -> None:
    logs = over_sixteen(1024, steps, schedule)
    large, small = (
        np.mean([of_luck(task, size, steps, schedule) for task in TASKS], axis=0) for size in (1024, 16)
    )
    mean = logs.mean() + stats.sem(logs) * np.random.default_rng(2).standard_t(len(logs) - 1, 100_000)
    found = np.exp(np.quantile(mean + large - small, [0.025, 0.975]))
    row = rf"\| {steps:,} \| {schedule} \|[^\n]*?\| (\d\.\d\d) to (\d\.\d\d) \|"
    told = re.search(row, (ROOT / "docs" / "why.md").read_text(encoding="utf-8"))
    assert told
    assert found == pytest.approx([*map(float, told.groups())], abs=0.02)


@pytest.mark.parametrize("steps", SEEDS)
def test_whether_a_setting_travels(steps: int) -> None:
    each = " and ".join(f"{said(at_the_rate_of_32(size, steps))} at {size}" for size in (256, 1024))
    assert each in prose("docs/why.md")


def test_the_largest_batch_at_the_setting_of_32_over_the_smallest_at_its_own() -> None:
    settings = {task: [chosen(task, size, 2_344, "falling to zero") for size in (16, 32)] for task in TASKS}
    logs = by_seed(
        (errors(task, 16, 2_344, own), errors(task, 1024, 2_344, travelled))
        for task, (own, travelled) in settings.items()
    )
    assert f"1024 is after 2,344 updates at {said(logs)} the error of 16" in prose("docs/why.md")


@pytest.mark.parametrize("steps", SEEDS)
def test_each_task_alone(steps: int) -> None:
    for schedule, words in (
        ("falling to zero", "falling"),
        ("constant", "constant"),
        ("as tuned", "as tuned"),
    ):
        each = (math.exp(over_sixteen(1024, steps, schedule, (task,)).mean()) for task in TASKS)
        factors = ", ".join(f"\N{MULTIPLICATION SIGN}{factor:.2f}" for factor in each)
        assert f"{factors} {words}" in prose("docs/why.md")


@pytest.mark.parametrize("steps", SEEDS)
def test_as_many_images_were_trained_as_it_says(steps: int) -> None:
    tuned, reports = (recorded(f"cpu-square-{steps}{name}.journal.jsonl.gz") for name in ("-tune-*", ""))
    of_each = (
        sum(one["run"]["batch_size"] * one["run"]["steps"] for one in some) / 1e6 for some in (tuned, reports)
    )
    images = {size: size * steps for size in (*SIZES, 32)}
    planned = sum(each * (44 if each < 2_400_000 else 16) for each in images.values()) * len(TASKS) / 1e6
    first, second = (f"{millions:.0f}" for millions in of_each)
    said_of = f"{len(tuned)} tuning runs {first} ({planned:.0f}), in {len(reports)} reporting ones {second}"
    assert f"of {steps:,} updates in {said_of}" in prose("docs/why.md")
