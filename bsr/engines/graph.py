"""The engine for CUDA devices: a hundred steps per CUDA graph, so that the GPU is measured and not Python.

At batch size 16 a step is some forty small kernels; launched one by one from Python they leave the GPU idle.
Here a stretch of steps is captured once and replayed. The graph finds its batch by a counter that lives on
the device, in an order that was drawn on the CPU as the reference draws it, so nothing is asked of the CPU
between replays and no loss is read before the epoch ends.

Replaying costs more per graph than per node, so single-step graphs would waste it; a longer graph takes
longer to capture.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from bsr.data.images import Split
from bsr.machine import device as machine
from bsr.run import Execution, Run
from bsr.tasks import batch_of
from bsr.text.strict_json import one_line
from bsr.training.loop import LOSSES, Evaluation, TimeLimitReached, evaluation, make_optimiser
from bsr.training.warm_up import undone

STEPS_PER_GRAPH: Final = 100
WARMUP_STEPS: Final = 3
EVALUATED: Final = 2_500
"""Images at once; they are 28x28, as the study's network takes them."""
_FAILED_CAPTURES: Final[list[str]] = []
"""Of this process: what was said."""


@cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """One for all Runs of a process: cuBLAS keeps 32 MiB for every stream that it has met."""
    return torch.cuda.Stream(device)


class GraphLearner:
    """A Learner whose steps are captured, on a stream of the engine's own and in a memory pool each.

    On the CPU, where nothing can be captured, the same steps run one by one: that is how they are tested.
    """

    honours = ("evaluate_on", "order_seed", "beta1", "beta2", "eps")

    def __init__(self, model: torch.nn.Module, run: Run, split: Split, execution: Execution) -> None:
        device = torch.device(execution.device)
        self.run = run
        self.split = split
        self.captures = device.type != "cpu"
        self.images = batch_of(split.train_images).to(device)
        self.labels = split.train_labels.to(device)
        self.device = device
        self.order = torch.zeros(run.train_images, dtype=torch.int32, device=device)
        self.offsets = torch.arange(run.batch_size, device=device)
        self.position = torch.zeros((), dtype=torch.int64, device=device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.losses = torch.zeros(run.steps_per_epoch, device=device)
        self.model = model.to(device)
        self.optimiser = self._make_optimiser(device)
        # what a cast remembers must not outlive the graph that made it
        self.autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=run.precision == "bfloat16", cache_enabled=False
        )
        self.device_seconds: list[float] = []
        """[epochs], by events on the device."""
        self._stream = _stream_of(device) if self.captures else None
        machine.synchronise(execution.device)
        began = time.perf_counter()
        self._stretches = self._captured() if self.captures else self._uncaptured()
        self.warmup_seconds = time.perf_counter() - began if self.captures else 0.0

    @staticmethod
    def unsupported_reason(_run: Run, execution: Execution) -> str:
        """See bsr.engines."""
        cuda = execution.device.startswith("cuda")
        return "" if cuda else f"needs a CUDA device; this is {execution.device}"

    def _make_optimiser(self, device: torch.device) -> torch.optim.Optimizer:
        if self.run.optimiser == "sgd":
            return make_optimiser(self.run, self.model, fused=True)
        rate = torch.tensor(self.run.learning_rate, device=device)
        return make_optimiser(self.run, self.model, fused=True, lr=rate, capturable=self.captures)

    def stretches(self) -> list[tuple[list[int], int]]:
        """The epoch as (batch sizes of a stretch, how often it comes): full hundreds, then what is left."""
        size, images = self.run.batch_size, self.run.train_images
        full, tail = divmod(images, size)
        hundreds, rest = divmod(full, STEPS_PER_GRAPH)
        last = [size] * rest + ([tail] if tail else [])
        return [part for part in (([size] * STEPS_PER_GRAPH, hundreds), (last, 1)) if part[0] and part[1]]

    def _take_step(self, size: int) -> None:
        """The next `size` images of the order; every address is fixed, so that it can be captured."""
        index = self.order.index_select(0, self.position + self.offsets[:size])
        with self.autocast:
            prediction = self.model(self.images.index_select(0, index).float())
        loss = LOSSES[self.run.loss](prediction.float(), self.labels.index_select(0, index))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.losses.index_copy_(0, self.step.view(1), loss.detach().view(1))
        self.step += 1
        self.position += size

    def _uncaptured(self) -> list[Callable[[], None]]:
        def take(sizes: list[int]) -> None:
            for size in sizes:
                self._take_step(size)

        return [lambda sizes=sizes: take(sizes) for sizes, times in self.stretches() for _ in range(times)]  # type: ignore[misc]

    def _captured(self) -> list[Callable[[], None]]:
        """One graph per kind of stretch, in one memory pool: they are only ever replayed in turn."""
        pool = torch.cuda.graph_pool_handle()
        with undone(self.model, self.optimiser, self._wait), self._on_stream():
            self.evaluate(self.split.test_images, self.split.test_labels)
            for sizes, _ in self.stretches():
                for size in {sizes[0], sizes[-1]}:
                    for _ in range(WARMUP_STEPS):
                        self._restart()
                        self._take_step(size)
        self._wait()
        plays: list[Callable[[], None]] = []
        for sizes, times in self.stretches():
            self.optimiser.zero_grad(set_to_none=True)
            plays += [self._capture(sizes, pool).replay] * times
        return plays

    def _capture(self, sizes: list[int], pool: Any) -> torch.cuda.CUDAGraph:
        """These steps as a graph."""
        graph = torch.cuda.CUDAGraph()
        try:
            with self._on_stream(), torch.cuda.graph(graph, pool=pool, stream=self._stream):
                for size in sizes:
                    self._take_step(size)
        except Exception as error:
            _FAILED_CAPTURES.append(one_line(error))
            raise
        return graph

    @staticmethod
    def spent_reason() -> str:
        """See bsr.engines: after a capture that failed, stream and allocator may be left in its midst."""
        return "".join(f"this process must not capture again: {said}" for said in _FAILED_CAPTURES[:1])

    def _on_stream(self) -> contextlib.AbstractContextManager[object]:
        if self._stream is None:
            return contextlib.nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        return torch.cuda.stream(self._stream)

    def _wait(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()

    def _restart(self) -> None:
        self.position.zero_()
        self.step.zero_()

    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        """See bsr.training.loop.Learner; the deadline is looked at between stretches of steps.

        Replays are queued in no time, so where there is a deadline each is waited for. Whatever ends the
        epoch, nothing queued is left to write into memory that the next Run may own.
        """
        try:
            with self._on_stream():
                self.order[: len(order)].copy_(order.to(torch.int32))
                self._restart()
                events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if self.captures else []
                for event in events[:1]:
                    event.record()
                for play in self._stretches:
                    if math.isfinite(deadline):
                        self._wait()
                    if time.monotonic() > deadline:
                        raise TimeLimitReached
                    play()
                for event in events[1:]:
                    event.record()
        finally:
            self._wait()
        if events:
            self.device_seconds.append(events[0].elapsed_time(events[1]) / 1000)
        return self.losses.cpu()

    def evaluate(self, images: Tensor, labels: Tensor) -> Evaluation:
        """See bsr.training.loop.Learner."""
        with self._on_stream(), torch.inference_mode(), self.autocast:
            some = (each.to(self.device).float() for each in batch_of(images).split(EVALUATED))
            found = torch.cat([self.model(each).float() for each in some])
        self._wait()
        return evaluation(found.cpu(), labels)

    def weights(self) -> dict[str, Tensor]:
        """See bsr.training.loop.Learner."""
        return {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
