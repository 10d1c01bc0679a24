"""Measured beside published: which cells may be compared, and how they compare, at the same epoch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from bsr import published
from bsr.experiments.original import follows_the_study
from reports.cells import Cells


@dataclass(frozen=True, slots=True)
class Beside:
    """One cell as measured and as published, after the same epoch; squared label units."""

    published: published.PublishedSpread
    measured: tuple[float, ...]
    """One test MSE per seed."""

    @property
    def mean(self) -> float:
        """Mean over the measured seeds."""
        return fmean(self.measured)

    @property
    def ratio(self) -> float | None:
        """Measured mean over published mean; None where the published one is 0."""
        return self.mean / self.published.mean_mse if self.published.mean_mse else None

    @property
    def overlap(self) -> bool:
        """Whether the ranges from minimum to maximum have a value in common."""
        return self.published.overlaps(min(self.measured), max(self.measured))


def provenance(source: published.Provenance) -> str:
    """Where published numbers stand, which runs they are of, and what may be compared with them."""
    return f"published ({source.figure} of the study): {source.runs}. Compare {source.compare}."


@lru_cache(maxsize=8)
def comparable(data: Cells) -> bool:
    """Whether what was trained for epochs, not updates, was trained on what the published numbers were."""
    runs = [result.run for result in data.all_results if result.run.model == data.shown and result.run.epochs]
    return bool(runs) and all(map(follows_the_study, runs))


def beside(data: Cells, task: str) -> list[Beside]:
    """Every cell of a task that was both measured and published, at the published epoch and rate."""
    if not comparable(data):
        return []
    stated = {cell.batch_size: cell for cell in published.final_mse() if cell.task == task}
    found = []
    for cell in data.cells(task):
        known = stated.get(cell.batch_size)
        if known and cell.results[0].run.learning_rate == known.learning_rate:
            measured = tuple(cell.at_epoch(known.epoch))
            found += [Beside(known, measured)] if measured else []
    return found
