"""pytest-benchmark's document, and its entries, around results that no session of it measured or exported."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import msgspec

from bsr.experiments import EXPERIMENTS, Experiment
from bsr.records.schema import Case, SessionRecord, extra_info, group, plain_record

SOMEBODYS_OWN: Final = Experiment("", None)
"""What an experiment is taken for that this version does not declare."""
_UNKNOWN_COMMIT: Final = {
    "id": "unknown",
    "time": None,
    "author_time": None,
    "dirty": False,
    "project": "unknown",
    "branch": "(unknown)",
}
_OPTIONS: Final = {
    "disable_gc": False,
    "timer": "training_seconds",
    "min_rounds": 5,
    "max_time": 1.0,
    "min_time": 5e-06,
    "precision": None,
    "confidence": None,
    "warmup": False,
}
"""As pytest-benchmark records a case of one round that reads the training clock."""


def document(
    session: SessionRecord,
    benchmarks: Iterable[dict[str, Any]],
    machine: dict[str, Any] | None = None,
    commit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole document, `bsr` part included; without a `machine_info` what the fingerprint says."""
    return {
        "machine_info": machine or _machine_info(session),
        "commit_info": commit or _UNKNOWN_COMMIT,
        "benchmarks": list(benchmarks),
        "datetime": datetime.now(UTC).isoformat(),
        "version": version("pytest-benchmark"),
        "bsr": plain_record(session),
    }


def encoded(made: dict[str, Any], own: Callable[[Any], Any] = lambda item: item) -> bytes:
    """A document as JSON, a case or an entry of `benchmarks` to a line.

    `own` makes something of each of these before it is encoded, and of no second one before that is written.
    """
    file = io.BytesIO()
    file.writelines(_pieces(made, own, levels=2))
    file.write(b"\n")
    return file.getvalue()


def _pieces(value: Any, own: Callable[[Any], Any], levels: int) -> Iterator[bytes]:
    """Lists, and objects down to so many levels, with a line to each item."""
    if type(value) is dict and levels and all(type(name) is str and own(name) == name for name in value):
        yield b"{\n"
        for place, (name, item) in enumerate(value.items()):
            yield b",\n" * bool(place) + msgspec.json.encode(name) + b": "
            yield from _pieces(item, own, levels - 1)
        yield b"\n}"
    elif type(value) is list and value:
        yield b"[\n"
        for place, item in enumerate(value):
            yield b",\n" * bool(place) + msgspec.json.encode(own(item))
        yield b"\n]"
    else:
        yield msgspec.json.encode(own(value))


def _machine_info(session: SessionRecord) -> dict[str, Any]:
    """What the fingerprint says, in pytest-benchmark's words."""
    about = next(iter(session.environments.values()), {})
    return {
        "system": str(about.get("system") or "").partition(" ")[0],
        "python_version": about.get("python"),
        "cpu": {"brand_raw": about.get("cpu"), "count": about.get("cpu_cores")},
        "bsr": about,
    }


def entry(case: Case, experiment: str) -> dict[str, Any]:
    """What pytest-benchmark writes for a case of an experiment: one round, the training time."""
    run, case_id = case.result.run, case.cases[experiment]
    name = f"{_function(experiment)}[{case_id}]"
    varied = EXPERIMENTS.get(experiment, SOMEBODYS_OWN).axes([run])
    return {
        "group": group(case.result),
        "name": name,
        "fullname": f"benchmarks/{_function(experiment)}.py::{name}",
        "params": {field: getattr(run, field) for field in varied},
        "param": case_id,
        "extra_info": extra_info(case.result, experiment, resumed=case.resumed),
        "options": _OPTIONS,
        "stats": one_round(case.result.total_training_seconds),
    }


def experiment_in(made: dict[str, Any]) -> str:
    """The experiment that an entry is of: as it says, in earlier recordings by the name of its function."""
    about, function = made.get("extra_info"), str(made.get("name")).partition("[")[0]
    said = about.get("experiment") if isinstance(about, dict) else None
    return str(said or next((name for name in EXPERIMENTS if _function(name) == function), ""))


def _function(experiment: str) -> str:
    return f"test_{experiment.replace('-', '_').replace('.', '')}"


def one_round(seconds: float) -> dict[str, Any]:
    """pytest-benchmark's statistics of a single measurement."""
    same = dict.fromkeys(
        ("min", "max", "mean", "median", "q1", "q3", "ld15iqr", "hd15iqr", "total"),
        seconds,
    )
    return {
        **same,
        "stddev": 0,
        "rounds": 1,
        "iqr": 0.0,
        "iqr_outliers": 0,
        "stddev_outliers": 0,
        "outliers": "0;0",
        "ops": 1 / seconds if seconds else 0,
        "data": [seconds],
        "iterations": 1,
    }
