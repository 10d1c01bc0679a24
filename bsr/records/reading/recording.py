"""A recording: what a session measured, typed, and as tidy tables for one's own analysis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

import numpy as np

from bsr.records import durable
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result
from bsr.run import RUN_FIELDS, Run

if TYPE_CHECKING:
    import pandas as pd


Columns = dict[str, Any]
"""By name, lists or arrays of one length."""
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
AT_ONCE: Final = 5_000
"""Runs of which epochs are in memory as a table, where they become a file."""
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
        cases = self.session.cases
        made: pd.DataFrame = _pandas().DataFrame(of_runs(cases) | what_came_out(cases))
        return made

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per Run and epoch, from epoch 0 before training: the Run's fields and what was measured.

        Needs pandas.
        """
        cases = self.session.cases
        measured = of_epochs(cases)
        place = measured.pop("place")
        status = np.array([case.result.status for case in cases], dtype=object)[place]
        runs = _pandas().DataFrame(of_runs(cases)).take(place).reset_index(drop=True)
        moments = {name: measured.pop(name) for name in ("epoch", "step")}
        made: pd.DataFrame = runs.assign(**moments, status=status, **measured)
        return made

    def to_parquet(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write `runs.parquet` and `epochs.parquet`, the tables above, into a folder; returns their paths.

        For DuckDB, polars, R or Spark; needs pyarrow, not pandas. A folder that is not there is made, files
        of those names are replaced. Raises OSError where it cannot be written.
        """
        return _write_parquet(self.session.cases, Path(folder))


def _pandas() -> ModuleType:
    try:
        import pandas as pd  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ImportError(
            f"Recording.runs and .epochs: expected pandas, got {error}; install it with: "
            "pip install 'bsr[pandas]'"
        ) from None
    return pd


def of_runs(cases: Sequence[Case]) -> Columns:
    """[runs]: key, the fields of the Run, and the experiments that it is of."""
    runs = [case.result.run for case in cases]
    return {
        "key": [case.key for case in cases],
        **{name: [getattr(run, name) for run in runs] for name in RUN_FIELDS},
        "experiments": [",".join(case.cases) for case in cases],
    }


def what_came_out(cases: Sequence[Case]) -> Columns:
    """[runs]: what came out."""
    return {name: [getattr(case.result, name) for case in cases] for name in OF_A_RUN}


def of_epochs(cases: Sequence[Case]) -> Columns:
    """[rows], one for each epoch at which anything was measured: the place of its case, and what it was."""
    results = [case.result for case in cases]
    moments = [_moments(result) for result in results]
    ends = np.cumsum(moments, dtype=np.int64)
    rows = int(ends[-1]) if len(ends) else 0
    place = np.repeat(np.arange(len(results)), moments)
    epoch = np.arange(rows) - np.repeat(ends - moments, moments)
    step = np.zeros(rows, dtype=np.int64)
    measured = {name: np.full(rows, np.nan) for name in (*OF_AN_EPOCH, *UP_TO_THE_LAST)}
    for result, first, many in zip(results, (ends - moments).tolist(), moments, strict=True):
        step[first : first + many] = (0, *result.run.evaluation_steps)[:many]
        for name, column in measured.items():
            values = getattr(result, name)
            begin = first + _first_moment(result, name)
            column[begin : begin + len(values)] = values
    said = ~np.logical_and.reduce([np.isnan(column) for column in measured.values()])
    found = {"place": place, "epoch": epoch, "step": step, **measured}
    return {name: column[said] for name, column in found.items()}


def _moments(result: Result) -> int:
    """At how many it may have measured something, the one before training among them."""
    names = (*OF_AN_EPOCH, *UP_TO_THE_LAST)
    return max(len(getattr(result, name)) + _first_moment(result, name) for name in names)


def _first_moment(result: Result, name: str) -> int:
    """Of its evaluations, from 0 before training, the first that a sequence has a value of."""
    if name in UP_TO_THE_LAST:
        return max(0, len(result.test_mse) - len(getattr(result, name)))
    return int(name in FROM_EPOCH_1)


def _write_parquet(cases: Sequence[Case], folder: Path) -> tuple[Path, Path]:
    """See Recording.to_parquet; both files are there whole, or as they were."""
    arrow = _pyarrow()
    folder.mkdir(parents=True, exist_ok=True)
    runs = _table(arrow, of_runs(cases) | what_came_out(cases))
    identities = _table(arrow, of_runs(cases) | {"status": [case.result.status for case in cases]})
    paths = folder / "runs.parquet", folder / "epochs.parquet"
    durable.replace_file(paths[0], _file(arrow, iter([runs])))
    durable.replace_file(paths[1], _file(arrow, _tables_of_epochs(arrow, cases, identities)))
    return paths


def _tables_of_epochs(arrow: ModuleType, cases: Sequence[Case], identities: Any) -> Iterator[Any]:
    """Tables of epochs, each with the columns of its runs; one at least."""
    for first in range(0, max(len(cases), 1), AT_ONCE):
        measured = of_epochs(cases[first : first + AT_ONCE])
        table = identities.take(arrow.array(measured.pop("place") + first))
        for name, values in measured.items():
            table = table.append_column(name, arrow.array(values, from_pandas=True))  # NaN is null
        yield table


def _file(arrow: ModuleType, tables: Iterator[Any]) -> bytes:
    from pyarrow import parquet  # noqa: PLC0415 - as _pyarrow

    first = next(tables)
    stream = arrow.BufferOutputStream()
    with parquet.ParquetWriter(stream, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    return bytes(stream.getvalue())


def _table(arrow: ModuleType, found: Columns) -> Any:
    """Typed by what declares a column, so that one without a value is of the same type in every file."""
    types = {name: _type(arrow, name) for name in found}
    return arrow.table({name: arrow.array(values, types[name]) for name, values in found.items()})


def _type(arrow: ModuleType, name: str) -> Any:
    hints = get_type_hints(Run) | get_type_hints(Result)
    declared = hints[name] if name in hints else get_type_hints(_getter(name)).get("return", str)
    said = {declared, *get_args(declared)}
    numbers = ((bool, arrow.bool_()), (float, arrow.float64()), (int, arrow.int64()))
    text = arrow.dictionary(arrow.int32(), arrow.string())
    return next((made for kind, made in numbers if kind in said), text)


def _getter(name: str) -> Any:
    """Of a property of Result; the other columns, `key` and `experiments`, are text."""
    return getattr(getattr(Result, name, None), "fget", None) or _text


def _text() -> str: ...  # type: ignore[empty-body]


def _pyarrow() -> ModuleType:
    try:
        import pyarrow as pa  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ImportError(
            f"Recording.to_parquet: expected pyarrow, got {error}; install it with: "
            "pip install 'bsr[parquet]'"
        ) from None
    return pa  # type: ignore[no-any-return]
