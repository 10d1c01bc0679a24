"""Writes the JSON Schema of a recording, made from the types that write it, into a file: `make schema`.

It holds for a benchmark JSON as a whole, and for each line of a journal.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import msgspec

from bsr.records.journal import Entry
from bsr.records.schema import PROBES, SessionRecord
from bsr.result import Result
from bsr.run import SCHEMA

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
LINES: Final = get_args(Entry)
FOLLOWS: Final = ("final_mse", "normalised_mse")
"""From the rest of a Result, and said beside it in a benchmark JSON."""
EARLIER: Final = {"labels": "labels", "harness": "timings", "noise": "scale"}
"""What journals of earlier versions call the rows of what trains nothing: several `timings`, or one."""
EARLIER_SAID: Final = "What journals of earlier versions have in place of `rows`."
CRC: Final = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}$",
    "description": "CRC-32 of what stands before it in its line; journals of earlier versions have none.",
}


@dataclass
class BenchmarkJson:
    """pytest-benchmark's document; `bsr` is this suite's part of it."""

    bsr: SessionRecord
    benchmarks: list[dict[str, Any]]
    """One per case that has a time; they say again what `bsr` says."""
    machine_info: dict[str, Any]
    commit_info: dict[str, Any]
    datetime: str
    """UTC, ISO 8601."""
    version: str
    """Of pytest-benchmark."""


def schema() -> dict[str, Any]:
    """What `run.json`, and every line of `run.journal.jsonl`, is valid against."""
    roots = (BenchmarkJson, *LINES)
    refs, parts = msgspec.json.schema_components(roots, ref_template="#/$defs/{name}")
    for record in {record for root in roots for record in _records(root)}:
        parts[record.__name__]["description"] = inspect.getdoc(record)
        fields = parts[record.__name__]["properties"]
        for name, said in _said_of_fields(record):
            fields[name]["description"] = said
        if "schema" in fields:
            fields["schema"]["const"] = SCHEMA
    for name in FOLLOWS:
        about = inspect.getdoc(getattr(Result, name))
        parts["Result"]["properties"][name] = {"type": ["number", "null"], "description": about}
    for line in LINES:
        part = parts[line.__name__]
        part["properties"]["crc"] = CRC
        part["required"] = ["kind", *(name for name in part["required"] if name != "kind")]
    measured = parts["Measured"]
    measured["required"].remove("rows")
    measured["properties"] |= {name: {"description": EARLIER_SAID} for name in EARLIER.values()}
    measured["anyOf"] = [shape for kind in PROBES for shape in _measured(kind)]
    title = "A recording of bsr: a benchmark JSON, or one line of its journal"
    return {"$schema": DRAFT, "title": title, "anyOf": list(refs), "$defs": dict(sorted(parts.items()))}


def _measured(kind: str) -> Iterator[dict[str, Any]]:
    """How a journal's line of that kind says its rows: as today, or as earlier versions did."""
    row = {"$ref": f"#/$defs/{PROBES[kind].__name__}"}
    rows = {"type": "array", "items": row, "minItems": 1}
    for name in filter(None, ("rows", EARLIER.get(kind))):
        said = rows if name in {"rows", "timings"} else row
        yield {"properties": {"kind": {"const": kind}, name: said}, "required": [name]}


def _records(kind: Any) -> Iterator[type]:
    """The dataclasses that a type names, and those in their fields."""
    if is_dataclass(kind):
        yield kind  # type: ignore[misc]  # a class, as the type of a field is
        for of_a_field in get_type_hints(kind).values():
            yield from _records(of_a_field)
    for inner in get_args(kind):
        yield from _records(inner)


def _said_of_fields(record: type) -> Iterator[tuple[str, str]]:
    """The strings below a record's fields, which only its source has."""
    (found,) = ast.parse(inspect.getsource(record)).body
    assert isinstance(found, ast.ClassDef)
    for field, below in zip(found.body, found.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(said))):
                yield name, " ".join(said.split())


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
