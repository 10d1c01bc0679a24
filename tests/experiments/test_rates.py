"""A table of rates that a user hands over: read as it was written, or refused in one line."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bsr.experiments import rates
from bsr.experiments.rates import COLUMNS, LARGEST_TABLE, RatesError, TunedRate

HEADER = ",".join(COLUMNS)
ROW = "mean,16,586,linear,0.003,0.96,3,"
GOOD = f"{HEADER}\n{ROW}\n"
ON_ONE_PATH = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def read(folder: Path, content: str | bytes) -> tuple[TunedRate, ...]:
    path = folder / "rates.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return rates.read(path)


def said_of(folder: Path, content: str | bytes) -> str:
    with pytest.raises(RatesError) as refused:
        read(folder, content)
    said = str(refused.value)
    assert len(said) < 500
    assert said.isprintable()
    return said.removeprefix(f"{folder / 'rates.csv'}")


def with_cell(column: str, cell: str) -> str:
    cells = ROW.split(",")
    cells[COLUMNS.index(column)] = cell
    return f"{HEADER}\n{','.join(cells)}\n"


@pytest.mark.parametrize(
    "good", [GOOD, "\ufeff" + GOOD, "# chosen by hand\n\n" + GOOD, GOOD.replace("\n", "\r\n")]
)
def test_what_a_spreadsheet_or_an_editor_adds_changes_nothing(tmp_path: Path, good: str) -> None:
    (rate,) = read(tmp_path, good)
    assert (rate.task, rate.batch_size, rate.steps, rate.learning_rate) == ("mean", 16, 586, 0.003)
    assert (rate.validation_mse, rate.seeds, rate.at_edge) == (0.96, 3, False)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("validation_mse", "nan", "the validation mse nan"),
        ("validation_mse", "inf", "the validation mse inf"),
        ("validation_mse", "-1", "the validation mse -1"),
        ("validation_mse", "1e101", "the validation MSE 1e+101"),
        ("validation_mse", "", "the validation mse "),
        ("seeds", str(2**70), "the seeds 1180591620717411303424"),
        ("seeds", "0", "0 seeds"),
        ("seeds", "10001", "10001 seeds"),
        ("learning_rate", "1_0e-4", "the learning rate 1_0e-4"),
        ("learning_rate", "\u0663e-4", "the learning rate \u0663e-4"),
        ("learning_rate", "0", "the learning rate 0"),
        ("learning_rate", "1e300", "the learning rate 1e+300"),
        ("learning_rate", "1e999", "the learning rate inf"),
        ("batch_size", "1_6", "the batch size 1_6"),
        ("batch_size", "\uff11\uff16", "the batch size \uff11\uff16"),
        ("batch_size", "16.0", "the batch size 16.0"),
        ("updates", "9" * 19, "updates"),
        ("task", "", "the task ''"),
        ("task", "m" * 201, "the task 'mmm"),
        ("schedule", "cosine\x1b[2J", "the schedule 'cosine\\x1b[2J'"),
        ("at_the_edge", "edge,edge", "a tuned rate of 8 cells, got 9"),
        ("task", '"mean', "a row of a CSV table, got"),
    ],
)
def test_a_cell_that_no_tuning_writes_is_named_with_its_line(
    tmp_path: Path, column: str, cell: str, said: str
) -> None:
    line = said_of(tmp_path, with_cell(column, cell))
    assert line.startswith(", line 2: expected ")
    assert said in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "got no column task"),
        (HEADER.replace("seeds", "runs") + "\n", "got no column seeds"),
        (f"{HEADER},seeds\n", "got 2 columns seeds"),
        ("x" * 131_073, "line 1: expected a row of a CSV table, got field larger than field limit"),
        (f"{HEADER}\n{ROW.removesuffix(',')}\n", "line 2: expected a tuned rate of 8 cells, got 7"),
        (GOOD + ROW, "expected one rate for mean at batch size 16, 586 updates, linear, got 2"),
        (b"\xff\xfe" + GOOD.encode(), "expected a readable table of rates, got 'utf-8' codec"),
        (GOOD + "#" * LARGEST_TABLE, "expected a table of rates of at most 1 MiB, got more"),
        (GOOD + "#" * (LARGEST_TABLE - len(GOOD) - 1) + "\u00e4", "at most 1 MiB, got more"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in said_of(tmp_path, content)


def test_a_table_of_the_largest_size_is_read_to_its_end(tmp_path: Path) -> None:
    last = ROW.replace("mean", "var")
    comment = "#" * (LARGEST_TABLE - len(GOOD) - len(last) - 1) + "\n"
    assert [rate.task for rate in read(tmp_path, GOOD + comment + last)] == ["mean", "var"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "nothing"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "rates.csv"
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    with pytest.raises(RatesError, match="expected a (readable )?table of rates, got") as refused:
        rates.read(path)
    assert str(refused.value).isprintable()


RATES = st.builds(
    TunedRate,
    task=st.sampled_from(("mean", "std", "my.module:task", "a, b", 'a "b"')),
    batch_size=st.integers(1, 2**31),
    steps=st.integers(1, 10_000_000),
    schedule=st.sampled_from(("constant", "linear")),
    learning_rate=st.floats(1e-30, 1e9),
    validation_mse=st.floats(0, 1e100),
    seeds=st.integers(1, 10_000),
    at_edge=st.booleans(),
)


def table(tuned: list[TunedRate]) -> str:
    """As the report of a tuning session writes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rate in tuned:
        *cells, at_edge = asdict(rate).values()
        writer.writerow([*cells, "edge" if at_edge else ""])
    return text.getvalue()


@ON_ONE_PATH
@given(st.lists(RATES, max_size=5, unique_by=lambda rate: rate.arm))
def test_whatever_a_report_writes_is_read_back_as_it_was(tmp_path: Path, tuned: list[TunedRate]) -> None:
    text = table(tuned).replace("steps", "updates").replace("at_edge", "at_the_edge")
    assert read(tmp_path, text) == tuple(tuned)


CELLS = st.one_of(
    st.sampled_from(("nan", "inf", "-1", "1_0", "0x10", " 3", "1e400", str(2**70), "'1", '"', "\u0663", "")),
    st.text(max_size=6),
    st.integers().map(str),
    st.floats().map(repr),
)


def read_or_refused(folder: Path, content: bytes) -> tuple[TunedRate, ...]:
    """What is read, and that a recording can hold it; nothing where it was refused in one line."""
    try:
        tuned = read(folder, content)
    except RatesError as refusal:
        said = str(refusal)
    else:
        assert msgspec.json.decode(msgspec.json.encode(tuned), type=tuple[TunedRate, ...]) == tuned
        return tuned
    assert said.isprintable()
    assert len(said) < 500
    return ()


@ON_ONE_PATH
@given(st.lists(CELLS, min_size=7, max_size=9))
def test_any_row_is_a_rate_that_a_recording_can_hold_or_one_line(tmp_path: Path, cells: list[str]) -> None:
    row = ",".join(cells).encode("utf-8", "surrogatepass")
    assert len(read_or_refused(tmp_path, HEADER.encode() + b"\n" + row)) <= 1


@ON_ONE_PATH
@given(st.binary(max_size=300), st.integers(0, len(GOOD)))
def test_any_bytes_anywhere_in_a_table_are_read_or_refused_in_one_line(
    tmp_path: Path, noise: bytes, where: int
) -> None:
    good = GOOD.encode()
    read_or_refused(tmp_path, good[:where] + noise + good[where:])
