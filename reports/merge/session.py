"""Several studies of one environment as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from bsr.records import agreement, journal
from bsr.records.reading import RefusedError
from bsr.records.reading.check import FaultError, check
from bsr.records.schema import PROBES, Case, SessionRecord, row_fields
from bsr.result import FINISHED, Result
from reports.merge.sources import Source
from reports.text import listed, printable


def merged(sources: Sequence[Source], *, keep_first: bool = False) -> SessionRecord:
    """One study of all. Raises RefusedError where they are of different trainings, machines or results.

    With `keep_first`, of a Run that several files trained to the same end, the first one's times are kept.
    """
    studies = [source.session for source in sources]
    pooled = agreement.members(studies)
    for first, other in combinations(sources, 2):
        _check_mergeable(first, other, pooled)
    history = journal.History()
    for study in studies:
        history.environments |= study.environments
    session = history.exported(
        _cases(sources, keep_first=keep_first),
        preset=listed(dict.fromkeys(study.preset for study in studies)),
        experiments=tuple(dict.fromkeys(name for study in studies for name in study.experiments)),
        command=" && ".join(dict.fromkeys(study.command for study in studies if study.command)),
        options=_options(sources),
        dataset_digest=studies[0].dataset_digest,
        started_at=min(study.started_at for study in studies),
        finished_at=max(study.finished_at for study in studies),
        wall_seconds=sum(study.wall_seconds for study in studies),
        rates=_once(sources, "rates", ("task", "batch_size", "steps", "schedule")),
        **{kind: _once(sources, kind, row_fields(kind)) for kind in PROBES},
    )
    try:
        check(session)
    except FaultError as fault:
        raise RefusedError(f"the files together: {fault}") from fault
    return session


def _check_mergeable(first: Source, other: Source, pooled: Mapping[str, Collection[str]]) -> None:
    """Raises RefusedError, with each field and both values, unless both have one grid and one machine."""
    pair = first.session, other.session
    found = [*agreement.unlike_trainings(*pair), *agreement.unlike_circumstances(*pair, pooled)]
    if found:
        said = "; ".join(
            f"{field} is {_short(one)} in {first.name} and {_short(its)} in {other.name}"
            for field, one, its in found
        )
        raise RefusedError(f"expected files of one environment and one grid, got unlike ones: {said}")


def _short(value: object) -> str:
    return printable(str(value), 60)


def _cases(sources: Sequence[Source], *, keep_first: bool) -> tuple[Case, ...]:
    """Every planned case once, with the best that any source says of it; experiments of all."""
    found: dict[str, tuple[Source, Case]] = {}
    for source in sources:
        for case in source.session.cases:
            held = found.get(case.key)
            if held is None:
                found[case.key] = source, case
                continue
            named = {**held[1].cases, **case.cases}
            holder, chosen = _better(held, (source, case), keep_first=keep_first)
            found[case.key] = holder, replace(chosen, cases=named)
    return tuple(case for _, case in found.values())


def _better(
    held: tuple[Source, Case], other: tuple[Source, Case], *, keep_first: bool
) -> tuple[Source, Case]:
    """What is finished over what is not. Raises RefusedError for two different results of one Run."""
    one, its = held[1].result, other[1].result
    if one.status in FINISHED and its.status in FINISHED and one != its:
        unlike = agreement.unlike_results(one, its)
        trained_alike = agreement.MEASURED_ANEW.issuperset(unlike)
        if keep_first and trained_alike:
            return held
        more = f" and {len(unlike) - 4} more" if len(unlike) > 4 else ""
        remedy = "leave one of the files out" + ", or add --keep-first" * trained_alike
        raise RefusedError(
            f"{one.run.label} ({one.run.key}): expected one result, got one in {held[0].name} and another in "
            f"{other[0].name}, unlike in {', '.join(unlike[:4])}{more}; {remedy}"
        )
    return other if _worth(its) > _worth(one) else held


def _worth(result: Result) -> int:
    """How much a result says: a finished one, a failure with its reason, one that was interrupted, none."""
    if result.status in FINISHED:
        return 3
    return {"not_run": 0, "interrupted": 1}.get(result.status, 2)


def _once(sources: Sequence[Source], part: str, identity: tuple[str, ...]) -> tuple[Any, ...]:
    """The rows of a list of all, each once. Raises RefusedError for two unlike ones."""
    found: dict[tuple[object, ...], tuple[Source, object]] = {}
    for source in sources:
        for row in getattr(source.session, part):
            name = tuple(getattr(row, field) for field in identity)
            holder, held = found.setdefault(name, (source, row))
            if held != row:
                raise RefusedError(
                    f"{part} of {printable(listed(name), 80)}: expected the same in {holder.name} and "
                    f"{source.name}, got unlike ones; leave one of the files out"
                )
    return tuple(row for _, row in found.values())


def _options(sources: Sequence[Source]) -> dict[str, Any]:
    """The options of all; those in which they differ, one after the other."""
    names = dict.fromkeys(name for source in sources for name in source.session.options)
    options: dict[str, Any] = {}
    for name in names:
        values = [source.session.options[name] for source in sources if name in source.session.options]
        same = all(value == values[0] for value in values)
        options[name] = values[0] if same else "; ".join(dict.fromkeys(map(str, values)))
    return {**options, "merged_from": [source.path.name for source in sources]}
