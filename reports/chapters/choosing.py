"""Which batch size reaches a given error soonest, on this machine and on another?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import geometric_mean
from typing import Final

from matplotlib.axes import Axes

from bsr.stats.soonest import Ratio
from reports.analysis import choosing
from reports.analysis.arms import FEWEST_TUNING_SEEDS
from reports.analysis.choosing import POOLED, Choice, Point, Soonest, choices, points
from reports.analysis.prediction import Predicted, predictions
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table, interval_cells
from reports.text.verdicts import OR_SOONER, Finding, Short, Verdict

CLAIM: Final = "A smaller batch reaches the same error sooner."
MEASURES: Final = {
    "seconds": ("Seconds to the error", "s of training (log)"),
    "updates": ("Updates to the error", "updates (log)"),
    "images": ("Images to the error", "images trained on (log)"),
}
"""Field of Point -> the panel's title and its measure."""
HOW: Final = (
    "Updates until the median of three evaluations in a row is there, times seconds per update. The rate, "
    "schedule and budget of a batch size are those whose tuning runs, on validation images and other seeds, "
    "got there most often and soonest."
)


def finding(data: Cells) -> list[Finding]:
    """Which is soonest, which cannot be told from it, what the largest costs."""
    found = choosing.answers(data)
    if not found:
        return list(_unresolved(data))
    lines = (*(f"{one.timed}: {_ratios(one)}" for one in found), *_checked(predictions(data)))
    said, short = _sentence(data, found[0]), _short(data, found[0])
    verdict = _verdict(data, found[0])
    return [Finding("choosing", CLAIM, verdict, said, lines, "time-to-error", short=short)]


def _unresolved(data: Cells) -> Iterator[Finding]:
    """Where the first reading found a batch size there: no factor, and no verdict."""
    target = data.target or choosing.strictest(data)
    if target is not None and (first := choosing.at_first_reading(data, target)):
        said = (
            f"Which batch size reaches {_share(target)} of the best constant's error soonest, nobody saw: "
            f"the first reading, after {counted(max(first.values()), 'update')}, found {listed(first)} there "
            "already. Train longer, so that all reach a stricter error, or ask for one by --target."
        )
        short = Short(part="To a given error", sentence=said)
        yield Finding("choosing", CLAIM, "cannot tell", said, short=short)


def _short(data: Cells, found: Soonest) -> Short:
    """Of the first screen: which is soonest, and what the end that is not costs."""
    dearest = min(found.ratios) if found.size == max(found.ratios) else max(found.ratios)
    unsure = (
        "as far as so few seeds tell, " if choosing.fewest_seeds(data, found) <= choosing.A_DIRECTION else ""
    )
    tied = f"; {listed(found.tied)} cannot be told from it" if found.tied else ""
    return Short(
        number="" if dearest == found.size else _times(found.ratios[dearest]),
        part="To a given error",
        sentence=(
            f"Of batch sizes {listed(sorted(found.seconds))}, batch size {found.size} reaches "
            f"{_share(found.target)} of the error of always answering the mean soonest; batch size {dearest} "
            f"{_needs(found.ratios[dearest])}, each at the learning rate and schedule tuned for it{tied}. "
            f"Timed: {found.timed}; another machine may differ."
        ),
        seeds="" if dearest == found.size else counted(choosing.fewest_seeds(data, found), "seed"),
        clause=(f"{unsure}at tuned rates and schedules, {_soonest(found)} a given error soonest"),
    )


def _soonest(found: Soonest) -> str:
    """Who reaches it: those that cannot be told apart together, in two numbers at most."""
    if not found.tied:
        return f"batch size {found.size} reaches"
    first, *more = sorted([found.size, *found.tied])
    return f"batch sizes {first} and {more[0] if len(more) == 1 else counted(len(more), 'other')} alike reach"


def _verdict(data: Cells, found: Soonest) -> Verdict:
    """Shown where the smallest is soonest and every other is told from it, by more than a few seeds."""
    if choosing.fewest_seeds(data, found) <= choosing.A_DIRECTION:
        return "cannot tell"
    if found.size != min(found.seconds):
        return "not shown"
    return "cannot tell" if found.tied else "shown"


