"""The answer in one look: what the batch size, the learning rate and the seed each change."""

from __future__ import annotations

from matplotlib.axes import Axes

from bsr.stats.basis import FEWEST_FOR_A_MEAN
from reports import style
from reports.drawing import Panel
from reports.effects import Effects, effects, second_look
from reports.figures.spec import Drawing, legend
from reports.frame import Frame, seeds, span
from reports.text import number

_KINDS = ("batch size", "learning rate", "noise of one seed")


def effect_sizes(frame: Frame) -> Drawing | None:
    """Per task, the factor by which each changes the final MSE."""
    found = [entry for entry in effects(frame) if entry.batch_size]
    if not found:
        return None
    rows = {entry.task: _factors(entry) for entry in found}

    def draw(axes: Axes) -> None:
        everything = [
            value for row in rows.values() for factors in row.values() for value in factors if value
        ]
        style.log_axis(axes.xaxis, [1.0, *everything])
        axes.axvline(1, color=style.REFERENCE, linewidth=1.2)
        for index, kind in enumerate(_KINDS):
            colour, marker = style.kind(index)
            label: str | None = kind
            for place, row in enumerate(rows.values()):
                low, middle, high = row[kind]
                height = place + 0.24 * (index - 1)
                if low and high:
                    axes.hlines(height, low, high, color=colour, linewidth=2)
                if middle:
                    axes.plot([middle], [height], marker, color=colour, markersize=7, label=label)
                    label = None
        names = [style.name(task, 12) for task in rows]
        axes.set_yticks(range(len(rows)), names, size=style.SMALL if max(map(len, names)) < 8 else 6.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("factor on the final test MSE (log)")
        legend(axes)

    cells = [cell for entry in found for cell in frame.cells(entry.task)]
    counts = [len(values) for entry in found for values in second_look(frame, entry.task).values()]
    per_rate = f", {span(counts, 'seed')} per learning rate" if counts else ""
    return Drawing(
        [Panel("How many times the error", draw, "worst / best level; lines: 95% intervals; 1: no effect")],
        "Ratio of the geometric mean final MSE at the worst to that at the best batch size; the same for "
        "the learning rates of the second look, where measured, at batch size 32; and one standard "
        "deviation between seeds as a factor. Lines: 95% intervals, wide enough to allow for picking the "
        f"worst and the best of all levels; none below {FEWEST_FOR_A_MEAN} seeds per level. "
        f"{seeds(cells)}{per_rate}.",
        "Factors on the final test MSE per task. "
        + "; ".join(
            f"{task}: " + ", ".join(f"{kind} {number(row[kind][1], 3)}" for kind in _KINDS if row[kind][1])
            for task, row in rows.items()
        )
        + ".",
    )


Factors = tuple[float | None, float | None, float | None]


def _factors(entry: Effects) -> dict[str, Factors]:
    """Interval's lower end, factor, upper end, by kind."""
    found: dict[str, Factors] = {}
    for kind, effect in zip(_KINDS, (entry.batch_size, entry.learning_rate), strict=False):
        interval = effect.interval if effect else None
        ends = (interval.low, interval.high) if interval else (None, None)
        found[kind] = (ends[0], effect.ratio if effect else None, ends[1])
    found[_KINDS[2]] = (None, entry.batch_size.seed_factor if entry.batch_size else None, None)
    return found
