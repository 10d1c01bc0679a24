"""Which of the learning rates that were tried is best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from bsr.result import Result

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
