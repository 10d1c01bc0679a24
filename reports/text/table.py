"""A table: named rows of plain values."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bsr.stats import Estimate, Interval
from reports.text import spreadsheet_cell

Row = tuple[object, ...]
COLUMNS: Final = {
    "95% from": "low_95",
    "95% to": "high_95",
    "90% from": "low_90",
    "90% to": "high_90",
    "MSE": "final_mse",
    "against MSE": "against_final_mse",
    "against s": "against_seconds_per_epoch",
    "best images per s": "best_images_per_second",
    "device s": "device_seconds",
    "epoch": "epoch",
    "evaluation s": "evaluation_seconds",
    "GFLOP/s": "gflop_per_second",
    "images per s": "images_per_second",
    "lowest seed": "lowest_mse",
    "highest seed": "highest_mse",
    "max s": "max_seconds",
    "median s": "median_seconds",
    "min s": "min_seconds",
    "peak GFLOP/s": "peak_gflop_per_second",
    "ratio of MSE": "mse_ratio",
    "ratio from": "mse_ratio_low",
    "ratio to": "mse_ratio_high",
    "s per epoch": "seconds_per_epoch",
    "set-up s": "setup_seconds",
    "speed from": "speed_up_low",
    "speed to": "speed_up_high",
    "timed": "timing",
    "times as fast": "speed_up",
    "trained on": "loss",
    "training s": "training_seconds",
}
"""Names for machines where the words for people would make a poor one."""


def interval_cells(interval: Interval | None, level: str = "95%") -> dict[str, float | None]:
    """Its two ends."""
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{level} from": low, f"{level} to": high}


def factor_cells(one: Estimate, n: str = "seeds") -> dict[str, object]:
    """A factor, its interval, and what it rests on."""
    return {"factor": one.factor, **interval_cells(one.interval), n: min(one.n)}


def column(words: str) -> str:
    """The name of a column in a file: `batch_size` for `batch size`."""
    return COLUMNS.get(words, re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_") or "column")


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
    each_run: bool = False
    """Whether it has a row per run: on the page only where they are few, and then searchable."""

    @classmethod
    def of(
        cls, name: str, title: str, rows: Iterable[Mapping[str, object]], note: str = "", **looks: Any
    ) -> Table:
        """Of rows that name their cells, all the same ones in one order."""
        header: tuple[str, ...] = ()
        found = []
        for row in rows:
            header = header or tuple(row)
            found.append(tuple(row.values()))
        return cls(name, title, header, found, note, **looks)

    def csv(self) -> bytes:
        """UTF-8, columns named for machines; text like a formula is disarmed."""
        content = io.BytesIO()
        text = io.TextIOWrapper(content, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([spreadsheet_cell(column(words)) for words in self.header])
        writer.writerows([spreadsheet_cell(cell) for cell in row] for row in self.rows)
        text.flush()
        return content.getvalue()
