"""Which of the rates that were tried is best, and where a second look at them begins."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bsr.experiments import LOG_GRID, REFINED, TUNING_BATCH_SIZE
from bsr.rates import Arm
from bsr.records.reading import RefusedError, read
from bsr.run import Result

Rates = Mapping[float, Sequence[Result]]
Finals = Mapping[float, Sequence[float]]
"""Learning rate -> final MSE of each seed."""


def by_rate(results: Sequence[Result]) -> dict[float, list[Result]]:
    """Results by learning rate, rising."""
    found: dict[float, list[Result]] = defaultdict(list)
    for result in results:
        found[result.run.learning_rate].append(result)
    return dict(sorted(found.items()))


def rate_finals(rates: Rates) -> dict[float, list[float]]:
    """Learning rate -> final MSE of each seed that has one; rates without any are left out."""
    found = {rate: [r.final_mse for r in runs if r.final_mse is not None] for rate, runs in rates.items()}
    return {rate: values for rate, values in found.items() if values}


def contenders(rates: Rates) -> dict[float, list[float]]:
    """The finals among which the best rate is sought: of rates that lost no run, where there are any."""
    whole = {rate: runs for rate, runs in rates.items() if all(r.final_mse is not None for r in runs)}
    return rate_finals(whole or rates)


def centre(values: Sequence[float]) -> float:
    """Geometric mean; arithmetic where a value is zero."""
    return math.exp(fmean(map(math.log, values))) if min(values) > 0 else fmean(values)


def best_rate(rates: Rates) -> float:
    """The rate with the lowest centre among the contenders."""
    values = contenders(rates)
    return min(values, key=lambda rate: centre(values[rate]))


def at_edge(rate: float, rates: Rates) -> bool:
    """Whether nothing beyond a rate was tried."""
    return rate in {min(rates), max(rates)}


class RefinementError(Exception):
    """The file holds no log grid; the message says what, expected, got, remedy."""


def best_rates(path: Path) -> tuple[tuple[str, float], ...]:
    """(task, the rate of the log grid with the lowest mean final test MSE over its seeds), at batch size 32.

    A rate at which any seed has no final MSE, since it diverged, is not best. Raises RefinementError.
    """
    new = path.with_name(f"{path.stem}-rates.json").name
    remedy = f"record one with: pytest benchmarks --bsr-experiments {REFINED} --benchmark-json={new}"
    errors: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in _results(path, REFINED):
        run = result.run
        if run.learning_rate in LOG_GRID and run.batch_size == TUNING_BATCH_SIZE:
            final = result.final_mse
            errors[run.task][run.learning_rate].append(math.inf if final is None else final)
    best = []
    for task, rates in errors.items():
        means = {rate: mean for rate, found in rates.items() if math.isfinite(mean := fmean(found))}
        if means:
            best.append((task, min(means, key=means.__getitem__)))
    if not best:
        raise RefinementError(f"{path}: expected a finished log grid of learning rates, got none; {remedy}")
    return tuple(best)


def beyond_edges(path: Path) -> tuple[tuple[Arm, float], ...]:
    """For each tuned arm whose best rate is at the edge of those tried: that rate, times or over two.

    Raises RefinementError where the file holds no tuning, or all its best rates lie inside.
    """
    arms: dict[Arm, list[Result]] = defaultdict(list)
    for result in _results(path, "tune"):
        arms[Arm.of(result.run)].append(result)
    found: list[tuple[Arm, float]] = []
    for arm, results in arms.items():
        rates = by_rate(results)
        if contenders(rates) and at_edge(best := best_rate(rates), rates):
            found.append((arm, best * 2 if best == max(rates) else best / 2))
    if not found:
        got = "best rates inside the ones that were tried" if arms else "none"
        raise RefinementError(
            f"{path}: expected a tuning with a best rate at the edge, got {got}; nothing to extend"
        )
    return tuple(found)


def _results(path: Path, experiment: str) -> list[Result]:
    """Of an experiment, in a recording. Raises RefinementError where there is none."""
    try:
        session = read(path).session
    except RefusedError as refusal:
        raise RefinementError(str(refusal)) from refusal
    found = [case.result for case in session.cases if experiment in case.cases]
    if len(networks := {result.run.model for result in found}) > 1:
        raise RefinementError(
            f"{path}: expected rates of one network, got {', '.join(sorted(networks))}; record each apart"
        )
    return found
