"""An engine whose trainings end in every way there is, by task and batch size; see faults."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bsr.engines.eager import EagerLearner
from bsr.training.loop import Evaluation, TimeLimitReached


class FaultyLearner(EagerLearner):
    """Trains plainly, but for what its Run's label says below."""

    @property
    def _fate(self) -> str:
        fates = {
            "mean-bs256": "out of memory",
            "std-bs32": "exception",
            "std-bs256": "exit",
            "var-bs32": "not finite",
            "var-bs256": "constant",
            "median-bs32": "too slow",
        }
        return fates.get(f"{self.run.task}-bs{self.run.batch_size}", "")

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        if self._fate == "out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nand more lines")
        if self._fate == "exception":
            raise ValueError("first line\nsecond line \udcff")
        if self._fate == "exit":
            raise SystemExit("a library left")
        losses = super().train_epoch(order, deadline)
        if self._fate == "not finite":
            losses[2:] = math.nan
        if self._fate == "too slow" and self._slowed():
            while time.monotonic() < deadline:
                time.sleep(0.01)
            raise TimeLimitReached
        return losses

    def _slowed(self) -> bool:
        """From the second epoch on."""
        self.epochs = getattr(self, "epochs", 0) + 1
        return self.epochs == 2

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        measured = super().evaluate(images, labels)
        if self._fate == "constant":
            return replace(measured, prediction_spread=0.0)
        return measured


class LostDeviceLearner(EagerLearner):
    """Loses its device in a Run of the task std, once for a folder; what comes after fails too."""

    MARK = Path("device-was-lost")
    said: ClassVar[list[str]] = []

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        if self.said or (self.run.task == "std" and not self.MARK.exists()):
            self.MARK.touch()
            self.said.append("cuda:0 is lost to this process: CUDA error: an illegal memory access")
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nand more")
        return super().train_epoch(order, deadline)

    @classmethod
    def spent_reason(cls) -> str:
        return "".join(cls.said[:1])
