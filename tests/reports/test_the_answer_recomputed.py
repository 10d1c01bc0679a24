"""What README and docs/why.md say of the recordings, computed again from the journals by NumPy and SciPy "
"alone."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, special, stats

from recomputed import RESULTS, Errors, by_seed, moments, prose, recorded, said, short

TASKS = ("mean", "std", "var")
STUDY = {"mean": 0.0015, "std": 0.001, "var": 0.0015}
SAME_IMAGES = {16: 37_500, 64: 9_375, 256: 2_344, 1024: 586}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone"),
]


def log_error(result: dict[str, Any], steps: int) -> float | None:
    """Of the normalised test MSE; a run that died or diverged counts as no better than the best constant."""
    when = moments(result["run"]["steps"], result["run"]["batch_size"])
    if steps not in when:
        return None
    index = when.index(steps)
    value = result["test_mse"][index] if index < len(result["test_mse"]) else None
    if result["status"] != "ok" and (value is None or index == len(when) - 1):
        return math.log(max(1.0, (value or 0.0) / result["baseline_mse"]))
    return math.log(value / result["baseline_mse"])


@cache
def tuned(task: str, size: int, steps: int, schedule: str) -> float:
    """The rate with the lowest geometric mean of the validation MSE, of those that lost no run."""
    rates: dict[float, list[float | None]] = {}
    for result in recorded("cpu-tune*.journal.jsonl.gz"):
        run = result["run"]
        if (run["task"], run["batch_size"], run["steps"], run["schedule"]) == (task, size, steps, schedule):
            value = result["test_mse"][-1] if result["status"] in {"ok", "dead"} else None
            rates.setdefault(run["learning_rate"], []).append(value)
    whole = {rate: [v for v in values if v] for rate, values in rates.items() if None not in values}
    return min(whole, key=lambda rate: float(np.mean(np.log(whole[rate]))))


def errors(task: str, size: int, steps: int, schedule: str, rate: float, beta2: float = 0.999) -> Errors:
    """Of one arm; a constant schedule's smaller budget is the beginning of a longer Run."""
    found: dict[int, float] = {}
    alike = []
    for result in recorded("cpu-why.journal.jsonl.gz"):
        run = result["run"]
        same = (run["task"], run["batch_size"], run["schedule"]) == (task, size, schedule)
        if same and math.isclose(run["learning_rate"], rate, rel_tol=1e-5) and run["beta2"] == beta2:
            alike.append(result)
    for result in sorted(alike, key=lambda one: -one["run"]["steps"]):
        own, longer = result["run"]["steps"] == steps, result["run"]["steps"] > steps
        value = log_error(result, steps) if own or (longer and schedule == "constant") else None
        if value is not None:
            found[result["run"]["seed"]] = value
    return found


def p_of_signs(logs: NDArray[np.float64]) -> float:
    """The share of all signs of the seeds whose sum is as far from zero."""
    signs = np.array(list(itertools.product((-1, 1), repeat=len(logs))))
    return float(np.mean(np.abs(signs @ logs) >= abs(logs.sum()) - 1e-9))


def gap(kind: str, schedule: str, updates: int | None, tasks: Iterable[str] = TASKS) -> NDArray[np.float64]:
    """[seeds] 1024 against 16 at the study's or tuned rates, after the same images or as many updates."""

    def side(task: str, size: int) -> Errors:
        steps = updates or SAME_IMAGES[size]
        rate = STUDY[task] if kind == "study" else tuned(task, size, steps, schedule)
        return errors(task, size, steps, schedule, rate)

    return by_seed((side(task, 16), side(task, 1024)) for task in tasks)


def parts(schedule: str, updates: int, tasks: Iterable[str] = TASKS) -> dict[str, NDArray[np.float64]]:
    """Both orders of the decomposition, and their means; all of the seeds that all four gaps have."""
    kinds = {
        (kind, at): gap(kind, schedule, at, tasks) for kind in ("study", "tuned") for at in (None, updates)
    }
    fewest = min(map(len, kinds.values()))  # seeds begin at 200 in every arm
    r00, r01, r10, r11 = (one[:fewest] for one in kinds.values())
    return {
        "whole": r00,
        "updates": (r00 - r01 + r10 - r11) / 2,
        "rate": (r00 - r10 + r01 - r11) / 2,
        "batch size": r11,
        "rate at equal images": r00 - r10,
        "rate at equal updates": r01 - r11,
    }


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_both_columns_of_the_answer(schedule: str) -> None:
    found = parts(schedule, 586)
    assert found["whole"] == pytest.approx(found["updates"] + found["rate"] + found["batch size"])
    for name in ("whole", "updates", "rate", "batch size"):
        p = p_of_signs(found[name])
        row = f"{said(found[name])} | {p:.2f} |" if p > 0.01 else f"{said(found[name])} | {p:.1g} |"
        assert row in prose("docs/why-first.md"), name


