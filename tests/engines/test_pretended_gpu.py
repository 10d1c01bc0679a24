"""What both engines would ask of a GPU, counted without one; and that the counting finds what is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from torch import Tensor

from bsr.engines import graph
from bsr.engines.eager import EagerLearner
from bsr.engines.graph import GraphLearner
from bsr.training.loop import Learner
from bsr.training.warm_up import undone
from pretended_gpu import RUN, PretendedGpuError, in_a_process_of_its_own

pytestmark = pytest.mark.slow  # a process each, since the pretended device cannot be taken back
WAYS = [
    {"optimiser": optimiser, "precision": precision}
    for optimiser in ("adam", "sgd")
    for precision in ("float32", "bfloat16")
]


@pytest.mark.parametrize("kind", [EagerLearner, GraphLearner])
def test_an_epoch_is_one_upload_and_one_download_and_an_evaluation_one_download(kind: type[Learner]) -> None:
    for way, found in zip(WAYS, in_a_process_of_its_own(kind, *WAYS), strict=True):
        for part, each in found.items():
            print(f"{kind.__name__}, {', '.join(way.values())}, {part}: {each.counts}")
        for epoch in (1, 2):
            training, evaluation = found[f"epoch {epoch}"], found[f"evaluation {epoch}"]
            assert training.counts == {"reads": 0, "uploads": 1, "downloads": 1, "races": 0}, training
            assert evaluation.counts == {"reads": 0, "uploads": 0, "downloads": 1, "races": 0}, evaluation
        assert found["set-up"].races == []
        assert len(found["set-up"].downloads) >= 1, "nothing was warmed up"


class EagerIndexOnTheCpu(EagerLearner):
    def _loss(self, index: Tensor) -> Tensor:
        return super()._loss(index.cpu())


class GraphIndexOnTheCpu(GraphLearner):
    def _take_step(self, size: int) -> None:
        self.offsets = self.offsets.cpu()
        super()._take_step(size)


@pytest.mark.parametrize("kind", [EagerIndexOnTheCpu, GraphIndexOnTheCpu])
def test_a_planted_index_on_the_cpu_is_found(kind: type[Learner]) -> None:
    with pytest.raises(PretendedGpuError, match="FakeTensorDeviceMismatchError|several devices|two devices"):
        in_a_process_of_its_own(kind, {})


class EagerReadsEachStep(EagerLearner):
    def _loss(self, index: Tensor) -> Tensor:
        loss = super()._loss(index)
        loss.item()
        return loss


class GraphReadsEachStep(GraphLearner):
    def _take_step(self, size: int) -> None:
        super()._take_step(size)
        self.losses[0].item()


def test_a_planted_read_of_each_loss_is_found() -> None:
    (found,) = in_a_process_of_its_own(EagerReadsEachStep, {})
    assert len(found["epoch 1"].reads) == RUN.steps_per_epoch
    with pytest.raises(PretendedGpuError, match="the host waits while it captures"):
        in_a_process_of_its_own(GraphReadsEachStep, {})


class GraphRestoredTooSoon(GraphLearner):
    def _captured(self) -> list[Callable[[], None]]:
        def too_soon(model: Any, optimiser: Any, _wait: object) -> contextlib.AbstractContextManager[None]:
            return undone(model, optimiser, lambda: None)

        with mock.patch.object(graph, "undone", too_soon):
            return super()._captured()


def test_a_missing_wait_before_warm_up_is_undone_is_found() -> None:
    (found,) = in_a_process_of_its_own(GraphRestoredTooSoon, {})
    races = found["set-up"].races
    print(f"{len(races)} unordered accesses, the first: {races[0]}")
    assert any("copy_" in race for race in races)
    assert any("zero_" in race for race in races)
