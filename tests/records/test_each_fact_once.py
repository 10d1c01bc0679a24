"""What a recording says once, without defaults, and how it lies in a file: compressed where its name says."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bsr
import synthetic
from bsr.experiments import Grid
from bsr.experiments.grid import MOST_BYTES
from bsr.records.durable import endings, stem
from bsr.records.journal import Header, Journal, ResultLine, line_of, read
from bsr.records.reading import RefusedError
from bsr.records.schema import sparse
from bsr.result import GpuRecord, GpuState, Result
from bsr.run import Execution, Run

GRID = Grid(tasks=("mean",), batch_sizes=(32, 64), runs=2, epochs=3)
RESULTS = [case.result for case in synthetic.session(grid=GRID).cases]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return bsr.write(tmp_path / "run.json", RESULTS)


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def test_a_result_stands_once_and_an_entry_has_its_figures_flat(recording: Path) -> None:
    made = document(recording)
    curves = [json.dumps(case["result"]["test_mse"], separators=(",", ":")) for case in made["bsr"]["cases"]]
    assert [recording.read_text().count(curve) for curve in curves] == [1] * len(RESULTS)
    for entry, case in zip(made["benchmarks"], made["bsr"]["cases"], strict=True):
        assert entry["extra_info"]["final_mse"] == case["result"]["final_mse"]
        assert not [name for name, value in entry["extra_info"].items() if isinstance(value, dict | list)]


def test_what_is_at_its_default_is_left_out_and_read_as_it_was(recording: Path) -> None:
    (first, *_) = document(recording)["bsr"]["cases"]
    assert set(first["result"]["run"]) == {"task", "batch_size", "seed", "learning_rate", "epochs"}
    assert {"gpu", "message", "cohort", "diverged_at_step"}.isdisjoint(first["result"])
    assert [*bsr.read(recording).results] == RESULTS


states = st.builds(
    GpuState,
    power_watts=st.none() | st.floats(-1e100, 1e100),
    throttle_reasons=st.none() | st.just(()) | st.just(("idle",)),
    mig=st.none() | st.booleans(),
)
results = st.builds(
    Result,
    run=st.builds(
        Run,
        task=st.just("mean"),
        batch_size=st.integers(1, 100),
        seed=st.integers(0, 2**63 - 1),
        learning_rate=st.floats(1e-30, 1e9),
        order_seed=st.none() | st.integers(0, 9),
    ),
    status=st.just("failed"),
    notes=st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
    training_seconds=st.lists(st.floats(0, 1e100), max_size=3).map(tuple),
    test_mse=st.lists(st.none() | st.floats(0, 1e100), max_size=3).map(tuple),
    steps=st.integers(0, 2**62),
    gpu=st.none() | st.builds(GpuRecord, uuid=st.text(max_size=3), before=st.none() | states),
)


@settings(max_examples=25)
@given(results)
def test_whatever_is_recorded_is_read_back_the_same(result: Result) -> None:
    assert msgspec.convert(sparse(result), Result) == result
    line = line_of(ResultLine(key=result.run.key, result=result))
    assert msgspec.json.decode(line, type=ResultLine).result == result


def test_a_line_says_its_kind_and_schema_though_they_are_defaults() -> None:
    line = line_of(ResultLine(key=RESULTS[0].run.key, result=RESULTS[0]))
    assert line.startswith(b'{"kind":"result","schema":1,')


def test_a_compressed_recording_is_written_the_same_twice_and_read_as_the_plain_one(
    tmp_path: Path, recording: Path
) -> None:
    packed = bsr.write(tmp_path / "one.json.gz", RESULTS)
    assert bsr.read(packed).session.cases == bsr.read(recording).session.cases
    (tmp_path / "two.json.gz").write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), 6, mtime=0))
    assert (tmp_path / "two.json.gz").read_bytes() == packed.read_bytes()
    assert packed.stat().st_size < recording.stat().st_size / 2


def journal_of(path: Path, results: list[Result]) -> Path:
    log = Journal(path)
    log.append(
        Header(
            planned=tuple(result.run for result in RESULTS),
            execution=Execution(threads=1),
            dataset_digest="abc",
            environment={"id": "0123456789ab"},
            started_at="2026-01-01T00:00:00+00:00",
        )
    )
    for result in results:
        log.record(result)
    log.close()
    return path


def test_a_compressed_journal_is_read_as_the_plain_one(tmp_path: Path) -> None:
    plain = journal_of(tmp_path / "run.journal.jsonl", RESULTS)
    packed = tmp_path / "packed.journal.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert bsr.read(packed).session == bsr.read(plain).session


def test_a_session_that_goes_on_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    path = journal_of(tmp_path / "run.journal.jsonl", RESULTS[:2])
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(line_of(ResultLine(key=RESULTS[2].run.key, result=RESULTS[2]))[:-40])
    statuses = [result.status for result in bsr.read(path).results]
    assert statuses == ["ok", "ok", "not_run", "not_run"]
    assert read(path).whole_bytes == whole


def test_a_pattern_of_compressed_files_is_one_study(tmp_path: Path) -> None:
    for number in (0, 1):
        bsr.write(tmp_path / f"{number}.json.gz", RESULTS[2 * number : 2 * number + 2])
    assert {one.run.key for one in bsr.read(tmp_path / "*.json.gz").results} == {
        one.run.key for one in RESULTS
    }


@pytest.mark.parametrize("name", ["bomb.json.gz", "bomb.journal.jsonl.gz"])
def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("json_file", "journal_file"):
        monkeypatch.setattr(f"bsr.records.reading.{module}.MOST_BYTES", 2**20)
    path = tmp_path / name
    path.write_bytes(gzip.compress(b'{"kind":"header",' + b" " * 2**21))
    with pytest.raises(RefusedError, match="expected .*at most 1 MiB, got more"):
        bsr.read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", gzip.compress(b"{}", mtime=0)[:-9], gzip.compress(b"x" * 99, mtime=0)[:-9] + b"\0" * 9],
)
def test_what_no_gzip_unpacks_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.json.gz"
    path.write_bytes(content)
    with pytest.raises(RefusedError, match=r"run.json.gz: expected") as refusal:
        bsr.read(path)
    assert "\n" not in str(refusal.value)


def test_a_recording_that_held_more_is_kept_under_a_name_of_its_kind(tmp_path: Path) -> None:
    path = bsr.write(tmp_path / "run.json.gz", RESULTS)
    with pytest.warns(UserWarning, match="kept as"):
        bsr.write(path, RESULTS[:1])
    assert len(bsr.read(tmp_path / "run.kept-1.json.gz").results) == len(RESULTS)


def test_a_file_of_the_largest_size_holds_twenty_thousand_runs_of_ten_epochs(tmp_path: Path) -> None:
    results = [case.result for case in synthetic.session(grid=Grid(tasks=("mean",), runs=2)).cases]
    path = bsr.write(tmp_path / "run.json", results)
    assert path.stat().st_size / len(results) < 3_500
    assert MOST_BYTES // 3_500 > 20_000


def test_the_folder_of_a_report_has_the_recordings_name_without_its_endings() -> None:
    path = Path("run.json.gz")
    assert (stem(path), endings(path)) == ("run", ".json.gz")
    assert stem(Path("run.journal.jsonl.gz")) == "run.journal"
