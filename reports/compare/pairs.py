"""Two series over the cells that both have: how much faster, and whether the error is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bsr import stats
from bsr.result import Result
from bsr.run import Run
from reports.compare.series import RunsByCell, Series, epoch_seconds, speaking_of_speed
from reports.text import counted, listed

Sides = tuple[RunsByCell, RunsByCell]
MOST_EPOCHS: Final = 200
"""Epochs of a run that a bootstrap resamples; of a longer run, as many evenly chosen."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Ratios are second over first; a speed-up says how many times as fast the second is."""

    first: Series
    second: Series
    experiment: str
    margin: float

    @cached_property
    def _sides(self) -> Sides:
        """Without what both hold bit for bit: a copy of a measurement is no second one."""
        sides = self.first.cells(self.experiment), self.second.cells(self.experiment)
        return tuple(_without(side, self.copies) for side in sides)  # type: ignore[return-value]

    @cached_property
    def _timed(self) -> Sides:
        """The same cells with the runs that speak of speed; some may have none."""
        series = (self.first, self.second)
        return tuple(  # type: ignore[return-value]
            speaking_of_speed(one.data, side) for one, side in zip(series, self._sides, strict=True)
        )

    @cached_property
    def _speed_ups(self) -> dict[tuple[Run, ...], stats.Estimate | None]:
        return {}

    @cached_property
    def copies(self) -> frozenset[str]:
        """Keys of the Runs whose Results, times and all, are the same on both sides."""
        if self.within_one_file:
            return frozenset()
        first, second = (
            {key: result for runs in side.cells(self.experiment).values() for key, result in runs.items()}
            for side in (self.first, self.second)
        )
        return frozenset(
            key for key, result in first.items() if result.finished_at and second.get(key) == result
        )

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of the cells that both have; degenerate ones last."""
        found = {cell.task for cell in self._sides[0] if cell in self._sides[1]}
        order = {task: place for place, task in enumerate(self.first.data.tasks)}
        return tuple(sorted(found, key=lambda task: (task in self.degenerate, order[task])))

    @cached_property
    def degenerate(self) -> frozenset[str]:
        """Tasks whose labels do not vary, so that their error says nothing about learning."""
        return self.first.data.degenerate | self.second.data.degenerate

    @cached_property
    def cells(self) -> tuple[Run, ...]:
        """Cells that both have, by task and rising batch size."""
        shared = [cell for cell in self._sides[0] if cell in self._sides[1]]
        return tuple(sorted(shared, key=lambda c: (self.tasks.index(c.task), c.batch_size, c.learning_rate)))

    @cached_property
    def learnable(self) -> tuple[Run, ...]:
        """Cells that both have, of tasks that have something to learn."""
        return tuple(cell for cell in self.cells if cell.task not in self.degenerate)

    @cached_property
    def error(self) -> stats.Agreement:
        """The final MSE, pooled over every learnable cell."""
        return self.errors(self.learnable)

    @cached_property
    def time(self) -> stats.Agreement:
        """Training seconds per epoch, pooled over every cell; one value per run, the median of its epochs."""
        return self._compared(self._timed, self.cells, epoch_seconds)

    def errors(self, cells: Iterable[Run]) -> stats.Agreement:
        """The final MSE, pooled over some cells."""
        return self._compared(self._sides, cells, final_error)

    def _compared(
        self, sides: Sides, cells: Iterable[Run], measure: Callable[[Result], list[float]]
    ) -> stats.Agreement:
        chosen = list(cells)
        first, second = (_measured(side, chosen, measure) for side in sides)
        return stats.agreement(first, second, self.margin)

    def finals(self, cells: Iterable[Run]) -> tuple[list[float], list[float]]:
        """Final MSE per run of either side."""
        return self._values(self._sides, cells, final_error)

    def seconds(self, cells: Iterable[Run]) -> tuple[list[float], list[float]]:
        """Training seconds per epoch of either side, the median of each run."""
        return self._values(self._timed, cells, epoch_seconds)

    def _values(
        self, sides: Sides, cells: Iterable[Run], measure: Callable[[Result], list[float]]
    ) -> tuple[list[float], list[float]]:
        chosen = list(cells)
        first, second = (
            [value for cell in chosen for result in side[cell].values() for value in measure(result)]
            for side in sides
        )
        return first, second

    def speed_up(self, cells: Iterable[Run]) -> stats.Estimate | None:
        """How many times as fast the second trains, with a bootstrap interval over runs and epochs."""
        chosen = tuple(cells)
        if chosen not in self._speed_ups:  # a bootstrap, and tables, figures and verdicts ask for the same
            first, second = (
                [_epochs(result) for cell in chosen for result in side[cell].values()] for side in self._timed
            )
            self._speed_ups[chosen] = stats.speed_up(first, second)
        return self._speed_ups[chosen]

    def at(self, batch_size: int) -> list[Run]:
        """Cells of one batch size."""
        return [cell for cell in self.cells if cell.batch_size == batch_size]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Batch sizes that both have, rising."""
        return tuple(sorted({cell.batch_size for cell in self.cells}))

    @property
    def within_one_file(self) -> bool:
        """Whether both series stand in the same recording."""
        return self.first.data is self.second.data

    @property
    def across(self) -> tuple[str, ...]:
        """What of the way of computing differs: `engines (native against eager)`. A ratio must say so."""
        a, b = self.first.timing, self.second.timing
        unlike = {
            "engines": (b.engine or "unnamed", a.engine or "unnamed"),
            "kernels": (b.kernel or "unrecorded", a.kernel or "unrecorded")
            if a.engine == b.engine
            else ("", ""),
            "thread counts": (b.threads, a.threads),
            "timing modes": (b.mode, a.mode),
        }
        return tuple(f"{what} ({mine} against {its})" for what, (mine, its) in unlike.items() if mine != its)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What only one side has, what has no final MSE, and what is in no verdict on the error."""
        said = [*self._missing_cells(), *self._missing_seeds(), *self.unfinished]
        if self.copies:
            runs = counted(len(self.copies), "run")
            said.append(f"{runs} that both files hold bit for bit, times too: one measurement, not two")
        degenerate = [task for task in self.tasks if task in self.degenerate]
        if degenerate:
            said.append(f"{listed(degenerate)}, whose labels are all the same, in no verdict on the error")
        if zero := [cell for cell in self.learnable if not all(map(all, self.finals([cell])))]:
            said.append(f"{described(zero)}, where an error of 0 has no ratio")
        return tuple(said)

    def _missing_cells(self) -> list[str]:
        a, b = self._sides
        said = (
            (self.first, [cell for cell in a if cell not in b]),
            (self.second, [c for c in b if c not in a]),
        )
        return [f"{described(cells)}, which only {one.label} has" for one, cells in said if cells]

    def _missing_seeds(self) -> list[str]:
        """Seeds of one side, in cells that are compared by the seeds that both have."""
        counts = [0, 0]
        for cell in self.cells:
            keys = [set(side[cell]) for side in self._sides]
            if len(keys[0] & keys[1]) >= 2:
                counts[0] += len(keys[0] - keys[1])
                counts[1] += len(keys[1] - keys[0])
        said = zip((self.first, self.second), counts, strict=True)
        return [f"{counted(n, 'run')} whose seeds only {one.label} has" for one, n in said if n]

    @property
    def disturbed(self) -> list[str]:
        """Runs whose times are left out."""
        said = []
        for one, side, timed in zip((self.first, self.second), self._sides, self._timed, strict=True):
            if count := sum(len(side[cell]) - len(timed[cell]) for cell in self.cells):
                runs = counted(count, "run")
                said.append(f"{runs} of {one.label} left out, timed while the GPU was throttled or shared")
        return said

    @property
    def unfinished(self) -> list[str]:
        """Runs that have no final MSE, of either side, and how they ended."""
        said = []
        for series in (self.first, self.second):
            mine = {case.key for case in series.cases}
            statuses = Counter(
                case.result.status.replace("_", " ")
                for case in series.data.session.cases
                if self.experiment in case.cases and case.result.final_mse is None
                if case.key in mine or not case.result.training_seconds
            )
            if statuses:
                what = listed(f"{count} {status}" for status, count in sorted(statuses.items()))
                runs = counted(statuses.total(), "run")
                said.append(f"{runs} of {series.label} without a final MSE ({what})")
        return said


def _without(side: RunsByCell, keys: Collection[str]) -> RunsByCell:
    kept = {
        cell: {key: result for key, result in runs.items() if key not in keys} for cell, runs in side.items()
    }
    return {cell: runs for cell, runs in kept.items() if runs}


def final_error(result: Result) -> list[float]:
    """A run's final test MSE as a list of one; empty if it has none."""
    return [] if result.final_mse is None else [result.final_mse]


def _measured(
    side: RunsByCell, cells: Iterable[Run], measure: Callable[[Result], list[float]]
) -> dict[Run, dict[str, float]]:
    return {
        cell: {key: value for key, result in side[cell].items() for value in measure(result)}
        for cell in cells
    }


def _epochs(result: Result) -> list[float]:
    seconds = [value for value in result.training_seconds if value > 0]
    return seconds[:: -(-len(seconds) // MOST_EPOCHS) or 1]


def described(cells: Collection[Run]) -> str:
    """`mean and std at batch size 16 and 32, var at 64`."""
    sizes: dict[str, list[int]] = {}
    for cell in sorted(cells, key=lambda cell: cell.batch_size):
        sizes.setdefault(cell.task, []).append(cell.batch_size)
    tasks: dict[tuple[int, ...], list[str]] = {}
    for task, found in sizes.items():
        tasks.setdefault(tuple(dict.fromkeys(found)), []).append(task)
    return "; ".join(f"{listed(names)} at batch size {listed(at)}" for at, names in tasks.items())
