"""Where Runs are computed: in this process, in processes of this machine, or on a cluster.

Each is a `concurrent.futures.Executor`, and `compute` is what it is given. `capacity` says how many Runs a
session keeps submitted, so that no worker idles and memory does not grow with the study.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bsr import engines, machine
from bsr.data import load_split
from bsr.experiment import Execution, Result, Run
from bsr.journal import Header

P = ParamSpec("P")
T = TypeVar("T")


def compute(run: Run, execution: Execution, observe: Callable[[int], None] = lambda _epoch: None) -> Result:
    """Load the data, train, keep the weights if asked to. An exception is a Result with status `failed`."""
    environment = machine.fingerprint(execution)["id"]
    try:
        split = load_split(run, execution.data)
        result = engines.train(run, split, execution, observe, _keeper(run, execution.save_models))
    except Exception as error:  # noqa: BLE001 - whatever it is, the next Run goes on
        message = " ".join(f"{type(error).__name__}: {error}".split())
        result = Result(run=run, status="failed", message=message, engine=execution.engine, device=execution.device)
    if result.status in {"failed", "out_of_memory"}:
        machine.release_memory()
    return replace(result, environment=environment)


def _keeper(run: Run, folder: str | None) -> Callable[[dict[str, Any]], None] | None:
    """Writes the trained weights to `folder/KEY.safetensors`, with the Run in the file's own header."""
    if folder is None:
        return None

    def keep(weights: dict[str, Any]) -> None:
        from safetensors.torch import save  # noqa: PLC0415 - only where weights are kept

        from bsr import durable  # noqa: PLC0415
        from bsr.journal import as_plain  # noqa: PLC0415

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


def open_executor(header: Header, watcher: Any) -> tuple[Any, Callable[[Run, Execution], Result]]:  # noqa: ANN401
    """The executor that a session asked for, and what to submit to it."""

    def observed(run: Run, execution: Execution) -> Result:
        return compute(run, execution, lambda epoch: watcher.epoch(run, epoch))

    return Here(), observed
