"""Results of `bsr.train` as a benchmark JSON, which is read, drawn, compared and merged as a session's is."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bsr.experiments import EXPERIMENTS, Experiment
from bsr.machine import device as machine
from bsr.records.document import document, encoded, entry
from bsr.records.journal import History
from bsr.records.reading import RefusedError
from bsr.records.reading.check import check
from bsr.records.reading.json_file import check_written, named, refusing
from bsr.records.replacing import check_target, kept_note, replace
from bsr.records.schema import Case, SessionRecord, sparse
from bsr.result import FINISHED, Result
from bsr.run import RUN_FIELDS, Execution
from bsr.text import printable
from bsr.text.strict_json import plain


def write(path: str | os.PathLike[str], results: Iterable[Result], experiment: str = "batch-size") -> Path:
    """Write Results as one benchmark JSON, whole or not at all; returns its path.

    `experiment` says what they are for: one of bsr.EXPERIMENTS, whose chapters the report then draws (in
    `batch-size` Runs of a task differ by batch size and seed alone), or any other name, which it draws over
    the batch size. A recording of that name that holds more is kept under another, with a warning.

    Raises RefusedError, one line, where the Results are no recording that bsr.read would read, or the path is
    not for one.
    """
    path, chosen = _path(path), _checked(results)
    if not isinstance(experiment, str) or not experiment:
        raise RefusedError(
            f"experiment: expected a name, got {experiment!r:.40}; name one of bsr.EXPERIMENTS"
        )
    check_target(path, printable(str(path)))
    session = _session(chosen, experiment)
    with refusing(path):
        check(session)
        finished = (case for case in session.cases if case.result.status in FINISHED)
        made = document(session, (entry(case, experiment) for case in finished))
        content = encoded(made)
        check_written(session, content)
    try:
        kept = replace(path, made, content)
    except OSError as error:
        raise RefusedError(
            f"{printable(str(path))}: expected to write there, got {error}; choose another name or folder"
        ) from error
    for note in kept_note(path, kept):
        warnings.warn(note, stacklevel=2)
    return path


def _path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise RefusedError(f"path: expected one that ends in .json, got {type(path).__name__}; give a path")
    return Path(path)


def _checked(results: object) -> tuple[Result, ...]:
    """Results as a reader will have them. Raises RefusedError for the first that none could read."""
    if not isinstance(results, Iterable) or isinstance(results, str | bytes):
        raise RefusedError(
            f"results: expected Results of bsr.train, got {type(results).__name__}; put them into a list"
        )
    return tuple(_as_read(f"results[{index}]", result) for index, result in enumerate(results))


def _as_read(name: str, result: object) -> Result:
    if not isinstance(result, Result):
        raise RefusedError(
            f"{name}: expected a Result of bsr.train, got {type(result).__name__}; leave it out"
        )
    try:
        return msgspec.convert(plain(sparse(result)), Result)
    except msgspec.ValidationError as error:
        said = named(str(error)).replace("$", name, 1)
        raise RefusedError(f"{said}; give what bsr.train returned") from error


def _session(results: Sequence[Result], experiment: str) -> SessionRecord:
    named = EXPERIMENTS.get(experiment) or Experiment(experiment, None, _varied(results))
    ends = sorted(result.finished_at for result in results if result.finished_at)
    cases = [
        Case(key=result.run.key, cases={experiment: named.case_id(result.run)}, result=result)
        for result in results
    ]
    return History(environments=_environments(results)).exported(
        cases,
        preset="",
        experiments=(experiment,),
        command="",
        dataset_digest=_dataset_digest(results),
        started_at=ends[0] if ends else "",
        finished_at=ends[-1] if ends else "",
        wall_seconds=sum(result.wall_seconds for result in results),
    )


def _varied(results: Sequence[Result]) -> tuple[str, ...]:
    """The fields that tell these Runs apart, beside task, batch size and seed."""
    free = {"task", "batch_size", "seed", "model"}  # in every label
    values = {name: {getattr(result.run, name) for result in results} for name in RUN_FIELDS}
    return tuple(name for name, found in values.items() if len(found) > 1 and name not in free)


def _dataset_digest(results: Sequence[Result]) -> str:
    digests = sorted({result.dataset_digest for result in results})
    if len(digests) > 1:
        raise RefusedError(f"results: expected one data set, got pixels of digests {', '.join(digests)}")
    return "".join(digests)


def _environments(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """The fingerprints that the Results name; of another machine than this one only the name is known."""
    named: dict[str, dict[str, Any]] = {result.environment: {} for result in results if result.environment}
    ways = {(result.engine, result.device, result.threads) for result in results if result.environment}
    for (engine, device, threads), deterministic in itertools.product(sorted(ways), (False, True)):
        with contextlib.suppress(machine.DeviceError):
            machine.resolve_device(device)
            about = machine.fingerprint(
                Execution(engine=engine, device=device, threads=threads, deterministic=deterministic)
            )
            named |= {about["id"]: about} if about["id"] in named else {}
    return named
