"""What a session refuses on a GPU, shown where there is none: the device is pretended."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from bsr import engines
from bsr.data.images import Split
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.machine import device as machine
from bsr.plugin import checks, estimate
from bsr.run import Execution, Run

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
        checks.execution(options, RUNS, 0)
    options.workers = None
    assert checks.execution(options, RUNS, 0)[1] == 0


class Clock:
    """The seconds that a pretended GPU has taken."""

    now = 0.0
    met = False

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


class TimedGpu:
    """A Learner on a GPU that takes 20 s the first time, and something for every start and every wait."""

    def __init__(self, _model: Any, run: Run, split: Split, _execution: Execution) -> None:
        self.run, self.images = run, len(split.test_images)
        self.warmup_seconds = 2.0 if CLOCK.met else 20.0
        CLOCK.met = True
        CLOCK.now += self.warmup_seconds

    def train_epoch(self, order: Tensor, _deadline: float) -> Tensor:
        CLOCK.now += 0.02 + len(order) / self.run.batch_size * 0.001
        return torch.zeros(self.run.steps_per_epoch)

    def evaluate(self, _images: Tensor, _labels: Tensor) -> None:
        CLOCK.now += 0.01 + self.images * 1e-6


def test_the_estimate_of_a_gpu_counts_whole_graphs_evaluations_and_the_warm_up_of_each_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(task="mean", batch_size=32, seed=1, learning_rate=0.001)
    monkeypatch.setattr(engines, "learner", lambda _name: TimedGpu)
    monkeypatch.setattr(estimate, "time", CLOCK)
    monkeypatch.setattr(machine, "synchronise", lambda _device: None)
    expected = estimate.Forecast()
    expected.probe(Execution(device="cuda:0", engine="graph"), run)
    assert expected.problem == ""
    training_seconds = 10 * (0.02 + 1875 * 0.001)
    evaluation_seconds = 11 * (0.01 + 10_000 * 1e-6)
    assert expected.run(run) == pytest.approx(2 + training_seconds + evaluation_seconds, rel=0.2)
