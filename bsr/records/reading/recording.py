"""A recording: what a session measured, typed, and as tidy tables for one's own analysis."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bsr.records.reading import columns
from bsr.records.schema import SessionRecord
from bsr.result import Result

if TYPE_CHECKING:
    import pandas as pd


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
        made: pd.DataFrame = _pandas().DataFrame(columns.identity(cases) | columns.outcome(cases))
        return made

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per Run and epoch, from epoch 0 before training: the Run's fields and what was measured.

        Needs pandas.
        """
        cases = self.session.cases
        measured = columns.epochs(cases)
        place = measured.pop("place")
        status = np.array([case.result.status for case in cases], dtype=object)[place]
        of_runs = _pandas().DataFrame(columns.identity(cases)).take(place).reset_index(drop=True)
        moments = {name: measured.pop(name) for name in ("epoch", "step")}
        made: pd.DataFrame = of_runs.assign(**moments, status=status, **measured)
        return made

    def to_parquet(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write `runs.parquet` and `epochs.parquet`, the tables above, into a folder; returns their paths.

        For DuckDB, polars, R or Spark; needs pyarrow, not pandas. A folder that is not there is made, files
        of those names are replaced. Raises OSError where it cannot be written.
        """
        from bsr.records.reading import parquet  # noqa: PLC0415 - the optional extra

        return parquet.write(self.session.cases, Path(folder))


def _pandas() -> ModuleType:
    try:
        import pandas as pd  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ImportError(
            f"Recording.runs and .epochs: expected pandas, got {error}; install it with: "
            "pip install 'bsr[pandas]'"
        ) from None
    return pd
