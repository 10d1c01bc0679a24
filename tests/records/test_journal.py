"""The journal keeps every record that it said was written, and touches nothing it does not understand."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.records import durable
from bsr.records.journal import (
    End,
    Environment,
    Header,
    Journal,
    JournalError,
    Measured,
    journal_path,
    read,
)
from bsr.records.schema import PROBES, HarnessTiming, NoisePoint, NoiseScale
from bsr.result import Result
from bsr.run import SCHEMA, Execution, Run
from faults import FailingOs

RUNS = tuple(batch_size(PRESETS["smoke"].grid))
MACHINE = {
    "id": "0123",
    "device": "cpu",
    "device_name": "a processor",
    "threads": 1,
    "torch": "2.9",
    "driver": None,
}


def header(**changes: Any) -> Header:
    usual = Header(
        planned=RUNS,
        execution=Execution(threads=1),
        dataset_digest="abc",
        environment=MACHINE,
        started_at="2026-01-01T00:00:00+00:00",
    )
    return replace(usual, **changes)


def result(run: Run = RUNS[0], **changes: Any) -> Result:
    return replace(Result(run=run, status="ok", test_mse=(3.0, 2.0, 1.0), baseline_mse=2.0), **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal.jsonl"


def written(path: Path, *entries: Header | Result | Measured | Environment | End) -> None:
    journal = Journal(path)
    for entry in entries:
        journal.record(entry) if isinstance(entry, Result) else journal.append(entry)
    journal.close()


def test_the_journal_of_run_json_lies_beside_it() -> None:
    assert journal_path(Path("runs/run.json")) == Path("runs/run.journal.jsonl")


def test_what_was_written_is_read_back(path: Path) -> None:
    elsewhere = MACHINE | {"id": "4567"}
    done = result(message="a remark", training_seconds=(0.25, 0.5), status="diverged")
    written(path, header(), Environment(environment=elsewhere), done)
    history = read(path)
    assert history.header == header()
    assert history.results == {RUNS[0].key: done}
    assert history.environments == {"0123": MACHINE, "4567": elsewhere}
    assert not history.ended
    assert history.whole_bytes == path.stat().st_size


def test_every_line_names_its_schema(path: Path) -> None:
    written(path, header(), result(), End(finished_at="now"))
    assert [json.loads(line)["schema"] for line in path.read_text().splitlines()] == [SCHEMA] * 3


def test_a_session_is_ended_by_its_end_and_begun_again_by_a_header(path: Path) -> None:
    written(path, header(), result(), End(finished_at="now"))
    assert read(path).ended
    again = Journal(path, read(path).whole_bytes)
    again.append(header())
    assert not read(path).ended


def test_the_last_record_of_a_key_wins(path: Path) -> None:
    written(path, header(), result(status="failed"), result(status="ok"))
    assert read(path).results[RUNS[0].key].status == "ok"


def test_no_journal_says_nothing(path: Path) -> None:
    assert read(path).header is None


def test_a_record_is_on_the_disk_before_the_call_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    monkeypatch.setattr(durable, "os", FailingOs("fsync", 1))
    with pytest.raises(JournalError, match="No space left"):  # so it does flush, and says when it cannot
        journal.append(header())


def test_numbers_that_are_not_finite_are_null(path: Path) -> None:
    written(path, header(), result(test_mse=(float("nan"), float("inf"))))
    assert b"NaN" not in path.read_bytes()
    assert read(path).results[RUNS[0].key].test_mse == (None, None)


def test_a_message_that_no_encoding_knows_is_still_recorded(path: Path) -> None:
    written(path, header(), result(message="file \udcff"))
    assert read(path).results[RUNS[0].key].message == "file ?"


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(path: Path) -> None:
    written(path, header(), result(), result(RUNS[1]))
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(content)):
        path.write_bytes(content[:length])
        history = read(path)
        assert list(history.results) == [RUNS[0].key]
        assert history.whole_bytes == last


@pytest.mark.parametrize("rest", [b"\0" * 100, b'{"kind":"resu\0\0\0\0'])
def test_zeros_that_a_power_cut_left_are_dropped(path: Path, rest: bytes) -> None:
    written(path, header(), result())
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(rest)
    assert read(path).whole_bytes == whole


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b'{"ki', b'{"kind":"header","sch'])
def test_a_torn_header_is_no_session(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert read(path).header is None
    assert read(path).whole_bytes == 0


def test_a_torn_line_is_cut_off_before_the_next_is_appended(path: Path) -> None:
    written(path, header(), result())
    with path.open("ab") as file:
        file.write(b'{"kind":"result","sche')
    journal = Journal(path, read(path).whole_bytes)
    journal.record(result(RUNS[1]))
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == [
        "header",
        "result",
        "result",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"garbage", "malformed"),
        (b'{"kind":"result","schema":1}', "missing required field `key`"),
        (b'{"kind":"verdict","schema":1}', "no known kind"),
        (b"[]", "no known kind"),
        (b'{"kind":"header","schema":1,"planned":3}', "Expected `array`"),
        (b'{"kind":"result","schema":99}', "schema 99 where this version of bsr has schema 1"),
        (b'{"kind":"environment","schema":1,"environment":{}}', "'id'"),
        (b'{"kind":' + b"[" * 100_000, "no known kind"),
        (b'{"kind":"environment","schema":1,"environment":{"id":' + b"[" * 100_000, "nest|recursion|depth"),
        (b"", "truncated"),
    ],
)
def test_a_corrupt_record_is_named_by_file_and_line_and_nothing_is_changed(
    path: Path, line: bytes, complaint: str
) -> None:
    written(path, header(), result())
    content = path.read_bytes() + line + b"\n"
    path.write_bytes(content + content)
    with pytest.raises(JournalError, match=complaint) as refused:
        read(path)
    assert f"{path}, line 3: expected a bsr journal record, got" in str(refused.value)
    assert path.read_bytes() == content + content


def without_checksums(path: Path) -> None:
    """As an earlier version wrote it."""
    path.write_text(re.sub(r',"crc":"[0-9a-f]{8}"', "", path.read_text()))


def test_a_record_under_another_runs_key_is_corrupt(path: Path) -> None:
    written(path, header(), result())
    without_checksums(path)
    path.write_text(path.read_text().replace(f'"key":"{RUNS[0].key}"', f'"key":"{RUNS[1].key}"'))
    with pytest.raises(JournalError, match=f"line 2: .*key {RUNS[1].key} on the record of Run {RUNS[0].key}"):
        read(path)


def test_a_journal_without_checksums_reads_as_before(path: Path) -> None:
    written(path, header(), result())
    without_checksums(path)
    assert read(path).results == {RUNS[0].key: result()}


@given(where=st.floats(0, 1, exclude_max=True), digit=st.integers(0, 9))
def test_a_changed_digit_anywhere_in_a_record_counts_as_not_measured_and_is_named(
    tmp_path_factory: pytest.TempPathFactory, where: float, digit: int
) -> None:
    path = tmp_path_factory.mktemp("altered") / "run.journal.jsonl"
    written(path, header(), result(), result(RUNS[1], test_mse=(9.5, 8.25, 7.125)))
    lines = path.read_bytes().splitlines(keepends=True)
    digits = [match.start() for match in re.finditer(rb"[0-9]", lines[2])]
    at = digits[int(where * len(digits))]
    altered = lines[2][:at] + str(digit).encode() + lines[2][at + 1 :]
    path.write_bytes(b"".join([*lines[:2], altered]))
    history = read(path)
    assert history.altered == ([] if altered == lines[2] else [3])
    assert (RUNS[1].key in history.results) == (altered == lines[2])
    assert RUNS[0].key in history.results


def test_an_altered_header_is_refused(path: Path) -> None:
    written(path, header(), result())
    path.write_bytes(path.read_bytes().replace(b'"started_at":"2026', b'"started_at":"2027', 1))
    with pytest.raises(JournalError, match="line 1: .*a header of another checksum"):
        read(path)


def test_a_line_that_lost_its_checksum_among_others_is_corrupt(path: Path) -> None:
    written(path, header(), result())
    text = path.read_text()
    path.write_text(text[: text.rindex(',"crc"')] + "}\n")
    with pytest.raises(JournalError, match="line 2: .*without a checksum"):
        read(path)


def test_something_else_than_a_file_in_its_place_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(JournalError, match="got no regular file"):
        read(path)


@pytest.mark.parametrize("content", [b"notes of a researcher", b"notes\nin lines\n", b'{"some": "json"}\n'])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match="expected a bsr journal, got another file"):
        read(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_after_a_failed_record_nothing_more_is_appended(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal = Journal(path)
    journal.append(header())
    monkeypatch.setattr(durable, "os", FailingOs(call, 1))
    with pytest.raises(JournalError, match="every record before it is safe.*--bsr-resume"):
        journal.record(result())
    with pytest.raises(JournalError, match="No space left"):
        journal.record(result(RUNS[1]))
    assert read(path).results == {}
    assert read(path).header == header()


def test_a_journal_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="expected a writable journal"):
        Journal(tmp_path / "missing" / "run.journal.jsonl")


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (("cpu", 1024, 2, "MNIST"), True),
        (("cuda:0", 1024, 2, "MNIST"), False),
        (("cpu", 60_000, 2, "MNIST"), False),
        (("cpu", 1024, 5, "MNIST"), False),
        (("cpu", 1024, 2, "KMNIST"), False),
    ],
)
def test_a_harness_answers_only_what_it_was_asked(asked: tuple[str, int, int, str], answered: bool) -> None:
    timing = HarnessTiming(loop="eager", batch_size=16, threads=1, seconds=(1.0, 2.0), train_images=1024)
    assert timing.answers(*asked) == answered


# One writer, whatever its name


def test_a_journal_has_one_writer_by_whatever_name_it_is_reached(path: Path, tmp_path: Path) -> None:
    running = Journal(path)
    running.append(header())
    link = tmp_path / "another.journal.jsonl"
    os.link(path, link)
    before = path.read_bytes()
    with pytest.raises(
        JournalError, match="expected a journal that no session writes, got one that another has"
    ):
        Journal(link)
    assert path.read_bytes() == before
    running.close()
    Journal(link, len(before)).close()


def test_a_journal_that_was_removed_says_so_at_the_next_record(path: Path) -> None:
    journal = Journal(path)
    journal.append(header())
    path.unlink()
    for _ in range(2):
        with pytest.raises(JournalError, match="expected to append a record, got a file that was removed"):
            journal.record(result())
    assert journal.failed


@pytest.mark.parametrize(("number", "remedy"), [(0, "mend that line"), (1, "mend or remove that line")])
def test_nobody_is_told_to_remove_a_header(path: Path, number: int, remedy: str) -> None:
    written(path, header(), result(), result(RUNS[1]))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"schema":1', b'"schema":9', 1)
    path.write_bytes(b"".join(re.sub(rb',"crc":"[0-9a-f]{8}"', b"", line) for line in lines))
    with pytest.raises(JournalError, match=f"line {number + 1}: .*: {remedy}, or move the file away"):
        read(path)


# What trains nothing

TIMING = HarnessTiming(loop="eager", batch_size=16, threads=1, seconds=(1.0, 2.0), train_images=1024)
POINT = NoisePoint(
    step=8, cooled=True, trace=4.0, square=2.0, trace_two_batches=4.0, square_two_batches=-1.0,
    trace_adam=1.0, square_adam=1.0,
)  # fmt: skip
SCALE = NoiseScale(
    dataset="MNIST", task="mean", batch_size=16, seed=3, learning_rate=0.1, train_images=64, engine="eager",
    points=(POINT,),
)  # fmt: skip
LABELS = synthetic.labels(("mean",))[0]
MEASURED: dict[str, tuple[Any, dict[str, Any]]] = {
    "labels": (LABELS, {"labels": asdict(LABELS)}),
    "harness": (TIMING, {"timings": [asdict(TIMING)]}),
    "noise": (SCALE, {"scale": asdict(SCALE)}),
}
"""A row, and how an earlier version wrote it."""


@pytest.mark.parametrize("kind", PROBES)
def test_what_was_measured_is_read_as_it_is_written_now_and_as_it_was_written_before(
    path: Path, kind: str
) -> None:
    row, before = MEASURED[kind]
    measured = Measured(kind=kind, rows=(row,), seconds=3.0)
    written(path, header(), measured)
    assert read(path).rows(kind) == (row,)
    without_checksums(path)
    line = {"kind": kind, "schema": 1, **before, "seconds": 3.0}
    path.write_bytes(path.read_bytes() + msgspec.json.encode(line) + b"\n")
    assert read(path).measured == {measured.of: measured}


def test_a_later_measurement_of_the_same_replaces_an_earlier_one_whole(path: Path) -> None:
    more = replace(TIMING, loop="textbook")
    written(path, header(), Measured(kind="harness", rows=(TIMING, more), seconds=3.0))
    journal = Journal(path, path.stat().st_size)
    journal.append(Measured(kind="harness", rows=(replace(TIMING, threads=8),), seconds=1.0))
    journal.close()
    assert read(path).rows("harness") == (replace(TIMING, threads=8),)


@pytest.mark.parametrize(
    ("kind", "change", "where"),
    [
        ("labels", {"mean": 1e300}, "mean"),
        ("labels", {"count": 0}, "count"),
        ("harness", {"seconds": (0.0,)}, "seconds"),
        ("noise", {"points": (replace(POINT, trace=-1.0),)}, "trace"),
        ("noise", {"points": ()}, "points"),
    ],
)
def test_what_no_measurement_can_be_is_refused_in_a_journal_too(
    path: Path, kind: str, change: dict[str, Any], where: str
) -> None:
    written(path, header(), Measured(kind=kind, rows=(replace(MEASURED[kind][0], **change),), seconds=3.0))
    with pytest.raises(JournalError, match=rf"line 2: expected a bsr journal record, got .*{where}"):
        read(path)
