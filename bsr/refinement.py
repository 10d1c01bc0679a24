"""Where a second look at the learning rates begins: the best rate per task of a finished log grid."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from bsr.experiments import LOG_GRID, REFINED, TUNING_BATCH_SIZE
from bsr.reading import RefusedError, read


class RefinementError(Exception):
    """The file holds no log grid; the message says what, expected, got, remedy."""


def best_rates(path: Path) -> tuple[tuple[str, float], ...]:
    """(task, the rate of the log grid with the lowest mean final test MSE over its seeds), at batch size 32.

    A rate at which any seed has no final MSE, since it diverged, is not best. Raises RefinementError.
    """
    new = path.with_name(f"{path.stem}-rates.json").name
    remedy = f"record one with: pytest benchmarks --bsr-experiments {REFINED} --benchmark-json={new}"
    try:
        session = read(path).session
    except RefusedError as refusal:
        raise RefinementError(str(refusal)) from refusal
    errors: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for case in session.cases:
        run = case.result.run
        first_look = REFINED in case.cases and run.learning_rate in LOG_GRID
        if first_look and run.batch_size == TUNING_BATCH_SIZE:
            final = case.result.final_mse
            errors[run.task][run.learning_rate].append(math.inf if final is None else final)
    best = []
    for task, rates in errors.items():
        means = {rate: mean for rate, found in rates.items() if math.isfinite(mean := fmean(found))}
        if means:
            best.append((task, min(means, key=means.__getitem__)))
    if not best:
        raise RefinementError(f"{path}: expected a finished log grid of learning rates, got none; {remedy}")
    return tuple(best)