def test_more_updates_and_every_task() -> None:
    why = prose("docs/why-first.md")
    assert f"{said(parts('linear', 2_344)['batch size'])} at falling rates" in why
    assert f"{said(parts('constant', 2_344)['batch size'])} at constant ones" in why
    updates = {task: short(math.exp(parts("linear", 586, (task,))["updates"].mean())) for task in TASKS}
    assert ", ".join(f"\N{MULTIPLICATION SIGN}{updates[task]} ({task})" for task in TASKS) in why
    assert said(parts("linear", 586, ("var",))["rate"]) in why


def test_the_rate() -> None:
    why = prose("docs/why-first.md")
    found = parts("linear", 586)
    assert f"{said(found['rate at equal images'])} where images are equal" in why
    assert f"{said(found['rate at equal updates'])} where updates are" in why

    def travelled(task: str) -> tuple[Errors, Errors]:
        rates = (tuned(task, 1024, 586, "linear"), tuned(task, 16, 37_500, "linear"))
        own, taken = (errors(task, 1024, 586, "linear", rate) for rate in rates)
        return own, taken

    assert f"ends at {said(by_seed(map(travelled, TASKS)))} of its error at its own" in why
    each = [short(math.exp(by_seed([travelled(task)]).mean())) for task in TASKS]
    assert (
        "(\N{MULTIPLICATION SIGN}{}, \N{MULTIPLICATION SIGN}{} and \N{MULTIPLICATION SIGN}{} by task)".format(
            *each
        )
        in why
    )


def over_sixteen(size: int, schedule: str, steps: int = 586) -> NDArray[np.float64]:
    """After as many updates, at tuned rates."""
    arms = {
        task: [errors(task, at, steps, schedule, tuned(task, at, steps, schedule)) for at in (16, size)]
        for task in TASKS
    }
    return by_seed((small, large) for small, large in arms.values())


def test_other_batch_sizes_after_the_same_updates() -> None:
    why = prose("docs/why-first.md")
    assert f"batch size 4 {said(over_sixteen(4, 'linear'))} and 1 {said(over_sixteen(1, 'linear'))}" in why
    for schedule in ("linear", "constant"):
        each = [short(math.exp(over_sixteen(size, schedule).mean())) for size in (64, 256, 1024)]
        assert (
            "\N{MULTIPLICATION SIGN}{}, \N{MULTIPLICATION SIGN}{} and \N{MULTIPLICATION SIGN}{}".format(*each)
            in why
        )
    small, large = (
        [
            f"\N{MULTIPLICATION SIGN}{math.exp(over_sixteen(size, 'linear', steps).mean()):.2f}"
            for steps in (586, 2_344)
        ]
        for size in (64, 256)
    )
    said_of = f"had 64 at {' and '.join(small)} after 586 and 2,344 updates, 256 at {' and '.join(large)}:"
    assert said_of in prose("docs/why.md")


def test_what_the_schedule_changes() -> None:
    why = prose("docs/why-first.md")
    for size in (16, 1024):
        steps = SAME_IMAGES[size]
        arms = {t: [errors(t, size, steps, s, STUDY[t]) for s in ("linear", "constant")] for t in TASKS}
        assert said(by_seed((linear, constant) for linear, constant in arms.values())) in why


def test_rules_of_thumb() -> None:
    why = prose("docs/why-first.md")

    def at(rate: Callable[[str], float], size: int) -> dict[str, Errors]:
        return {task: errors(task, size, SAME_IMAGES[size], "linear", rate(task)) for task in TASKS}

    for size in (256, 1024):
        own = at(lambda task, size=size: tuned(task, size, SAME_IMAGES[size], "linear"), size)  # type: ignore[misc]
        scaled = {
            power: at(lambda task, size=size, power=power: STUDY[task] * (size / 32) ** power, size)  # type: ignore[misc]
            for power in (0.0, 0.5, 1.0)
        }
        for power in (0.5, 1.0):
            assert said(by_seed((own[task], scaled[power][task]) for task in TASKS)) in why, (size, power)
        if size == 1024:
            assert said(by_seed((own[task], scaled[0.0][task]) for task in TASKS)) in why
            assert said(by_seed((scaled[0.0][task], scaled[0.5][task]) for task in TASKS)) in why


