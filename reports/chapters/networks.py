"""Does the answer hold for other networks?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Final, Literal, NamedTuple

from matplotlib.axes import Axes

from bsr import stats
from bsr.result import Result
from reports.analysis.arms import log_error
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding, TaskVerdict, Verdict, difference_text, judged, lines, together

Equal = Literal["epochs", "updates"]
CLAIMS: Final[dict[Equal, str]] = {
    "epochs": "After the same epochs a larger batch has a higher error, whatever the network.",
    "updates": "After the same number of updates a larger batch has no higher error, whatever the network.",
}
CAVEAT: Final = (
    "Paired by whole seeds, tasks counting alike. The rate is the study's, constant, tuned at 32 for its "
    "own network; few seeds tell a direction and no equality."
)


class OverSmallest(NamedTuple):
    """The error of one batch size over that of the smallest, with one network, over tasks and seeds."""

    network: str
    equal: Equal
    batch_size: int
    error: stats.Estimate


def ratios(data: Cells) -> list[OverSmallest]:
    """Of every network, at equal epochs and at equal updates, by rising batch size."""
    found = []
    for name in data.networks:
        results = [r for r in data.of_network(name).results("networks") if r.run.task not in data.degenerate]
        sizes = sorted({result.run.batch_size for result in results})
        for equal in _measured(results):
            errors = {size: _errors(results, size, equal) for size in sizes}
            over = {size: _over(errors[sizes[0]], errors[size]) for size in sizes[1:]}
            found += [OverSmallest(name, equal, size, one) for size, one in over.items() if one.n]
    return found


def _measured(results: Sequence[Result]) -> tuple[Equal, ...]:
    """What is equal in them: a smoke session cuts all batch sizes to a few updates, so not the epochs."""
    images = [result.run.steps * result.run.batch_size for result in results]
    alike = max(images, default=0) < 1.01 * min(images, default=0)
    return ("epochs", "updates") if alike else ("updates",)


def _updates(results: Iterable[Result]) -> int:
    """The budget of the largest batch size, at which all are compared; 0 without any."""
    return min((result.run.steps for result in results), default=0)


def _errors(results: Sequence[Result], size: int, equal: Equal) -> dict[int, dict[str, float]]:
    """Seed -> task -> log of the normalised test MSE at the end, or after the updates that all have made."""
    step = _updates(results)
    found: dict[int, dict[str, float]] = {}
    for result in results:
        if result.run.batch_size == size:
            value = log_error(result, result.run.steps if equal == "epochs" else step)
            if value is not None:
                found.setdefault(result.run.seed, {})[result.run.task] = value
    return found


def _over(first: dict[int, dict[str, float]], second: dict[int, dict[str, float]]) -> stats.Estimate:
    """Second over first by whole seeds, the geometric mean over all tasks; without seeds that lack one."""
    tasks = sorted({task for side in (first, second) for errors in side.values() for task in errors})
    seeds = [seed for seed in first if len(first[seed]) == len(second.get(seed, ())) == len(tasks)]
    a, b = ([math.exp(fmean(side[seed].values())) for seed in sorted(seeds)] for side in (first, second))
    return stats.difference(a, b, paired=True)


def findings(data: Cells) -> list[Finding]:
    """A sentence on equal epochs and one on equal updates: the largest batch against the smallest."""
    found = ratios(data)
    return [_finding(data, found, equal) for equal in CLAIMS if any(one.equal == equal for one in found)]


def _finding(data: Cells, found: Sequence[OverSmallest], equal: Equal) -> Finding:
    of_it = [one for one in found if one.equal == equal]
    largest = {one.network: one for one in of_it}  # batch sizes rise
    parts = [TaskVerdict(name, _verdict(one), _line(one)) for name, one in largest.items()]
    results = data.of_every_network("networks")
    smallest = min(result.run.batch_size for result in results)
    after = "the same epochs" if equal == "epochs" else f"the same {_updates(results):,} updates"
    times = listed(f"{number(one.error.factor, 3)} ({name})" for name, one in largest.items())
    most = max(one.batch_size for one in of_it)
    sentence = f"After {after} the error at batch size {most} is that at {smallest} times {times}."
    if any(one.error.p.value is None for one in largest.values()):
        sentence += f" {_direction(largest)}"
    said = (*lines(parts), CAVEAT)
    return Finding(f"networks-{equal}", CLAIMS[equal], together(parts), sentence, said, "networks")


def _direction(largest: Mapping[str, OverSmallest]) -> str:
    """What so few seeds can say."""
    few = min(one.error.n[0] for one in largest.values())
    intervals = {name: one.error.interval for name, one in largest.items()}
    above = [name for name, interval in intervals.items() if interval and interval.low > 1]
    below = [name for name, interval in intervals.items() if interval and interval.high < 1]
    said = [f"{side} 1 for {listed(names)}" for side, names in (("above", above), ("below", below)) if names]
    told = f", the interval lies {listed(said)}" if said else ""
    return f"{counted(few, 'whole seed')} tell a direction, and no p-value{told}."


def _verdict(one: OverSmallest) -> Verdict:
    if one.equal == "updates" and not one.error.p.significant:
        return "cannot tell"
    return judged(one.error.p, agrees=(one.error.factor > 1) == (one.equal == "epochs"))


def _line(one: OverSmallest) -> str:
    return f"{one.network}, {one.batch_size}: {difference_text(one.error)}"


def networks(data: Cells) -> FigureContent | None:
    """Error against batch size as multiples of the smallest's, a line per network."""
    found = ratios(data)
    if not found:
        return None
    results = data.of_every_network("networks")
    titles: dict[Equal, str] = {
        "epochs": "After the same epochs",
        "updates": f"After the same {_updates(results):,} updates",
    }
    smallest = min(result.run.batch_size for result in results)
    ends = [finding.sentence for finding in findings(data)]
    return FigureContent(
        [
            Panel(title, partial(_draw, found=of_it), f"error over that at {smallest} (log)")
            for equal, title in titles.items()
            if (of_it := [one for one in found if one.equal == equal])
        ],
        f"Test MSE over that at batch size {smallest}: geometric mean over tasks and seeds, "
        f"with 95% intervals. {CAVEAT}",
        f"Ratios of test MSE against batch size, a line per network. {' '.join(ends)}",
        n=f"{span((one.error.n[0] for one in found), 'seed')} per batch size and line",
        results=results,
    )


