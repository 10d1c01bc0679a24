"""Several studies of one environment as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Final

from bsr.records.reading import Recording, RefusedError
from bsr.records.reading.check import FaultError, check
from bsr.records.schema import Case, SessionRecord
from bsr.result import FINISHED, Result
from reports.cells import Cells
from reports.compare.guards import differences
from reports.merge.sources import Source
from reports.text import listed, printable

_OF_THE_SESSION: Final = frozenset(
    (
        "training_seconds",
        "device_seconds",
        "evaluation_seconds",
        "setup_seconds",
        "warmup_seconds",
        "wall_seconds",
        "finished_at",
        "peak_memory_bytes",
        "gpu",
    )
)
"""What differs between two results of one Run that was trained twice to the same end."""


def merged(sources: Sequence[Source], *, keep_first: bool = False) -> SessionRecord:
    """One study of all. Raises RefusedError where they are of different trainings, machines or results.

    With `keep_first`, of a Run that several files trained to the same end, the first one's times are kept.
    """
    for other in sources[1:]:
        _check_mergeable(sources[0], other)
    studies = [source.session for source in sources]
    cases = _cases(sources, keep_first=keep_first)
    session = SessionRecord(
        preset=listed(dict.fromkeys(session.preset for session in studies)),
        experiments=tuple(dict.fromkeys(name for session in studies for name in session.experiments)),
        command=" && ".join(dict.fromkeys(session.command for session in studies if session.command)),
        options=_options(sources),
        dataset_digest=studies[0].dataset_digest,
        started_at=min(session.started_at for session in studies),
        finished_at=max(session.finished_at for session in studies),
        wall_seconds=sum(session.wall_seconds for session in studies),
        planned=len(cases),
        finished=sum(case.result.status in FINISHED for case in cases),
        environments={name: about for session in studies for name, about in session.environments.items()},
        cases=cases,
        labels=tuple(_once(sources, "labels", ("dataset", "task", "split"))),
        harness=tuple(_once(sources, "harness", ("loop", "batch_size", "threads", "model", "dataset"))),
        noise=tuple(_once(sources, "noise", ("dataset", "task", "batch_size", "seed"))),
        rates=tuple(_once(sources, "rates", ("task", "batch_size", "steps", "schedule"))),
    )
    try:
        check(session)
    except FaultError as fault:
        raise RefusedError(f"the files together: {fault}") from fault
    return session


def _check_mergeable(first: Source, other: Source) -> None:
    """Raises RefusedError, with each field and both values, unless both have one grid and one machine.

    Files without an experiment in common may be of two machines: nothing of one is compared with the other's.
    """
    files = [Cells(Recording(path=source.path, session=source.session)) for source in (first, other)]
    shared = {name for case in first.session.cases for name in case.cases} & {
        name for case in other.session.cases for name in case.cases
    }
    found = [*differences(*files), *(_unlike_machines(first, other) if shared else ())]
    if found:
        said = "; ".join(
            f"{field} is {_short(one)} in {first.name} and {_short(its)} in {other.name}"
            for field, one, its in found
        )
        raise RefusedError(f"expected files of one environment and one grid, got unlike ones: {said}")


def _unlike_machines(first: Source, other: Source) -> Iterator[tuple[str, object, object]]:
    """(field, first's value, other's value) where each file has a machine that the other has not."""
    known = {name: about for name, about in first.machines.items() if name not in other.machines}
    unknown = {name: about for name, about in other.machines.items() if name not in first.machines}
    if known and unknown:
        (identity, about), (its_identity, its) = next(iter(known.items())), next(iter(unknown.items()))
        names = [name for name in dict.fromkeys([*about, *its]) if name != "id"]
        fields_ = [
            (name, about.get(name), its.get(name)) for name in names if about.get(name) != its.get(name)
        ]
        yield from fields_ or [("environment", identity, its_identity)]
    engines = [sorted({case.result.engine for case in one.session.cases} - {""}) for one in (first, other)]
    if not (known and unknown) and all(engines) and engines[0] != engines[1]:
        yield "engine", listed(engines[0]), listed(engines[1])
    networks = _networks(first) & _networks(other)  # each has a kernel of its own
    kernels = [_kernels(source, networks) for source in (first, other)]
    if all(kernels) and kernels[0] != kernels[1] and engines[0] == engines[1]:
        yield "kernel", listed(kernels[0]), listed(kernels[1])


def _networks(source: Source) -> set[tuple[str, str]]:
    """Networks, with the data sets that they were trained on."""
    return {(case.result.run.model, case.result.run.dataset) for case in source.session.cases}


def _kernels(source: Source, networks: set[tuple[str, str]]) -> list[str]:
    """Of the engines that gave its results for those networks."""
    results = [case.result for case in source.session.cases if case.result.engine]
    return sorted(
        {
            result.kernel or "none recorded"
            for result in results
            if (result.run.model, result.run.dataset) in networks
        }
    )


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
        names = (field.name for field in fields(Result))
        unlike = [name for name in names if getattr(one, name) != getattr(its, name)]
        trained_alike = _OF_THE_SESSION.issuperset(unlike)
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


def _once(sources: Sequence[Source], part: str, identity: tuple[str, ...]) -> Iterator[Any]:
    """The rows of `labels` or `harness` of all, each once. Raises RefusedError for two unlike ones."""
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
    return (row for _, row in found.values())


def _options(sources: Sequence[Source]) -> dict[str, Any]:
    """The options of all; those in which they differ, one after the other."""
    names = dict.fromkeys(name for source in sources for name in source.session.options)
    options: dict[str, Any] = {}
    for name in names:
        values = [source.session.options[name] for source in sources if name in source.session.options]
        same = all(value == values[0] for value in values)
        options[name] = values[0] if same else "; ".join(dict.fromkeys(map(str, values)))
    return {**options, "merged_from": [source.path.name for source in sources]}
