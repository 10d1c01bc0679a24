"""A table: named rows of plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from reports.text import spreadsheet_cell

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Named rows. Cells are plain values: numbers, text, or None where there is none."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: Sequence[Row]
    note: str = ""
    folded: bool = False
    """Whether the page shows it only when asked to."""
    on_page: bool = True

    def csv(self) -> bytes:
        """UTF-8 with a byte order mark, as spreadsheets expect; text like a formula is disarmed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([spreadsheet_cell(name) for name in self.header])
        writer.writerows([spreadsheet_cell(cell) for cell in row] for row in self.rows)
        return text.getvalue().encode("utf-8-sig")
