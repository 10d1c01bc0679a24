"""What docs/why.md says of training with little data, computed again by NumPy and SciPy alone."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bsr.experiments.settings import Problem, setting_for, shipped_settings
from recomputed import RESULTS, Errors, Setting, by_seed, lowest, prose, recorded, said, setting, tried

SIZES = {1_000: (16, 64, 256, 1_000), 10_000: (16, 64, 256, 1024), 50_000: (16, 64, 256, 1024)}
BUDGETS = {1_000: (586, 2_344, 9_375), 10_000: (586, 2_344), 50_000: (586, 2_344, 9_375, 37_500)}
LONGEST = 10_000_000
"""Images of one training: what would see more was left out."""
ROWS = [(images, steps) for images, budgets in BUDGETS.items() for steps in budgets]
SEEDS = range(200, 208)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone"),
]


def sizes(images: int, steps: int) -> list[int]:
    return [size for size in SIZES[images] if size * steps <= LONGEST]


def of_tuning(images: int, size: int, steps: int) -> dict[Setting, dict[int, float]]:
    pattern = f"cpu-little-data-{images}-tune-*.journal.jsonl.gz"
    return tried(pattern, batch_size=size, steps=steps, train_images=images)


def chosen(images: int, size: int, steps: int) -> Setting:
    """As tuned; where a training sees nine million images, from the next smaller budget."""
    if size * steps < 9_000_000:
        return lowest(of_tuning(images, size, steps))
    falling = {one: errors for one, errors in of_tuning(images, size, steps).items() if one[1] == 1}
    budgets = BUDGETS[images]
    smaller = of_tuning(images, size, budgets[budgets.index(steps) - 1])
    best = lowest(smaller)
    if best[1] == 0:
        return best
    there = lowest({one: errors for one, errors in smaller.items() if one[1] == 1})
    return (lowest(falling)[0] * best[0] / there[0], *best[1:])


@cache
def reported(images: int, size: int, steps: int) -> dict[int, dict[str, Any]]:
    """Seed -> result."""
    return {
        result["run"]["seed"]: result
        for result in recorded(f"cpu-little-data-{images}.journal.jsonl.gz")
        if (result["run"]["batch_size"], result["run"]["steps"]) == (size, steps)
    }


def last(result: dict[str, Any]) -> float:
    return math.log(result["test_mse"][-1] / result["baseline_mse"])


def stopped(result: dict[str, Any]) -> float:
    at = int(np.argmin(result["validation_mse"]))
    return math.log(result["test_mse"][at] / result["baseline_mse"])


def errors(images: int, size: int, steps: int, measure: Any) -> Errors:
    return {seed: measure(result) for seed, result in reported(images, size, steps).items()}


def over_sixteen(size: int, measure: Any, steps: int = 9_375, images: int = 1_000) -> NDArray[np.float64]:
    """[seeds] log ratios."""
    return by_seed([(errors(images, 16, steps, measure), errors(images, size, steps, measure))])


def p_of(logs: NDArray[np.float64]) -> float:
    return float(stats.ttest_1samp(logs, 0.0).pvalue)


@pytest.mark.parametrize(("images", "steps"), ROWS)
def test_the_settings_that_ship_are_those_that_were_tuned(images: int, steps: int) -> None:
    for size in sizes(images, steps):
        problem = Problem("angle", size, steps, images, dataset="Rotated")
        assert setting_for(shipped_settings(), problem, "all") == pytest.approx(chosen(images, size, steps))


@pytest.mark.parametrize(("images", "steps"), ROWS)
def test_what_was_reported_is_what_the_tuning_chose(images: int, steps: int) -> None:
    for size in sizes(images, steps):
        results = reported(images, size, steps)
        assert sorted(results) == list(SEEDS), size
        (got,) = {setting(result["run"]) for result in results.values()}
        assert got == pytest.approx(chosen(images, size, steps)), size
        assert all(set(SEEDS).isdisjoint(tuned) for tuned in of_tuning(images, size, steps).values())


def test_the_full_batch_s_longest_training_takes_the_setting_of_the_next_smaller_budget() -> None:
    assert chosen(1_000, 1_000, 9_375) == lowest(of_tuning(1_000, 1_000, 2_344))
    assert "The full batch at 9,375 updates takes the setting tuned for it at 2,344" in prose("docs/why.md")


@pytest.mark.parametrize(("images", "steps"), ROWS)
def test_every_ratio_of_the_last_weights(images: int, steps: int) -> None:
    row = " ".join(f"{said(over_sixteen(size, last, steps, images))} |" for size in sizes(images, steps)[1:])
    assert f"| {images:,} | {steps:,} | {row}" in prose("docs/why.md")


def test_the_ratios_with_early_stopping() -> None:
    row = " | ".join(said(over_sixteen(size, stopped)) for size in (64, 256, 1_000))
    assert f"| 1,000 | 9,375, stopped early | {row} |" in prose("docs/why.md")
    assert f"{said(over_sixteen(1024, stopped, 2_344, 10_000))} at 1024." in prose("docs/why.md")
    most = said(over_sixteen(256, stopped, 37_500, 50_000))
    told = f"With 50,000, after 37,500 updates, it takes all of the loss of 256 away: {most}."
    assert told in prose("docs/why.md")


def test_both_planned_contrasts() -> None:
    ps = {measure.__name__: p_of(over_sixteen(1_000, measure)) for measure in (last, stopped)}
    smaller, larger = sorted(ps.values())
    significant = (smaller <= 0.025) + (smaller <= 0.025 and larger <= 0.05)  # Holm
    text = {2: "both hold after Holm's correction", 1: "the first alone holds after Holm's correction"}
    said_of = ", ".join(f"p = {ps[name]:.1g}" for name in ("last", "stopped"))
    assert f"{said_of}; {text[significant]}" in prose("docs/why.md")


@pytest.mark.parametrize(
    ("images", "size", "where"),
    [
        (1_000, 16, "16"),
        (1_000, 1_000, "the full batch"),
        (10_000, 16, "16"),
        (10_000, 1024, "1024"),
        (50_000, 16, "16"),
        (50_000, 256, "256"),
    ],
)
def test_what_more_updates_do_at_either_end(images: int, size: int, where: str) -> None:
    few, *_, many = (errors(images, size, steps, last) for steps in BUDGETS[images])
    assert f"{said(by_seed([(few, many)]))} at {where}" in prose("docs/why.md")


def at_level(level: float, size: int, images: int = 1_000) -> Errors:
    """Seed -> log test error where the training error last falls below a share of the best constant's."""
    longest = max(steps for steps in BUDGETS[images] if size in sizes(images, steps))
    found = {}
    for seed, result in reported(images, size, longest).items():
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


