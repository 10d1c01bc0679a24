"""What is the gap after the same images made of, every batch size tuned alike? The second protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr import stats
from reports.analysis.decomposition import NAMES
from reports.analysis.equal_epochs import Gap, gaps_of, product
from reports.analysis.square import RATES, UNIT, Rates
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent
from reports.drawing import factors as drawn
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.panel import Panel
from reports.text.table import Table, interval_cells

DRAWN: Final[tuple[Rates, ...]] = ("falling", "constant", "usual")
"""As tuned is, nearly always, falling."""


def equal_epochs(data: Cells) -> FigureContent | None:
    """Per batch size the gap and its two factors, a panel per network and schedule."""
    shown = {
        f"{network}, {RATES[rates]}" if network else RATES[rates]: gaps
        for network, by_rates in _of_each_network(data)
        for rates, gaps in by_rates.items()
        if rates in DRAWN
    }
    if not shown:
        return None
    some = next(iter(next(iter(shown.values())).values()))
    images, smallest = some.small.batch_size * some.small.steps, some.small.batch_size
    factors = [part.ratio for row in shown.values() for gap in row.values() for part in gap.parts.values()]
    said = (
        f"{words}: batch size {size} {product(gap)}"
        for words, row in shown.items()
        for size, gap in row.items()
    )
    usual = (
        " The untuned rate is the usual one of the task: found at one batch size, under a constant schedule."
        if any(RATES["usual"] in words for words in shown)
        else ""
    )
    draw = partial(_draw, over=f"error over that of batch size {smallest} (log)", beside=factors)
    return FigureContent(
        [
            Panel(
                words[0].upper() + words[1:],
                partial(draw, gaps=row),
                "what the gap is made of: factors whose product it is",
            )
            for words, row in shown.items()
        ],
        f"Test MSE over that of batch size {smallest} after the same {images:,} images, and the two factors "
        f"whose product it is: what {smallest} loses by making as few updates as the larger batch, and what "
        f"the larger batch changes at that many updates.{usual} 1 is no effect. {UNIT}",
        f"Factors: {'; '.join(said)}.",
        n=f"{span((one.n[0] for one in factors), 'seed')} per factor",
        results=[*data.of_every_network("square"), *data.of_every_network("usual-rate")],
    )


def _of_each_network(data: Cells) -> Iterator[tuple[str, dict[Rates, dict[int, Gap]]]]:
    """Its name, empty where there is one, and its gaps."""
    for name in data.networks:
        yield name if len(data.networks) > 1 else "", gaps_of(data.of_network(name))


def _draw(axes: Axes, gaps: Mapping[int, Gap], over: str, beside: list[stats.Estimate]) -> None:
    rows = {
        f"{size}": {NAMES[name]: part.ratio for name, part in gap.parts.items()} for size, gap in gaps.items()
    }
    looks = {NAMES[name]: drawn.LOOKS[name] for gap in gaps.values() for name in gap.parts}
    drawn.rows(axes, rows, looks, gap=0.24, foot=0.4, beside=beside)
    axes.set_yticks(range(len(rows)), [*rows], size=style.SMALL)
    axes.set_ylabel("batch size")
    axes.set_xlabel(over)
    legend(axes)


def _table(data: Cells) -> Table:
    rows = [
        ({"network": network} if network else {}) | row
        for network, by_rates in _of_each_network(data)
        for rates, gaps in by_rates.items()
        for gap in gaps.values()
        for row in _parts_rows(rates, gap)
    ]
    note = (
        "The same images for both batch sizes. Fewer updates: the smallest batch stopped where the larger "
        "one is, over itself after all of them. The batch size itself: both after as many updates. On the "
        f"seeds that all three trainings have. Tuning's luck: see the table square. {UNIT}"
    )
    return Table.of("equal-epochs", "The same images: fewer updates, and the batch size itself", rows, note)


def _parts_rows(rates: Rates, gap: Gap) -> Iterator[dict[str, object]]:
    for name, (ratio, lucky) in gap.parts.items():
        yield {
            "schedule": RATES[rates],
            "batch sizes": f"{gap.large.batch_size} over {gap.small.batch_size}",
            "updates": f"{gap.large.steps:,} and {gap.small.steps:,}",
            "part": NAMES[name],
            "times": ratio.factor,
            **interval_cells(ratio.interval),
            "with luck from": lucky.interval.low if lucky and lucky.interval else None,
            "with luck to": lucky.interval.high if lucky and lucky.interval else None,
            "p": ratio.p.value,
            "seeds": ratio.n[0],
        }


CHAPTER: Final = Chapter(
    section="Why",
    options="--bsr-preset why",
    figures=(Figure("The same images: what the gap is made of", equal_epochs),),
    tables=lambda data: [_table(data)],
    experiments=("usual-rate",),
)
