"""Small trainings that tests share: a Run, its made-up images, and a learner that trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bsr.data.images import Split
from bsr.run import Execution, Run
from bsr.tasks import TASKS
from bsr.training.loop import Evaluation

if TYPE_CHECKING:
    from torch import Tensor

    from bsr.model import RegressionCNN

RUN = Run(task="mean", batch_size=16, seed=3, learning_rate=0.0015, epochs=2, train_images=90, test_images=40)
CPU = Execution(device="cpu", threads=1)


def made_split(run: Run) -> Split:
    """Random images of random brightness, with the labels of the Run's task."""
    generator = torch.Generator().manual_seed(7)

    def images(count: int) -> Tensor:
        noise = torch.rand(count, 28, 28, generator=generator)
        return (noise * torch.rand(count, 1, 1, generator=generator) * 256).to(torch.uint8)

    train_images, test_images = images(run.train_images), images(run.test_images)
    task = TASKS[run.task]
    return Split(train_images, task(train_images), test_images, task(test_images), "made", run.task)


class Puppet:
    """A Learner that trains nothing and shows what it was given."""

    warmup_seconds = 0.0
    losses = 1.0
    mse: float = 2.0
    spread = 1.0
    orders: list[Tensor]

    def __init__(self, _model: RegressionCNN, run: Run, _split: Split, _execution: Execution) -> None:
        self.run = run
        type(self).orders = []

    def train_epoch(self, order: Tensor, _deadline: float) -> Tensor:
        self.orders.append(order)
        return torch.full((self.run.steps_per_epoch,), self.losses)

    def evaluate(self, _images: Tensor, _labels: Tensor) -> Evaluation:
        return Evaluation(self.mse, 1.0, self.spread)

    def weights(self) -> dict[str, Tensor]:
        return {}


def puppet(**behaviour: Any) -> type[Puppet]:
    return type("Puppet", (Puppet,), behaviour)
