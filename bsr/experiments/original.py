"""The experiments of the study itself, at its own rates, in its own epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Final, Literal

from bsr.experiments.grid import STUDY_TASKS, Grid
from bsr.experiments.rates import DEFAULT_LEARNING_RATE, TUNED_FOR_A_TARGET, TUNED_LEARNING_RATE
from bsr.run import STUDY_MODEL, Run

VARIED_BY_THE_STUDY: Final = frozenset(
    ("task", "batch_size", "seed", "learning_rate", "epochs", "optimiser", "loss")
)
"""Fields of a Run; in all others its Runs have the default."""
TUNING_BATCH_SIZE: Final = 32
LOG_GRID: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The learning rates that the study tried first."""
BELOW_THE_LOG_GRID: Final = (1e-9, 1e-8, 1e-7)
REFINEMENT: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
"""Its second look, as multiples of the best rate of the first."""
REFINED: Final = "learning-rate"
"""The experiment that takes a second look."""
REFINED_AROUND: Final = {"mean": 0.001, "std": 0.001, "var": 0.001, "median": 0.1}
"""The rates around which it looked again."""


def batch_size(grid: Grid) -> Iterator[Run]:
    """Every task at every batch size: convergence, time, sensitivity and spread."""
    for task in grid.tasks:
        for size in grid.batch_sizes:
            yield from grid.cell(task, size)


def std_at_001(grid: Grid) -> Iterator[Run]:
    """The std task at rate 0.01, the one behind the study's "difference of 1300": of no other task."""
    if "std" in grid.tasks:
        for size in grid.batch_sizes:
            for run in grid.cell("std", size):
                yield replace(run, learning_rate=0.01)


def learning_rate(grid: Grid) -> Iterator[Run]:
    """Per task at batch size 32: the log grid and the study's second look, or a second look of one's own.

    The study compared them on test images; on validation images it can be asked for.
    """
    for task in grid.tasks:
        first = () if grid.refine_around else LOG_GRID
        for rate in sorted({*first, *second_look(grid, task)}):
            for run in grid.cell(task, TUNING_BATCH_SIZE):
                tried = replace(run, learning_rate=rate)
                yield grid.validated(tried) if grid.evaluate_on == "validation" else tried


def second_look(grid: Grid, task: str) -> frozenset[float]:
    """The rates round the best one of the log grid: the study's, or of a log grid of one's own."""
    around = dict(grid.refine_around) or {task: REFINED_AROUND.get(task, DEFAULT_LEARNING_RATE)}
    return frozenset(float(f"{around[task] * factor:.6g}") for factor in REFINEMENT if task in around)


def optimiser(grid: Grid) -> Iterator[Run]:
    """Adam and SGD without momentum over the log grid at batch size 32: of the study's tasks on the mean.

    SGD's best rate is the lowest of that grid, so three lower ones are tried too: the study did not.
    """
    rates: dict[Literal["adam", "sgd"], tuple[float, ...]] = {
        "adam": LOG_GRID,
        "sgd": (*BELOW_THE_LOG_GRID, *LOG_GRID),
    }
    for task in _asked_of(grid, "mean"):
        for name, tried in rates.items():
            for rate in tried:
                for run in grid.cell(task, TUNING_BATCH_SIZE):
                    yield replace(run, optimiser=name, learning_rate=rate)


def loss(grid: Grid) -> Iterator[Run]:
    """Training on MSE and on MAE at batch size 32; both are evaluated on both measures."""
    losses: tuple[Literal["mse", "mae"], ...] = ("mse", "mae")
    for task in _asked_of(grid, "mean", "std", "var"):
        for name in losses:
            for run in grid.cell(task, TUNING_BATCH_SIZE):
                yield replace(run, loss=name)


def longer(grid: Grid) -> Iterator[Run]:
    """Three times the epochs for the non-degenerate tasks at a small, a middle and a large batch."""
    for task in _asked_of(grid, "mean", "std", "var"):
        for size in (16, 128, 1024):
            if size in grid.batch_sizes:
                for run in grid.cell(task, size):
                    yield replace(run, epochs=3 * grid.epochs)


def _asked_of(grid: Grid, *studied: str) -> list[str]:
    """Of the study's tasks those that it asked; every target and task of a user's own."""
    own = [task for task in grid.tasks if task not in STUDY_TASKS]
    return [task for task in studied if task in grid.tasks] + own


def untuned(run: Run) -> str:
    """For what the study's rate of this Run was never tuned: `std on FashionMNIST`; empty where it was."""
    on = f" on {run.dataset}" if run.dataset != "MNIST" else ""
    network = f" with the network {run.model}" if run.model != STUDY_MODEL else ""
    tuned = (run.dataset, run.task) in {
        *TUNED_FOR_A_TARGET,
        *(("MNIST", task) for task in TUNED_LEARNING_RATE),
    }
    return "" if tuned and not network else f"{run.task}{on}{network}"


def follows_the_study(run: Run) -> bool:
    """Whether a Run is one of the study's but for what the study itself varied."""
    return all(
        getattr(run, field.name) == field.default
        for field in fields(run)
        if field.name not in VARIED_BY_THE_STUDY
    )
