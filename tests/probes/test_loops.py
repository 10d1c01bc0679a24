"""The harness's benchmark of itself: every loop at every batch size, and no time asserted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import ClassVar

import pytest
import torch
from torch import nn

from bsr import engines
from bsr.model import ModelError
from bsr.probes import loops
from bsr.probes.loops import ALL_CORES, COMPILED, EAGER, GRAPH, ONE_CORE, TEXTBOOK, Loops, table
from bsr.records.schema import HarnessTiming, steady_seconds
from plugin_support import Suite, suite

__all__ = ["suite"]


class Normalised(nn.Sequential):
    """A network that only eager PyTorch trains."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 2, 5, stride=4), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 1), nn.Flatten(0)
        )


class Larger(nn.Sequential):
    """A network for images of 32x32."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(1024, 1), nn.Flatten(0))


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two OpenMP threads on the cores of a busy machine take tens of times as long as one."""
    monkeypatch.setattr("bsr.probes.loops.usable_cores", lambda: 1)


@pytest.mark.usefixtures("one_core")
@pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="no compiler on this machine")
def test_every_loop_is_timed_once_per_round_in_turn() -> None:
    told: list[str] = []
    timings = Loops(train_images=256, batch_sizes=(16, 100)).measure(rounds=2, tell=told.append)
    assert [(timing.loop, timing.batch_size) for timing in timings] == [
        (loop, size) for size in (16, 100) for loop in (TEXTBOOK, EAGER, ONE_CORE, ALL_CORES)
    ]
    assert all(len(timing.seconds) == 2 and min(timing.seconds) > 0 for timing in timings)
    assert told == ["harness: round 1 of 2", "harness: round 2 of 2"]


class Clocked(Loops):
    """Its loops train nothing, and take the seconds that are planned for them."""

    planned: ClassVar[dict[tuple[str, int], list[float]]] = {}

    def _loops(self, model: str, size: int) -> dict[str, Callable[[], float]]:
        seconds = {loop: iter(each) for (loop, at), each in self.planned.items() if at == size}
        return {loop: each.__next__ for loop, each in seconds.items()}


def clocked(monkeypatch: pytest.MonkeyPatch, *slow: float) -> tuple[list[HarnessTiming], list[str]]:
    planned = {(EAGER, 16): [2.0, *slow], (EAGER, 64): [1.0, 1.0], (TEXTBOOK, 16): [90.0, 95.0]}
    monkeypatch.setattr(Clocked, "planned", planned)
    told: list[str] = []
    return Clocked(train_images=256, batch_sizes=(16, 64)).measure(rounds=2, tell=told.append), told


def test_a_round_ten_times_slower_than_its_neighbours_is_measured_once_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timings, told = clocked(monkeypatch, 50.0, 2.5)
    assert [timing.seconds for timing in timings] == [(2.0, 2.5), (90.0, 95.0), (1.0, 1.0)]
    assert told[-1] == "harness: eager at 16 took ten times as long as its neighbours: once again"


def test_what_stays_disturbed_is_no_steady_round(monkeypatch: pytest.MonkeyPatch) -> None:
    timings, _ = clocked(monkeypatch, 50.0, 60.0)
    assert timings[0].seconds == (2.0, 60.0)
    assert steady_seconds(timings[0], timings) == (2.0,)


def test_a_smaller_batch_may_take_longer_in_proportion_to_its_updates() -> None:
    few, many = (
        HarnessTiming(loop=EAGER, batch_size=size, threads=1, seconds=(each,), train_images=2_048)
        for size, each in ((1, 9_000.0), (1_024, 1.0))
    )
    assert steady_seconds(few, [few, many]) == (9_000.0,)
    assert steady_seconds(replace(few, seconds=(11_000.0,)), [few, many]) == ()
    assert steady_seconds(replace(many, seconds=(95_000.0,)), [few, many]) == ()


def test_a_long_round_tells_on_its_way_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "PATIENT_SECONDS", -1.0)
    _, told = clocked(monkeypatch, 2.0)
    assert "harness: round 2 of 2, eager at 16, some 0 s left" in told


@pytest.mark.usefixtures("one_core")
@pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="no compiler on this machine")
def test_the_table_gives_medians_images_per_second_and_ratios() -> None:
    timings = Loops(train_images=256, batch_sizes=(16,)).measure(rounds=1)
    rows = [line.split() for line in table(timings).splitlines()[1:]]
    textbook = median(timings[0].seconds)
    for row, timing in zip(rows, timings, strict=True):
        assert math.isclose(float(row[-1]), textbook / median(timing.seconds), abs_tol=0.006)
        whole_epoch = median(timing.seconds) * 60_000 / 256
        assert math.isclose(float(row[-3]), whole_epoch, abs_tol=0.001)
        assert math.isclose(float(row[-2].replace(",", "")), 256 / median(timing.seconds), abs_tol=0.6)


