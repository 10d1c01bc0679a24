"""The benchmark JSON: pytest-benchmark's own document, built through its hooks, as strict JSON."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from bsr.plugin.session import Session
from bsr.plugin.state import State
from bsr.records.document import encoded
from bsr.records.schema import MOST_VALUES, plain_record
from bsr.text import printable
from bsr.text.strict_json import LONGEST_LINE, plain

MOST_OF_ONE: Final = 200_000
"""Values in one benchmark's extra_info: a Run of some ten thousand epochs."""
MOST_NOTES: Final = 20


def machine_info(session: Session) -> dict[str, Any]:
    """The fingerprint, where GPUs are told apart."""
    return session.header.environment | {
        "precision": session.options.grid.precision,
        "dataset_digest": session.header.dataset_digest,
    }


def benchmarks(config: pytest.Config) -> list[Any]:
    """What pytest-benchmark has measured, the started and never finished among it."""
    session = getattr(config, "_benchmarksession", None)
    return list(session.benchmarks) if session is not None else []


def document(config: pytest.Config) -> dict[str, Any]:
    """What the host would have written, through its hooks; `strict` adds every planned case under "bsr"."""
    hook = config.hook
    measured = benchmarks(config)
    machine = hook.pytest_benchmark_generate_machine_info(config=config)
    hook.pytest_benchmark_update_machine_info(config=config, machine_info=machine)
    commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
    made: dict[str, Any] = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=measured,
        include_data=True,
        machine_info=machine,
        commit_info=commit_info,
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=measured, output_json=made)
    return made


def strict(made: dict[str, Any], known: State) -> dict[str, Any]:
    """pytest-benchmark's document as strict JSON with every planned case under "bsr", wherever it is saved.

    What of a benchmark's extra_info is not kept is noted. Each entry takes its own's place at once.
    """
    entries = made.get("benchmarks", [])
    for place, entry in enumerate(entries):
        entry["extra_info"] = plain(entry.get("extra_info"), partial(_note, known, entry), MOST_OF_ONE)
        entries[place] = plain(entry)
    document: dict[str, Any] = plain(made | {"benchmarks": []}, most=MOST_VALUES) | {"benchmarks": entries}
    if known.session is not None:
        document["bsr"] = plain_record(known.session.as_record())
    return document


def _note(known: State, entry: dict[str, Any], where: str, what: str) -> None:
    note = printable(f"{entry.get('name')}: extra_info{where}: {what}", LONGEST_LINE)
    if note not in known.notes and len(known.notes) < MOST_NOTES:
        known.notes.append(note)


def json_text(made: dict[str, Any]) -> bytes:
    """The document as strict JSON, whatever another plugin's hook added to it."""
    return encoded(made, partial(plain, most=MOST_VALUES))
