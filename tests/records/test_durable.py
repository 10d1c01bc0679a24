"""A file is there whole or not at all, and a line once written stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bsr.records import durable
from faults import FailingOs

CALLS = ("write", "fsync", "replace")


def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int = 1) -> None:
    monkeypatch.setattr(durable, "os", FailingOs(call, number))


def test_a_file_is_replaced_by_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for content in (b"first", b"second", b""):
        durable.replace_file(path, content)
        assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("call", CALLS)
def test_whatever_fails_the_old_file_stays_whole_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "run.json"
    durable.replace_file(path, b"old")
    failing(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        durable.replace_file(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_content_is_on_the_disk_before_the_name_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    class Noting:
        def __getattr__(self, name: str) -> object:
            if name in {"write", "fsync", "replace"}:
                done.append(name)
            return getattr(os, name)

    monkeypatch.setattr(durable, "os", Noting())
    durable.replace_file(tmp_path / "run.json", b"content")
    assert done == ["write", "fsync", "replace", "fsync"]  # the last is the folder's


def test_what_a_kill_left_beside_a_file_can_be_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        ".run.json.abc12345.unfinished",
        ".run.json.swp",
        "run.json",
        ".run.journal.jsonl",
        ".other.json.abc12345.unfinished",
        "run.json.old",
    ):
        (tmp_path / name).touch()
    durable.remove_unfinished(tmp_path / "run.json")
    assert {file.name for file in tmp_path.iterdir()} == {
        ".run.json.swp", "run.json", ".run.journal.jsonl", ".other.json.abc12345.unfinished", "run.json.old"
    }  # fmt: skip


def test_the_file_behind_a_symbolic_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "elsewhere.json", tmp_path / "latest.json"
    target.write_bytes(b"old")
    link.symlink_to(target)
    durable.replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_replaced_file_can_be_read_by_whoever_may_read_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        durable.replace_file(tmp_path / "run.json", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_line_that_cannot_be_appended_leaves_no_part_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"first\n")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        failing(monkeypatch, call)
        with pytest.raises(OSError, match="No space left"):
            durable.append(descriptor, b"second\n")
        assert path.read_bytes() == b"first\n"
        durable.append(descriptor, b"third\n")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"first\nthird\n"


def test_what_the_system_writes_in_pieces_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Piecemeal:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        @staticmethod
        def write(descriptor: int, content: memoryview) -> int:
            return os.write(descriptor, content[:3])

    monkeypatch.setattr(durable, "os", Piecemeal())
    durable.replace_file(tmp_path / "run.json", b"longer than three")
    assert (tmp_path / "run.json").read_bytes() == b"longer than three"
