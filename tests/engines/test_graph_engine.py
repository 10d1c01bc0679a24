"""The graph engine takes the reference's steps. What only a GPU can show is skipped elsewhere."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bsr import engines
from bsr.engines import graph
from bsr.engines.eager import EagerLearner
from bsr.engines.graph import STEPS_PER_GRAPH, GraphLearner
from bsr.machine import device as machine
from bsr.run import Execution, Run
from bsr.training.loop import LOSSES, TimeLimitReached, data_order, initial_model, orders, train
from bsr.training.warm_up import undone
from trainings import CPU, made_split

RUN = Run(
    task="mean", batch_size=16, seed=3, learning_rate=0.0015, epochs=2, train_images=330, test_images=64
)
ON_A_GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)


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


@pytest.mark.gpu
@pytest.mark.parametrize("engine", [EagerLearner, GraphLearner])
def test_on_a_gpu_warming_up_leaves_the_untrained_network(engine: type[EagerLearner | GraphLearner]) -> None:
    worker = engine(initial_model(RUN.seed)[0], RUN, made_split(RUN), Execution(device="cuda:0"))
    assert worker.warmup_seconds > 0
    torch.testing.assert_close(
        worker.weights(), dict(initial_model(RUN.seed)[0].state_dict()), rtol=0, atol=0
    )


@pytest.mark.gpu
@pytest.mark.parametrize("engine", [EagerLearner, GraphLearner])
def test_on_a_gpu_a_run_takes_no_more_memory_after_another(engine: type[EagerLearner | GraphLearner]) -> None:
    peaks = [
        train(RUN, made_split(RUN), Execution(device="cuda:0"), engine).peak_memory_bytes or 0
        for _ in range(3)
    ]
    assert 0 < peaks[2] <= peaks[1] <= peaks[0]


FAR = {"float32": 1e-5, "bfloat16": 0.1}
"""How far gradients may lie from those of double precision, in parts of their norm."""


def exact_gradients(run: Run) -> list[Tensor]:
    """Of the first batch, in double precision by autograd alone."""
    split, model = made_split(run), initial_model(run.seed)[0].double()
    images = split.train_images[: run.batch_size].unsqueeze(1).double()
    LOSSES[run.loss](model(images), split.train_labels[: run.batch_size].double()).backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("device", ["cpu", ON_A_GPU])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("engine", [EagerLearner, GraphLearner])
def test_the_gradients_of_a_step_are_those_of_double_precision(
    engine: type[EagerLearner | GraphLearner],
    optimiser: Literal["adam", "sgd"],
    precision: Literal["float32", "bfloat16"],
    device: str,
) -> None:
    run = replace(RUN, optimiser=optimiser, precision=precision, train_images=RUN.batch_size)
    execution = replace(CPU, device=device)
    with machine.configured(precision, execution):
        worker = engine(initial_model(run.seed)[0], run, made_split(run), execution)
        worker.train_epoch(torch.arange(run.train_images), math.inf)
    for parameter, exact in zip(worker.model.parameters(), exact_gradients(run), strict=True):
        assert parameter.grad is not None
        assert (parameter.grad.cpu().double() - exact).norm() < FAR[precision] * exact.norm()


@pytest.mark.parametrize("device", ["cpu", ON_A_GPU])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 5e-3)])
@pytest.mark.parametrize(("optimiser", "rate"), [("adam", 1e-6), ("sgd", 1e-9)])
def test_every_step_of_two_epochs_is_the_references(
    monkeypatch: pytest.MonkeyPatch,
    optimiser: Literal["adam", "sgd"],
    rate: float,
    precision: Literal["float32", "bfloat16"],
    tolerance: float,
    device: str,
) -> None:
    """Two full graphs, a rest and a tail. Rates at which rounding does not grow from step to step."""
    if device == "cpu":
        monkeypatch.setattr(graph, "STEPS_PER_GRAPH", 3)
    steps = 2 * graph.STEPS_PER_GRAPH + 2
    run = replace(
        RUN, optimiser=optimiser, precision=precision, learning_rate=rate, train_images=16 * steps + 6
    )
    execution = replace(CPU, device=device)
    losses = []
    for engine in (EagerLearner, GraphLearner):
        model, generator = initial_model(run.seed)
        with machine.configured(precision, execution):
            worker = engine(model, run, made_split(run), execution)
            losses += [worker.train_epoch(order, math.inf).clone() for order in orders(run, generator)]
    assert len(losses[0]) == steps + 1
    torch.testing.assert_close(losses[2:], losses[:2], rtol=tolerance, atol=0)


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
