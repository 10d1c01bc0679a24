"""How long a session will take: a few warm-up steps of each batch size, then what the cases really took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Final

import torch

from bsr import engines, machine, training
from bsr.data import load_split
from bsr.experiment import Execution, Run

PROBE_STEPS: Final = 3
PROBE_TEST_IMAGES: Final = 500
PROBED_BATCH_SIZES: Final = (1, 4, 16, 64, 256, 1024)
"""Between them a step's seconds are interpolated; above and below, taken as proportional and constant."""


class Estimate:
    """Expected wall seconds of Runs on this machine, corrected by those that have finished."""

    def __init__(self, execution: Execution, example: Run, workers: int = 0) -> None:
        """Trains `PROBE_STEPS` steps per probed batch size on the example's data; the steps are thrown away."""
        self.workers = max(1, workers)
        self._steps: list[tuple[int, float]] = []
        self._evaluation = 0.0
        self._expected = self._taken = 0.0
        largest = min(PROBED_BATCH_SIZES[-1], example.train_images)
        for size in dict.fromkeys(min(size, largest) for size in PROBED_BATCH_SIZES):
            self._steps.append((size, self._probe(execution, replace(example, batch_size=size))))

    def _probe(self, execution: Execution, run: Run) -> float:
        """Seconds per step; also notes the seconds of an evaluation per image."""
        run = replace(run, test_images=min(PROBE_TEST_IMAGES, run.test_images))
        split = load_split(run, execution.data)
        order = torch.arange(run.batch_size * PROBE_STEPS) % run.train_images
        with machine.configured(run.precision, execution):
            learner = engines.learner(execution.engine)(training.initial_model(run.seed)[0], run, split, execution)
            learner.train_epoch(order[: run.batch_size], math.inf)
            seconds = _timed(lambda: learner.train_epoch(order, math.inf), execution.device)
            self._evaluation = _timed(learner.evaluate, execution.device) / run.test_images
        return seconds / PROBE_STEPS

    def run(self, run: Run) -> float:
        """Seconds of one Run: training and evaluation."""
        training_seconds = run.epochs * run.steps_per_epoch * self._step(run.batch_size)
        return training_seconds + (run.epochs + 1) * run.test_images * self._evaluation

    def _step(self, size: int) -> float:
        smallest, largest = self._steps[0], self._steps[-1]
        if size <= smallest[0]:
            return smallest[1]
        for (left, low), (right, high) in pairwise(self._steps):
            if left <= size <= right:
                return low + (high - low) * (size - left) / (right - left)
        return largest[1] * size / largest[0]

    def total(self, runs: Iterable[Run]) -> float:
        """Seconds of all these Runs, as many at once as there are workers."""
        correction = self._taken / self._expected if self._expected else 1.0
        return correction * sum(self.run(run) for run in runs) / self.workers

    def learn(self, run: Run, seconds: float) -> None:
        """A Run took so long."""
        self._expected += self.run(run)
        self._taken += seconds


def _timed(call: object, device: str) -> float:
    assert callable(call)
    began = time.perf_counter()
    call()
    machine.synchronise(device)
    return time.perf_counter() - began


def duration(seconds: float) -> str:
    """Seconds for people: `12 s`, `3 min 50 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
