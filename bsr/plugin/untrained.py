"""A case that trains nothing: what it measures is recorded by what it is of, and taken where it is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from bsr.experiments import Grid, controlled
from bsr.plugin.clock import CLOCK
from bsr.plugin.fixtures import ending_the_session
from bsr.plugin.session import Session
from bsr.plugin.state import measured_session
from bsr.records.journal import Measured
from bsr.run import Execution, Run

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from bsr.records.schema import HarnessTiming, LabelDistribution, NoiseScale

LABELS_OF: Final = "train"
"""The split whose labels are described."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One measurement."""

    of: tuple[object, ...]
    """As its rows say in their OF."""
    measure: Callable[[], Sequence[Any]]
    """Gives the rows; one at least."""
    answered_by: Callable[[Sequence[Any]], bool] = lambda _rows: True
    """Whether rows that are known are what would be measured now."""
    alone: bool = False
    """Whether no Run may train meanwhile."""


@dataclass(frozen=True, slots=True)
class Probe:
    """`probe(kind, asked)` measures what is not known yet, in the case's time, and returns every row.

    `kind` is one of bsr.records.schema.PROBES.
    """

    session: Session
    benchmark: BenchmarkFixture
    tell: Callable[[str], None]
    """Shows a line while the case goes on."""

    @property
    def grid(self) -> Grid:
        """What the options ask for."""
        return self.session.options.grid

    @property
    def execution(self) -> Execution:
        """How the session trains."""
        return self.session.header.execution

    def __call__(self, kind: str, asked: Iterable[Asked]) -> list[Any]:
        """Raises nothing that a case should catch: where nothing can be recorded the session ends."""

        def measured() -> list[Measured]:
            found = [self._measured(kind, one) for one in asked]
            CLOCK.advance(sum(one.seconds for one in found))
            return found

        CLOCK.reset()
        with ending_the_session():
            found: list[Measured] = self.benchmark.pedantic(measured, rounds=1, iterations=1)
        rows = [row for one in found for row in one.rows]
        self.benchmark.extra_info[kind] = [asdict(row) for row in rows]
        return rows

    def _measured(self, kind: str, asked: Asked) -> Measured:
        known = self.session.history.measured.get((kind, *asked.of))
        if known is not None and asked.answered_by(known.rows):
            return known
        if asked.alone:
            self.session.wait_for_pending()
        began = time.perf_counter()
        rows = tuple(asked.measure())
        found = Measured(kind=kind, rows=rows, seconds=time.perf_counter() - began)
        self.session.log(found)
        return found


@pytest.fixture
def probe(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Probe:
    """Measures what trains nothing, in a case of its own."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.getfixturevalue("capfd")

    def tell(text: str) -> None:
        with capture.disabled():
            reporter.write_line(f"  {text}")

    return Probe(measured_session(request.config), benchmark, tell)


@pytest.fixture
def describe_labels(probe: Probe) -> Callable[[str], LabelDistribution]:
    """`describe_labels(task)` computes a task's training labels and records how they lie."""

    def describe(task: str) -> LabelDistribution:
        dataset = probe.grid.dataset

        def measured() -> list[LabelDistribution]:
            from bsr.probes.labels import label_distribution  # noqa: PLC0415 - loads torch

            return [label_distribution(dataset, probe.execution.data, task, LABELS_OF)]

        labels: LabelDistribution
        (labels,) = probe("labels", [Asked((dataset, task, LABELS_OF), measured)])
        probe.benchmark.extra_info.update(probe.benchmark.extra_info.pop("labels")[0])
        return labels

    return describe


@pytest.fixture
def time_harness(probe: Probe) -> Callable[[], list[HarnessTiming]]:
    """`time_harness()` times every loop of bsr.probes.loops in turn, and records the seconds."""

    def time_it() -> list[HarnessTiming]:
        grid, execution = probe.grid, probe.execution
        cluster = probe.session.header.cluster
        device = "cpu" if cluster else execution.device  # the loops run here, wherever Runs do
        images = min(grid.train_images, grid.loop_images)
        threads = execution.threads if execution.engine == "eager" else None

        def timed() -> list[HarnessTiming]:
            from bsr.probes.loops import Loops  # noqa: PLC0415 - loads torch

            loops = Loops(
                images,
                grid.dataset,
                execution.data,
                device,
                batch_sizes=grid.loop_sizes,
                models=grid.models,
                compiled=grid.loop_compiled,
                threads=threads,
            )
            return loops.measure(grid.loop_rounds, probe.tell)

        def answered(known: Sequence[HarnessTiming]) -> bool:
            fields = ("model", "loop", "batch_size")
            networks, loops, sizes = ({getattr(timing, name) for timing in known} for name in fields)
            asked = (device, images, grid.loop_rounds, grid.dataset)
            of_all = networks == {*grid.models} and sizes == {*grid.loop_sizes}
            of_all &= ("compiled" in loops) == grid.loop_compiled
            of_all &= not threads or all(one.threads == threads for one in known if one.loop == "eager")
            return of_all and all(timing.answers(*asked) for timing in known)

        timings = probe("harness", [Asked((), timed, answered, alone=True)])
        probe.benchmark.extra_info["timings"] = probe.benchmark.extra_info.pop("harness")
        return timings

    return time_it


@pytest.fixture
def measure_noise(probe: Probe) -> Callable[[str], list[NoiseScale]]:
    """`measure_noise(task)` trains the task with pauses in which the gradient's noise is measured."""

    def asked(run: Run) -> Asked:
        def measured() -> list[NoiseScale]:
            from bsr.data.images import load_split  # noqa: PLC0415 - loads torch
            from bsr.probes.noise import measure as noise_of  # noqa: PLC0415

            began = time.perf_counter()
            scale = noise_of(run, load_split(run, probe.execution.data), probe.execution)
            took = f"{time.perf_counter() - began:.1f} s"
            probe.tell(f"{run.label}: noise scale {scale.last_cooled:.3g} at the end, cooled  {took}")
            return [scale]

        of = (run.dataset, run.task, run.batch_size, run.seed)
        return Asked(of, measured, lambda known: all(scale.answers(run) for scale in known))

    return lambda task: probe("noise", map(asked, controlled.noise_scale(probe.grid, task)))
