"""What a finding is, and the words in which it is put."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from bsr import stats
from bsr.result import Result
from reports.text import counted, listed, number

Verdict = Literal["shown", "not shown", "cannot tell"]
OR_SOONER: Final = "or sooner: at the first reading"
"""Of a time to an error: that nobody looked before."""
PARTS: Final = (
    "To a given error",
    "After equal epochs",
    "After equal updates",
    "With little data",
)
"""The parts of the answer, in the order in which the page asks for them."""


@dataclass(frozen=True, slots=True)
class Short:
    """A finding as the first screen says it, in a row of a table."""

    number: str = ""
    """The one that it rests on: `\N{MULTIPLICATION SIGN}15 (14 to 17)`."""
    part: str = ""
    """Which of PARTS it answers; empty: none."""
    sentence: str = ""
    """One, in plain words, with the schedule on which the number depends."""
    clause: str = ""
    """What it gives to the one sentence that concludes."""
    seeds: str = ""
    """What the number rests on: `8 seeds`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about the data at hand, with its verdict and the statistic behind it."""

    name: str
    claim: str
    """What is put to the test."""
    verdict: Verdict
    sentence: str
    statistics: tuple[str, ...] = ()
    """One line each."""
    figure: str = ""
    """The figure that shows it."""
    options: str = ""
    """Where nothing of it was measured: the options of pytest that would."""
    short: Short = Short()


@dataclass(frozen=True, slots=True)
class Findings:
    """The answer to the title's question, the conclusions about learning, and what degenerate tasks show."""

    answer: Finding
    learning: tuple[Finding, ...]
    degenerate: tuple[Finding, ...]

    @property
    def all(self) -> tuple[Finding, ...]:
        """In the order of the page."""
        return (self.answer, *self.learning, *self.degenerate)


@dataclass(frozen=True, slots=True)
class TaskVerdict:
    """The verdict on one task (or way of timing), and its line of statistics."""

    name: str
    verdict: Verdict
    line: str


def judged(p: stats.PValue, *, agrees: bool) -> Verdict:
    """Shown by a significant statistic in the claim's direction; cannot tell where there is no p."""
    if p.value is None:
        return "cannot tell"
    return "shown" if p.significant and agrees else "not shown"


def together(parts: Sequence[TaskVerdict]) -> Verdict:
    """One verdict on all parts: shown where every part that can tell shows it, and some part can."""
    verdicts = {part.verdict for part in parts}
    if "not shown" in verdicts:
        return "not shown"
    return "shown" if "shown" in verdicts else "cannot tell"


def tasks_with(parts: Iterable[TaskVerdict], verdict: Verdict) -> list[str]:
    """The parts with a verdict."""
    return [part.name for part in parts if part.verdict == verdict]


def share_shown(parts: Sequence[TaskVerdict], noun: str = "task") -> Short:
    """`shown on 1 of 3 tasks, unclear on 2`."""
    unclear = len(tasks_with(parts, "cannot tell"))
    said = f"shown on {len(tasks_with(parts, 'shown'))} of {counted(len(parts), noun)}"
    return Short(f"{said}{f', unclear on {unclear}' if unclear else ''}" if parts else "")


def lines(parts: Iterable[TaskVerdict]) -> tuple[str, ...]:
    """The statistics of all parts."""
    return tuple(part.line for part in parts)


def where(parts: Sequence[TaskVerdict]) -> str:
    """For which parts a verdict holds, if not for all: ` (shown for std; cannot tell for mean)`."""
    words: dict[Verdict, str] = {
        "shown": "shown for",
        "not shown": "not shown for",
        "cannot tell": "cannot tell for",
    }
    said = [
        f"{word} {listed(found)}" for verdict, word in words.items() if (found := tasks_with(parts, verdict))
    ]
    return f" ({'; '.join(said)})" if len(said) > 1 else ""


def p_text(p: stats.PValue) -> str:
    """`p = 0.0021 (exact)`, or why there is none."""
    if p.value is None:
        return f"no p-value ({p.reason})"
    shown = f"= {p.value:.2g}" if p.value >= 1e-4 else "below 0.0001"
    return f"p {shown}{' (exact)' if p.exact else ''}"


def trend_text(trend: stats.RankTrend) -> str:
    """`rank correlation 0.82, p = 0.0001, n = 21 cells, 210 runs`."""
    rho = "no rank correlation" if trend.rho is None else f"rank correlation {number(round(trend.rho, 9), 2)}"
    return f"{rho}, {p_text(trend.p)}, n = {counted(trend.cells, 'cell')}, {counted(trend.values, 'run')}"


_WRITTEN: Final = r"(?:p (?:= [\d.e-]+|below 0\.0001)(?: \(exact\))?|no p-value \([^)]*\))"
_P: Final = re.compile(rf"[,;]? \({_WRITTEN}\)|[,;]? {_WRITTEN}|^{_WRITTEN}[,;] ")
"""What p_text writes, with what sets it off."""


def values_only(found: Finding) -> Finding:
    """Of runs with one seed per batch size: what was measured, without p-value, verdict or short form."""
    lines_without = (_P.sub("", line) for line in found.statistics)
    statistics = tuple(line for line in lines_without if not line.endswith(":"))
    judged_by_words = found.verdict != "cannot tell" and statistics
    sentence = f"{statistics[0]}." if judged_by_words else _P.sub("", found.sentence)
    return replace(found, verdict="cannot tell", sentence=sentence, statistics=statistics)


def fold(one: stats.Estimate) -> str:
    """`3.6-fold (95% interval 2.9 to 4.5)`."""
    return f"{number(one.factor, 3)}-fold{within(one.interval)}"


def within(interval: stats.Interval | None) -> str:
    """` (95% interval 2.9 to 4.5)`, empty without one."""
    if interval is None:
        return ""
    return f" ({interval.level:.0%} interval {number(interval.low, 3)} to {number(interval.high, 3)})"


def paired(first: Sequence[Result], second: Sequence[Result], measure: str = "test_mse") -> stats.Estimate:
    """The second side's final error over the first's, paired by seed where six seeds are shared."""
    a, b = (
        {r.run.seed: value for r in side if (value := _final(r, measure)) is not None}
        for side in (first, second)
    )
    shared = sorted(set(a) & set(b))
    if len(shared) >= 6 and len(shared) == len(a) == len(b):
        return stats.difference([a[seed] for seed in shared], [b[seed] for seed in shared], paired=True)
    return stats.difference(list(a.values()), list(b.values()))


def _final(result: Result, measure: str) -> float | None:
    values: tuple[float | None, ...] = getattr(result, measure)
    return None if result.final_mse is None else values[-1]


def difference_text(found: stats.Estimate) -> str:
    """`1.3-fold (95% interval ...), p = ..., n = 10 pairs`."""
    n = " and ".join([*map(str, found.n[:-1]), counted(found.n[-1], "run" if len(found.n) > 1 else "pair")])
    return f"{fold(found)}, {p_text(found.p)}, n = {n}"
