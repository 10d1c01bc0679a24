"""Where Runs are computed: in this process, in processes of this machine, or on a cluster.

Each is a `concurrent.futures.Executor` that also says how a session uses it: `compute(run, execution)` queues
a Run, `capacity` is how many to keep queued (so that no worker idles, and memory does not grow with the
study), and `epochs` tells of progress since it was last asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from torch import Tensor

from bsr import durable, engines, machine
from bsr.data import load_split
from bsr.run import Execution, Result, Run
from bsr.strict_json import one_line

P = ParamSpec("P")
T = TypeVar("T")


class Computed(NamedTuple):
    """What comes back: the Result, and the fingerprint of the machine that it names."""

    result: Result
    environment: dict[str, Any]


def compute(
    run: Run, execution: Execution, on_epoch: Callable[[int], None] = lambda _epoch: None
) -> Computed:
    """Load the data, train, keep the weights if asked to. An exception is a Result with status `failed`.

    `on_epoch` is called with the number of finished epochs.
    """
    environment = machine.fingerprint(execution)
    try:
        split = load_split(run, execution.data)
        result = engines.train(run, split, execution, on_epoch, _weights_writer(run, execution.save_models))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the next Run goes on
        result = Result(
            run=run,
            status="failed",
            message=one_line(error),
            engine=execution.engine,
            device=execution.device,
        )
    if result.status in {"failed", "out_of_memory"}:
        machine.release_memory()
    return Computed(replace(result, environment=environment["id"]), environment)


def weights_path(folder: str, run: Run) -> Path:
    """Where a Run's trained weights are kept."""
    return Path(folder) / f"{run.key}.safetensors"


def _weights_writer(run: Run, folder: str | None) -> Callable[[dict[str, Tensor]], None] | None:
    """Writes the trained weights, with the Run in the file's own header."""
    if folder is None:
        return None

    def on_weights(weights: dict[str, Tensor]) -> None:
        from safetensors.torch import save  # noqa: PLC0415 - only where weights are kept

        about = {name: str(value) for name, value in asdict(run).items()}
        durable.replace_file(weights_path(folder, run), save(weights, about))

    return on_weights


class InProcess(Executor):
    """In this process: a submitted call is done when `submit` returns."""

    capacity = 1

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