def test_too_few_trainings_with_ten_thousand_images_reach_a_training_error_to_compare_at() -> None:
    pairs = by_seed([(at_level(0.1, 16, 10_000), at_level(0.1, 1024, 10_000))])
    assert len(pairs) == 5
    assert "(five pairs at 10%, six were asked for)" in prose("docs/why.md")


def test_with_fifty_thousand_a_larger_batch_is_worse_at_the_same_training_error() -> None:
    some, more, most = (
        [by_seed([(at_level(level, 16, 50_000), at_level(level, size, 50_000))]) for level in (0.1, 0.03)]
        for size in (64, 256, 1024)
    )
    assert [[len(logs) for logs in each] for each in (some, more, most)] == [[8, 6]] * 3
    at_ten = f"at 10% {said(some[0])} at 64, {said(more[0])} at 256 and {said(most[0])} at 1024"
    at_three = f"at 3%, which six of 16 reach, {said(some[1])}, {said(more[1])} and {said(most[1])}"
    assert f"{at_ten}; {at_three}" in prose("docs/why.md")


def test_every_batch_size_has_learned_its_images_by_heart() -> None:
    for size in (16, 1_000):
        for result in reported(1_000, size, 9_375).values():
            assert result["training_mse"][-1] < 0.003 * result["baseline_mse"], size
    assert "training errors lie below 0.3% of the best constant's" in prose("docs/why.md")


def planned(images: int) -> tuple[int, int]:
    """Images that tuning and reporting train on, where no edge is extended."""
    trained = [size * steps for steps in BUDGETS[images] for size in sizes(images, steps)]
    all_points, few, fewest = (44, 20, 8) if images == 50_000 else (44, 16, 7)  # amended in between
    tuning = sum(
        each * (all_points if each < 2_000_000 else few if each < 9_000_000 else fewest) for each in trained
    )
    return tuning, len(SEEDS) * sum(trained)


@pytest.mark.parametrize("images", BUDGETS)
def test_as_many_images_were_trained_as_it_says(images: int) -> None:
    parts = []
    for kind, name, plan in zip(
        ("tuning runs", "reporting ones"), ("-tune-*", ""), planned(images), strict=True
    ):
        runs = [result["run"] for result in recorded(f"cpu-little-data-{images}{name}.journal.jsonl.gz")]
        trained = sum(run["batch_size"] * run["steps"] for run in runs)
        parts.append(f"in {len(runs)} {kind} {trained / 1e6:.0f} ({plan / 1e6:.0f})")
    assert f"with {images:,} {', '.join(parts)}" in prose("docs/why.md")


def at_another_s_setting(of: int) -> dict[int, dict[str, Any]]:
    """Seed -> result of the full batch after 9,375 updates."""
    return {r["run"]["seed"]: r for r in recorded(f"cpu-full-batch-of-{of}.journal.jsonl.gz")}


@pytest.mark.parametrize(("of", "tuned_at"), [(16, 9_375), (256, 2_344)])
def test_the_full_batch_at_the_setting_of_another(of: int, tuned_at: int) -> None:
    found = at_another_s_setting(of)
    assert sorted(found) == list(SEEDS)
    assert {setting(result["run"]) for result in found.values()} == {chosen(1_000, of, tuned_at)}
    over_own = by_seed([(errors(1_000, 1_000, 9_375, last), {s: last(r) for s, r in found.items()})])
    early = by_seed([(errors(1_000, 16, 9_375, stopped), {s: stopped(r) for s, r in found.items()})])
    assert f"{said(over_own)} of its error at its own, {said(early)} that of 16" in prose("docs/why.md")


def test_readme_says_the_same() -> None:
    at_last, early = (said(over_sixteen(1_000, measure)).partition(" (")[0] for measure in (last, stopped))
    assert f"with 1,000 rotated digits a full batch has {at_last}, stopped early {early}" in prose(
        "README.md"
    )
