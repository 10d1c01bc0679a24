"""The JSON Schema in docs/: made from the types, true of every recording, and strict about what it names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

import synthetic
from bsr.records.durable import content_of, is_json
from plugin_support import ONE_CASE, Suite, suite

__all__ = ["suite"]
ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "recording.schema.json"
FIRST = ROOT / "tests" / "recorded"
KEPT = ROOT / "benchmarks" / "results"
OF_MAKE_BENCH = {*KEPT.glob("*-quick*"), *KEPT.glob("*-smoke*")}
RECORDED = sorted({*FIRST.glob("first.*"), *KEPT.glob("cpu-*.json*")} - OF_MAKE_BENCH)
LARGEST = 2**17
"""Bytes of a recording that is validated in less than a second; the others are slow."""


def closed(schema: Any) -> Any:
    """The schema, refusing every field that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    refused = {"additionalProperties": False} if "properties" in schema and "title" in schema else {}
    return {name: closed(part) for name, part in schema.items()} | refused


SCHEMA = closed(json.loads(COMMITTED.read_bytes()))
VALIDATOR = Draft202012Validator(SCHEMA)


def records(path: Path) -> list[Any]:
    """A benchmark JSON is one, a journal has one per line."""
    content = content_of(path)
    return [json.loads(content)] if is_json(path) else [json.loads(line) for line in content.splitlines()]


def test_it_is_what_make_schema_makes_of_the_types_today(tmp_path: Path) -> None:
    made = tmp_path / "made.json"
    subprocess.run([sys.executable, ROOT / "docs" / "make_schema.py", made], check=True)
    assert made.read_bytes() == COMMITTED.read_bytes(), "run `make schema`"


def test_it_is_a_schema_and_says_what_every_record_is() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert all(part["description"] for part in SCHEMA["$defs"].values())


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if len(content_of(path)) > LARGEST else (), id=path.name)
        for path in RECORDED
    ],
)
def test_a_recording_is_valid_and_holds_nothing_that_the_schema_does_not_name(path: Path) -> None:
    for record in records(path):
        VALIDATOR.validate(record)


@pytest.mark.slow
def test_what_a_session_writes_today_is_valid_too(suite: Suite) -> None:
    assert suite.run(*ONE_CASE, "--benchmark-json=run.json").code == 0
    for name in ("run.json", "run.journal.jsonl"):
        for record in records(suite.folder / name):
            VALIDATOR.validate(record)


def test_a_journals_line_of_what_trains_nothing_names_its_rows_as_today_or_as_earlier() -> None:
    (row,) = json.loads(msgspec.json.encode(synthetic.labels(["mean"])))
    line = {"kind": "labels", "schema": 1, "seconds": 0.5}
    for rows in ({"rows": [row]}, {"labels": row}):
        VALIDATOR.validate(line | rows)
    wrong: list[Any] = [{}, {"rows": []}, {"rows": [{}]}, {"rows": [row], "kind": "noise"}, {"scale": row}]
    assert not [rows for rows in wrong if VALIDATOR.is_valid(line | rows)]


@pytest.mark.parametrize(
    ("name", "where", "value"),
    [
        ("first.journal.jsonl", ["schema"], 2),
        ("first.journal.jsonl", ["kind"], "results"),
        ("first.journal.jsonl", ["crc"], "12"),
        ("first.journal.jsonl", ["result", "status"], "fine"),
        ("first.journal.jsonl", ["result", "test_mse"], ["1.0"]),
        ("first.journal.jsonl", ["result", "run", "batch_size"], 1.5),
        ("first.journal.jsonl", ["result", "run", "momentum"], 0.9),
        ("first.json", ["bsr", "schema"], 2),
        ("first.json", ["bsr", "cases", 0, "result", "final_mse"], "low"),
    ],
)
def test_what_no_session_writes_is_refused(name: str, where: list[Any], value: object) -> None:
    record = inner = records(FIRST / name)[-1]
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    assert not VALIDATOR.is_valid(record)
