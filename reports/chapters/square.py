"""Does the batch size itself matter after as many updates, whatever their number? The second protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from bsr import stats
from bsr.experiments import square as protocol
from bsr.experiments import tuning
from bsr.experiments.controlled import SCALED_FROM
from bsr.experiments.settings import COLUMNS, Among
from reports.analysis.decomposition import bare_factor, factor
from reports.analysis.square import (
    RATES,
    UNIT,
    WORDS,
    Place,
    Rates,
    Square,
    last,
    over_updates,
    seeds_of,
    square_of,
    stopped,
)
from reports.cells import Cells
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing.curves import draw_over_updates
from reports.drawing.panel import Panel
from reports.text import counted, listed, number
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding, Short, Verdict, p_text

CLAIM: Final = "The batch size itself changes the error, at as many updates and at rates tuned alike."
OVER: Final = "test MSE over that of the smallest batch (log)"


def findings(data: Cells) -> list[Finding]:
    """The planned family: largest batch over smallest at each budget, falling rates, Holm over all."""
    found = square_of(data)
    if len(found.parts) != 1 or found.of_little_data or len(found.sizes(found.parts[0])) < 2:
        return []
    images = found.parts[0]
    smallest, *_, size = found.sizes(images)
    ratios = over_updates(found, images, "falling").get(f"batch size {size}", {})
    if not ratios:
        return []
    each = {f"{steps:,}": ratio.p for steps, ratio in ratios.items()}
    significant = stats.holm(each)
    times = listed(f"{factor(ratio)} at {steps:,}" for steps, ratio in ratios.items())
    compared = (Place(images, one, steps) for steps in ratios for one in (smallest, size))
    edges = found.edges(compared, "falling")
    better = {
        steps: one
        for steps, ratio in ratios.items()
        if ratio.factor >= 1 and (one := found.outdone(Place(images, size, steps)))  # else it is more so
    }
    outdone = _outdone(size, {steps: factor(one) for steps, one in better.items()})
    worse = (Place(images, size if r.factor >= 1 else smallest, steps) for steps, r in ratios.items())
    few_seeds = found.few_seeds(worse, "falling")
    network = f" (network {data.shown})" if len(data.networks) > 1 else ""
    sentence = (
        f"After as many updates batch size {size} ends with the error of {smallest} times: {times}; "
        f"{listed(found.tasks)} together, rates tuned and falling linearly to zero{network}."
        f"{edges}{outdone}{few_seeds}"
    )
    lines = [f"{steps:,} updates: {factor(ratio)}, {p_text(ratio.p)}" for steps, ratio in ratios.items()]
    named = listed(name for name in each if name in significant) or "none"
    lines.append(f"Significant after Holm's correction over {counted(len(ratios), 'budget')}: {named}.")
    verdict: Verdict = "shown" if significant and not (edges or outdone or few_seeds) else "cannot tell"
    most = max(ratios)
    short = Short(
        factor(ratios[most]),
        "After equal updates",
        f"At rates tuned for each, falling to zero, batch size {size} ends with "
        f"{'less error, ' if ratios[most].factor < 1 else ''}{bare_factor(ratios[most])} "
        f"{'that' if ratios[most].factor < 1 else 'the error'} of batch size {smallest}, after {most:,} "
        f"updates each{network}.{few_seeds}",
        ""
        if edges or few_seeds
        else _clause(
            [ratio.factor for ratio in ratios.values()], shown=verdict == "shown", outdone=bool(outdone)
        ),
        counted(ratios[most].n[0], "seed"),
    )
    return [Finding("square", CLAIM, verdict, sentence, (*lines, UNIT), "square", short=short)]


def _outdone(size: int, better: Mapping[int, str]) -> str:
    """A sentence, where the setting of a smaller batch size serves better than the own one: no verdict."""
    times = listed(f"{said} of its error at {steps:,} updates" for steps, said in better.items())
    what = f"With the falling setting that was tuned for {SCALED_FROM} batch size {size} ends with {times}"
    return f" {what}: its own is not its best, so this gives no verdict." if better else ""


def _clause(factors: Sequence[float], *, shown: bool, outdone: bool) -> str:
    if outdone:
        return "after equal updates these data cannot say: the largest does better at a smaller one's setting"
    if not shown:
        return "after equal updates, at tuned, falling rates, no effect of the batch size is shown"
    if max(factors) < 1:
        return "after equal updates larger batches are better"
    low, high = number(min(factors), 2), number(max(factors), 2)
    times = low if low == high else f"{low} to {high}"
    return f"after equal updates, at tuned, falling rates, the largest has {times} times the smallest's error"


def square(data: Cells) -> FigureContent | None:
    """Error over that of the smallest batch size after as many updates, a line per batch size.

    A panel per schedule; where several numbers of images train, a panel for each, as tuned.
    """
    found = square_of(data)
    if not found.parts:
        return None
    views: list[tuple[str, int, Among]] = [
        (f"{images:,} training images", images, "all") for images in found.parts
    ]
    if not found.of_little_data:
        views = [(words[0].upper() + words[1:], found.parts[0], among) for among, words in WORDS.items()]
    return FigureContent(
        [
            Panel(title, partial(draw_over_updates, rows=rows, first=1), OVER)
            for title, images, among in views
            if (rows := over_updates(found, images, among))
        ],
        "Test MSE of the last weights over that of the smallest batch size, after the same number of "
        f"updates; every batch size and budget at settings tuned for it on validation images. {UNIT}",
        "Ratios of test MSE against updates, a line per batch size. "
        + " ".join(finding.sentence for finding in findings(data)),
        n=seeds_of(found),
        results=data.results("square"),
    )


def error_over_updates(data: Cells) -> FigureContent | None:
    """Normalised test MSE after each number of updates, a line per batch size."""
    found = square_of(data)
    if not found.parts:
        return None
    among: Among = "all" if found.of_little_data else "falling"
    return FigureContent(
        [
            Panel(
                f"{images:,} training images",
                partial(draw_over_updates, rows=over_updates(found, images, among, over=False)),
                "test MSE / MSE of the best constant (log)",
            )
            for images in found.parts
        ],
        "Test MSE of the last weights over the best constant's, geometric mean over seeds and tasks, a curve "
        f"per batch size; every point is a training of its own to that many updates, {WORDS[among]}. {UNIT}",
        "Curves of test MSE against updates, a line per batch size.",
        n=seeds_of(found),
        results=data.results("square"),
    )


def _square_table(data: Cells) -> Table:
    found = square_of(data)
    asked: tuple[Rates, ...] = (*found.schedules, "usual")
    rows = [
        row
        for place in found.places
        if place.batch_size != found.sizes(place.images)[0]
        for rates in asked
        for row in _ratio_row(found, place, rates)
    ]
    note = (
        f"Test MSE over that of the smallest batch size after as many updates. {UNIT} Tuning's luck: what "
        "another draw of the tuning's seeds would have chosen; where the recording holds the tuning. Edge: "
        "no rate beyond one of the two was tried. The untuned rate is the usual one of the task."
    )
    return Table.of("square", "The same number of updates, at each budget", rows, note)


def _ratio_row(found: Square, place: Place, rates: Rates) -> Iterable[dict[str, object]]:
    ratio, early = (found.over_smallest(place, rates, measure) for measure in (last, stopped))
    lucky, smallest = found.over_smallest(place, rates, luck=True), found.sizes(place.images)[0]
    at_the_edge = rates != "usual" and found.edges((place._replace(batch_size=smallest), place), rates)
    if ratio is not None:
        yield {
            "training images": place.images,
            "updates": place.steps,
            "batch size": place.batch_size,
            "over": smallest,
            "schedule": RATES[rates],
            "times": ratio.factor,
            **interval_cells(ratio.interval),
            "with luck from": lucky.interval.low if lucky and lucky.interval else None,
            "with luck to": lucky.interval.high if lucky and lucky.interval else None,
            "p": ratio.p.value,
            "stopped early": early.factor if early else None,
            "seeds": ratio.n[0],
            "edge": "edge" if at_the_edge else "",
        }


def _paths_table(data: Cells) -> Table:
    """From the smallest batch and the most updates to the largest and the fewest, in both orders."""
    found = square_of(data)
    rows = [
        row
        for images in found.parts
        for size in found.sizes(images)[1:]
        for among in found.schedules
        for row in _paths(found, images, size, among)
    ]
    note = (
        "The factor of the updates at the smaller batch, then that of the batch size at few updates; or that "
        "of the batch size at many, then that of the updates at the larger batch. Both products are "
        f"the same; the interaction is the second factor of the batch size over the first. {UNIT}"
    )
    return Table.of("square-paths", "Both orders of taking the gap apart", rows, note, folded=True)


def _paths(found: Square, images: int, size: int, among: Among) -> Iterable[dict[str, object]]:
    small = found.sizes(images)[0]
    shared = sorted({*found.budgets_of(images, small)} & {*found.budgets_of(images, size)})
    if len(shared) < 2:
        return
    few, many = shared[0], shared[-1]
    corners = [
        found.errors(Place(images, one, steps), among) for one in (small, size) for steps in (few, many)
    ]
    seeds = sorted(set.intersection(*map(set, corners)))
    if len(seeds) < 2:
        return
    small_few, small_many, large_few, large_many = (
        np.array([one[seed] for seed in seeds]) for one in corners
    )
    for part, logs in {
        f"updates, at {small}": small_few - small_many,
        f"batch size, at {few:,} updates": large_few - small_few,
        f"batch size, at {many:,} updates": large_many - small_many,
        f"updates, at {size}": large_few - large_many,
        "interaction": large_many - small_many - large_few + small_few,
    }.items():
        one = stats.student(logs)
        yield {
            "training images": images,
            "batch sizes": f"{size} over {small}",
            "schedule": WORDS[among],
            "part": part,
            "times": one.factor,
            **interval_cells(one.interval),
            "p": one.p.value,
            "seeds": one.n[0],
        }


def _settings_table(data: Cells) -> Table:
    """What --bsr-rates takes."""
    rows = [
        {name.replace("_", " "): getattr(row, name) for name in COLUMNS}
        for row in protocol.tuned(tuning.tried_settings(data.of_every_network("why-tune")))
    ]
    note = (
        "Lowest geometric mean of the validation MSE: of all that were tried, of falling, of constant rates."
    )
    return Table.of("tuned-settings", "Tuned settings", rows, note, folded=True)


def _travelling_table(data: Cells) -> Table:
    found = square_of(data)
    rows = [
        {
            "training images": place.images,
            "updates": place.steps,
            "batch size": place.batch_size,
            "times": ratio.factor,
            **interval_cells(ratio.interval),
            "p": ratio.p.value,
            "seeds": ratio.n[0],
        }
        for place in found.places
        if (ratio := found.travelling(place))
    ]
    note = (
        f"Test MSE at the falling setting that was tuned for {SCALED_FROM}, over that at the one tuned for "
        f"the batch size itself, after as many updates. {UNIT}"
    )
    title = f"The setting tuned for batch size {SCALED_FROM}, at others"
    return Table.of("travelling-settings", title, rows, note, folded=True)


CHAPTER: Final = Chapter(
    section="Why",
    options="--bsr-preset why",
    figures=(
        Figure("The same number of updates: does the batch size matter?", square),
        Figure("What more updates give", error_over_updates),
    ),
    findings=findings,
    tables=lambda data: [
        _square_table(data),
        _paths_table(data),
        _settings_table(data),
        _travelling_table(data),
    ],
    experiments=("why-tune", "square", "travelling-rate"),
)
