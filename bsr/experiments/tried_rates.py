"""Which of the learning rates that were tried is best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from bsr.experiments.rates import Arm, TunedRate
from bsr.result import Result
from bsr.run import LEARNING_RATES

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


def lost_none(rates: Rates) -> dict[float, Sequence[Result]]:
    """The rates of which every run has a final MSE."""
    return {rate: runs for rate, runs in rates.items() if all(r.final_mse is not None for r in runs)}


def contenders(rates: Rates) -> dict[float, list[float]]:
    """The finals among which the best rate is sought: of rates that lost no run, where there are any."""
    return rate_finals(lost_none(rates) or rates)


def centre(values: Sequence[float]) -> float:
    """Geometric mean; arithmetic where a value is zero, as only the errors of a degenerate task are."""
    return math.exp(fmean(map(math.log, values))) if min(values) > 0 else fmean(values)


def best_rate(rates: Rates) -> float:
    """The rate with the lowest centre among the contenders: whoever asks for the best rate asks here.

    Where no error is zero that is the lowest level of bsr.stats.best, which says what ties with it.
    """
    values = contenders(rates)
    return min(values, key=lambda rate: centre(values[rate]))


def at_edge(rate: float, rates: Rates) -> bool:
    """Whether nothing beyond a rate was tried."""
    return rate in {min(rates), max(rates)}


def by_arm(results: Iterable[Result]) -> dict[Arm, Rates]:
    """A tuning's results by arm and rate, of arms that have an error; by arm, rising."""
    found: dict[Arm, list[Result]] = defaultdict(list)
    for result in results:
        found[Arm.of(result.run)].append(result)
    rates = {arm: by_rate(alike) for arm, alike in sorted(found.items())}
    return {arm: row for arm, row in rates.items() if contenders(row)}


def tuned_rates(results: Iterable[Result]) -> Iterator[TunedRate]:
    """The best rate of each arm of a tuning."""
    for arm, rates in by_arm(results).items():
        best = best_rate(rates)
        finals = contenders(rates)[best]
        yield TunedRate(
            task=arm.task,
            batch_size=arm.batch_size,
            steps=arm.steps,
            schedule=arm.schedule,
            learning_rate=best,
            validation_mse=centre(finals),
            seeds=len(finals),
            at_edge=at_edge(best, rates),
        )


def beyond_edge(results: Iterable[Result]) -> Iterator[tuple[Arm, float]]:
    """Each arm whose best rate is at the edge of those tried, and the rate one step of the grid beyond.

    The step is the factor to the next rate that was tried, two where there is none.
    """
    for arm, rates in by_arm(results).items():
        best = best_rate(rates)
        if at_edge(best, rates):
            step = _step(list(rates))
            beyond = best * step if best == max(rates) else best / step
            if LEARNING_RATES[0] <= beyond <= LEARNING_RATES[1]:
                yield arm, beyond


def _step(tried: Sequence[float]) -> float:
    """The smallest factor between neighbours of rising rates; two of a single one."""
    return min((b / a for a, b in pairwise(tried)), default=2.0)
