"""How long a session will take: a few warm-up steps of some batch sizes, then what the cases really took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

import torch

from bsr import engines
from bsr.data.images import load_split
from bsr.data.split import TRAINED_ON
from bsr.machine import device as machine
from bsr.run import Execution, Run
from bsr.text.strict_json import one_line
from bsr.training import loop as training

PROBE_STEPS: Final = 3
PROBE_TEST_IMAGES: Final = 500
DEVICE_PROBE_STEPS: Final = 100
"""Beside a CPU: one whole graph, and enough that starting and awaiting it does not decide."""
PROBED_BATCH_SIZES: Final = (32, 512, 4, 128)
"""The most telling first. Between two a step's seconds are interpolated; beyond, proportional or constant."""
PROBE_SECONDS: Final = 1.0
"""No further batch size is probed after this long."""


class Forecast:
    """Expected wall seconds of Runs on this machine, corrected by those that have finished."""

    def __init__(self, workers: int = 0) -> None:
        """Of Runs that are trained as many at once as there are workers; nothing is known until `probe`."""
        self.problem = "nothing was probed"
        """Why nothing is expected; empty where something is."""
        self._workers = max(1, workers)
        self._steps: list[tuple[int, float]] = []
        self._evaluation = self._warm_up = 0.0
        self._expected = self._taken = 0.0

    def probe(self, execution: Execution, example: Run) -> None:
        """Train a few steps per probed batch size on the example's data, and throw them away.

        It never fails: `problem` says what went wrong.
        """
        try:
            self._probe_some(execution, example)
        except Exception as error:  # noqa: BLE001 - the cases themselves will tell what is wrong
            self.problem = one_line(error)
        else:
            self.problem = ""

    def _probe_some(self, execution: Execution, example: Run) -> None:
        if execution.device != "cpu":
            self._probe(execution, example)  # what a process loads and plans once is no Run's
        began = time.perf_counter()
        for size in dict.fromkeys(min(size, example.train_images) for size in PROBED_BATCH_SIZES):
            self._steps.append((size, self._probe(execution, replace(example, batch_size=size))))
            if time.perf_counter() - began > PROBE_SECONDS:
                break
        self._steps.sort()

    def _probe(self, execution: Execution, run: Run) -> float:
        """Seconds per step; also notes those of an evaluation per image, and on a device of a Run's warm-up.

        A device evaluates all images: what it does at once takes no time in proportion to a few.
        """
        few = execution.device == "cpu"
        steps, images = (PROBE_STEPS, PROBE_TEST_IMAGES) if few else (DEVICE_PROBE_STEPS, run.test_images)
        run = replace(
            run,
            train_images=min(run.batch_size * steps, run.train_images),
            test_images=min(images, run.test_images),
        )
        split = load_split(run, execution.data)
        order = torch.arange(run.train_images)
        with machine.configured(run.precision, execution):
            learner = engines.learner(execution.engine)(
                training.initial_model(run.seed, run.model)[0], run, split, execution
            )
            learner.train_epoch(order, math.inf)
            seconds = _timed(lambda: learner.train_epoch(order, math.inf), execution.device)
            evaluate = partial(learner.evaluate, split.test_images, split.test_labels)
            self._evaluation = _timed(evaluate, execution.device) / run.test_images
        self._warm_up = 0.0 if few else learner.warmup_seconds
        return seconds / (run.train_images / run.batch_size)

    def run(self, run: Run) -> float:
        """Seconds of one Run: warm-up, training and evaluation."""
        training_seconds = run.total_steps * self._step(run.batch_size)
        images = run.test_images
        if run.steps:  # those that it trained on, and held-out ones, too
            held_out = run.test_images if run.evaluate_on == "test" else 0
            images += min(run.train_images, TRAINED_ON) + held_out
        return self._warm_up + training_seconds + (run.evaluations + 1) * images * self._evaluation

    def _step(self, size: int) -> float:
        smallest, largest = self._steps[0], self._steps[-1]
        if size <= smallest[0]:
            return smallest[1]
        for (left, low), (right, high) in pairwise(self._steps):
            if left <= size <= right:
                return low + (high - low) * (size - left) / (right - left)
        return largest[1] * size / largest[0]

    def total(self, runs: Iterable[Run], begun: Iterable[tuple[Run, int]] = ()) -> float | None:
        """Seconds of all these Runs, as many at once as there are workers; None where nothing is expected.

        `begun` are those among them that have finished some epochs, with their number.
        """
        return None if self.problem else self.left(sum(map(self.run, runs)), begun)

    def left(self, expected: float, begun: Iterable[tuple[Run, int]] = ()) -> float | None:
        """As `total`, of Runs that were expected to take so many seconds together when nothing was known."""
        if self.problem:
            return None
        correction = self._taken / self._expected if self._expected else 1.0
        done = sum(self.run(run) * epochs / run.evaluations for run, epochs in begun)
        return correction * (expected - done) / self._workers

    def learn(self, run: Run, seconds: float) -> None:
        """A Run took so long, all of it."""
        if not self.problem:
            self._expected += self.run(run)
            self._taken += seconds


def _timed(call: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    call()
    machine.synchronise(device)
    return time.perf_counter() - began


def duration(seconds: float) -> str:
    """Seconds for people: `12 s`, `3 min 50 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
