"""Where Runs are computed: in this process, in processes of this machine, or on a cluster.

Each is a `concurrent.futures.Executor`, and `compute` is what it is given. `capacity` says how many Runs a
session keeps submitted, so that no worker idles and memory does not grow with the study; `epochs` tells of
progress since it was last asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from torch import Tensor

from bsr import durable, engines, machine
from bsr.data import load_split
from bsr.experiment import Execution, Result, Run
from bsr.journal import as_plain

P = ParamSpec("P")
T = TypeVar("T")


class Computed(NamedTuple):
    """What comes back: the Result, and the fingerprint of the machine that it names."""

    result: Result
    environment: dict[str, Any]


def compute(run: Run, execution: Execution, observe: Callable[[int], None] = lambda _epoch: None) -> Computed:
    """Load the data, train, keep the weights if asked to. An exception is a Result with status `failed`.

    `observe` is called with the number of finished epochs.
    """
    environment = machine.fingerprint(execution)
    try:
        split = load_split(run, execution.data)
        result = engines.train(run, split, execution, observe, _keeper(run, execution.save_models))
    except Exception as error:  # noqa: BLE001 - whatever it is, the next Run goes on
        result = failed(run, execution, error)
    if result.status in {"failed", "out_of_memory"}:
        machine.release_memory()
    return Computed(replace(result, environment=environment["id"]), environment)


def failed(run: Run, execution: Execution, error: BaseException) -> Result:
    """The Result of a Run that an exception ended: its type and message, in one line."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return Result(run=run, status="failed", message=message, engine=execution.engine, device=execution.device)


def _keeper(run: Run, folder: str | None) -> Callable[[dict[str, Tensor]], None] | None:
    """Writes the trained weights to `folder/KEY.safetensors`, with the Run in the file's own header."""
    if folder is None:
        return None

    def keep(weights: dict[str, Tensor]) -> None:
        from safetensors.torch import save  # noqa: PLC0415 - only where weights are kept

        about = {name: str(value) for name, value in as_plain(run).items()}
        durable.replace_file(Path(folder) / f"{run.key}.safetensors", save(weights, about))

    return keep


class Here(Executor):
    """In this process: a submitted call is done when `submit` returns."""

    capacity = 1

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call at once. KeyboardInterrupt and SystemExit pass through; other exceptions lie in the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed on in the future
            future.set_exception(error)
        return future

    def epochs(self) -> Iterable[tuple[str, int]]:
        """Nothing: the training tells its observer itself."""
        return ()
