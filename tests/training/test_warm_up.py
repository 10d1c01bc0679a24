"""What a device meets first it meets before the clock starts, and the network is as untrained as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from bsr.engines.eager import EagerLearner
from bsr.machine import device as machine
from bsr.run import Run
from bsr.training.loop import initial_model, train
from trainings import CPU, made_split

RUN = Run(task="mean", batch_size=16, seed=3, learning_rate=0.0015, epochs=1, train_images=37, test_images=9)


class Warmed(EagerLearner):
    """Warmed up as on a device, and notes the batches."""

    def __init__(self, *arguments: object) -> None:
        self.batches: list[int] = []
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.warmup_seconds = self._warm_up()
        self.met, self.batches = self.batches, []

    def _loss(self, index: Tensor) -> Tensor:
        self.batches.append(len(index))
        return super()._loss(index)


def warmed(run: Run) -> Warmed:
    return Warmed(initial_model(run.seed)[0], run, made_split(run), CPU)


@pytest.mark.parametrize(
    ("batch_size", "steps", "met"),
    [(16, 0, [16, 5]), (37, 0, [37]), (100, 0, [37]), (16, 4, [16]), (50, 4, [50])],
)
def test_both_shapes_of_batches_are_met(batch_size: int, steps: int, met: list[int]) -> None:
    run = replace(RUN, batch_size=batch_size, steps=steps, epochs=0 if steps else 1)
    assert warmed(run).met == met


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_warmed_network_trains_as_one_that_was_not_to_the_last_bit(
    optimiser: Literal["adam", "sgd"],
) -> None:
    run = replace(RUN, optimiser=optimiser, learning_rate=1e-6, epochs=2)
    cold, warm = (train(run, made_split(run), CPU, learner) for learner in (EagerLearner, Warmed))
    assert warm.test_mse == cold.test_mse
    assert warm.training_loss == cold.training_loss
    assert warm.warmup_seconds > 0
    assert cold.warmup_seconds == 0


def test_a_schedule_begins_anew_after_it() -> None:
    run = replace(RUN, steps=4, epochs=0, schedule="linear")
    cold, warm = (train(run, made_split(run), CPU, learner) for learner in (EagerLearner, Warmed))
    assert warm.test_mse == cold.test_mse


def test_a_runs_memory_is_its_own_peak_above_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 350)
    before = machine.reset_peak_memory("cuda:0")
    assert machine.peak_memory_bytes("cuda:0", before) == 250
