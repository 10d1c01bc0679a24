"""What must agree before results are resumed, compared, merged, pooled on a page or taken from a worker.

What bears one name is one thing: a data set, the labels of a task on it, a network. The Runs of a task and a
network in an experiment differ by batch size, by seed and by what the experiment varies. What else two
results may differ in labels the series of their times and is never a reason to refuse a comparison: machine,
engine, kernel, threads, and how they were timed. Seeds that are pooled in one file share those too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final, NamedTuple

from bsr.experiments import EXPERIMENTS
from bsr.records.journal import Header
from bsr.records.schema import SessionRecord
from bsr.result import Result, Trait, same_probe
from bsr.run import RUN_FIELDS, Run
from bsr.text import listed

OF_A_MACHINE: Final = ("device_name", "driver", "torch", "tf32_override", "cublas_tf32_override")
"""Of a fingerprint: what a session may differ in from the one that it goes on from only if it says so."""
MEASURED_ANEW: Final = frozenset(
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
"""Of Result: what differs where one Run was trained twice to the same end."""
SERIES: Final = ("environment", "engine", "threads", "timing", "kernel")
"""Of Result: what may differ between results that are compared, and then labels the series of their times."""
NO_KERNEL: Final = "none recorded"


class Unlike(NamedTuple):
    """What should be one and is two."""

    name: str
    one: Any
    other: Any


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Unlike]:
    """Every name that both have, and that is not the same thing in both."""
    return [
        Unlike(name, _shown(one[name]), _shown(other[name]))
        for name in one
        if name in other and not _same(one[name], other[name])
    ]


def _same(one: object, other: object) -> bool:
    probes = isinstance(one, tuple) and isinstance(other, tuple)
    return same_probe(one, other) if probes else one == other  # type: ignore[arg-type]


def _shown(value: object) -> object:
    """Of a probe the first of its numbers."""
    return f"{value[0]:.6g} for the first image" if isinstance(value, tuple) and value else value


def held_against(known: dict[str, Trait], found: Mapping[str, Trait]) -> Unlike | None:
    """The first name of `found` that is known as another thing; where there is none, all of it is known."""
    for difference in unlike(known, found):
        return difference
    known.update(found)
    return None


def identity(session: SessionRecord) -> dict[str, Trait]:
    """Digests of all that a recording's results rest on, by name."""
    found: dict[str, Trait] = {"dataset digest": session.dataset_digest}
    for case in session.cases:
        found |= case.result.identity
    return found


def fixed(experiment: str) -> tuple[str, ...]:
    """Fields in which all Runs of a task and a network agree; none of an experiment that is not declared."""
    if experiment not in EXPERIMENTS:
        return ()
    free = {"task", "batch_size", "seed", "model", *EXPERIMENTS[experiment].varies}
    return tuple(name for name in RUN_FIELDS if name not in free)


Place = tuple[str, str, str]
"""Experiment, task and network."""


def places(session: SessionRecord) -> dict[Place, Run]:
    """Every place of a recording, with one of its Runs, which are alike in what is fixed."""
    runs = ((name, case.result.run) for case in session.cases for name in case.cases)
    return {(name, run.task, run.model): run for name, run in runs}


def unlike_trainings(one: SessionRecord, other: SessionRecord) -> list[Unlike]:
    """Why results of two recordings must not stand side by side: other data, labels, networks or settings."""
    return [*unlike(identity(one), identity(other)), *_unlike_settings(places(one), places(other))]


def _unlike_settings(one: Mapping[Place, Run], other: Mapping[Place, Run]) -> Iterator[Unlike]:
    """By field, with the places where it differs, unless it does so everywhere alike."""
    shared = [place for place in one if place in other]
    several = len({experiment for experiment, _, _ in shared}) > 1
    for field in RUN_FIELDS:
        found = [
            Unlike(
                f"{field} of task {task}" + f" in {experiment}" * several,
                getattr(one[experiment, task, model], field),
                getattr(other[experiment, task, model], field),
            )
            for experiment, task, model in shared
            if field in fixed(experiment)
        ]
        differing = [entry for entry in found if entry.one != entry.other]
        everywhere = len(differing) == len(found) and len({entry[1:] for entry in differing}) == 1
        yield from [differing[0]._replace(name=field)] if everywhere else differing


def members(sessions: Iterable[SessionRecord]) -> dict[str, frozenset[str]]:
    """Experiment -> the keys that any of these recordings names as its: whose results a page pools."""
    named = [(name, case.key) for session in sessions for case in session.cases for name in case.cases]
    return {name: frozenset(key for its, key in named if its == name) for name in dict(named)}


