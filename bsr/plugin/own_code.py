"""What options name and Python holds: tasks, networks and data sets, bsr's and a user's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from bsr.data.raw_files import DataError
from bsr.experiments import Grid
from bsr.own.named import is_import_path, look_up
from bsr.plugin.signals import SIGNALS
from bsr.run import LEARNING_RATES

if TYPE_CHECKING:
    from bsr.data.images import Images

ROTATED: Final = "Rotated"
"""The data set of bsr's own that has a target."""
KINDS: Final = {"dataset": "data set", "tasks": "task", "models": "network"}
"""Option -> of what it gives names, that may be a user's own."""
PATIENT_SECONDS: Final = 5.0
"""How long a session may be silent."""


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


def try_apart(named: Mapping[str, Iterable[str]]) -> None:
    """Import a user's own, by option, and call a data set, in a process of its own before this one does.

    Raises pytest.UsageError.
    """
    for option, names in named.items():
        if own := [name for name in names if is_import_path(name)]:
            called(f"--bsr-{option}: ", _imported_and_loaded, KINDS[option], own)


def _imported_and_loaded(kind: str, own: list[str], tell: Callable[[str], None]) -> None:
    from bsr.data.images import load_images  # noqa: PLC0415 - loads torch

    for name in own:
        tell(f"{kind} {name!r}")
        check_import(kind, name)
        if kind == "data set":
            load_images(name)


def called(what: str, call: Callable[..., Any], *arguments: object) -> None:
    """Call what calls a user's own, apart; a line says so where that takes long.

    Raises pytest.UsageError, whose message begins with `what`.
    """
    from bsr.compute.apart import ApartError, apart  # noqa: PLC0415

    line = _PatientLine()
    SIGNALS.take_over()
    try:
        apart(call, *arguments, waiting=line.waiting)
    except ApartError as error:
        raise pytest.UsageError(f"{what}{error}") from error
    finally:
        SIGNALS.give_back()


class _PatientLine:
    """Says what is waited for: after some seconds, then each time that has doubled."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def waiting(self, what: str, seconds: float) -> None:
        """A line on stderr, which the terminal has before there is a reporter."""
        if seconds >= self._next.get(what, PATIENT_SECONDS):
            self._next[what] = 2 * seconds
            said = f"bsr: still calling {what}, {seconds:.0f} s so far; Ctrl-C ends it"
            print(said, file=sys.stderr, flush=True)


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
