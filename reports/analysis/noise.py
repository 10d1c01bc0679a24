"""NoiseMoment scales of a recording: sums over seeds are divided, since a ratio of each would be biased."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bsr.records.schema import NoisePoint
from reports.cells import Cells


@dataclass(frozen=True, slots=True)
class NoiseMoment:
    """At one moment of the trainings of one batch size."""

    task: str
    batch_size: int
    step: int
    cooled: bool
    scale: float | None
    """Images; None where the gradient vanished."""
    two_batches: float | None
    adam: float | None
    seeds: int


def noise(data: Cells) -> list[NoiseMoment]:
    """By task, batch size, cooling and step."""
    points: dict[tuple[str, int, bool, int], list[NoisePoint]] = {}
    for scale in data.session.noise:
        for point in scale.points:
            points.setdefault((scale.task, scale.batch_size, point.cooled, point.step), []).append(point)
    return [
        NoiseMoment(
            task,
            size,
            step,
            cooled,
            _ratio((point.trace, point.square) for point in found),
            _ratio((point.trace_two_batches, point.square_two_batches) for point in found),
            _ratio((point.trace_adam, point.square_adam) for point in found),
            len(found),
        )
        for (task, size, cooled, step), found in sorted(points.items())
    ]


def cooled_range(data: Cells, task: str) -> tuple[float, float] | None:
    """The lowest and the highest noise scale of a task after cooling, images."""
    found = [one.scale for one in noise(data) if one.task == task and one.cooled and one.scale]
    return (min(found), max(found)) if found else None


def _ratio(pairs: Iterable[tuple[float, float]]) -> float | None:
    traces, squares = zip(*pairs, strict=True)
    return sum(traces) / sum(squares) if sum(squares) > 0 else None
