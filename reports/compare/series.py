"""Series: results of one recording that were computed and timed alike, and the names that tell them apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import Any, Final

from bsr.records.durable import stem
from bsr.records.reading import RefusedError
from bsr.records.schema import Case
from bsr.result import Result
from bsr.run import Run
from reports.cells import Cells, Timing, timing_of
from reports.text import counted, printable

FLAT: Final = 0.9
"""Share of a series' best throughput from which on its curve counts as flat."""
LABEL_LIMIT: Final = 48

RunsByCell = dict[Run, dict[str, Result]]
"""Cell (its Runs with the seed at 0) -> key of the Run -> Result."""


@dataclass(frozen=True, eq=False)
class Series:
    """Results of one recording on one machine, by one engine, with one thread count, timed in one mode."""

    data: Cells
    timing: Timing
    cases: tuple[Case, ...]
    label: str = ""

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The fingerprint of its machine; empty where none was recorded."""
        return self.data.session.environments.get(self.timing.environment, {})

    def cells(self, experiment: str) -> RunsByCell:
        """The cells of an experiment."""
        return self._cells.get(experiment, {})

    def timed(self, experiment: str) -> RunsByCell:
        """Likewise, of each cell only the runs that speak of speed."""
        return speaking_of_speed(self.data, self.cells(experiment))

    @cached_property
    def _cells(self) -> dict[str, RunsByCell]:
        found: dict[str, RunsByCell] = {}
        for case in self.cases:
            cell = case.result.run.cell
            for experiment in case.cases:
                found.setdefault(experiment, {}).setdefault(cell, {})[case.key] = case.result
        return found

    def throughput(self, experiment: str) -> dict[int, float]:
        """Batch size -> training images per second, the median over runs, rising batch sizes."""
        sizes: dict[int, list[float]] = {}
        for cell, results in self.timed(experiment).items():
            seconds = [value for result in results.values() for value in epoch_seconds(result)]
            sizes.setdefault(cell.batch_size, []).extend(cell.train_images / value for value in seconds)
        return {size: median(speeds) for size, speeds in sorted(sizes.items()) if speeds}

    def flat_from(self, experiment: str) -> int | None:
        """The batch size from which on throughput stays within FLAT of its best.

        None where only the largest does (the curve still rises there), or where there are fewer than three.
        """
        speeds = self.throughput(experiment)
        if len(speeds) < 3:
            return None
        sizes, best = list(speeds), max(speeds.values())
        below = [size for size in sizes if speeds[size] < FLAT * best]
        start = sizes[sizes.index(below[-1]) + 1 :] if below else sizes
        return start[0] if len(start) > 1 else None


def speaking_of_speed(data: Cells, cells: RunsByCell) -> RunsByCell:
    """The cells with the runs whose times may enter statements; some may have none."""
    return {
        cell: {key: result for key, result in runs.items() if data.speaks_of_speed(result)}
        for cell, runs in cells.items()
    }


def epoch_seconds(result: Result) -> list[float]:
    """A run's time as a list of one: the median of its epochs' training seconds; empty if none is above 0."""
    seconds = [value for value in result.training_seconds if value > 0]
    return [median(seconds)] if seconds else []


def commit_of(about: Mapping[str, Any]) -> str:
    """`e1dcdd4528, with local changes` of pytest-benchmark's commit_info; empty where none was recorded."""
    name = printable(str(about.get("id") or "")[:10])
    return f"{name or 'unknown'}, with local changes" if about.get("dirty") else name


def series_of(data: Cells) -> list[Series]:
    """A recording's series, that with the most cases first; cases that never trained are in none."""
    timings: dict[Timing, list[Case]] = {}
    for case in data.session.cases:
        if case.result.training_seconds and case.result.run.model == data.shown:
            timings.setdefault(timing_of(case.result), []).append(case)
    found = [Series(data, timing, tuple(cases)) for timing, cases in sorted(timings.items())]
    return sorted(found, key=lambda series: -len(series.cases))


def labelled(series: Sequence[Series], files: Sequence[Cells], labels: Sequence[str] = ()) -> list[Series]:
    """The series with labels that differ: `labels`, one per recording, or as much as tells them apart.

    Raises RefusedError where `labels` are not one different name per recording.
    """
    if labels and (len(labels) != len(files) or len(set(labels)) != len(labels) or not all(labels)):
        names = counted(len(files), "different name")
        raise RefusedError(f"--labels: expected {names}, one per file, got {', '.join(labels)!r}")
    given = {id(data): printable(label, LABEL_LIMIT) for data, label in zip(files, labels, strict=False)}
    words = [[given[id(one.data)]] if given else [] for one in series]
    for part in _PARTS:
        counts = Counter(map(tuple, words))
        for alike in [row for row, count in counts.items() if count > 1]:
            members = [index for index, row in enumerate(words) if tuple(row) == alike]
            if len({part(series[index]) for index in members}) > 1:
                for index in members:
                    words[index].append(part(series[index]))
    texts = [", ".join(filter(None, row)) or _device(one) for one, row in zip(series, words, strict=True)]
    same = Counter(texts)
    return [
        replace(one, label=text if same[text] == 1 else f"{text} ({index + 1})")
        for index, (one, text) in enumerate(zip(series, texts, strict=True))
    ]


def _device(series: Series) -> str:
    name = str(series.environment.get("device_name") or series.timing.environment or "unnamed machine")
    return " ".join(re.sub(r"\((?:R|TM)\)| @ .*$", "", printable(name, LABEL_LIMIT)).split())


def _recorded(name: str) -> Callable[[Series], str]:
    def part(series: Series) -> str:
        value = series.environment.get(name)
        return f"{name} {printable(str(value), LABEL_LIMIT)}" if value is not None else ""

    return part


_PARTS: Final[tuple[Callable[[Series], str], ...]] = (
    _device,
    lambda series: printable(series.timing.engine, LABEL_LIMIT) or "unnamed engine",
    lambda series: f"kernel {printable(series.timing.kernel, LABEL_LIMIT) or 'unrecorded'}",
    lambda series: series.timing.mode,
    lambda series: counted(series.timing.threads, "thread"),
    *(_recorded(name) for name in ("torch", "cuda", "driver", "python", "system")),
    lambda series: printable(stem(series.data.recording.path), LABEL_LIMIT),
    lambda series: printable(str(series.data.recording.path)),
)
"""What labels may say, in this order; each only of series that those before it leave alike."""
