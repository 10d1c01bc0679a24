"""The benchmark JSON: pytest-benchmark's own document, built through its hooks, as strict JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bsr.plugin.session import Session
from bsr.schema import SessionRecord
from bsr.strict_json import plain


def machine_info(session: Session) -> dict[str, Any]:
    """The fingerprint, where GPUs are told apart."""
    return session.header.environment | {
        "precision": session.options.grid.precision,
        "dataset_digest": session.header.dataset_digest,
    }


def benchmarks(config: pytest.Config) -> list[Any]:
    """What pytest-benchmark has measured, the started and never finished among it."""
    session = getattr(config, "_benchmarksession", None)
    return list(session.benchmarks) if session is not None else []


def document(config: pytest.Config, record: SessionRecord | None) -> dict[str, Any]:
    """What the host would have written, and every planned case beside it under "bsr"."""
    hook = config.hook
    measured = benchmarks(config)
    machine = hook.pytest_benchmark_generate_machine_info(config=config)
    hook.pytest_benchmark_update_machine_info(config=config, machine_info=machine)
    commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
    made: dict[str, Any] = hook.pytest_benchmark_generate_json(
        config=config,
        benchmarks=measured,
        include_data=True,
        machine_info=machine,
        commit_info=commit_info,
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=measured, output_json=made)
    if record is not None:
        made["bsr"] = plain(record)
    return made


def text(made: dict[str, Any]) -> bytes:
    """The document as indented, strict JSON."""
    return msgspec.json.format(msgspec.json.encode(plain(made)), indent=1) + b"\n"
