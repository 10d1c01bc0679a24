"""A recording: what a session measured, typed, and as tidy tables for one's own analysis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bsr.records.schema import Case, SessionRecord
from bsr.result import Result

if TYPE_CHECKING:
    import pandas as pd

OF_A_RUN: Final = (
    "status",
    "message",
    "final_mse",
    "normalised_mse",
    "final_training_mse",
    "final_validation_mse",
    "baseline_mse",
    "degenerate",
    "prediction_spread",
    "total_training_seconds",
    "images_per_second",
    "wall_seconds",
    "steps",
    "diverged_at_step",
    "engine",
    "device",
    "threads",
    "timing",
    "disturbed",
    "environment",
    "finished_at",
)
"""Of Result, the columns of `Recording.runs` behind those of its Run."""
OF_AN_EPOCH: Final = (
    "test_mse",
    "test_mae",
    "training_loss",
    "training_seconds",
    "device_seconds",
    "evaluation_seconds",
)
"""Of Result, the columns of `Recording.epochs`."""
FROM_EPOCH_1: Final = frozenset({"training_loss", "training_seconds", "device_seconds"})
"""The others also have a value before training, at epoch 0."""
UP_TO_THE_LAST: Final = ("training_mse", "validation_mse")
"""Of Result, more columns of `Recording.epochs`: of every evaluation, of the last alone, or of none."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One benchmark JSON or journal as read; see bsr.records.schema for what a session holds."""

    path: Path
    session: SessionRecord
    machine: dict[str, Any] = field(default_factory=dict)
    """machine_info of pytest-benchmark, without its `bsr` part."""
    commit: dict[str, Any] = field(default_factory=dict)
    pytest_benchmark: str = ""
    """Version of pytest-benchmark that wrote it."""
    notes: tuple[str, ...] = ()
    """What of the file was left out, a line each."""

    @property
    def results(self) -> tuple[Result, ...]:
        """One Result per planned Run, whatever became of it."""
        return tuple(case.result for case in self.session.cases)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per planned Run: its fields, what came out, and the `experiments` it belongs to.

        Label units (MSE: squared) and seconds; missing where a Run has no such value. Needs pandas.
        """
        return _frame([_identity(case) | _outcome(case.result) for case in self.session.cases])

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per Run and epoch, from epoch 0 before training: the Run's fields and what was measured.

        Needs pandas.
        """
        rows = [_identity(case) | row for case in self.session.cases for row in _epochs(case.result)]
        return _frame(rows)


def _identity(case: Case) -> dict[str, Any]:
    run = case.result.run
    return {"key": case.key, **asdict(run), "experiments": ",".join(case.cases)}


def _outcome(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in OF_A_RUN}


def _epochs(result: Result) -> Iterator[dict[str, Any]]:
    columns = [((None,) if name in FROM_EPOCH_1 else ()) + getattr(result, name) for name in OF_AN_EPOCH]
    others = [getattr(result, name) for name in UP_TO_THE_LAST]
    columns += [(None,) * (len(result.test_mse) - len(errors)) + errors for errors in others]
    moments = (0, *result.run.evaluation_steps)
    for epoch, row in enumerate(zip_longest(*columns)):
        if any(value is not None for value in row):
            yield {
                "epoch": epoch,
                "step": moments[epoch],
                "status": result.status,
                **dict(zip((*OF_AN_EPOCH, *UP_TO_THE_LAST), row, strict=True)),
            }


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    try:
        import pandas as pd  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ImportError(
            f"Recording.runs and .epochs: expected pandas, got {error}; install it with: "
            "pip install 'bsr[pandas]'"
        ) from None
    return pd.DataFrame(rows)
