"""A recording's runs and epochs as Parquet files, some thousand runs at a time; needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args, get_type_hints

from bsr.records import durable
from bsr.records.reading import columns
from bsr.records.schema import Case
from bsr.result import Result
from bsr.run import Run

AT_ONCE: Final = 5_000
"""Runs of which epochs are in memory as a table."""


def write(cases: Sequence[Case], folder: Path) -> tuple[Path, Path]:
    """See Recording.to_parquet. Both files are there whole, or as they were."""
    arrow = _pyarrow()
    folder.mkdir(parents=True, exist_ok=True)
    runs = _table(arrow, columns.identity(cases) | columns.outcome(cases))
    of_runs = _table(arrow, columns.identity(cases) | {"status": [case.result.status for case in cases]})
    paths = folder / "runs.parquet", folder / "epochs.parquet"
    durable.replace_file(paths[0], _file(arrow, iter([runs])))
    durable.replace_file(paths[1], _file(arrow, _epochs(arrow, cases, of_runs)))
    return paths


def _epochs(arrow: ModuleType, cases: Sequence[Case], of_runs: Any) -> Iterator[Any]:
    """Tables of epochs, each with the columns of its runs; one at least."""
    for first in range(0, max(len(cases), 1), AT_ONCE):
        measured = columns.epochs(cases[first : first + AT_ONCE])
        table = of_runs.take(arrow.array(measured.pop("place") + first))
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


def _table(arrow: ModuleType, found: columns.Columns) -> Any:
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