def reached(result: dict[str, Any], target: float) -> float | None:
    """The middle of the first three evaluations whose median is there."""
    values = [math.inf if mse is None else mse / result["baseline_mse"] for mse in result["test_mse"][1:]]
    when = moments(result["run"]["steps"], result["run"]["batch_size"])[1:]
    found = (when[at + 1] for at in range(len(values) - 2) if sorted(values[at : at + 3])[1] <= target)
    return next(found, None)


def fastest(task: str, target: float) -> dict[int, tuple[list[float], int, int]]:
    """Batch size -> updates to the target, misses and updates trained, of the training that is fastest."""
    trainings: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for result in recorded("cpu-why.journal.jsonl.gz"):
        run = result["run"]
        arm = (task, run["batch_size"], run["steps"], run["schedule"])
        rates = {STUDY[task]} | ({tuned(*arm)} if arm in tuned_arms() else set())
        if run["task"] == task and run["learning_rate"] in rates and run["beta2"] == 0.999:
            trainings.setdefault((*arm, run["learning_rate"]), []).append(result)
    best: dict[int, tuple[tuple[float, int, int], tuple[list[float], int, int]]] = {}
    for (_, size, cap, *_rest), results in trainings.items():
        steps = [reached(result, target) for result in results]
        got = [step for step in steps if step is not None]
        missed = steps.count(None)
        rank = (float(np.median([*got, *[math.inf] * missed])), -len(got), -cap)
        if size not in best or rank < best[size][0]:
            best[size] = (rank, (got, missed, cap))
    return {size: cell for size, (_, cell) in sorted(best.items())}


@cache
def tuned_arms() -> set[tuple[Any, ...]]:
    runs = [result["run"] for result in recorded("cpu-tune*.journal.jsonl.gz")]
    return {(run["task"], run["batch_size"], run["steps"], run["schedule"]) for run in runs}


def critical(task: str, target: float) -> float:
    """B of S = S_min (1 + B / batch size), log-normal, by likelihood with misses as longer than trained."""
    cells = fastest(task, target)

    def loss(at: NDArray[np.float64]) -> float:
        total = 0.0
        for size, (got, missed, cap) in cells.items():
            centre, spread = at[0] + math.log1p(math.exp(at[1]) / size), math.exp(at[2])
            apart = (np.log(got) - centre) / spread
            total += float((apart**2 / 2).sum()) + len(got) * at[2]
            total -= missed * float(special.log_ndtr((centre - math.log(cap)) / spread))
        return total

    fits = [optimize.minimize(loss, (6.0, start, -1.0), method="Nelder-Mead") for start in (0.0, 2.0, 4.0)]
    return math.exp(min(fits, key=lambda fit: float(fit.fun)).x[1])


def test_critical_batch_sizes() -> None:
    why = prose("docs/why-first.md")
    for target, sizes in {0.03: (8.0, 8.5, 2.0), 0.01: (16, 25, 21), 0.005: (16, None, 32)}.items():
        for task, size in zip(TASKS, sizes, strict=True):
            assert size is None or critical(task, target) == pytest.approx(size, rel=0.05), (task, target)
    assert "size is 16 (11 to 23) for mean, 25 (15 to 40) for std, 21 (14 to 33) for var" in why
    assert "to 3% it is 8.0, 8.5 and 2.0, to 0.5% 16, none and 32" in why


def test_adams_memory() -> None:
    def gap_at(task: str, beta2: float) -> Errors:
        small, large = (errors(task, s, SAME_IMAGES[s], "constant", STUDY[task], beta2) for s in (16, 1024))
        return {seed: large[seed] - small[seed] for seed in small.keys() & large.keys()}

    found = by_seed((gap_at(task, 0.999), gap_at(task, 0.99)) for task in TASKS)
    assert f"{said(found)} of what it was, p = {p_of_signs(found):.1g} ({counted(len(found))} seeds" in prose(
        "docs/why-first.md"
    )


def counted(n: int) -> str:
    return {3: "three", 8: "eight", 10: "ten"}[n]


def test_how_far_the_tasks_of_a_seed_go_together() -> None:
    rows = {
        name: np.corrcoef([parts("linear", 586, (task,))[name] for task in TASKS])[
            np.triu_indices(3, 1)
        ].mean()
        for name in ("whole", "updates", "rate", "batch size")
    }
    assert f"{rows['whole']:.2f} in the whole gap" in prose("docs/why-first.md")
    assert [round(rows[name], 1) for name in ("updates", "rate", "batch size")] == [0.4, 0.4, 0.0]


