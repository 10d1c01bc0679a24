"""Where Runs are computed: in this process, in processes of this machine, or on a cluster.

Each is a `concurrent.futures.Executor` that also says how a session uses it: `compute(run, execution)` queues
a Run (a future that was cancelled means: queue it again), `capacity` is how many to keep queued (so
that no worker idles, and memory does not grow with the study), `workers` how many processes train now, 0
where it is this one, `epochs` tells of progress since it was last asked, and `news` what a person should
know; it raises BrokenExecutor where no more Results will come. What a future gives is for
bsr.compute.answers; `refuse(future, why)` says that it was not believed, and returns whether to ask again.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from bsr import engines
from bsr.data.images import load_images, load_split
from bsr.data.label_check import labels
from bsr.machine import device as machine
from bsr.model import check as check_network
from bsr.own.named import is_import_path
from bsr.result import Result, Trait
from bsr.run import Execution, Run
from bsr.text import Refused, printable, shortened
from bsr.text.strict_json import LONGEST_LINE, one_line, words
from bsr.training import loop as training
from bsr.training.loop import initial_model

P = ParamSpec("P")
T = TypeVar("T")
MOST_NOTES: Final = 5
"""Different warnings of one Run that are kept."""


FEW: Final = 8
"""Images on which tasks and networks are tried before the first Run."""


class UntrainableError(Refused):
    """A task, network or data set with which this machine can train nothing; the message is one line."""


def check_trainable(
    runs: Iterable[Run], folder: str | None = None, tell: Callable[[str], None] = lambda _what: None
) -> None:
    """Try every data set, task and network of `runs`. Raises UntrainableError.

    Networks on a few images, a user's own at the smallest batch of these Runs too; a user's own task on all.
    `tell` hears what is tried.
    """
    alike: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.dataset, run.task, run.model), []).append(run)
    for (dataset, task, model), those in alike.items():
        with _refused(f"data set {dataset!r}", tell):
            data = load_images(dataset, folder)
            images = data.train[:FEW]
            altered(dataset, folder)
        with _refused(f"task {task!r}", tell):
            if task not in data.targets:
                labels(images, task)
                if is_import_path(task):
                    load_split(those[0], folder)
        with _refused(f"network {model!r}", tell):
            check_network(model, images, [min(map(_smallest_batch, those))])
        if said := altered(dataset, folder):
            raise UntrainableError(said)


def _smallest_batch(run: Run) -> int:
    rest = 0 if run.steps else run.train_images % run.batch_size
    return rest or min(run.batch_size, run.train_images)


@contextmanager
def _refused(what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Whatever is raised within, SystemExit and its like too, becomes one line that says of what it is."""
    tell(what)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        said = words(error) if issubclass(type(error), (Refused, TypeError, ValueError)) else ""
        known = said.startswith(f"{what}:") or issubclass(type(error), Refused)
        raise UntrainableError(said if known else f"{what}: {one_line(error)}; mend it") from error


_PIXELS: Final[dict[tuple[str, str | None], str]] = {}
"""Data set and folder -> digest of pixels and targets in memory, as they first lay there."""


def altered(dataset: str, folder: str | None = None) -> str:
    """How a data set's pixels in this process are no longer as they were; empty where they are."""
    images = load_images(dataset, folder)
    digest = hashlib.sha256()
    parts = [part for part in (images.train, images.test, images.validation) if part is not None]
    for values in (*parts, *(each for target in images.targets.values() for each in target.values())):
        digest.update(values.numpy().data)
    found = digest.hexdigest()[:16]
    before = _PIXELS.setdefault((dataset, folder), found)
    if found == before:
        return ""
    return (
        f"data set {dataset!r}: expected its pixels as they were loaded, digest {before}, got {found}: they "
        "were changed in place; change a copy"
    )


def identities(runs: Iterable[Run], folder: str | None = None) -> dict[str, Trait]:
    """What results of `runs` would say of their labels and networks if they were trained here and now."""
    found: dict[str, Trait] = {}
    for result in untrained(runs, folder):
        found |= result.identity
    return found


