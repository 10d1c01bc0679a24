"""Does a large batch end worse on test images where there are few to train on? The second protocol."""

from __future__ import annotations

from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from bsr.experiments.settings import Among
from reports.analysis.decomposition import bare_factor, factor
from reports.analysis.square import (
    FEWEST_PAIRS,
    UNIT,
    WORDS,
    Measure,
    at_training_errors,
    last,
    over_training_error,
    over_updates,
    overfitting,
    seeds_of,
    square_of,
    stopped,
)
from reports.cells import Cells
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing.curves import draw_over_updates
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text import counted, listed
from reports.text.table import Table, interval_cells
from reports.text.verdicts import Finding, Short, Verdict, p_text

CLAIM: Final = "With little data a large batch ends worse on test images than a small one."
MEASURES: Final[dict[str, Measure]] = {
    "the last weights": last,
    "the weights with the lowest validation error": stopped,
}
OVER: Final = "test MSE over that of the smallest batch (log)"


def findings(data: Cells) -> list[Finding]:
    """The planned family: full batch over smallest, fewest images, longest budget; Holm over both."""
    found = square_of(data)
    if found.little_data is None:
        return []
    place, smallest = found.little_data
    images, size = place.images, place.batch_size
    each = {name: found.over_smallest(place, "all", measure) for name, measure in MEASURES.items()}
    ratios = {name: ratio for name, ratio in each.items() if ratio}
    if not ratios:
        return []
    significant = stats.holm({name: ratio.p for name, ratio in ratios.items()})
    higher = [name for name in significant if ratios[name].factor > 1]
    edges = found.edges((place._replace(batch_size=smallest), place), "all")
    told: Verdict = "shown" if higher else "not shown" if significant else "cannot tell"
    verdict = "cannot tell" if edges else told
    times = listed(f"{factor(ratio)} ({name})" for name, ratio in ratios.items())
    sentence = (
        f"Trained on {images:,} images for {place.steps:,} updates, each at its own tuned schedule, a batch "
        f"of {size:,} ends with the test error of batch size {smallest} times {times}.{edges}"
    )
    lines = [f"{name}: {factor(ratio)}, {p_text(ratio.p)}" for name, ratio in ratios.items()]
    lines.append(f"Significant after Holm's correction: {listed(sorted(significant)) or 'none'}.")
    name, first = next(iter(ratios.items()))
    short = Short(
        factor(first),
        "With little data",
        f"On {images:,} training images, at rates and schedules tuned for each, a batch of {size:,} ends "
        f"with {bare_factor(first)} the test error of batch size {smallest}, both of {name}.",
        "with little data a large batch ends worse at as many updates" if verdict == "shown" else "",
        counted(first.n[0], "seed"),
    )
    return [Finding("little-data", CLAIM, verdict, sentence, (*lines, UNIT), "square", short=short)]


def test_over_training_error(data: Cells) -> FigureContent | None:
    """Test over training MSE of the last weights, a line per batch size: above 1 it overfits."""
    found = square_of(data)
    among: Among = "all" if found.of_little_data else "falling"
    rows = {images: over_updates(found, images, among, overfitting, over=False) for images in found.parts}
    if not any(rows.values()):
        return None
    return FigureContent(
        [
            Panel(
                f"{images:,} training images",
                partial(draw_over_updates, rows=some),
                "test MSE over training MSE (log)",
            )
            for images, some in rows.items()
            if some
        ],
        "Test MSE over the MSE on the first 10,000 training images (all, where there are fewer), both of the "
        f"last weights, {WORDS[among]}: above 1 the network has learned what holds for its training images "
        f"alone. {UNIT}",
        "Ratios of test over training MSE against updates, a line per batch size.",
        n=seeds_of(found),
        results=data.results("square"),
    )


def at_equal_training_error(data: Cells) -> FigureContent | None:
    """Test error over that of the smallest batch at the same training error, a line per batch size."""
    found = square_of(data)
    each = {images: over_training_error(found, images) for images in found.parts if found.of_little_data}
    if not any(each.values()):
        return None
    return FigureContent(
        [
            Panel(f"{images:,} training images", partial(_draw_levels, rows=some), OVER)
            for images, some in each.items()
            if some
        ],
        "Test MSE over that of the smallest batch size, each where its training MSE last falls below so much "
        "of the best constant's, along the longest training of each; between evaluations a straight line of "
        f"the logs. Points of fewer than {FEWEST_PAIRS} pairs are left out, nothing is extrapolated. {UNIT}",
        "Ratios of test MSE at equal training error, a line per batch size.",
        n=seeds_of(found),
        results=data.results("square"),
    )


def _draw_levels(axes: Axes, rows: dict[str, dict[float, stats.Estimate]]) -> None:
    drawn.several_lines(axes, rows, first=1, apart=1.06)
    levels = sorted({level for row in rows.values() for level in row})
    axes.set_xscale("log")
    axes.set_xticks(levels, [f"{level:.3g}" for level in levels])
    axes.set_xticks([], minor=True)
    axes.invert_xaxis()
    axes.set_xlabel("training MSE / MSE of the best constant")
    legend(axes)


def _table(data: Cells) -> Table:
    """Who falls below each training error, counted; a ratio where enough do."""
    found = square_of(data)
    rows = [
        {
            "training images": one.images,
            "batch size": one.batch_size,
            "over": found.sizes(one.images)[0],
            "training MSE / best constant": one.level,
            "seeds below": one.this,
            "of the smallest": one.smallest,
            "pairs": one.pairs,
            "times": one.ratio.factor if one.ratio else None,
            **interval_cells(one.ratio.interval if one.ratio else None),
        }
        for images in (found.parts if found.of_little_data else ())
        for one in at_training_errors(found, images)
    ]
    note = (
        "Seeds whose training MSE falls below so much of the best constant's for good, and the ratio of test "
        f"MSEs there; of fewer than {FEWEST_PAIRS} pairs it counts as not reached. {UNIT}"
    )
    return Table.of("training-error", "At the same training error", rows, note, folded=True)


CHAPTER: Final = Chapter(
    section="Why",
    figures=(
        Figure("Does it overfit?", test_over_training_error),
        Figure("At the same training error", at_equal_training_error),
    ),
    findings=findings,
    tables=lambda data: [_table(data)],
)
