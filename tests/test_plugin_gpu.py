"""What a session refuses on a GPU, shown where there is none: the device is pretended."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bsr import engines, machine
from bsr.experiments import PRESETS, batch_size
from bsr.plugin import checks
from bsr.run import Execution

RUNS = tuple(batch_size(PRESETS["smoke"].grid))


@pytest.mark.parametrize("workers", [2, 8])
def test_many_workers_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    def on_cuda(execution: Execution, _runs: Any) -> Execution:
        return replace(execution, device="cuda:0", engine="eager")

    monkeypatch.setattr(engines, "placed", on_cuda)
    monkeypatch.setattr(machine, "resolve_device", lambda name: name)
    options: Any = SimpleNamespace(
        execution=Execution(engine="auto", device="auto"), grid=PRESETS["smoke"].grid, workers=workers
    )
    with pytest.raises(
        pytest.UsageError, match=f"--bsr-workers: expected at most 1 on cuda:0, got {workers}"
    ):
        checks.execution(options, RUNS)
    options.workers = None
    assert checks.execution(options, RUNS)[1] == 0