def unlike_circumstances(
    one: SessionRecord,
    other: SessionRecord,
    pooled: Mapping[str, Collection[str]],
    *,
    several_machines: bool = False,
) -> list[Unlike]:
    """Why seeds of two recordings must not be pooled: in one experiment, other machines, engines or kernels.

    `pooled` is what `members` says of all that come together. Files without an experiment in common may be of
    two machines: nothing of one is pooled with the other's. `several_machines` allows it of those that have.
    """
    found: list[Unlike] = []
    for keys in pooled.values():
        mine, its = (_trained(session, keys) for session in (one, other))
        machines = [] if several_machines else _unlike_machines(one, other, mine, its)
        found += machines or _unlike_engines(mine, its)
    return list(dict.fromkeys(found))


def _trained(session: SessionRecord, keys: Collection[str]) -> list[Result]:
    """Those with a figure: what failed or was interrupted is pooled with nothing."""
    results = (case.result for case in session.cases if case.key in keys)
    return [result for result in results if result.test_mse]


def _unlike_machines(
    one: SessionRecord, other: SessionRecord, mine: Iterable[Result], its: Iterable[Result]
) -> list[Unlike]:
    """Where each has a machine that the other has not: what their fingerprints say otherwise."""
    names, others = ({result.environment for result in results} - {""} for results in (mine, its))
    if names <= others or others <= names:
        return []
    first, second = min(names - others), min(others - names)
    about, its_about = one.environments.get(first, {}), other.environments.get(second, {})
    said = dict.fromkeys(name for name in (*about, *its_about) if name != "id")
    whole = ({name: fingerprint.get(name) for name in said} for fingerprint in (about, its_about))
    return unlike(*whole) or [Unlike("environment", first, second)]


def _unlike_engines(mine: Collection[Result], its: Collection[Result]) -> list[Unlike]:
    """Where both trained, and not by the same engines; or by the same and a network by other kernels."""
    known = [[result for result in results if result.engine] for results in (mine, its)]
    if not all(known):
        return []
    engines = [{"engine": listed(sorted({result.engine for result in results}))} for results in known]
    of_networks = unlike(*map(_kernels, known))
    return unlike(*engines) or [Unlike("kernel", one, other) for _, one, other in of_networks]


def _kernels(results: Iterable[Result]) -> dict[str, str]:
    """Network and images -> the kernels that trained it: each has one of its own."""
    found: dict[str, set[str]] = {}
    for result in results:
        found.setdefault(f"{result.run.model} on {result.run.dataset}", set()).add(result.kernel or NO_KERNEL)
    return {name: listed(sorted(kernels)) for name, kernels in found.items()}


def unlike_results(one: Result, other: Result) -> list[str]:
    """The fields in which two results of one Run differ."""
    return [field.name for field in fields(Result) if getattr(one, field.name) != getattr(other, field.name)]


def unlike_sessions(before: Header, now: Header, *, elsewhere: bool) -> list[Unlike]:
    """What would be mixed if `now` went on where `before` stopped.

    `elsewhere` allows another device, driver or torch, which are then recorded per result.
    """
    found = unlike(*(_of_a_session(header, elsewhere=elsewhere) for header in (before, now)))
    for name in RUN_FIELDS:
        old_values, new_values = ({getattr(run, name) for run in header.planned} for header in (before, now))
        if old_values != new_values:
            found.append(Unlike(name, _some(old_values - new_values), _some(new_values - old_values)))
    old, new = ({run.key: run.label for run in header.planned} for header in (before, now))
    if not found and old.keys() != new.keys():
        only = ([one[key] for key in one.keys() - its.keys()] for one, its in ((old, new), (new, old)))
        found.append(Unlike("planned cases", *map(_some, only)))
    return found


def _of_a_session(header: Header, *, elsewhere: bool) -> dict[str, object]:
    """What is one from a session's begin to its end, however often it is resumed."""
    said = {
        "dataset digest": header.dataset_digest,
        "engine": header.execution.engine,
        "kernel": header.kernel or NO_KERNEL,
        "threads": header.environment.get("threads"),
        "deterministic": header.execution.deterministic,
        "trained in": header.place,
    }
    if elsewhere:
        return said
    device = str(header.environment.get("device")).partition(":")[0]  # two GPUs of one model are one kind
    return said | {"device": device} | {name: header.environment.get(name) for name in OF_A_MACHINE}


def _some(values: Iterable[Any]) -> str:
    """The first few values that only one side has."""
    ordered = [str(value) for value in sorted(values, key=lambda value: (value is None, value))]
    more = f" and {len(ordered) - 4} more" if len(ordered) > 4 else ""
    return f"{', '.join(ordered[:4])}{more}" or "no other"
