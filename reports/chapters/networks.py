"""Does the answer hold for other networks?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from matplotlib.axes import Axes

from bsr import stats
from bsr.result import Result
from reports.analysis.arms import log_error
from reports.cells import Cells, statuses
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.table import Row, Table
from reports.text import counted, listed, number
from reports.verdicts import Finding, Part, difference_text, judged, together

EXPERIMENT: Final = "networks"
Equal = Literal["epochs", "updates"]
CLAIMS: Final[dict[Equal, str]] = {
    "epochs": "After the same epochs a larger batch has a higher error, whatever the network.",
    "updates": "After the same number of updates a larger batch has no higher error, whatever the network.",
}
CAVEAT: Final = (
    "Pairs share task and seed. The rate is the study's, tuned at 32 for its own network; few seeds tell a "
    "direction and no equality."
)


class Effect(NamedTuple):
    """The error of one batch size over that of the smallest, with one network, over tasks and seeds."""

    network: str
    equal: Equal
    batch_size: int
    difference: stats.Difference


def effects(data: Cells) -> list[Effect]:
    """Of every network, at equal epochs and at equal updates, by rising batch size."""
    found = []
    for name in data.networks:
        results = [r for r in data.of_network(name).results(EXPERIMENT) if r.run.task not in data.degenerate]
        sizes = sorted({result.run.batch_size for result in results})
        for equal in _measured(results):
            errors = {size: _errors(results, size, equal) for size in sizes}
            found += [
                Effect(name, equal, size, _over(errors[sizes[0]], errors[size]))
                for size in sizes[1:]
                if errors[sizes[0]].keys() & errors[size].keys()
            ]
    return found


def _measured(results: Sequence[Result]) -> tuple[Equal, ...]:
    """What is equal in them: a smoke session cuts all batch sizes to a few updates, so not the epochs."""
    images = [result.run.steps * result.run.batch_size for result in results]
    alike = max(images, default=0) < 1.01 * min(images, default=0)
    return ("epochs", "updates") if alike else ("updates",)


def updates(results: Iterable[Result]) -> int:
    """The budget of the largest batch size, at which all are compared; 0 without any."""
    return min((result.run.steps for result in results), default=0)


def _errors(results: Sequence[Result], size: int, equal: Equal) -> dict[tuple[str, int], float]:
    """(task, seed) -> normalised test MSE at the end, or after the updates that all have made."""
    step = updates(results)
    found = {}
    for result in results:
        if result.run.batch_size == size:
            value = log_error(result, result.run.steps if equal == "epochs" else step)
            if value is not None:
                found[result.run.task, result.run.seed] = math.exp(value)
    return found


def _over(first: dict[tuple[str, int], float], second: dict[tuple[str, int], float]) -> stats.Difference:
    shared = sorted(first.keys() & second.keys())
    return stats.difference([first[pair] for pair in shared], [second[pair] for pair in shared], paired=True)


def findings(data: Cells) -> list[Finding]:
    """A sentence on equal epochs and one on equal updates: the largest batch against the smallest."""
    found = effects(data)
    return [
        _finding(data, found, equal) for equal in CLAIMS if any(effect.equal == equal for effect in found)
    ]


def _finding(data: Cells, found: Sequence[Effect], equal: Equal) -> Finding:
    of_it = [effect for effect in found if effect.equal == equal]
    largest = {effect.network: effect for effect in of_it}  # batch sizes rise
    parts = [Part(name, _verdict(one), _line(one)) for name, one in largest.items()]
    results = data.of_every_network(EXPERIMENT)
    smallest = min(result.run.batch_size for result in results)
    after = "the same epochs" if equal == "epochs" else f"the same {updates(results):,} updates"
    times = listed(f"{number(one.difference.ratio, 3)} ({name})" for name, one in largest.items())
    most = max(effect.batch_size for effect in of_it)
    sentence = f"After {after} the error at batch size {most} is that at {smallest} times {times}."
    lines = (*(part.line for part in parts), CAVEAT)
    return Finding(f"networks-{equal}", CLAIMS[equal], together(parts), sentence, lines, EXPERIMENT)


def _verdict(effect: Effect) -> Literal["shown", "not shown", "cannot tell"]:
    if effect.equal == "epochs":
        return judged(effect.difference.p, agrees=(effect.difference.ratio or 0) > 1)
    interval = effect.difference.interval
    if interval is None:
        return "cannot tell"
    if interval.high <= 1:
        return "shown"
    return "not shown" if interval.low > 1 else "cannot tell"


def _line(effect: Effect) -> str:
    return f"{effect.network}, {effect.batch_size:,}: {difference_text(effect.difference)}"


def figure(data: Cells) -> FigureContent | None:
    """Error against batch size as multiples of the smallest's, a line per network."""
    found = effects(data)
    if not found:
        return None
    results = data.of_every_network(EXPERIMENT)
    titles: dict[Equal, str] = {
        "epochs": "After the same epochs",
        "updates": f"After the same {updates(results):,} updates",
    }
    smallest = min(result.run.batch_size for result in results)
    pairs = max(effect.difference.first for effect in found)
    ends = [finding.sentence for finding in findings(data)]
    return FigureContent(
        [
            Panel(title, partial(_draw, found=drawn), f"error over that at {smallest} (log)")
            for equal, title in titles.items()
            if (drawn := [effect for effect in found if effect.equal == equal])
        ],
        f"Test MSE over that at batch size {smallest}: geometric mean over tasks and seeds, "
        f"with 95% intervals. {CAVEAT} n = {counted(pairs, 'pair')}. {statuses(results)}".strip(),
        f"Ratios of test MSE against batch size, a line per network. {' '.join(ends)}",
    )


