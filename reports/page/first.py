"""The first screen: one sentence that concludes, the answer's parts, and the study's conclusions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bsr import published
from reports.text.verdicts import PARTS, Finding, Findings

MOST_WORDS: Final = 30
MOST_NUMBERS: Final = 2
DRAW_THE_ANSWER: Final = (
    "python -m reports benchmarks/results/cpu-square-*.journal.jsonl.gz "
    "benchmarks/results/cpu-native.json.gz --merged --several-machines --output answer"
)
"""As README says it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table of the first screen."""

    what: str
    """The part's question, or the study's claim."""
    finding: Finding


def conclusion(findings: Findings) -> str:
    """At most MOST_WORDS words and MOST_NUMBERS numbers, of the parts of the answer in their order."""
    clauses: list[str] = []
    for clause in dict.fromkeys(line.finding.short.clause for line in parts(findings)):
        longer = "; ".join([*clauses, clause])
        if clause and len(longer.split()) <= MOST_WORDS and len(_numbers(longer)) <= MOST_NUMBERS:
            clauses.append(clause)
    said = "; ".join(clauses) or findings.answer.short.clause
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d.,]*", text)


def parts(findings: Findings) -> list[Line]:
    """Those that the recording holds, the finding that says most of each."""
    ordered = [*findings.learning, findings.answer]
    first = {one.short.part: one for one in reversed(ordered) if one.short.part}
    return [Line(part, first[part]) for part in PARTS if part in first]


def conclusions(findings: Findings) -> list[Line]:
    """What the study concluded; the conclusions that were not measured last."""
    found = [*_of_the_study(findings.learning), *findings.degenerate]
    return [Line(one.claim, one) for one in sorted(found, key=lambda one: bool(one.options))]


def _of_the_study(findings: Iterable[Finding]) -> Iterator[Finding]:
    return (one for one in findings if one.name.startswith(tuple(published.CLAIMS)))
