"""What options name and Python holds: tasks, networks and data sets, bsr's and a user's own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from bsr.data.raw_files import DataError
from bsr.experiments import Grid
from bsr.named import is_import_path, look_up
from bsr.run import LEARNING_RATES

if TYPE_CHECKING:
    from bsr.data.images import Images

ROTATED: Final = "Rotated"
"""The data set of bsr's own that has a target."""


def known(kind: str) -> Iterable[str]:
    """The names of bsr's own tasks, networks or data sets. Loads torch."""
    from bsr.data.images import DATASETS  # noqa: PLC0415
    from bsr.model import MODELS  # noqa: PLC0415
    from bsr.tasks import TASKS  # noqa: PLC0415

    tables: dict[str, Iterable[str]] = {"task": TASKS, "network": MODELS, "data set": DATASETS}
    return tables[kind]


def check_import(kind: str, name: str) -> None:
    """Raises NamedError where a user's own cannot be imported here."""
    if is_import_path(name):
        look_up(kind, name, {})


def targets(dataset: str | None) -> tuple[str, ...]:
    """Those that come with a data set, by name. Raises pytest.UsageError."""
    if dataset is None or not (is_import_path(dataset) or dataset == ROTATED):
        return ()
    return tuple(_loaded(dataset).targets)


def sized(grid: Grid, dataset: str | None) -> Grid:
    """The grid with as many images as a user's own data set has, no batch larger than that, and its targets.

    Raises pytest.UsageError.
    """
    if found := targets(dataset):
        grid = replace(grid, tasks=found)
    if dataset is None or not is_import_path(dataset):
        return grid
    images = _loaded(dataset)
    train_images = min(grid.train_images, len(images.train))
    sizes = tuple(size for size in grid.batch_sizes if size <= train_images)
    return replace(
        grid,
        part_images=len(images.train),
        train_images=train_images,
        test_images=min(grid.test_images, len(images.test)),
        validation_images=0 if images.validation is None else min(grid.test_images, len(images.validation)),
        batch_sizes=sizes or grid.batch_sizes[:1],
    )


def _loaded(dataset: str) -> Images:
    from bsr.data.images import load_images  # noqa: PLC0415 - loads torch

    try:
        return load_images(dataset)
    except DataError as error:
        raise pytest.UsageError(f"--bsr-dataset: {error}") from error


def rates_by_task(text: str, tasks: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """(task, rate) of `0.001`, for every task, or of `mean=0.001,std=0.002`. Raises ValueError: expected."""
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    named = [task.strip() for task, equals, _ in parts if equals]
    if len(parts) > 1 and len(named) < len(parts):
        raise ValueError("one rate, or TASK=RATE for each task, separated by commas")
    if unknown := [task for task in named if task not in tasks]:
        raise ValueError(f"a rate for some of the tasks {', '.join(tasks)}, not for {unknown[0]!r}")
    if len(set(named)) < len(named):
        raise ValueError("one rate per task")
    rates = [_rate(rate) for _, _, rate in parts]
    return tuple(zip(named or tasks, rates if named else rates * len(tasks), strict=True))


def _rate(text: str) -> float:
    low, high = LEARNING_RATES
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not low <= rate <= high:
        raise ValueError(f"rates from {low:g} to {high:g}, such as 0.001, or mean=0.001,std=0.002")
    return rate
