"""Where a second look at learning rates begins: what --bsr-refine takes from a recording."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from bsr.experiments.original import LOG_GRID, REFINED, TUNING_BATCH_SIZE
from bsr.experiments.rates import Arm
from bsr.experiments.settings import Problem
from bsr.experiments.tried_rates import at_edge, best_rate, by_rate, contenders, lost_none
from bsr.experiments.tuning import Tried, tried_settings
from bsr.records import durable
from bsr.records.reading import RefusedError, read
from bsr.result import Result
from bsr.run import LEARNING_RATES
from bsr.text import Refused, printable


class RefinementError(Refused):
    """The file holds no log grid; the message says what, expected, got, remedy."""


def best_rates(path: Path) -> tuple[tuple[str, float], ...]:
    """(task, the best rate of the log grid), at batch size 32. Raises RefinementError.

    A rate at which a seed has no final MSE, since it diverged, is not best.
    """
    new = path.with_name(f"{durable.stem(path)}-rates.json").name
    remedy = f"record one with: pytest benchmarks --bsr-experiments {REFINED} --benchmark-json={new}"
    tasks: dict[str, list[Result]] = defaultdict(list)
    for result in _of_one_network(path, REFINED):
        if result.run.learning_rate in LOG_GRID and result.run.batch_size == TUNING_BATCH_SIZE:
            tasks[result.run.task].append(result)
    tried = {task: by_rate(results) for task, results in tasks.items()}
    best = [(task, best_rate(rates)) for task, rates in tried.items() if lost_none(rates)]
    if not best:
        raise RefinementError(f"{path}: expected a finished log grid of learning rates, got none; {remedy}")
    return tuple(best)


def beyond_edges(path: Path) -> tuple[tuple[Arm, float], ...]:
    """For each tuned arm whose best rate is at the edge of those tried: that rate, times or over two.

    Raises RefinementError where the file holds no tuning, or all its best rates lie inside.
    """
    arms: dict[Arm, list[Result]] = defaultdict(list)
    for result in _of_one_network(path, "tune"):
        run = result.run
        if not run.steps or run.evaluate_on != "validation":
            raise RefinementError(
                f"{path}: expected a tuning, runs of so many updates judged on validation images, got "
                f"{printable(run.label)} of {run.epochs} epochs, judged on {run.evaluate_on} images; "
                "record one with --bsr-preset tune"
            )
        arms[Arm.of(run)].append(result)
    found: list[tuple[Arm, float]] = []
    for arm, results in arms.items():
        rates = by_rate(results)
        if contenders(rates) and at_edge(best := best_rate(rates), rates):
            beyond = best * 2 if best == max(rates) else best / 2
            found += [(arm, beyond)] if LEARNING_RATES[0] <= beyond <= LEARNING_RATES[1] else []
    if not found:
        got = "best rates inside the ones that were tried" if arms else "none"
        raise RefinementError(
            f"{path}: expected a tuning with a best rate at the edge, got {got}; nothing to extend"
        )
    return tuple(found)


def settings_tried(path: Path) -> tuple[tuple[Problem, Tried], ...]:
    """What the tuning of each problem has tried, in all files of a pattern. Raises RefinementError."""
    found = tried_settings(_results(path, "why-tune"))
    if not found:
        raise RefinementError(
            f"{path}: expected a tuning of settings, got none; record one with --bsr-preset why-tune"
        )
    return tuple(found.items())


def _results(path: Path, experiment: str) -> list[Result]:
    """Of an experiment, in a recording. Raises RefinementError where there is none."""
    try:
        session = read(path).session
    except RefusedError as refusal:
        raise RefinementError(str(refusal)) from refusal
    return [case.result for case in session.cases if experiment in case.cases]


def _of_one_network(path: Path, experiment: str) -> list[Result]:
    """The same, of one network alone. Raises RefinementError."""
    found = _results(path, experiment)
    if len(networks := {result.run.model for result in found}) > 1:
        raise RefinementError(
            f"{path}: expected rates of one network, got {', '.join(sorted(networks))}; record each apart"
        )
    return found