def _sentence(data: Cells, found: Soonest) -> str:
    return " ".join(_said(data, found))


def _said(data: Cells, found: Soonest) -> Iterator[str]:
    largest, smallest = max(found.seconds), min(found.seconds)
    yield (
        f"Batch size {found.size} reaches {_share(found.target)} of the best constant's error soonest: after "
        f"{number(found.seconds[found.size], 2)} s of training ({found.timed}), each batch size at the rate "
        f"and schedule tuned for it. The runs trained for {number(choosing.passes(data), 2)} epochs; longer "
        "ones may differ."
    )
    if found.tied:
        yield f"Batch size {listed(found.tied)} cannot be told from it."
    if found.size != largest:
        yield f"{largest} takes {as_long(found.ratios[largest])}."
    if found.at_an_end:
        end = "smallest" if found.size == smallest else "largest"
        yield f"{found.size} is the {end} that was compared: one beyond it may be sooner still."
    tasks = choosing.tasks(data)
    weak = [
        size for size in found.costs if any(choices(data, t, found.target)[size].weakly_tuned for t in tasks)
    ]
    if weak:
        many = "was" if len(weak) == 1 else "were"
        which = "Every batch size was" if weak == [*found.costs] else f"Batch size {listed(weak)} {many}"
        yield f"{which} tuned with fewer than {FEWEST_TUNING_SEEDS} seeds."
    if (seeds := choosing.fewest_seeds(data, found)) <= choosing.A_DIRECTION:
        yield f"With {counted(seeds, 'seed')} that is a direction."


def _share(target: float) -> str:
    return f"{100 * target:.3g}%"


def as_long(ratio: Ratio) -> str:
    """`29 times as long (18 to 35)`."""
    if math.isinf(ratio.factor):
        return "longer than it was trained"
    return f"{number(ratio.factor, 2)} times as long{_interval(ratio)}"


def _times(ratio: Ratio) -> str:
    """`\N{MULTIPLICATION SIGN}29 (18 to 35)`, beside its sentence."""
    if math.isinf(ratio.factor):
        return as_long(ratio)
    return f"\N{MULTIPLICATION SIGN}{number(ratio.factor, 2)}{_interval(ratio)}"


def _needs(ratio: Ratio) -> str:
    if math.isinf(ratio.factor):
        return "does not get there in its training"
    return f"needs \N{MULTIPLICATION SIGN}{number(ratio.factor, 2)} the seconds"


def _interval(ratio: Ratio) -> str:
    reach = ratio.interval
    return f" ({number(reach.low, 2)} to {number(reach.high, 2)})" if reach else ""


def _ratios(found: Soonest) -> str:
    said = (f"{size} {as_long(ratio)}" for size, ratio in found.ratios.items() if size != found.size)
    return f"{found.size} in {number(found.seconds[found.size], 2)} s; {'; '.join(said)}"


def _checked(found: list[Predicted]) -> Iterator[str]:
    """How far the seconds measured on the other machine are from those predicted for it."""
    if not found:
        return
    yield (
        "Checked where both were trained: seconds measured over those predicted, by batch size, targets of "
        f"{_share(min(one.target for one in found))} and above: "
        f"{_by_batch_size(found, lambda one: one.off)}. Of one update alone: "
        f"{_by_batch_size(found, lambda one: one.an_update)}; the rest is how many updates other seeds take"
    )


def _by_batch_size(found: list[Predicted], factor: Callable[[Predicted], float]) -> str:
    """Its geometric mean over targets."""
    sizes = sorted({one.batch_size for one in found})
    each = {size: geometric_mean(factor(one) for one in found if one.batch_size == size) for size in sizes}
    return listed(f"{number(mean, 3)} ({size})" for size, mean in each.items())


