"""The one door to what sessions recorded: benchmark JSON and journals, bounded, strict, checked.

`bsr.read(path)` gives a Recording, typed and as tidy tables. Needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from glob import escape, glob
from itertools import combinations
from pathlib import Path
from typing import Any

from bsr.records import agreement, journal
from bsr.records.durable import is_journal
from bsr.records.reading import journal_file, json_file
from bsr.records.reading.check import FaultError, RefusedError, check
from bsr.records.reading.json_file import is_benchmark_json, raw_document
from bsr.records.reading.recording import Recording
from bsr.records.schema import PROBES, Case, SessionRecord, row_fields
from bsr.result import FINISHED, LESS, Result
from bsr.text import listed, printable

__all__ = [
    "Recording",
    "RefusedError",
    "is_benchmark_json",
    "is_pattern",
    "merged",
    "one_of",
    "raw_document",
    "read",
    "read_all",
]


def read(
    path: str | os.PathLike[str],
    *,
    keep_first: bool = False,
    several_machines: bool = False,
    without: Iterable[Path] = (),
) -> Recording:
    """A recording: a benchmark JSON, or the journal of a session, whose name ends in .jsonl.

    Either may be compressed, `run.json.gz`.

    A pattern, `runs/*.json`, is every file of it as one study, as `python -m reports merge` makes one, with
    `keep_first` and `several_machines` as in `merged`; of `without` no file is taken: what is being written
    is none of its own sources.
    Raises RefusedError, whose message is one line: name, expected, got, remedy.
    """
    if not isinstance(path, str | os.PathLike):
        raise RefusedError(f"path: expected that of a recording, got {type(path).__name__}; give its path")
    path = Path(path)
    if not is_pattern(path):
        return _with_notes(journal_file.read(path) if is_journal(path) else json_file.read(path))
    left_out = {one.resolve() for one in without}
    matching = (Path(name) for name in sorted(glob(str(path), recursive=True)))  # noqa: PTH207 - whole paths
    found = [one for one in matching if one.resolve() not in left_out]
    if not found:
        raise RefusedError(f"{printable(str(path))}: expected files of that pattern, got none; name others")
    alone = [read(one) for one in found]
    return one_of(alone, path, keep_first=keep_first, several_machines=several_machines)


def _with_notes(recording: Recording) -> Recording:
    """With a note where it is of a user's own code and was made before that code was recorded."""
    if not any(result.says_less for result in recording.results):
        return recording
    said = f"{printable(recording.path.name)} {LESS}"
    return replace(recording, notes=(*recording.notes, said))


def is_pattern(path: Path) -> bool:
    """Whether it stands for all files that it matches; a file that is so called is itself."""
    return escape(str(path)) != str(path) and not os.path.lexists(path)


def read_all(paths: Iterable[Path]) -> tuple[list[Recording], list[RefusedError]]:
    """Every file that can be read, and why each other one cannot: a bad file never stops a good one."""
    good, bad = [], []
    for path in paths:
        try:
            good.append(read(path))
        except RefusedError as refusal:
            bad.append(refusal)
    return good, bad


def one_of(
    recordings: Sequence[Recording], path: Path, *, keep_first: bool = False, several_machines: bool = False
) -> Recording:
    """All of them as one that is called `path`; machine and commit are the first's that has any."""
    return Recording(
        path=path,
        session=merged(recordings, keep_first=keep_first, several_machines=several_machines),
        machine=next((one.machine for one in recordings if one.machine), {}),
        commit=next((one.commit for one in recordings if one.commit), {}),
        notes=tuple(note for one in recordings for note in one.notes),
    )


def merged(
    recordings: Sequence[Recording], *, keep_first: bool = False, several_machines: bool = False
) -> SessionRecord:
    """One study of all. Raises RefusedError where they are of different trainings, machines or results.

    With `keep_first`, of a Run that several files trained to the same end, the first one's times are kept.
    With `several_machines` an experiment may have been trained on several: each Run keeps its own.
    """
    studies = [recording.session for recording in recordings]
    pooled = agreement.members(studies)
    for first, other in combinations(recordings, 2):
        _check_mergeable(first, other, pooled, several_machines=several_machines)
    history = journal.History()
    for study in studies:
        history.environments |= study.environments
    session = history.exported(
        _cases(recordings, keep_first=keep_first),
        preset=listed(dict.fromkeys(study.preset for study in studies)),
        experiments=tuple(dict.fromkeys(name for study in studies for name in study.experiments)),
        command=" && ".join(dict.fromkeys(study.command for study in studies if study.command)),
        options=_options(recordings),
        dataset_digest=studies[0].dataset_digest,
        started_at=min(study.started_at for study in studies),
        finished_at=max(study.finished_at for study in studies),
        wall_seconds=sum(study.wall_seconds for study in studies),
        rates=_once(recordings, "rates", ("task", "batch_size", "steps", "schedule")),
        settings=_once(recordings, "settings", ("problem", "among")),
        **{kind: _once(recordings, kind, row_fields(kind)) for kind in PROBES},
    )
    try:
        check(session)
    except FaultError as fault:
        raise RefusedError(f"the files together: {fault}") from fault
    return session


