"""pytest-benchmark's document around a merged study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bsr.records.document import document as assembled
from bsr.records.document import entry, experiment_in
from bsr.records.schema import SessionRecord
from bsr.result import FINISHED
from reports.merge.sources import Source


def document(sources: Sequence[Source], session: SessionRecord) -> dict[str, Any]:
    """The whole document, `bsr` part included."""
    machine = next((part for source in sources if (part := source.part("machine_info"))), None)
    commit = next((part for source in sources if (part := source.part("commit_info"))), None)
    return assembled(session, _benchmarks(sources, session), machine, commit)


def _benchmarks(sources: Sequence[Source], session: SessionRecord) -> Iterator[dict[str, Any]]:
    """An entry per finished case and experiment: as pytest-benchmark wrote it, or made from the journal.

    Then what is no case of an experiment that trains (label distributions), each once.
    """
    written: dict[tuple[str, str], dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    for made in (made for source in sources for made in source.measured):
        if key := _about(made).get("key"):
            written.setdefault((str(key), experiment_in(made)), made)
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
