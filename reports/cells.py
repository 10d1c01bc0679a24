"""A study as figures and findings ask for it: results by experiment, task, batch size and timing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from operator import attrgetter
from statistics import fmean, median
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from bsr.experiments.grid import STUDY_TASKS
from bsr.experiments.original import REFINED
from bsr.records import agreement
from bsr.records.reading import Recording
from bsr.records.schema import SessionRecord
from bsr.result import FINISHED, Result
from bsr.result import Cell as Cell  # noqa: PLC0414 - chapters take it from here
from bsr.run import STUDY_MODEL
from reports.text import counted, listed, number, shortened

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
MOST_DEAD: Final = 4
"""Cells with dead runs that a sentence names; the table has all."""


@dataclass(frozen=True, slots=True, order=True)
class Timing:
    """Circumstances under which times may share a series: agreement.SERIES."""

    environment: str
    engine: str
    threads: int
    mode: str
    """`alone`, `in parallel with N other runs` or `amortised over N`."""
    kernel: str = ""
    """Digest of the engine's own kernel; two are two series."""

    def label(self, name_of: Callable[[str], str] | None = None) -> str:
        """`eager, 2 threads, alone`, after the machine's name where `name_of` gives one."""
        words = [self.engine or "unnamed engine", counted(self.threads, "thread"), self.mode]
        return ", ".join(([name_of(self.environment)] if name_of else []) + words)


Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Question = Callable[Concatenate["Cells", Arguments], Answer]