def _check_mergeable(
    first: Recording, other: Recording, pooled: Mapping[str, Collection[str]], *, several_machines: bool
) -> None:
    """Raises RefusedError, with each field and both values, unless both have one grid and one machine."""
    pair = first.session, other.session
    trainings = agreement.unlike_trainings(*pair)
    allowed, refused = (
        agreement.unlike_circumstances(*pair, pooled, several_machines=each)
        for each in (True, several_machines)
    )
    if found := [*trainings, *refused]:
        remedy = "; add --several-machines to allow it" * (not trainings and not allowed)
        said = "; ".join(
            f"{field} is {_short(one)} in {_name(first)} and {_short(its)} in {_name(other)}"
            for field, one, its in found
        )
        raise RefusedError(f"expected files of one environment and one grid, got unlike ones: {said}{remedy}")


def _name(recording: Recording) -> str:
    return printable(str(recording.path))


def _short(value: object) -> str:
    return printable(str(value), 60)


def _cases(recordings: Sequence[Recording], *, keep_first: bool) -> tuple[Case, ...]:
    """Every planned case once, with the best that any source says of it; experiments of all."""
    found: dict[str, tuple[Recording, Case]] = {}
    for recording in recordings:
        for case in recording.session.cases:
            held = found.get(case.key)
            if held is None:
                found[case.key] = recording, case
                continue
            named = {**held[1].cases, **case.cases}
            holder, chosen = _better(held, (recording, case), keep_first=keep_first)
            found[case.key] = holder, replace(chosen, cases=named)
    return tuple(case for _, case in found.values())


def _better(
    held: tuple[Recording, Case], other: tuple[Recording, Case], *, keep_first: bool
) -> tuple[Recording, Case]:
    """What is finished over what is not. Raises RefusedError for two different results of one Run."""
    one, its = held[1].result, other[1].result
    if one.status in FINISHED and its.status in FINISHED and one != its:
        unlike = agreement.unlike_results(one, its)
        trained_alike = agreement.MEASURED_ANEW.issuperset(unlike)
        if keep_first and trained_alike:
            return held
        more = f" and {len(unlike) - 4} more" if len(unlike) > 4 else ""
        keep = ", or add --keep-first to keep the first one's times" * trained_alike
        raise RefusedError(
            f"{one.run.label} ({one.run.key}): expected one result, got one in {_name(held[0])} and "
            f"another in {_name(other[0])}, unlike in {', '.join(unlike[:4])}{more}; "
            f"leave one of the files out{keep}"
        )
    return other if _worth(its) > _worth(one) else held


def _worth(result: Result) -> int:
    """How much a result says: a finished one, a failure with its reason, one that was interrupted, none."""
    if result.status in FINISHED:
        return 3
    return {"not_run": 0, "interrupted": 1}.get(result.status, 2)


def _once(recordings: Sequence[Recording], part: str, identity: tuple[str, ...]) -> tuple[Any, ...]:
    """The rows of a list of all, each once. Raises RefusedError for two unlike ones."""
    found: dict[tuple[object, ...], tuple[Recording, object]] = {}
    for recording in recordings:
        for row in getattr(recording.session, part):
            name = tuple(getattr(row, field) for field in identity)
            holder, held = found.setdefault(name, (recording, row))
            if held != row:
                raise RefusedError(
                    f"{part} of {printable(listed(name), 80)}: expected the same in {_name(holder)} and "
                    f"{_name(recording)}, got unlike ones; leave one of the files out"
                )
    return tuple(row for _, row in found.values())


def _options(recordings: Sequence[Recording]) -> dict[str, Any]:
    """The options of all; those in which they differ, one after the other."""
    names = dict.fromkeys(name for recording in recordings for name in recording.session.options)
    options: dict[str, Any] = {}
    for name in names:
        values = [
            recording.session.options[name] for recording in recordings if name in recording.session.options
        ]
        same = all(value == values[0] for value in values)
        options[name] = values[0] if same else "; ".join(dict.fromkeys(map(str, values)))
    return {**options, "merged_from": [recording.path.name for recording in recordings]}
