"""The benchmark JSON: pytest-benchmark's own document, built through its hooks, written strictly and whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bsr import durable
from bsr.document import Study


def document(config: pytest.Config, study: Study | None) -> dict[str, Any]:
    """What the host would have written, and every planned case beside it under "bsr"."""
    hook = config.hook
    benchmarks = list(config._benchmarksession.benchmarks)  # type: ignore[attr-defined] # noqa: SLF001 - the host's own list
    machine_info = hook.pytest_benchmark_generate_machine_info(config=config)
    hook.pytest_benchmark_update_machine_info(config=config, machine_info=machine_info)
    commit_info = hook.pytest_benchmark_generate_commit_info(config=config)
    hook.pytest_benchmark_update_commit_info(config=config, commit_info=commit_info)
    made: dict[str, Any] = hook.pytest_benchmark_generate_json(
        config=config, benchmarks=benchmarks, include_data=True, machine_info=machine_info, commit_info=commit_info
    )
    hook.pytest_benchmark_update_json(config=config, benchmarks=benchmarks, output_json=made)
    if study is not None:
        made["bsr"] = asdict(study)
    return made


def write(path: Path, made: dict[str, Any]) -> None:
    """Strict JSON (what is not finite is null, what JSON cannot say is its text), whole or not at all."""
    durable.replace_file(path, msgspec.json.format(msgspec.json.encode(made, enc_hook=repr), indent=1) + b"\n")
