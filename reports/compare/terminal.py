"""The comparison on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bsr import stats
from reports.compare import Comparison
from reports.compare.pairs import Pair
from reports.compare.words import CAVEAT, flattening, statement
from reports.text import number, printable

LONGEST: Final = 10_000
"""Characters of a line, longer than any of ours."""


def show(comparison: Comparison, console: Console) -> None:
    """Print what the series are, and for each pair a table per batch size and its sentences."""
    _print(console, _series(comparison))
    for pair in comparison.pairs:
        said = statement(pair)
        _print(console, _table(pair, said.title))
        for line in filter(None, (said.speed, said.error, said.left_out)):
            _print(console, _text(line))
    for note in (*comparison.notes, CAVEAT):
        _print(console, _text(note, style="dim"))


def _text(said: str, style: str = "") -> Text:
    """As a terminal may show it: names in it come from other people's files."""
    return Text(printable(said, LONGEST), style=style)


def _print(console: Console, what: Table | Text) -> None:
    console.print(what, highlight=False, markup=False, emoji=False)


def _series(comparison: Comparison) -> Table:
    table = Table(
        "series",
        "file",
        "engine",
        "threads",
        "timed",
        "best images/s",
        "throughput",
        title="Series",
        title_style="bold",
    )
    for one in comparison.series:
        best = max(one.throughput(comparison.experiment).values(), default=None)
        cells = (
            one.label, one.frame.recording.path.name, one.timing.engine, f"{one.timing.threads}",
            one.timing.mode, number(best, 3), flattening(one, comparison.experiment),
        )  # fmt: skip
        table.add_row(*map(_text, cells))
    return table


def _table(pair: Pair, title: str) -> Table:
    """Per batch size, over all tasks: seconds, speed-up, ratio of errors."""
    table = Table(title=_text(f"{title}, {pair.experiment}", style="bold"))
    headings = ("batch size", pair.first.label, pair.second.label, "times as fast", "ratio of final MSE")
    for heading in headings:
        unit = "\ns per epoch" if heading in {pair.first.label, pair.second.label} else ""
        table.add_column(_text(heading).append(unit), justify="right")
    for row in _rows(pair):
        table.add_row(*map(_text, row))
    return table


def _rows(pair: Pair) -> Iterator[tuple[str, ...]]:
    for size in pair.batch_sizes:
        chosen = pair.at(size)
        seconds = (number(stats.geometric_mean(side) if side else None, 3) for side in pair.seconds(chosen))
        up = pair.speed_up(chosen)
        ratio = pair.errors(cell for cell in chosen if cell in pair.learnable)
        yield (
            f"{size}",
            *seconds,
            _with_interval(up.ratio if up else None, up.interval if up else None),
            _with_interval(ratio.ratio, ratio.interval),
        )


def _with_interval(value: float | None, interval: stats.Interval | None) -> str:
    """`1.02 (0.95 to 1.1)`."""
    ends = f" ({number(interval.low, 3)} to {number(interval.high, 3)})" if interval else ""
    return f"{number(value, 3)}{ends}"