def untrained(runs: Iterable[Run], folder: str | None = None) -> Iterator[Result]:
    """For each kind of Run a Result that says what it would be of here and now, its probe too."""
    for run in {replace(run.cell, batch_size=1, learning_rate=1.0): run for run in runs}.values():
        about = training.identity(run, load_split(run, folder), initial_model(run.seed, run.model)[0])
        yield Result(run=run, status="not_run", **about)


def check_unaltered() -> None:
    """Every data set's pixels in this process are as they were first seen. Raises UntrainableError."""
    for said in filter(None, (altered(*known) for known in _PIXELS)):
        raise UntrainableError(said)


class Computed(NamedTuple):
    """What comes back: the Result, and the fingerprint of the machine that it names."""

    result: Result
    environment: dict[str, Any]
    spent: str = ""
    """Why the process that trained it can train no more, in one line; empty where it can."""


def compute(
    run: Run, execution: Execution, on_epoch: Callable[[int], None] = lambda _epoch: None
) -> Computed:
    """Load the data and train. An exception is a Result with status `failed`.

    `on_epoch` is called with the number of finished epochs.
    """
    environment = machine.fingerprint(execution)
    warned: list[str] = []
    spent = ""
    try:
        with noted_warnings(warned):
            split = load_split(run, execution.data)
            own = any(map(is_import_path, (run.task, run.model, run.dataset)))
            spent = altered(run.dataset, execution.data) if own else ""
            result = engines.train(run, split, execution, on_epoch)
            spent = spent or (altered(run.dataset, execution.data) if own else "")
            if spent:
                result = replace(result, status="failed", message=spent)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, SystemExit too, the next Run goes on
        result = Result(
            run=run,
            status="failed",
            message=one_line(error),
            engine=execution.engine,
            device=execution.device,
        )
    if result.status in {"failed", "out_of_memory"}:
        machine.release_memory()
        spent = spent or spent_reason(execution)
    notes = (*result.notes, *warned)
    return Computed(replace(result, notes=notes, environment=environment["id"]), environment, spent)


def spent_reason(execution: Execution) -> str:
    """Why this process can train no more Runs so, in one line; empty where it can."""
    return machine.lost_reason(execution.device) or engines.spent_reason(execution.engine)


@contextmanager
def noted_warnings(notes: list[str]) -> Iterator[None]:
    """Warnings are noted, and nothing else: whoever made them errors did not mean a training's."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield
        finally:
            said = (f"{each.category.__name__}: {shortened(_message(each), LONGEST_LINE)}" for each in caught)
            notes += [printable(" ".join(line.split())) for line in dict.fromkeys(said)][:MOST_NOTES]


def _message(warned: warnings.WarningMessage) -> str:
    message = warned.message
    return words(message) if issubclass(type(message), Warning) else str.__str__(message)  # type: ignore[arg-type]


class InProcess(Executor):
    """In this process: a submitted call is done when `submit` returns."""

    capacity = 1
    workers = 0

    def __init__(self, on_epoch: Callable[[Run, int], None] = lambda _run, _epoch: None) -> None:
        """`on_epoch` is called with a Run and the number of its finished epochs."""
        self._on_epoch = on_epoch

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call at once. What ends a session passes through; other exceptions lie in the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed on in the future
            future.set_exception(error)
        return future

    def compute(self, run: Run, execution: Execution) -> Future[Computed]:
        """Train a Run."""
        self._on_epoch(run, 0)
        return self.submit(compute, run, execution, lambda epoch: self._on_epoch(run, epoch))

    def epochs(self) -> Iterable[tuple[str, int]]:
        """Nothing: the training tells its observer itself."""
        return ()

    def news(self) -> Iterable[str]:
        """Nothing."""
        return ()

    def refuse(self, _future: Future[Any], _why: str) -> bool:
        """There is no other process to ask."""
        return False
