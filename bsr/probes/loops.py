"""The harness measured by itself: its engines against the loops that a user would otherwise write.

Everything is timed in one session, in turn, over several rounds, so that a ratio holds where the machine's
speed drifts. Seconds are of one training epoch: no loading, no evaluation, no compilation.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, TypeAlias

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bsr import engines
from bsr.data.images import Split, load_images, load_split
from bsr.engines.eager import EagerLearner
from bsr.experiments.grid import LOOP_SIZES
from bsr.experiments.rates import tuned_rate
from bsr.machine import device as machine
from bsr.machine.capacity import usable_cores
from bsr.model import check as check_network
from bsr.records.schema import HarnessTiming, steady_seconds
from bsr.run import STUDY_MODEL, Execution, Run
from bsr.tasks import batch_of
from bsr.training.loop import Learner, data_order, initial_model, make_optimiser

TEXTBOOK: Final = "textbook"
PATIENT_SECONDS: Final = 10.0
"""How long a round may be silent."""
COMPILED: Final = "compiled"
EAGER: Final = "eager"
GRAPH: Final = "graph"
ONE_CORE: Final = "native, one core"
ALL_CORES: Final = "native, all cores"


Epochs: TypeAlias = Mapping[tuple[str, str, int], Callable[[], float]]
"""Network, loop and batch size -> trains one epoch, and returns its seconds."""


def textbook_epoch(run: Run, split: Split, device: str) -> Callable[[], float]:
    """One training epoch as it is usually written; a call trains it and returns its seconds.

    TensorDataset of float32 images and labels, DataLoader(shuffle=True, num_workers=0), contiguous NCHW,
    each batch moved to the device, default Adam, `loss.item()` each step, all threads.
    """
    torch.manual_seed(run.seed)
    model, _ = initial_model(run.seed, run.model)
    model.to(device)
    dataset = TensorDataset(batch_of(split.train_images).float(), split.train_labels)
    loader = DataLoader(dataset, batch_size=run.batch_size, shuffle=True, num_workers=0)
    optimiser = make_optimiser(run, model)
    all_threads = Execution(threads=usable_cores())

    def epoch() -> float:
        with machine.configured(run.precision, all_threads):
            machine.synchronise(device)
            began = time.perf_counter()
            total = 0.0
            for images, labels in loader:
                optimiser.zero_grad()
                loss = functional.mse_loss(model(images.to(device)), labels.to(device))
                loss.backward()
                optimiser.step()
                total += loss.item()
            machine.synchronise(device)
            return time.perf_counter() - began

    return epoch


def engine_epoch(execution: Execution, run: Run, split: Split) -> Callable[[], float]:
    """One training epoch of an engine, likewise."""
    model, generator = initial_model(run.seed, run.model)
    with machine.configured(run.precision, execution):  # what is captured keeps its precision
        learner: Learner = engines.learner(execution.engine)(model, run, split, execution)

    return _epoch_of(learner, generator, execution, run)


def compiled_epoch(execution: Execution, run: Run, split: Split) -> Callable[[], float]:
    """The eager engine's loop with its network compiled by torch.compile, likewise; batches stay whole.

    The first epoch, in which it compiles, is trained here.
    """
    model, generator = initial_model(run.seed, run.model)
    learner = EagerLearner(model, run, split, execution)
    learner.piece = run.batch_size
    epoch = _epoch_of(learner, generator, execution, run)
    with warnings.catch_warnings(action="ignore"):  # of PyTorch's compiler about itself, as it is loaded
        learner.model = torch.compile(learner.model, dynamic=False)  # type: ignore[assignment]
        epoch()
    return epoch


def _epoch_of(
    learner: Learner, generator: torch.Generator, execution: Execution, run: Run
) -> Callable[[], float]:
    def epoch() -> float:
        order = next(data_order(generator, run.train_images))
        with machine.configured(run.precision, execution):
            machine.synchronise(execution.device)
            began = time.perf_counter()
            learner.train_epoch(order, math.inf)
            machine.synchronise(execution.device)
            return time.perf_counter() - began

    return epoch


def crowded_epoch(execution: Execution, runs: int, run: Run, split: Split) -> Callable[[], float]:
    """One training epoch of as many Runs at once as there are cores; the seconds are per Run."""
    epochs = [engine_epoch(execution, run, split) for _ in range(runs)]

    def epoch() -> float:
        with ThreadPoolExecutor(runs) as pool:
            seconds: list[float] = list(pool.map(lambda train: train(), epochs))
        return max(seconds) / runs

    return epoch


@dataclass(slots=True)
class Loops:
    """The loops to compare on one device, and the seconds they took."""

    train_images: int = 60_000
    """Of one of their epochs."""
    dataset: str = "MNIST"
    folder: str | None = None
    """See bsr.data.images.load_split."""
    device: str = "cpu"
    batch_sizes: tuple[int, ...] = LOOP_SIZES
    models: tuple[str, ...] = (STUDY_MODEL,)
    compiled: bool = False
    """Whether torch.compile is among them."""
    test_images: int = 10_000
    """Loaded, as far as there are so many; on none of them anything is evaluated."""
    threads: int | None = None
    """Of the eager engine, compiled and captured too, as of the Runs beside them; None: one per core."""
    seconds: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)

    def measure(
        self, rounds: int = 5, tell: Callable[[str], None] = lambda _text: None
    ) -> list[HarnessTiming]:
        """Every loop at every batch size once per round, in turn; `tell` hears of each round.

        Raises ModelError for a network that does not take the data set's images, before anything is timed.
        """
        images = load_images(self.dataset, self.folder)
        self.test_images = min(self.test_images, len(images.test))
        for model in self.models:
            check_network(model, images.train[:2])
        epochs = {
            (model, loop, size): epoch
            for model in self.models
            for size in self.batch_sizes
            for loop, epoch in self._loops(model, size).items()
        }
        if self.device != "cpu":
            tell("harness: a round that does not count, in which the device loads and plans")
            for epoch in epochs.values():
                epoch()
        self._time(epochs, rounds, tell)
        self._again(epochs, tell)
        return [self._timing(*cell) for cell in epochs]

    def _time(self, epochs: Epochs, rounds: int, tell: Callable[[str], None]) -> None:
        """Every round; a long one tells on its way how long the rest takes, as loops took on average."""
        began = told = time.perf_counter()
        for number in range(1, rounds + 1):
            tell(f"harness: round {number} of {rounds}")
            for index, (cell, epoch) in enumerate(epochs.items()):
                if (now := time.perf_counter()) - told > PATIENT_SECONDS:
                    told, done = now, (number - 1) * len(epochs) + index
                    left = (now - began) / max(1, done) * (rounds * len(epochs) - done)
                    _, loop, size = cell
                    tell(f"harness: round {number} of {rounds}, {loop} at {size}, some {left:.0f} s left")
                self.seconds.setdefault(cell, []).append(epoch())

    def _again(self, epochs: Epochs, tell: Callable[[str], None]) -> None:
        """Once more what was disturbed, in place of the slowest round."""
        timings = {cell: self._timing(*cell) for cell in epochs}
        for cell, timing in timings.items():
            if len(steady_seconds(timing, timings.values())) < len(timing.seconds):
                _, loop, size = cell
                tell(f"harness: {loop} at {size} took ten times as long as its neighbours: once again")
                values = self.seconds[cell]
                values[values.index(max(values))] = epochs[cell]()

    def _loops(self, model: str, size: int) -> dict[str, Callable[[], float]]:
        run = Run(
            task="mean",
            batch_size=size,
            seed=size,
            learning_rate=tuned_rate("mean", size, epochs=1),
            dataset=self.dataset,
            train_images=self.train_images,
            test_images=self.test_images,
            model=model,
        )
        split = load_split(run, self.folder)
        cores = usable_cores()
        eager = Execution(engine="eager", threads=self.threads or cores, device=self.device)
        loops = {TEXTBOOK: textbook_epoch(run, split, self.device)}
        if self.compiled:
            loops[COMPILED] = compiled_epoch(eager, run, split)
        loops[EAGER] = engine_epoch(eager, run, split)
        graph = replace(eager, engine="graph")
        if not engines.unsupported_reason("graph", [run], graph):
            loops[GRAPH] = engine_epoch(graph, run, split)
        native = Execution(engine="native", threads=1, device=self.device)
        native = replace(native, data=self.folder)
        refused = engines.unsupported_reason("native", [run], native)
        if not (refused or engines.unavailable_reason("native", [run], native)):
            loops[ONE_CORE] = engine_epoch(native, run, split)
            loops[ALL_CORES] = crowded_epoch(native, cores, run, split)
        return loops

    def _timing(self, model: str, loop: str, size: int) -> HarnessTiming:
        cores = usable_cores()
        threads = {ONE_CORE: 1, ALL_CORES: cores, TEXTBOOK: cores}
        return HarnessTiming(
            loop=loop,
            batch_size=size,
            threads=threads.get(loop, self.threads or cores),
            seconds=tuple(self.seconds[model, loop, size]),
            train_images=self.train_images,
            device=self.device,
            model=model,
            dataset=self.dataset,
        )


def table(timings: Sequence[HarnessTiming]) -> str:
    """The medians as text: seconds per epoch of 60,000 images, images/s, ratio to the textbook loop."""
    textbook = {
        (timing.model, timing.batch_size): median(timing.seconds)
        for timing in timings
        if timing.loop == TEXTBOOK
    }
    several = len({timing.model for timing in timings}) > 1
    lines = [f"{'loop':<20} {'batch size':>10} {'s/epoch':>9} {'images/s':>10} {'times textbook':>15}"]
    for timing in timings:
        seconds = median(timing.seconds)
        ratio = textbook[timing.model, timing.batch_size] / seconds
        speed = f"{timing.train_images / seconds:,.0f}"
        epoch = median(timing.epoch_seconds)
        network = f"  {timing.model}" if several else ""
        lines.append(
            f"{timing.loop:<20} {timing.batch_size:>10} {epoch:>9.3f} {speed:>10} {ratio:>15.2f}{network}"
        )
    return "\n".join(lines)