def _draw(axes: Axes, found: Sequence[Effect]) -> None:
    ratios = [effect.difference.ratio or 1.0 for effect in found]
    intervals = [effect.difference.interval for effect in found]
    ends = [end for interval in intervals if interval for end in (interval.low, interval.high)]
    scale = style.log_axis(axes.yaxis, [1.0, *ratios, *ends])
    axes.axhline(scale.place([1.0])[0], color=style.REFERENCE, linewidth=1.2)
    names = list(dict.fromkeys(effect.network for effect in found))
    for index, (name, aside) in enumerate(zip(names, style.spread(len(names), 1.15), strict=True)):
        colour, marker = style.kind(index)
        line = [effect for effect in found if effect.network == name and effect.difference.ratio]
        places = [effect.batch_size * aside for effect in line]
        for place, effect in zip(places, line, strict=True):
            if interval := effect.difference.interval:
                low, high = scale.place([interval.low, interval.high])
                axes.vlines(place, low, high, color=colour, linewidth=1.6)
        heights = scale.place(effect.difference.ratio or 1.0 for effect in line)
        axes.plot(places, heights, color=colour, marker=marker, label=style.name(name))
    style.batch_axis(axes, sorted({effect.batch_size for effect in found}))
    legend(axes)


def _table(data: Cells) -> Table:
    rows: list[Row] = []
    for effect in effects(data):
        interval = effect.difference.interval
        ends = (interval.low, interval.high) if interval else (None, None)
        over = effect.difference
        rows.append((effect.network, effect.equal, effect.batch_size, over.ratio, *ends, over.first))
    header = ("network", "equal", "batch size", "times the smallest's", "95% from", "95% to", "pairs")
    note = f"Test MSE over that of the smallest batch. {CAVEAT}"
    return Table("networks", "Other networks", header, rows, note)


CHAPTER: Final = Chapter(
    figures=(
        Figure(
            "The batch size", EXPERIMENT, "Does it hold for other networks?", figure, "--bsr-preset networks"
        ),
    ),
    findings=findings,
    tables=lambda data: [_table(data)],
    experiments=(EXPERIMENT,),
)
