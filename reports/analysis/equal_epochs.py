"""The second protocol's gap after the same images: fewer updates, and the batch size itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from bsr import stats
from reports.analysis.decomposition import NAMES, factor
from reports.analysis.square import RATES, Place, Rates, Square, square_of
from reports.cells import Cells

Part = Literal["whole", "updates", "batch size"]


class Factor(NamedTuple):
    """One of the error."""

    ratio: stats.Estimate
    lucky: stats.Estimate | None
    """With what other tuning seeds would have chosen; None where the recording lacks that."""


class Gap(NamedTuple):
    """A batch size against the smallest after as many images; the whole is the product of the other two."""

    large: Place
    small: Place
    """After as many images."""
    few: Place
    """The smallest batch after as few updates as the large one makes."""
    parts: Mapping[Part, Factor]


def gaps_of(data: Cells) -> dict[Rates, dict[int, Gap]]:
    """By how the rates were found, by batch size; empty where the largest one lacks it."""
    found = square_of(data)
    if len(found.parts) != 1 or found.of_little_data:
        return {}
    (images,) = found.parts
    smallest, *larger = found.sizes(images)
    small = Place(images, smallest, max(found.budgets_of(images, smallest)))
    each = {
        rates: {size: gap for size in larger if (gap := _gap(found, small, size, rates))} for rates in RATES
    }
    return {rates: gaps for rates, gaps in each.items() if gaps and max(gaps) == larger[-1]}


@lru_cache(maxsize=64)
def _gap(found: Square, small: Place, size: int, rates: Rates) -> Gap | None:
    """On the seeds that all three trainings have."""
    steps = -(-small.batch_size * small.steps // size)  # as the plan rounds ten epochs
    large, few = (small._replace(batch_size=one, steps=steps) for one in (size, small.batch_size))
    errors = {place: found.errors(place, rates) for place in (large, small, few)}
    seeds = sorted(set.intersection(*map(set, errors.values())))
    if len(seeds) < 2:
        return None
    logs = {place: np.array([one[seed] for seed in seeds]) for place, one in errors.items()}
    luck = {place: found.luck(place, rates) for place in errors}

    def over(one: Place, other: Place) -> Factor:
        difference = logs[one] - logs[other]
        both = luck[one], luck[other]
        lucky = None if both[0] is None or both[1] is None else stats.student(difference, both[0] - both[1])
        return Factor(stats.student(difference), lucky)

    parts: dict[Part, Factor] = {
        "whole": over(large, small),
        "updates": over(few, small),
        "batch size": over(large, few),
    }
    return Gap(large, small, few, parts)


def product(gap: Gap) -> str:
    """`x15 (13 to 17), that is fewer updates x20 (18 to 22) times the batch size itself x0.73 (...)`."""
    said = {name: factor(part.ratio) for name, part in gap.parts.items()}
    causes = (f"{NAMES[name]} {one}" for name, one in said.items() if name != "whole")
    return f"{said['whole']}, that is {' times '.join(causes)}"
