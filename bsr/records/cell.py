"""The final figures of a cell, over its seeds: what a table on the terminal and a page say alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bsr.result import FINISHED, Result


@dataclass(frozen=True, slots=True)
class Cell:
    """The runs of one task at one batch size: they differ by seed alone."""

    task: str
    batch_size: int
    results: tuple[Result, ...]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Cell:
        """A cell of at least one result."""
        run = results[0].run
        return cls(run.task, run.batch_size, tuple(results))

    @property
    def finished(self) -> tuple[Result, ...]:
        """Runs with a final MSE, whatever their status."""
        return tuple(result for result in self.results if result.final_mse is not None)

    @property
    def finals(self) -> list[float]:
        """Final test MSE per run that has one; squared label units."""
        return [result.final_mse for result in self.results if result.final_mse is not None]

    @property
    def normalised(self) -> list[float]:
        """Final MSE over the best constant predictor's; empty on degenerate labels."""
        return [result.normalised_mse for result in self.results if result.normalised_mse is not None]

    @property
    def dead(self) -> int:
        """How many of the runs with a final MSE predict a constant."""
        return sum(result.status == "dead" and not result.degenerate for result in self.finished)

    @property
    def timed(self) -> list[Result]:
        """Runs with a final MSE whose GPU was neither throttled nor shared."""
        return [result for result in self.finished if not result.disturbed]

    @property
    def minima(self) -> list[float]:
        """Minimum over the trained epochs of each run that has a final MSE."""
        return [min(mse for mse in result.test_mse[1:] if mse is not None) for result in self.finished]

    def at_epoch(self, epoch: int) -> list[float]:
        """Test MSE after `epoch` epochs of every run that got there."""
        counted_in = (r for r in self.results if r.status in FINISHED and not r.exploded)
        found = (result.test_mse[epoch] for result in counted_in if len(result.test_mse) > epoch)
        return [mse for mse in found if mse is not None]

    def curve(self, measure: str = "test_mse") -> list[float]:
        """Mean over the runs with a final MSE per epoch; `test_mse`, `test_mae` or `training_loss`."""
        rows = [getattr(result, measure) for result in self.finished]
        rows = [row for row in rows if None not in row]
        return [fmean(column) for column in zip(*rows, strict=True)] if rows else []