@pytest.mark.usefixtures("one_core")
@pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="no compiler on this machine")
def test_any_network_is_timed_beside_the_textbook_loop_of_its_own() -> None:
    timings = Loops(train_images=64, batch_sizes=(16,), models=("study", f"{__name__}:Normalised")).measure(1)
    assert [(timing.model, timing.loop) for timing in timings] == [
        *(("study", loop) for loop in (TEXTBOOK, EAGER, ONE_CORE, ALL_CORES)),
        *((f"{__name__}:Normalised", loop) for loop in (TEXTBOOK, EAGER)),  # which is no chain of layers
    ]
    rows = table(timings).splitlines()[1:]
    assert [row.split()[-1] for row in rows] == [timing.model for timing in timings]
    assert [row.split()[-2] for row in rows if row.startswith(TEXTBOOK)] == ["1.00", "1.00"]


def few_images() -> tuple[torch.Tensor, torch.Tensor]:
    """A data set of a user's own, with fewer images than the study's."""
    return torch.zeros(64, 28, 28), torch.zeros(8, 28, 28)


@pytest.mark.usefixtures("one_core")
def test_a_data_set_of_few_test_images_is_timed_too() -> None:
    network, dataset = f"{__name__}:Normalised", f"{__name__}:few_images"
    timings = Loops(train_images=64, batch_sizes=(16,), models=(network,), dataset=dataset).measure(rounds=1)
    assert [timing.dataset for timing in timings] == [dataset] * 2


def test_a_network_for_other_images_is_refused_before_anything_is_timed() -> None:
    told: list[str] = []
    with pytest.raises(ModelError, match="expected one for images of 28x28, got RuntimeError: mat1 and mat2"):
        Loops(train_images=64, models=("study", f"{__name__}:Larger")).measure(rounds=1, tell=told.append)
    assert not told


class Noting(nn.Linear):
    """Notes how many threads compute with it."""

    threads: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        super().__init__(784, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.threads.add(torch.get_num_threads())
        return super().forward(images.flatten(1)).squeeze(1)


def test_the_eager_loop_takes_the_threads_of_the_runs_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "textbook_epoch", lambda *_arguments: lambda: 1.0)
    for threads in (1, 2):
        Noting.threads.clear()
        asked = Loops(train_images=64, batch_sizes=(32,), models=(f"{__name__}:Noting",), threads=threads)
        timed = {timing.loop: timing.threads for timing in asked.measure(rounds=1)}
        assert timed[EAGER] == threads
        assert threads in Noting.threads


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
def test_torch_compile_is_timed_where_that_is_asked_for() -> None:
    timings = Loops(train_images=64, batch_sizes=(32,), compiled=True).measure(rounds=1)
    assert COMPILED in {timing.loop for timing in timings}
    assert all(timing.seconds[0] < 1 for timing in timings)  # compiling is no part of an epoch


def test_they_are_timed_on_the_device_they_say() -> None:
    timings = Loops(train_images=64, batch_sizes=(16,), device="meta")
    with pytest.raises(Exception, match=r"(?i)meta"):  # they did go there
        timings.measure(rounds=1)


def test_on_a_gpu_the_graph_engine_is_timed_too_and_nothing_is_met_in_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[str] = []

    def epoch(loop: str) -> Callable[[], float]:
        return lambda: trained.append(loop) or 1.0  # type: ignore[func-returns-value]

    monkeypatch.setattr(loops, "textbook_epoch", lambda *_arguments: epoch(TEXTBOOK))
    monkeypatch.setattr(loops, "engine_epoch", lambda execution, *_arguments: epoch(execution.engine))
    timings = Loops(train_images=64, batch_sizes=(16,), device="cuda:0").measure(rounds=2)
    assert [timing.loop for timing in timings] == [TEXTBOOK, EAGER, GRAPH]
    assert trained == [TEXTBOOK, EAGER, GRAPH] * 3
    assert all(len(timing.seconds) == 2 for timing in timings)


def test_it_is_collected_only_where_it_is_asked_for(suite: Suite) -> None:
    assert "test_harness" not in suite.run("--bsr-preset", "study", "--collect-only", "-q").output
    assert "test_harness.py::test_harness" in suite.run("--bsr-experiments", "harness", "--co", "-q").output
