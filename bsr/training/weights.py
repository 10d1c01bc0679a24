"""Trained weights kept beside a Result: one safetensors file per Run and engine, which says what it is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from bsr.records import durable
from bsr.run import Execution, Run
from bsr.text import Refused


def weights_path(folder: str, run: Run, engine: str) -> Path:
    """Where the weights that an engine trained for a Run are kept: `KEY-native.safetensors`."""
    return Path(folder) / f"{run.key}-{engine}.safetensors"


def writer(run: Run, execution: Execution, kernel: str) -> Callable[[dict[str, Tensor]], None] | None:
    """Writes weights to where `execution` wants them kept; None where it does not.

    The file's header holds the fields of the Run, the engine with its kernel, and the session. Raises
    WeightsError.
    """
    folder = execution.save_models
    if folder is None:
        return None

    def write(weights: dict[str, Tensor]) -> None:
        from safetensors.torch import save  # noqa: PLC0415 - only where weights are kept

        about = asdict(run) | {"engine": execution.engine, "kernel": kernel, "session": execution.session}
        path = weights_path(folder, run, execution.engine)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.replace_file(path, save(weights, {name: str(value) for name, value in about.items()}))
        except OSError as error:
            raise WeightsError(f"{path}: expected to keep the weights there, got {error}") from error

    return write


class WeightsError(Refused):
    """The weights could not be kept; the message says where, and why."""