def _prediction_table(data: Cells) -> Table:
    rows = [
        {
            "target": one.target,
            "batch size": one.batch_size,
            "predicted s": one.predicted,
            "measured s": one.measured,
            "measured over predicted": one.off,
            **interval_cells(one.interval),
            "of one update": one.an_update,
            "seeds": one.seeds,
        }
        for one in predictions(data)
    ]
    note = (
        "Predicted: this recording's updates times the other's seconds per update. Measured: the training "
        "seconds of the other's own runs. Medians over seeds, geometric means over tasks; the interval "
        "resamples the seeds of both: what luck alone makes of medians of so few. Of one update: its "
        "seconds measured over those predicted, in which seeds play no part."
    )
    return Table.of("prediction", "Predicted and measured on the other machine", rows, note, folded=True)


def time_to_error(data: Cells) -> FigureContent | None:
    """Seconds, updates and images to the target against batch size."""
    found = next(iter(choosing.answers(data)), None)
    if found is None:
        return None
    curves = points(data, found)
    rows = [choices(data, task, found.target) for task in choosing.tasks(data)]
    seeds = span((len(row[size].updates) for row in rows for size in found.costs), "seed")
    return FigureContent(
        [
            Panel(title, partial(_draw, curves=curves, measure=name), unit)
            for name, (title, unit) in MEASURES.items()
        ],
        f"To {_share(found.target)} of the best constant's error; {found.timed}. {HOW} Medians over seeds; "
        f"{POOLED}: the geometric mean of the tasks.",
        f"Seconds, updates and images until the error is reached, against batch size. {_ratios(found)}.",
        n=f"{seeds} per batch size",
    )


def _draw(axes: Axes, curves: Mapping[str, Mapping[int, Point]], measure: str) -> None:
    values = {
        name: {size: value for size, point in row.items() if math.isfinite(value := getattr(point, measure))}
        for name, row in curves.items()
    }
    scale = style.log_axis(axes.yaxis, [value for row in values.values() for value in row.values()])
    for name, row in values.items():
        pooled = name == POOLED
        colour, marker = (style.INK, "X") if pooled else style.task_kind(name, list(curves))
        axes.plot(
            list(row),
            scale.place(row.values()),
            color=colour,
            marker=marker,
            label=style.name(name),
            linewidth=2.4 if pooled else 1.2,
        )
    style.batch_axis(axes, sorted({size for row in values.values() for size in row}))
    legend(axes)


def _seconds_table(data: Cells) -> Table:
    rows = [
        {
            "timed": found.timed,
            "target": found.target,
            "batch size": size,
            "training s": seconds if math.isfinite(seconds) else None,
            "times the soonest": found.ratios[size].factor if math.isfinite(seconds) else None,
            **interval_cells(found.ratios[size].interval),
            "draws lost": round(found.ratios[size].lost, 3) or None,
        }
        for found in choosing.answers(data)
        for size, seconds in found.seconds.items()
    ]
    note = (
        "As in the figure of this name. Intervals are over seeds, those that tune too; draws lost: the share "
        "of resamplings whose tuning seeds chose an arm that never gets there, which are left out."
    )
    return Table.of("time-to-error", "Time to the same error", rows, note)


def _updates_table(data: Cells) -> Table:
    rows = [
        {
            "task": task,
            "target": target,
            "batch size": size,
            "updates": one.median if (there := math.isfinite(one.median)) else None,
            "images": one.median * size if there else None,
            "state": _state(one),
            "seeds": len(one.updates),
            "missed": one.missed,
            "tuning seeds": one.tuning_seeds,
            "budget": one.training.arm.steps,
            "schedule": one.training.arm.schedule,
            "learning rate": one.training.learning_rate,
            "warm-up": one.training.warmup,
            "beta2": one.training.beta2,
        }
        for task in choosing.tasks(data)
        for target in choosing.TARGETS
        for size, one in choices(data, task, target).items()
    ]
    return Table.of("updates-to-target", "Updates to a target", rows, HOW, folded=True)


def _state(one: Choice) -> str | None:
    if math.isinf(one.median):
        return "not trained that far"
    return OR_SOONER if one.or_sooner else None


CHAPTER: Final = Chapter(
    section="Which batch size",
    figures=(Figure("Time to the same error", time_to_error),),
    findings=finding,
    tables=lambda data: [_seconds_table(data), _prediction_table(data), _updates_table(data)],
)