def remembered(question: Question[Arguments, Answer]) -> Question[Arguments, Answer]:
    """Looks through every run the first time that something is asked, and then never again."""

    @wraps(question)
    def answered(data: Cells, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        asked = (question.__name__, arguments, tuple(named.items()))
        if asked not in data.answers:
            data.answers[asked] = question(data, *arguments, **named)
        answer: Answer = data.answers[asked]
        return answer

    return answered


@dataclass(frozen=True, eq=False)
class Cells:
    """One recording; its results are looked up by experiment, task and batch size, each question once."""

    recording: Recording
    include_disturbed: bool = False
    """Whether runs whose GPU was throttled or shared enter statements on speed."""
    network: str = ""
    """The one whose results are given; empty: the study's, where there is one, else the first."""
    target: float | None = None
    """Share of the best constant's MSE that someone wants to reach; None: the strictest that all reach."""
    on: Recording | None = None
    """Of another machine, whose seconds per update are put on this one's updates."""

    @cached_property
    def answers(self) -> dict[Hashable, Any]:
        """What was asked so far, see `remembered`."""
        return {}

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """Every network that was trained, the study's first."""
        named = dict.fromkeys(result.run.model for result in self.all_results)
        return tuple(sorted(named, key=lambda name: name != STUDY_MODEL))

    @property
    def shown(self) -> str:
        """The network whose results are given."""
        return self.network or (self.networks or (STUDY_MODEL,))[0]

    def of_network(self, name: str) -> Cells:
        """The same recording, asked of another network."""
        return replace(self, network=name)

    @property
    def session(self) -> SessionRecord:
        """The recorded session."""
        return self.recording.session

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Every task, the study's order first, degenerate tasks last."""
        named = {result.run.task for result in self.all_results} | {
            label.task for label in self.session.labels
        }
        known = {task: position for position, task in enumerate(STUDY_TASKS)}
        return tuple(
            sorted(named, key=lambda task: (task in self.degenerate, known.get(task, len(known)), task))
        )

    @property
    def of_pixels(self) -> bool:
        """Whether its tasks are the study's statistics of an image's pixels."""
        return set(self.tasks) <= set(STUDY_TASKS)

    @cached_property
    def all_results(self) -> tuple[Result, ...]:
        """Every planned case's result."""
        return tuple(case.result for case in self.session.cases)

    @cached_property
    def degenerate(self) -> frozenset[str]:
        """Tasks whose test labels do not vary."""
        return frozenset(result.run.task for result in self.all_results if result.degenerate)

    def learnable(self, experiment: str = "batch-size") -> tuple[str, ...]:
        """Tasks of an experiment that have something to learn and at least one final MSE."""
        return tuple(task for task in self.tasks_of(experiment) if task not in self.degenerate)

    @remembered
    def tasks_of(self, experiment: str = "batch-size") -> tuple[str, ...]:
        """Tasks of an experiment with at least one final MSE."""
        found = {result.run.task for result in self.results(experiment) if result.final_mse is not None}
        return tuple(task for task in self.tasks if task in found)

    @remembered
    def results(self, experiment: str = "batch-size", task: str | None = None) -> tuple[Result, ...]:
        """Results of the cases that an experiment names, of the network asked of, of one task if given."""
        return tuple(
            result
            for result in self.of_every_network(experiment)
            if result.run.model == self.shown and task in {None, result.run.task}
        )

    @remembered
    def of_every_network(self, experiment: str) -> tuple[Result, ...]:
        """Results of the cases that an experiment names, whatever network they trained."""
        return tuple(case.result for case in self.session.cases if experiment in case.cases)

    def cells(self, task: str, experiment: str = "batch-size") -> list[Cell]:
        """One cell per batch size in rising order, those with at least one final MSE."""
        return [*self._cells(task, experiment)]

    @remembered
    def _cells(self, task: str, experiment: str) -> tuple[Cell, ...]:
        alike = grouped(self.results(experiment, task), lambda result: result.run.cell)
        cells = sorted(map(Cell.of, alike.values()), key=lambda cell: cell.batch_size)
        return tuple(cell for cell in cells if cell.finals)

    @remembered
    def second_look(self, task: str) -> frozenset[float]:
        """The learning rates that were tried round a task's best; empty without such a look."""
        return frozenset(
            case.result.run.learning_rate
            for case in self.session.cases
            if REFINED in case.cases and case.is_second_look
            if (case.result.run.task, case.result.run.model) == (task, self.shown)
        )

    @remembered
    def batch_sizes(self, experiment: str = "batch-size") -> tuple[int, ...]:
        """Batch sizes of an experiment with at least one final MSE, rising."""
        return tuple(sorted({r.run.batch_size for r in self.results(experiment) if r.final_mse is not None}))

    def timings(self, results: Iterable[Result]) -> dict[Timing, list[Result]]:
        """Results whose times may enter statements, by the circumstances under which they were timed."""
        return self.by_timing(filter(self.speaks_of_speed, results))

    def by_timing(self, results: Iterable[Result]) -> dict[Timing, list[Result]]:
        """Results that trained to an end of their own, by the circumstances under which they were timed."""
        timed = [result for result in results if result.training_seconds and result.status in FINISHED]
        alike = grouped(timed, _series)
        return {Timing(*series): results for series, results in sorted(alike.items())}

    def timed(self, timing: Timing) -> dict[str, list[Cell]]:
        """Task -> cells of the batch-size experiment with only the runs timed under these circumstances."""
        rows = {
            task: [
                Cell(task, cell.batch_size, tuple(self.timings(cell.finished).get(timing, ())))
                for cell in self.cells(task)
            ]
            for task in self.tasks_of()
        }
        return {
            task: found for task, row in rows.items() if (found := [cell for cell in row if cell.results])
        }

    def speaks_of_speed(self, result: Result) -> bool:
        """Whether its time may enter a statement: its GPU was not disturbed, or that was asked for."""
        return self.include_disturbed or not result.disturbed

    def disturbed_text(self) -> str:
        """How many runs were timed on a throttled or shared GPU, and what became of them; empty of none."""
        count = sum(bool(result.training_seconds and result.disturbed) for result in self.all_results)
        if not count:
            return ""
        said = f"{counted(count, 'run was', 'runs were')} timed while the GPU was throttled or shared"
        if self.include_disturbed:
            return f"{said}, included in statements on speed as asked for (--include-disturbed)."
        return f"{said}, and left out of every statement on speed; --include-disturbed lets them in."

    def timing_label(self, timing: Timing) -> str:
        """The series' name; with the machine where the study saw several."""
        several = len({result.environment for result in self.all_results if result.environment}) > 1
        label = timing.label(
            (lambda identity: shortened(self.machine_name(identity), 26)) if several else None
        )
        kernels = {
            (result.run.model, result.run.dataset, result.kernel)  # each network has one of its own
            for result in self.all_results
            if result.engine == timing.engine
        }
        several_kernels = len(kernels) > len({(model, dataset) for model, dataset, _ in kernels})
        return f"{label}, kernel {timing.kernel or 'unrecorded'}" if several_kernels else label

    def machine_name(self, environment: str) -> str:
        """The device's name in a fingerprint, or its identity."""
        return str(
            self.session.environments.get(environment, {}).get("device_name") or environment or "unnamed"
        )

    @remembered
    def baseline(self, task: str) -> float | None:
        """MSE of the best constant predictor; None where no run recorded it."""
        return next((r.baseline_mse for r in self.all_results if r.run.task == task and r.baseline_mse), None)

    @property
    def epochs(self) -> int:
        """Epochs of the batch-size experiment; 0 without one."""
        return max((result.run.epochs for result in self.results()), default=0)


def circumstances(result: Result) -> str:
    """`alone`, or `alone; throttled (sw power cap)`: how it was timed, and what disturbed that."""
    return "; ".join(filter(None, (result.timing, result.disturbed)))


def timing_of(result: Result) -> Timing:
    """The circumstances under which a result was timed."""
    return Timing(*_series(result))


_series: Final = attrgetter(*agreement.SERIES)
"""Of a result, the values of a Timing: a tuple, which is made and compared faster."""


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Results, or what else, by a key, in the order in which the keys appear."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def seeds_each(cells: Iterable[Cell]) -> str:
    """`10 seeds per batch size`, or the range where cells differ."""
    return f"{span([len(cell.finals) for cell in cells], 'seed')} per batch size"


def one_seed(data: Cells) -> bool:
    """Whether no cell of the main experiment has a second seed, so that nothing can be judged."""
    counts = [len(cell.finals) for task in data.tasks_of() for cell in data.cells(task)]
    return max(counts, default=0) == 1


def span(counts: Iterable[int], noun: str) -> str:
    """`10 seeds`, or `3 to 10 seeds` where counts differ."""
    low, high = min(counts := list(counts)), max(counts)
    return counted(high, noun) if low == high else f"{low} to {counted(high, noun)}"


def statuses(results: Iterable[Result]) -> str:
    """What a caption must say of runs that did not end well; empty if all did."""
    results = list(results)
    inside = Counter(ending(r) for r in results if r.final_mse is not None and r.status != "ok")
    outside = Counter(ending(r) for r in results if r.final_mse is None)
    said = []
    if inside:
        said.append(f"Includes {_numbered(inside)}.")
    if outside:
        said.append(f"Without a final MSE, and so left out: {_numbered(outside)}.")
    return " ".join(said)


def ending(result: Result) -> str:
    """How a run ended, in words; `diverged` too where an earlier version called an absurd error `ok`."""
    return "diverged" if result.exploded else result.status.replace("_", " ")


def _numbered(counts: Counter[str]) -> str:
    return listed(f"{count:,} {how}" for how, count in sorted(counts.items()))


def beside_dead(cells: Iterable[Cell]) -> str:
    """Means and medians of the cells with dead runs, which pull a mean up; empty where all live."""
    said = [
        f"{cell.task} at batch size {cell.batch_size}: {cell.dead} of {len(cell.finals)} dead, "
        f"mean {number(fmean(cell.finals), 3)}, median {number(median(cell.finals), 3)}"
        for cell in cells
        if cell.dead
    ]
    if not said:
        return ""
    more = f"; and {counted(len(said) - MOST_DEAD, 'more cell')}" if len(said) > MOST_DEAD else ""
    return f"Dead runs count in the mean, so here is the median too. {'; '.join(said[:MOST_DEAD])}{more}."


def ended(results: Sequence[Result]) -> str:
    """`ok`, or how many ended how."""
    counts = Counter(map(ending, results))
    if set(counts) == {"ok"}:
        return "ok"
    return ", ".join(f"{count} {how}" for how, count in sorted(counts.items()))


def ends(cells: Mapping[str, Sequence[Cell]], measure: str = "finals") -> str:
    """What each line does from the smallest batch to the largest, in words."""
    said = []
    for task, row in cells.items():
        first, last = (number(fmean(getattr(cell, measure)), 3) for cell in (row[0], row[-1]))
        end = f" to {last} at {row[-1].batch_size}" if len(row) > 1 else ""
        said.append(f"{task}: {first} at batch size {row[0].batch_size}{end}")
    return "; ".join(said) + "."
