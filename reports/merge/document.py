"""pytest-benchmark's document around a merged study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from bsr.run import FINISHED
from bsr.schema import SessionRecord, plain_record
from reports.merge.entries import entry, experiment_of
from reports.merge.sources import Source

_UNKNOWN_COMMIT: Final = {
    "id": "unknown",
    "time": None,
    "author_time": None,
    "dirty": False,
    "project": "unknown",
    "branch": "(unknown)",
}


def document(sources: Sequence[Source], session: SessionRecord) -> dict[str, Any]:
    """The whole document, `bsr` part included."""
    machine = next((part for source in sources if (part := source.part("machine_info"))), None)
    commit = next((part for source in sources if (part := source.part("commit_info"))), None)
    return {
        "machine_info": machine or _machine_info(session),
        "commit_info": commit or _UNKNOWN_COMMIT,
        "benchmarks": list(_benchmarks(sources, session)),
        "datetime": datetime.now(UTC).isoformat(),
        "version": version("pytest-benchmark"),
        "bsr": plain_record(session),
    }


def _benchmarks(sources: Sequence[Source], session: SessionRecord) -> Iterator[dict[str, Any]]:
    """An entry per finished case and experiment: as pytest-benchmark wrote it, or made from the journal.

    Then what is no case of an experiment that trains (label distributions), each once.
    """
    written: dict[tuple[str, str], dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    for made in (made for source in sources for made in source.measured):
        if key := _about(made).get("key"):
            written.setdefault((str(key), experiment_of(made)), made)
        else:
            others.setdefault(str(made.get("fullname")), made)
    for case in session.cases:
        if case.result.status in FINISHED:
            for experiment in case.cases:
                made = written.get((case.key, experiment), {})
                yield entry(case, experiment) | {k: v for k, v in made.items() if k != "extra_info"}
    yield from others.values()


def _about(made: dict[str, Any]) -> dict[str, Any]:
    found = made.get("extra_info")
    return found if isinstance(found, dict) else {}


def _machine_info(session: SessionRecord) -> dict[str, Any]:
    """What the fingerprint says, in pytest-benchmark's words."""
    about = next(iter(session.environments.values()), {})
    return {
        "system": str(about.get("system") or "").partition(" ")[0],
        "python_version": about.get("python"),
        "cpu": {"brand_raw": about.get("cpu"), "count": about.get("cpu_cores")},
        "bsr": about,
    }
