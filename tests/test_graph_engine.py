"""The graph engine takes the reference's steps. What only a GPU can show is skipped elsewhere."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bsr import engines
from bsr.data import Split
from bsr.engines import graph
from bsr.engines.graph import STEPS_PER_GRAPH, GraphLearner
from bsr.run import Execution, Run
from bsr.training import EagerLearner, TimeLimitReached, data_order, initial_model, train
from bsr.warm_up import undone

RUN = Run(
    task="mean", batch_size=16, seed=3, learning_rate=0.0015, epochs=2, train_images=330, test_images=64
)
CPU = Execution(device="cpu", threads=1)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def made_split(run: Run) -> Split:
    pixels = torch.Generator().manual_seed(0)
    train_images = torch.randint(0, 256, (run.train_images, 28, 28), dtype=torch.uint8, generator=pixels)
    test_images = torch.randint(0, 256, (run.test_images, 28, 28), dtype=torch.uint8, generator=pixels)
    means = [images.double().mean((1, 2)).float() for images in (train_images, test_images)]
    return Split(train_images, means[0], test_images, means[1], "made", run.task)


def learner(run: Run, execution: Execution = CPU) -> GraphLearner:
    return GraphLearner(initial_model(run.seed)[0], run, made_split(run), execution)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_its_steps_are_those_of_the_reference(optimiser: str, loss: str) -> None:
    rate = 0.0015 if optimiser == "adam" else 1e-6
    run = replace(RUN, optimiser=optimiser, loss=loss, learning_rate=rate)  # type: ignore[arg-type]
    order = next(data_order(torch.Generator().manual_seed(1), run.train_images))
    reference = EagerLearner(initial_model(run.seed)[0], run, made_split(run), CPU).train_epoch(
        order, math.inf
    )
    torch.testing.assert_close(learner(run).train_epoch(order, math.inf), reference, rtol=1e-4, atol=0)


def test_it_trains_through_the_same_loop_to_the_same_errors_in_the_same_order() -> None:
    reference = train(RUN, made_split(RUN), CPU, EagerLearner)
    result = train(RUN, made_split(RUN), CPU, GraphLearner)
    assert result.order_digest == reference.order_digest
    assert result.test_mse == pytest.approx(reference.test_mse, rel=1e-3)
    assert result.steps == reference.steps == 2 * 21


@settings(max_examples=40)
@given(size=st.integers(1, 400), images=st.integers(1, 60_000))
def test_its_stretches_cover_the_epoch_once(size: int, images: int) -> None:
    tiny = learner(replace(RUN, train_images=4, test_images=1, batch_size=2))
    tiny.run = replace(RUN, train_images=images, batch_size=size)
    sizes = [each for stretch, times in tiny.stretches() for _ in range(times) for each in stretch]
    assert sizes == [size] * (images // size) + ([images % size] if images % size else [])
    assert all(len(stretch) <= STEPS_PER_GRAPH for stretch, _ in tiny.stretches())


def test_it_is_refused_on_a_device_that_is_not_cuda() -> None:
    with pytest.raises(
        engines.EngineError, match="graph needs a CUDA device; this is cpu; use eager or auto"
    ):
        engines.placed(Execution(engine="graph"), [RUN])


@needs_gpu
def test_on_a_gpu_capturing_leaves_the_untrained_network() -> None:
    on_gpu = learner(RUN, Execution(device="cuda:0"))
    torch.testing.assert_close(on_gpu.weights(), dict(initial_model(RUN.seed)[0].state_dict()))


@needs_gpu
def test_on_a_gpu_replays_take_the_steps_of_the_reference() -> None:
    execution = Execution(device="cuda:0")
    order = next(data_order(torch.Generator().manual_seed(1), RUN.train_images))
    eager = EagerLearner(initial_model(RUN.seed)[0], RUN, made_split(RUN), execution)
    reference = eager.train_epoch(order, math.inf)
    torch.testing.assert_close(
        learner(RUN, execution).train_epoch(order, math.inf), reference, rtol=1e-3, atol=0
    )


def test_all_runs_of_a_process_share_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: object())
    graph._stream_of.cache_clear()
    first, second = (graph._stream_of(torch.device("cuda:0")) for _ in range(2))
    assert first is second
    assert graph._stream_of(torch.device("cuda:1")) is not first
    graph._stream_of.cache_clear()


class NoMemoryWhileCapturing(GraphLearner):
    """Captures on a CPU, as a GPU whose memory runs out meanwhile."""

    def _uncaptured(self) -> list[Callable[[], None]]:
        self._take_step = self._run_out  # type: ignore[method-assign]
        return self._captured()

    def _run_out(self, size: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_memory_that_runs_out_while_capturing_is_told_and_the_process_captures_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextlib.contextmanager
    def capturing(*_arguments: object, **_options: object) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(graph, "WARMUP_STEPS", 0)
    monkeypatch.setattr(graph, "_FAILED_CAPTURES", [])
    assert GraphLearner.spent_reason() == ""
    assert train(RUN, made_split(RUN), CPU, NoMemoryWhileCapturing).status == "out_of_memory"
    assert engines.spent_reason("graph").startswith("this process must not capture again: RuntimeError: CUDA")


class Waiting(GraphLearner):
    """Notes how its weights are whenever it waits for its stream."""

    seen: list[float]

    def _wait(self) -> None:
        if hasattr(self, "seen"):
            self.seen.append(float(next(self.model.parameters()).detach().sum()))


def waiting() -> Waiting:
    worker = Waiting(initial_model(RUN.seed)[0], RUN, made_split(RUN), CPU)
    worker.seen = []
    return worker


def test_warm_up_is_waited_for_before_it_is_undone() -> None:
    worker = waiting()
    before = float(next(worker.model.parameters()).detach().sum())
    with undone(worker.model, worker.optimiser, worker._wait), torch.no_grad():
        for parameter in worker.model.parameters():
            parameter.add_(1.0)
    assert worker.seen[0] > before + 1  # not restored yet
    assert float(next(worker.model.parameters()).detach().sum()) == before


def test_a_time_limit_acts_between_stretches_and_leaves_nothing_queued() -> None:
    worker = waiting()
    stretches = len(worker._stretches)
    worker.train_epoch(torch.arange(RUN.train_images), time.monotonic() + 100)
    assert len(worker.seen) == stretches + 1  # before each, and at the end
    worker.seen.clear()
    with pytest.raises(TimeLimitReached):
        worker.train_epoch(torch.arange(RUN.train_images), time.monotonic() - 1)
    assert len(worker.seen) == 2  # before the first, and in spite of the limit


def test_without_a_limit_nothing_waits_before_the_end() -> None:
    worker = waiting()
    worker.train_epoch(torch.arange(RUN.train_images), math.inf)
    assert len(worker.seen) == 1