def test_where_both_protocols_meet() -> None:
    document = json.loads(gzip.decompress((RESULTS / "cpu-native.json.gz").read_bytes()))
    study: dict[str, dict[int, float]] = {task: {} for task in TASKS}
    for entry in document["benchmarks"]:
        about, case = entry["extra_info"], entry["params"] or {}
        if about.get("experiment") == "batch-size" and case["batch_size"] == 1024 and case["task"] in study:
            study[case["task"]][case["seed"]] = math.log(about["normalised_mse"])
    ours = {task: errors(task, 1024, 586, "constant", STUDY[task]) for task in TASKS}
    a, b = (
        np.array([np.mean([side[task][seed] for task in TASKS]) for seed in sorted(side["mean"])])
        for side in (study, ours)
    )
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.90)
    low, high = (f"{math.exp(end):#.3g}" for end in (interval.low, interval.high))
    text = f"ends with {math.exp(b.mean() - a.mean()):.3f} times the error of the study's ten epochs"
    assert f"{text}, which have 590 (90% interval {low} to {high})" in prose("docs/why-first.md")


def test_other_networks() -> None:
    why = prose("docs/why.md")
    for equal in ("images", "updates"):
        for name in ("study", "wide", "deep"):
            sides: dict[int, dict[int, list[float]]] = {16: {}, 1024: {}}
            for result in recorded("cpu-networks.journal.jsonl.gz"):
                run = result["run"]
                if run["model"] == name and run["batch_size"] in sides and run["task"] in TASKS:
                    value = log_error(result, 586 if equal == "updates" else run["steps"])
                    assert value is not None
                    sides[run["batch_size"]].setdefault(run["seed"], []).append(value)
            logs = np.array([np.mean(sides[1024][seed]) - np.mean(sides[16][seed]) for seed in sides[16]])
            assert len(logs) == 3
            factor, _, interval = said(logs)[1:].partition(" (")
            assert f"{factor} ({name}, {interval}" in why or f"{factor} ({interval}" in why, (equal, name)


def test_other_networks_end_alike_by_either_engine() -> None:
    def by_run(name: str) -> dict[tuple[Any, ...], list[float]]:
        results = recorded(f"cpu-networks{name}.journal.jsonl.gz")
        runs = ((result["run"], result["test_mse"]) for result in results)
        return {
            (run["seed"], run["task"], run["batch_size"], run.get("model", "study")): np.log(errors).tolist()
            for run, errors in runs
        }

    eager, native = by_run(""), by_run("-native")
    assert len(native) == 108
    factors = []
    for last in (5, 1):
        by_seed: dict[int, list[float]] = {}
        for run, errors in native.items():
            by_seed.setdefault(run[0], []).append(
                float(np.mean(errors[-last:]) - np.mean(eager[run][-last:]))
            )
        seeds = np.array([np.mean(row) for row in by_seed.values()])
        interval = stats.ttest_1samp(seeds, 0).confidence_interval(0.90)
        factors.append([f"{math.exp(end):.2f}" for end in (seeds.mean(), interval.low, interval.high)])
    (mean, low, high), (alone, lowest, highest) = factors
    text = f"{mean} times eager's errors (90% interval {low} to {high}, whole seeds, mean of the last five "
    assert f"{text}evaluations; the last alone {alone}, {lowest} to {highest})" in prose("docs/why.md")


def test_fashion_per_doubling() -> None:
    runs: dict[tuple[str, int], list[list[float]]] = {}
    for result in recorded("cpu-fashion.journal.jsonl.gz"):
        run = result["run"]
        runs.setdefault((run["task"], run["batch_size"]), []).append(np.log(result["test_mse"][1:]).tolist())
    logs = {cell: np.mean(rows, axis=0) for cell, rows in runs.items()}
    pairs = [(cell, (cell[0], 2 * cell[1])) for cell in logs if (cell[0], 2 * cell[1]) in logs]
    epochs = np.mean([logs[large][9] - logs[small][9] for small, large in pairs])
    updates = np.mean([logs[large][1::2] - logs[small][:5] for small, large in pairs])
    assert f"\N{MULTIPLICATION SIGN}{math.exp(epochs):.2f} (1.2 to 1.3) at equal epochs" in prose(
        "docs/why.md"
    )
    assert f"\N{MULTIPLICATION SIGN}{math.exp(updates):.2f} (0.84 to 0.88) at equal updates" in prose(
        "docs/why.md"
    )


def test_the_answer_is_said_in_sixty_words() -> None:
    text = prose("README.md")
    first = text[text.index("**The answer") : text.index("[More](docs/why.md)")]
    assert len(first.split()) <= 60