def _draw(axes: Axes, found: Sequence[OverSmallest]) -> None:
    scale = style.log_axis(axes.yaxis, [1.0, *drawn.reach(one.error for one in found)])
    drawn.no_change(axes, scale)
    names = list(dict.fromkeys(one.network for one in found))
    for index, (name, aside) in enumerate(zip(names, style.spread(len(names), 1.15), strict=True)):
        row = {one.batch_size * aside: one.error for one in found if one.network == name and one.error.known}
        drawn.line(axes, scale, row, style.kind(index), 1.6, label=style.name(name))
    style.batch_axis(axes, sorted({one.batch_size for one in found}))
    legend(axes)


def _table(data: Cells) -> Table:
    rows = [
        {
            "network": one.network,
            "equal": one.equal,
            "batch size": one.batch_size,
            "times the smallest's": one.error.factor if one.error.known else None,
            **interval_cells(one.error.interval),
            "seeds": one.error.n[0],
        }
        for one in ratios(data)
    ]
    return Table.of("networks", "Other networks", rows, f"Test MSE over that of the smallest batch. {CAVEAT}")


CHAPTER: Final = Chapter(
    section="The batch size",
    options="--bsr-preset networks",
    figures=(Figure("Does it hold for other networks?", networks),),
    findings=findings,
    tables=lambda data: [_table(data)],
    experiments=("networks",),
)
