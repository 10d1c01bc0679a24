"""Where Runs are computed: in this process, in processes of this machine, or on a cluster.

Each is a `concurrent.futures.Executor` that also says how a session uses it: `compute(run, execution)` queues
a Run (a future that is cancelled asks for it to be queued again), `capacity` is how many to keep queued (so
that no worker idles, and memory does not grow with the study), `workers` how many processes train now, 0
where it is this one, `epochs` tells of progress since it was last asked, and `news` what a person should
know; it raises BrokenExecutor where no more Results will come. What a future gives is for
bsr.compute.answers; `refuse(future, why)` says that it was not believed, and returns whether to ask again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from bsr import engines
from bsr.data.images import load_images, load_split
from bsr.data.labels import labels
from bsr.machine import device as machine
from bsr.model import check as check_network
from bsr.result import Result
from bsr.run import Execution, Run
from bsr.strict_json import LONGEST_LINE, one_line
from bsr.text import Refused, printable, shortened
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


def check_trainable(runs: Iterable[Run], folder: str | None = None) -> None:
    """Try every task and network of `runs` on a few images of their data set. Raises UntrainableError."""
    for dataset, task, model in dict.fromkeys((run.dataset, run.task, run.model) for run in runs):
        try:
            data = load_images(dataset, folder)
            images = data.train[:FEW]
            if task not in data.targets:
                labels(images, task)
            check_network(model, images)
        except Refused as error:
            raise UntrainableError(str(error)) from error
        except Exception as error:
            said = str(error) if str(error).startswith("task ") else f"task {task!r}: {one_line(error)}"
            raise UntrainableError(said) from error


def identities(runs: Iterable[Run], folder: str | None = None) -> dict[str, str]:
    """What results of `runs` would say of their labels and networks if they were trained here and now."""
    found: dict[str, str] = {}
    for run in {replace(run.cell, batch_size=1, learning_rate=1.0): run for run in runs}.values():
        about = training.identity(run, load_split(run, folder), initial_model(run.seed, run.model)[0])
        found |= Result(run=run, status="not_run", **about).identity
    return found


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
    try:
        with noted_warnings(warned):
            split = load_split(run, execution.data)
            result = engines.train(run, split, execution, on_epoch)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the next Run goes on
        result = Result(
            run=run,
            status="failed",
            message=one_line(error),
            engine=execution.engine,
            device=execution.device,
        )
    spent = ""
    if result.status in {"failed", "out_of_memory"}:
        machine.release_memory()
        spent = spent_reason(execution)
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
            said = (
                f"{each.category.__name__}: {shortened(str(each.message), LONGEST_LINE)}" for each in caught
            )
            notes += [printable(" ".join(line.split())) for line in dict.fromkeys(said)][:MOST_NOTES]


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
