"""Where a second look at learning rates begins: what --bsr-refine takes from a recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from bsr.experiments.original import LOG_GRID, REFINED, TUNING_BATCH_SIZE
from bsr.experiments.rates import Arm, TunedRate
from bsr.experiments.settings import Problem
from bsr.experiments.tried_rates import best_rate, beyond_edge, by_rate, lost_none, tuned_rates
from bsr.experiments.tuning import Tried, tried_settings
from bsr.records import durable
from bsr.records.reading import RefusedError, read
from bsr.result import Result
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
    """For each tuned arm whose best rate is at the edge of those tried: a rate one step beyond.

    Raises RefinementError where the file holds no tuning, or all its best rates lie inside.
    """
    results = _tuning(path)
    found = tuple(beyond_edge(results))
    if not found:
        got = "best rates inside the ones that were tried" if results else "none"
        raise RefinementError(
            f"{path}: expected a tuning with a best rate at the edge, got {got}; nothing to extend"
        )
    return found


def tuned_in(paths: Iterable[Path]) -> tuple[TunedRate, ...]:
    """The best rate of every arm that recordings of a tuning hold together. Raises RefinementError."""
    results = [result for path in paths for result in _tuning(path)]
    if not results:
        raise RefinementError("expected recordings of the experiment tune, got none of its runs; name others")
    return tuple(tuned_rates(results))


def _tuning(path: Path) -> list[Result]:
    """Its results, of so many updates and judged on validation images. Raises RefinementError."""
    results = _of_one_network(path, "tune")
    for run in (result.run for result in results):
        if not run.steps or run.evaluate_on != "validation":
            raise RefinementError(
                f"{path}: expected a tuning, runs of so many updates judged on validation images, got "
                f"{printable(run.label)} of {run.epochs} epochs, judged on {run.evaluate_on} images; "
                "record one with --bsr-preset tune"
            )
    return results


def settings_tried(path: Path, own: Iterable[Path] = ()) -> tuple[tuple[Problem, Tried], ...]:
    """What the tuning of each problem has tried, in all files of a pattern but a session's own.

    A look that was interrupted plans the same when it goes on. Raises RefinementError.
    """
    found = tried_settings(_results(path, "why-tune", own))
    if not found:
        raise RefinementError(
            f"{path}: expected a tuning of settings, got none; record one with --bsr-preset why-tune"
        )
    return tuple(found.items())


def _results(path: Path, experiment: str, own: Iterable[Path] = ()) -> list[Result]:
    """Of an experiment, in a recording. Raises RefinementError where there is none.

    Its files may be of several machines: what is chosen rests on errors, not on times.
    """
    try:
        session = read(path, several_machines=True, without=own).session
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
