"""From a recording to a folder: figures, tables and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bsr.records import durable
from bsr.records.replacing import check_replaceable
from bsr.text import Refused
from reports.cells import Cells
from reports.chapters import figures, findings, tables
from reports.chapters.chapter import Figure, FigureContent
from reports.compare import Comparison
from reports.compare.board import board
from reports.compare.figures import figures as comparison_figures
from reports.compare.tables import NAMES as COMPARISON_TABLES
from reports.compare.tables import tables as comparison_tables
from reports.drawing import panel as drawing
from reports.page import render as page
from reports.text.table import Table
from reports.text.verdicts import Finding


class OutputError(Refused):
    """The output folder cannot be written; the message says name, expected, got, remedy."""


class Output:
    """A folder below which everything is written, each file at once and whole.

    Raises OutputError where it cannot be written, or where a link leads out of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check_ours(self, name: str, mark: str) -> None:
        """Raises OutputError for a file that no report wrote: `mark` is in the first lines of ours."""
        path = self.folder / name
        with suppress(OSError):
            if path.is_file() and mark.encode() not in path.read_bytes()[:4096]:
                raise OutputError(f"{path}: expected a report to replace, got another file; choose --output")

    def write(self, name: str, content: bytes) -> Path:
        """Write `name` (`figures/seeds.png`) by atomic rename; a link of that name is replaced."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stay_inside(path)
            if path.is_symlink():
                path.unlink()
            check_replaceable(path, str(path))
            durable.replace_file(path, content)
        except OSError as error:
            raise OutputError(f"{path}: expected to write here, got {error}; choose --output") from error
        return path

    def remove(self, name: str) -> None:
        """Remove what an earlier report left under `name`."""
        path = self.folder / name
        if path.parent.is_dir():
            self._stay_inside(path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{path}: expected to remove an older report's, got {error}; choose --output"
                ) from error

    def _stay_inside(self, path: Path) -> None:
        if not path.parent.resolve().is_relative_to(self.folder.resolve()):
            raise OutputError(
                f"{path}: expected a path inside {self.folder}, got a link out of it; remove the link"
            )


def build(
    data: Cells,
    folder: Path,
    comparison: Comparison | None = None,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> Path:
    """Write figures (PNG and SVG), tables (CSV) and index.html below `folder`; returns the page's path.

    `comparison` stands before what the recording says alone; `tell` hears how many figures are done.
    """
    output = Output(folder)
    output.check_ours("index.html", page.TITLE)
    drawn, missing = [], []
    wanted = (*comparison_figures(comparison), *figures())
    for done, figure in enumerate(wanted):
        tell(done, len(wanted))
        made = figure.draw(data)
        if made is None or not made.panels:
            missing.append(figure)
            for ending in ("png", "svg"):
                output.remove(f"figures/{figure.name}.{ending}")
        else:
            drawn.append(write_figure(figure, made, output))
    found = findings(data)
    beside = [board(comparison), *comparison_tables(comparison)] if comparison else []
    for name in COMPARISON_TABLES:
        output.remove(f"tables/{name}.csv")
    rows = [*beside, findings_table(found.all)]
    for table in tables(data):
        if table.rows:
            rows.append(table)
        else:
            output.remove(f"tables/{table.name}.csv")
    for table in rows:
        output.write(f"tables/{table.name}.csv", table.csv())
    text = page.render(data, found, drawn, missing, rows, comparison)
    return output.write("index.html", text.encode("utf-8"))


def write_figure(figure: Figure, made: FigureContent, output: Output) -> page.RenderedFigure:
    """Write a figure's files; returns it as the page shows it."""
    pictures = [
        drawing.rendered(panel, f"{figure.name.replace('.', '-')}-{index}")
        for index, panel in enumerate(made.panels)
    ]
    output.write(f"figures/{figure.name}.png", drawing.as_png(pictures))
    output.write(f"figures/{figure.name}.svg", drawing.as_svg(pictures, figure.title, made.alternative))
    several = len(pictures) > 1
    alternatives = [
        f"{figure.title}: {panel.title}" if several else made.alternative for panel in made.panels
    ]
    alternatives[0] = f"{alternatives[0]}. {made.alternative}" if several else made.alternative
    panels = [drawing.inline(picture, text) for picture, text in zip(pictures, alternatives, strict=True)]
    return page.RenderedFigure(figure, made, panels, min(len(panels), 2))


def findings_table(found: Sequence[Finding]) -> Table:
    """The findings as a file."""
    header = ("name", "claim", "verdict", "sentence", "statistic")
    rows = [(f.name, f.claim, f.verdict, f.sentence, " | ".join(f.statistics)) for f in found]
    return Table("findings", "Findings", header, rows, on_page=False)
