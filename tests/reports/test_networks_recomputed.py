"""What docs/why.md says of other networks, tuned for each, computed again by NumPy and SciPy alone."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from bsr.experiments.settings import Among, Problem, setting_for, shipped_settings
from recomputed import RESULTS, Errors, Setting, by_seed, lowest, prose, recorded, said, setting, tried

TASKS = ("mean", "std", "var")
NETWORKS = ("wide", "deep")
CORNERS = ((1024, 586), (16, 586), (16, 37_500))
"""Batch sizes and updates."""
SEEDS = range(200, 208)
DECAYS = {"falling to zero": {1.0}, "constant": {0.0}, "as tuned": {0.0, 1.0}}
AMONG: dict[str, Among] = {"falling to zero": "falling", "constant": "constant", "as tuned": "all"}
"""How a table of settings calls them."""
TUNED = "cpu-why-networks-tune-*.journal.jsonl.gz"
REPORTED = {
    "falling": "cpu-why-networks.journal.jsonl.gz",
    "constant": "cpu-why-networks-constant.journal.jsonl.gz",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone"),
]


def chosen(network: str, task: str, size: int, steps: int, schedule: str) -> Setting:
    some = tried(TUNED, model=network, task=task, batch_size=size, steps=steps)
    return lowest({one: errors for one, errors in some.items() if one[1] in DECAYS[schedule]})


def errors(network: str, task: str, size: int, steps: int, schedule: str) -> Errors:
    """A run that died or diverged counts as no better than the best constant."""
    taken = chosen(network, task, size, steps, schedule)
    found = {}
    for result in (one for pattern in REPORTED.values() for one in recorded(pattern)):
        run = result["run"]
        of = run["model"], run["task"], run["batch_size"], run["steps"]
        if of == (network, task, size, steps) and setting(run) == pytest.approx(taken):
            value = (result["test_mse"][-1] or 0.0) / result["baseline_mse"]
            found[run["seed"]] = math.log(value if result["status"] == "ok" else max(1.0, value))
    return found


@pytest.mark.parametrize(("network", "schedule"), [*product(NETWORKS, DECAYS)])
def test_what_was_reported_is_what_the_tuning_chose_and_what_ships(network: str, schedule: str) -> None:
    for task, (size, steps) in product(TASKS, CORNERS):
        assert sorted(errors(network, task, size, steps, schedule)) == [*SEEDS], (task, size, steps)
        problem = Problem(task, size, steps, train_images=50_000, model=network)
        shipped = setting_for(shipped_settings(), problem, AMONG[schedule])
        assert shipped == pytest.approx(chosen(network, task, size, steps, schedule))


@pytest.mark.parametrize(("network", "schedule"), [*product(NETWORKS, DECAYS)])
def test_the_gap_and_what_it_is_made_of(network: str, schedule: str) -> None:
    large, few, many = ([errors(network, task, *corner, schedule) for task in TASKS] for corner in CORNERS)
    parts = ((many, large), (many, few), (few, large))
    cells = " | ".join(said(by_seed(zip(*pair, strict=True))) for pair in parts)
    assert f"| {network} | {schedule} | {cells} |" in prose("docs/why.md")


def test_the_two_seeds_that_chose_a_rate_were_lucky() -> None:
    taken = chosen("wide", "mean", 1024, 586, "falling to zero")
    tuning = [
        result["test_mse"][-1] / result["baseline_mse"]
        for result in recorded(TUNED)
        if (result["run"]["model"], result["run"]["task"], result["run"]["batch_size"])
        == ("wide", "mean", 1024)
        and setting(result["run"]) == pytest.approx(taken)
    ]
    best = math.exp(min(errors("wide", "mean", 1024, 586, "falling to zero").values()))
    second, first = (f"{100 * share:.2f}%" for share in sorted(tuning))
    assert f"{first} and {second} of the best constant's error" in prose("docs/why.md")
    assert f"of the eight that report, none below {100 * best:.2f}%" in prose("docs/why.md")


def test_as_few_points_of_the_study_s_network_show_as_little() -> None:
    """On the tuning seeds, at falling rates with neither warm-up nor another beta2."""
    logs = []
    for task, size in product(TASKS, (16, 1024)):
        some = tried("cpu-square-586-tune-*.journal.jsonl.gz", task=task, batch_size=size, steps=586)
        plain = [seeds for one, seeds in some.items() if one[1:] == (1.0, 0.0, 0.999)]
        logs.append(min(float(np.mean(np.log([seeds[100], seeds[101]]))) for seeds in plain))
    factor = math.exp(float(np.mean(np.subtract(logs[1::2], logs[::2]))))
    assert (
        f"on those two seeds, its 1024 has \N{MULTIPLICATION SIGN}{factor:.2f} of the error of 16"
        in prose("docs/why.md")
    )


def test_tuning_and_reporting_share_no_seed() -> None:
    assert {result["run"]["seed"] for result in recorded(TUNED)} == {100, 101}
    assert {one["run"]["seed"] for part in REPORTED.values() for one in recorded(part)} == {*SEEDS}


def test_no_chosen_setting_lies_at_an_edge() -> None:
    """A higher and a lower rate were tried with all else alike."""
    for network, task, corner, schedule in product(NETWORKS, TASKS, CORNERS, DECAYS):
        rate, *rest = chosen(network, task, *corner, schedule)
        some = tried(TUNED, model=network, task=task, batch_size=corner[0], steps=corner[1])
        beside = {one[0] for one in some if [*one[1:]] == rest}
        assert min(beside) < rate < max(beside), (network, task, corner, schedule)


def test_as_many_images_were_trained_as_it_says() -> None:
    def images(pattern: str) -> tuple[int, str]:
        found = recorded(pattern)
        return len(found), f"{sum(one['run']['batch_size'] * one['run']['steps'] for one in found) / 1e6:.0f}"

    (tuned, t), (falling, f), (constant, c) = map(images, (TUNED, *REPORTED.values()))
    each = np.prod(CORNERS, axis=1).sum() * len(TASKS) * len(NETWORKS) / 1e6
    text = f"of other networks in {tuned} tuning runs {t} ({16 * each:.0f}), in {falling} reporting ones at"
    text += f" falling rates {f} ({8 * each:.0f}), in {constant} at constant ones {c} ({8 * each:.0f})"
    assert text in prose("docs/why.md")
