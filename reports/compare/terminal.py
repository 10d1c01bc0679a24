"""The comparison on the terminal: the page's own tables, fewer columns of them, and its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from reports.compare import Comparison
from reports.compare.board import board
from reports.compare.tables import over_all_tasks, series
from reports.compare.words import CAVEAT, statement
from reports.text import number, printable
from reports.text.table import Table

LONGEST: Final = 10_000
"""Characters of a line, longer than any of ours."""
_OF_SERIES: Final = ("series", "file", "engine", "threads", "timed", "best images per s", "throughput")
_OF_CELLS: Final = (
    "batch size", "s per epoch", "against s", "times as fast", "speed from", "speed to", "ratio of MSE",
    "ratio from", "ratio to",
)  # fmt: skip


def show(comparison: Comparison, console: Console) -> None:
    """Print what the series are, and for each pair a table per batch size and its sentences."""
    if comparison.pairwise:
        _print(console, _shown(series(comparison), "Series", _OF_SERIES))
    else:
        table = board(comparison)
        _print(console, _shown(table, table.title, table.header))
    for pair in comparison.pairs if comparison.pairwise else ():
        said = statement(pair)
        _print(console, _shown(over_all_tasks(pair), f"{said.title}, {pair.experiment}", _OF_CELLS))
        for line in filter(None, (said.speed, said.error, said.left_out)):
            _print(console, _text(line))
    for note in (*comparison.notes, CAVEAT):
        _print(console, _text(note, style="dim"))


def _text(said: str, style: str = "") -> Text:
    """As a terminal may show it: names in it come from other people's files."""
    return Text(printable(said, LONGEST), style=style)


def _print(console: Console, what: rich_table.Table | Text) -> None:
    console.print(what, highlight=False, markup=False, emoji=False)


def _shown(table: Table, title: str, columns: Sequence[str]) -> rich_table.Table:
    """Some columns of one of the page's tables."""
    places = [table.header.index(name) for name in columns]
    shown = rich_table.Table(title=_text(title, style="bold"))
    for name, place in zip(columns, places, strict=True):
        numbers = all(isinstance(row[place], int | float | None) for row in table.rows)
        shown.add_column(_text(name), justify="right" if numbers else "left")
    for row in table.rows:
        shown.add_row(*(_cell(row[place]) for place in places))
    return shown


def _cell(value: object) -> Text:
    return _text(number(value, 3) if isinstance(value, float | None) else str(value))
