"""The gate: `--fail-on "mse:20%"` and `--fail-on "time:20%"`, so that a CI can guard error and time.

A limit fails only where a series is worse by more than its threshold and the runs support that it is worse at
all: the ratio, pooled over cells, is beyond the threshold, and its 95% interval excludes no change. With
fewer than three runs per cell and side a busy machine alone would decide, so then it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from bsr import stats
from bsr.records.reading import RefusedError
from reports.cells import Cells
from reports.compare import Comparison, Pair
from reports.compare.words import bounds, counted_cells
from reports.text import listed, number, printable

Measure = Literal["mse", "time"]
FEWEST: Final = 3
"""Runs per cell and side, below which a limit cannot be judged."""
_PERCENT: Final = r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*%\s*"
_EXPRESSION: Final = re.compile(rf"\s*(mse|time)\s*:{_PERCENT}", re.ASCII)
_NAMES: Final[dict[Measure, str]] = {"mse": "final MSE", "time": "training time"}


@dataclass(frozen=True, slots=True)
class Limit:
    """By how much a measure may be larger: 0.2 is 20%."""

    measure: Measure
    threshold: float

    def __str__(self) -> str:
        """As it was written: `mse:20%`."""
        return f"{self.measure}:{100 * self.threshold:g}%"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a limit says of a pair of series."""

    outcome: Literal["passed", "failed", "cannot tell"]
    message: str


def parse_limit(expression: str) -> Limit:
    """`mse:20%` or `time:7.5%`. Raises RefusedError, in one line, for anything else."""
    found = _EXPRESSION.fullmatch(expression)
    if found is None:
        got = printable(expression, 60)
        raise RefusedError(f"--fail-on: expected mse:N% or time:N%, such as mse:20%, got {got!r}")
    return Limit(cast("Measure", found[1]), float(found[2]) / 100)


def percentage(option: str, text: str) -> float:
    """`20%` as 0.2. Raises RefusedError, in one line, for anything else and for 0."""
    found = re.fullmatch(_PERCENT, text, re.ASCII)
    if found is None or not float(found[1]):
        raise RefusedError(f"{option}: expected N% above 0, such as 20%, got {printable(text, 60)!r}")
    return float(found[1]) / 100


def judge(comparison: Comparison, limits: Sequence[Limit]) -> list[Judgement]:
    """Every limit on every pair of series of different files, in the main experiment.

    Raises RefusedError where a limit has nothing to judge in a file: a gate that saw nothing must not pass.
    """
    made = []
    for limit in limits:
        pairs = [(pair, _measured(pair, limit)) for pair in comparison.pairs if not pair.within_one_file]
        judged = {id(pair.second.data) for pair, compared in pairs if compared.ratio}
        for data in comparison.files[1:]:
            if id(data) not in judged:
                mine = [pair for pair, _ in pairs if pair.second.data is data]
                left_out = [words for pair in mine for words in _unjudged(pair, limit)]
                raise _nothing_to_judge(limit, data, left_out)
        made += [_judged(limit, pair, compared) for pair, compared in pairs]
    return made


def _measured(pair: Pair, limit: Limit) -> stats.Agreement:
    return pair.error if limit.measure == "mse" else pair.time


def _nothing_to_judge(limit: Limit, data: Cells, left_out: Sequence[str]) -> RefusedError:
    name = printable(str(data.recording.path))
    why = f" ({'; '.join(left_out)}: --include-disturbed lets them in)" if left_out else ""
    return RefusedError(
        f"--fail-on {limit}: expected cases of {name} and of the first file to compare, got none{why}"
    )


def _unjudged(pair: Pair, limit: Limit) -> list[str]:
    """Which runs a limit does not judge although they trained."""
    return pair.disturbed if limit.measure == "time" else []


def _judged(limit: Limit, pair: Pair, compared: stats.Agreement) -> Judgement:
    outcome: Literal["passed", "failed", "cannot tell"] = "cannot tell"
    if compared.ratio is not None and compared.replicates >= FEWEST:
        outcome = "failed" if compared.worse_by(limit.threshold) else "passed"
    too_few = ""
    if outcome == "cannot tell" and compared.ratio is not None:
        too_few = (
            f"; it takes {FEWEST} runs per cell and side, here {compared.replicates:.3g}: --bsr-runs {FEWEST}"
        )
    said = _change(limit, compared) if compared.ratio is not None else f"cannot be told: {compared.p.reason}"
    across = f"; across {listed(pair.across)}" if pair.across else ""
    unfinished = "".join(f"; {words}" for words in (*pair.unfinished, *_unjudged(pair, limit)))
    return Judgement(
        outcome,
        f"{outcome} {limit}: {_NAMES[limit.measure]} of {pair.second.label} against "
        f"{pair.first.label} {said}{too_few}{across}{unfinished}",
    )


def _change(limit: Limit, compared: stats.Agreement) -> str:
    """Both conditions, and what they rest on."""
    ratio, interval = compared.ratio or 1.0, compared.interval
    supported = interval is not None and interval.excludes(1)
    return (
        f"is {number(100 * abs(ratio - 1), 3)}% {'larger' if ratio >= 1 else 'smaller'} "
        f"(ratio {number(ratio, 3)}{bounds(interval)}, over {counted_cells(compared.cells)}); "
        f"larger than the limit: {_yes_or_no(true=ratio > 1 + limit.threshold)}; "
        f"statistically supported: {_yes_or_no(true=supported)}"
    )


def _yes_or_no(*, true: bool) -> str:
    return "yes" if true else "no"
