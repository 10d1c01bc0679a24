"""The page: one HTML file with style, script and figures inside; every string of a recording is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bsr import published
from bsr.result import FINISHED
from bsr.run import STUDY_MODEL
from reports.cells import Cells, ending, one_seed
from reports.chapters.chapter import OUTSIDE, Figure, FigureContent, asked_for, measure_command
from reports.compare import Comparison
from reports.compare.board import board
from reports.compare.figures import COMPARISON
from reports.compare.words import CAVEAT, statement
from reports.drawing import style
from reports.page import first
from reports.text import counted, listed, number, printable
from reports.text.glossary import Glossary, anchor
from reports.text.table import Row, Table
from reports.text.verdicts import Findings

TITLE: Final = "Does the batch size affect the performance of regression CNNs?"
SHOWN_TABLES: Final = ("time-to-error",)
"""Outside the fold of tables."""
MOST_ROWS: Final = 2_000
"""Rows of a table on the page; the CSV file has them all."""
MOST_RUNS: Final = 500
"""Rows of a table of every run; one of more is a CSV file alone."""
MOST_PRINTED: Final = 60
"""Rows of a table on paper; longer ones are in their CSV files alone."""
_TEMPLATES: Final = Path(__file__).parent
_BADGES: Final = {"same": "shown", "different": "not-shown", "cannot tell": ""}
"""Of a comparison's verdict, in the colours of the findings."""
_MARKS: Final = {"shown": "✓", "not shown": "✗", "cannot tell": "?"}


@dataclass(frozen=True, slots=True)
class RenderedFigure:
    """A figure with its panels as inline SVG."""

    figure: Figure
    drawing: FigureContent
    panels: Sequence[str]
    across: int
    """Panels side by side where there is room."""


def render(
    data: Cells,
    findings: Findings,
    drawn: Sequence[RenderedFigure],
    missing: Sequence[Figure],
    tables: Sequence[Table],
    comparison: Comparison | None = None,
) -> str:
    """The whole page; a comparison comes first, and everything else is of `data` alone."""
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    session = data.session
    parts = [] if one_seed(data) else first.parts(findings)
    leading = [line.finding for line in parts]
    others = [one for one in findings.all if one not in leading and not one.options]
    numbers = {name: place for place, name in enumerate(_names(drawn), start=1)}
    glossary = Glossary()
    return _environment().get_template("page.html.j2").render(
        title=TITLE,
        source=_source(data),
        style=Markup(colours() + (_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        marks=_MARKS,
        comparison_badges=_BADGES,
        conclusion=first.conclusion(findings),
        parts=parts,
        study=first.conclusions(findings),
        leading=leading,
        others=others,
        draw_the_answer=first.DRAW_THE_ANSWER,
        glossary=glossary,
        anchor=anchor,
        summary=summary(data),
        unfinished=unfinished(data),
        disturbed=data.disturbed_text(),
        comparison=comparison and _comparison(comparison, drawn),
        sections=_sections(drawn, outside=True),
        appendix=_sections(drawn, outside=False),
        numbers=numbers,
        one_seed=one_seed(data),
        more_seeds=measure_command(data, "--bsr-experiments batch-size --bsr-runs 10"),
        missing=_missing(data, findings, missing),
        shown_tables=[_table(table) for table in tables if table.name in SHOWN_TABLES],
        tables=[_table(table) for table in tables if table.on_page and table.name not in SHOWN_TABLES],
        command=session.command or "(none recorded)",
        session=_session(data),
        machines=_machines(data),
        citation=published.CITATION,
        address=published.ADDRESS,
        published_machine=published.MACHINE,
    )  # fmt: skip


def _source(data: Cells) -> str:
    """The recording's name; of several that were read as one, the first's and how many more."""
    return _merged_from(data) if not data.recording.path.exists() else data.recording.path.name


def _merged_from(data: Cells) -> str:
    """The first of the recordings that are one here, and how many more; else the one."""
    files = data.session.options.get("merged_from")
    if not isinstance(files, list):
        return data.recording.path.name
    return f"{files[0]} and {counted(len(files) - 1, 'more file')}"


def _environment() -> Environment:
    """Autoescape everywhere; control characters are written out before."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )


def colours() -> str:
    """CSS variables of every colour that figures use, light, dark and on paper."""
    pairs = style.variables().values()
    light = "".join(f"{name}:{shade};" for name, shade, _ in pairs)
    dark = "".join(f"{name}:{shade};" for name, _, shade in pairs)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


def _images(counts: Iterable[int]) -> str:
    return listed((f"{count:,}" for count in sorted(counts)), "or")


def summary(data: Cells) -> str:
    """What was measured, in a line."""
    session = data.session
    runs = [result.run for result in data.all_results]
    presets = _presets(data)
    parts = [
        f"{session.finished:,} of {counted(session.planned, 'planned run')} done",
        f"preset {presets[0]}" if len(presets) == 1 else "",  # more say nothing to whoever did not plan them
    ]
    if runs:
        train, test = ({getattr(run, f"{split}_images") for run in runs} for split in ("train", "test"))
        images = f"{_images(train)} training and {_images(test)} test images"
        parts += [f"{runs[0].dataset}, {images}", _learned(data), runs[0].precision]
        if data.networks != (STUDY_MODEL,):
            others = [name for name in data.networks if name != data.shown]
            beside = f"; in the tables too: {listed(others)}" if others else ""
            parts.append(f"figures of network {data.shown}{beside}")
        epochs, steps = (sorted({getattr(run, name) for run in runs} - {0}) for name in ("epochs", "steps"))
        parts += [f"{listed(epochs)} {'epoch' if epochs == [1] else 'epochs'}"] if epochs else []
        parts += [f"{listed(f'{count:,}' for count in steps)} updates"] if steps else []
    machines = {data.machine_name(result.environment) for result in data.all_results if result.environment}
    parts += [listed(sorted(machines))] if machines else []
    parts.append(session.finished_at[:10])
    return " · ".join(part for part in parts if part)


def _presets(data: Cells) -> list[str]:
    return [name for name in re.split(", | and ", data.session.preset) if name]


def _learned(data: Cells) -> str:
    """What the networks learn: `to learn: mean and std of the pixels`."""
    of_pixels = " of each image's pixels" if data.of_pixels else ""
    return f"to learn: {listed(data.tasks)}{of_pixels}"


def unfinished(data: Cells) -> str:
    """How many cases have no final MSE, and why; empty if none."""
    lost = Counter(ending(result) for result in data.all_results if result.final_mse is None)
    if not lost:
        return ""
    why = listed(f"{count:,} {how}" if len(lost) > 1 else how for how, count in sorted(lost.items()))
    open_ = any(result.status not in FINISHED for result in data.all_results)
    again = " The command below with --bsr-resume would go on from here." if open_ else ""
    runs = counted(lost.total(), "run")
    rule = "in no statistic."
    if any(result.run.steps for result in data.all_results):
        rule = (
            "figures at equal epochs leave them out, those at equal updates count diverged ones as no better "
            "than the best constant."
        )
    return f"{runs} without a final MSE ({why}): {rule}{again}"


def _missing(data: Cells, findings: Findings, figures: Sequence[Figure]) -> list[dict[str, str]]:
    """What was not measured: a line per command that would, with what it would show."""
    shows: dict[str, list[str]] = {}
    asked = [(figure.options, figure.title) for figure in figures]
    asked += [
        (one.options, f"\N{LEFT DOUBLE QUOTATION MARK}{one.claim}\N{RIGHT DOUBLE QUOTATION MARK}")
        for one in findings.all
    ]
    for options, title in asked:
        if options and asked_for(data, options):
            shows.setdefault(measure_command(data, options), []).append(title)
    return [{"command": command, "shows": listed(dict.fromkeys(titles))} for command, titles in shows.items()]


def _names(drawn: Sequence[RenderedFigure]) -> list[str]:
    """Of the figures, in the order in which they stand on the page."""
    own = [entry for entry in drawn if entry.figure.section != COMPARISON]
    placed = [*(one for one in drawn if one not in own), *filter(_outside, own)]
    return [entry.figure.name for entry in [*placed, *(one for one in own if not _outside(one))]]


def _outside(entry: RenderedFigure) -> bool:
    """Whether it stands outside the appendix."""
    return entry.figure.name in OUTSIDE


def _sections(drawn: Sequence[RenderedFigure], *, outside: bool) -> list[dict[str, Any]]:
    sections: dict[str, list[dict[str, Any]]] = {}
    for entry in drawn:
        if entry.figure.section != COMPARISON and _outside(entry) == outside:
            sections.setdefault(entry.figure.section, []).append(_figure(entry))
    where = "part" if outside else "appendix"
    return [
        {"title": title, "anchor": f"{where}-{title.lower().replace(' ', '-')}", "figures": figures}
        for title, figures in sections.items()
    ]


def _comparison(comparison: Comparison, drawn: Sequence[RenderedFigure]) -> dict[str, Any]:
    return {
        "files": listed(data.recording.path.name for data in comparison.files),
        "others": _others([data.recording.path.name for data in comparison.files[1:]]),
        "board": None if comparison.pairwise else _table(board(comparison)),
        "statements": [statement(pair) for pair in comparison.pairs] if comparison.pairwise else [],
        "notes": [*comparison.notes, CAVEAT],
        "figures": [_figure(entry) for entry in drawn if entry.figure.section == COMPARISON],
    }


def _others(names: Sequence[str]) -> str:
    return listed(names) if len(names) < 4 else f"{len(names)} others"


def _figure(entry: RenderedFigure) -> dict[str, Any]:
    return {
        "name": entry.figure.name,
        "title": entry.figure.title,
        "study": entry.figure.study,
        "caption": entry.drawing.caption,
        "panels": [Markup(panel) for panel in entry.panels],  # noqa: S704 - drawn and escaped by us
        "across": entry.across,
    }


def _table(table: Table) -> dict[str, Any]:
    rows = () if table.each_run and len(table.rows) > MOST_RUNS else table.rows[:MOST_ROWS]
    numeric = (
        [all(isinstance(row[i], int | float | None) for row in table.rows) for i in range(len(table.header))]
        if rows
        else []
    )
    left_out = len(table.rows) - len(rows)
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "folded": table.folded,
        "long": table.folded or len(table.rows) > MOST_PRINTED,
        "count": f"Show {counted(len(table.rows), 'row')}",
        "header": [
            {"name": name, "numeric": number_} for name, number_ in zip(table.header, numeric, strict=False)
        ],
        "rows": [_cells(row) for row in rows],
        "searched": table.each_run,
        "left_out": f"{counted(left_out, 'more row' if rows else 'row')} in the CSV file."
        if left_out
        else "",
    }


def _cells(row: Row) -> list[dict[str, Any]]:
    return [_cell(cell) for cell in row]


def _cell(cell: object) -> dict[str, Any]:
    """A table cell: as read, as sorted (None: as read), and its class."""
    if cell is None:
        return {"text": "", "value": "", "kind": "number"}
    if isinstance(cell, int):
        return {"text": str(cell), "value": cell, "kind": "number"}
    if isinstance(cell, float):
        whole = cell.is_integer() and abs(cell) < 1e7
        digits = next((digits for digits in (1, 2, 3) if float(f"{cell:.{digits}g}") == cell), 4)
        text = f"{cell:,.0f}" if whole else number(cell, digits)
        return {"text": text, "value": repr(cell), "kind": "number"}
    return {"text": str(cell), "value": None, "kind": "long" if len(str(cell)) > 60 else ""}


def _session(data: Cells) -> list[tuple[str, str]]:
    session, commit = data.session, data.recording.commit
    rows = [
        ("started", session.started_at),
        ("finished", session.finished_at),
        ("wall time", f"{number(session.wall_seconds)} s"),
        ("presets", ", ".join(_presets(data))),
        ("experiments", ", ".join(session.experiments)),
        ("dataset digest", session.dataset_digest),
        ("pytest-benchmark", data.recording.pytest_benchmark),
        ("commit", f"{commit.get('id') or ''}{' (with local changes)' if commit.get('dirty') else ''}"),
    ]
    options = {name: value for name, value in session.options.items() if name != "merged_from"}
    rows += [(_option(name), _plain(value)) for name, value in options.items()]
    rows += [("merged from", _merged_from(data))] if "merged_from" in session.options else []
    return [(name, value) for name, value in rows if value]


def _option(name: str) -> str:
    """An option as it is typed: `--bsr-runs` for `bsr_runs`."""
    return f"--{name.replace('_', '-')}" if name.startswith("bsr_") else name


def _machines(data: Cells) -> list[dict[str, Any]]:
    """Every fingerprint; without any, what pytest-benchmark itself says of the machine."""
    known = data.session.environments or {"": data.recording.machine}
    return [
        {
            "title": data.machine_name(identity) if identity else "Machine",
            "rows": [
                _about(name, value)
                for name, value in about.items()
                if value is not None and not (name == "cpu" and value == about.get("device_name"))
            ],
        }
        for identity, about in known.items()
    ]


def _about(name: str, value: object) -> tuple[str, str]:
    """A line of a fingerprint; bytes in GiB."""
    if name.endswith("_bytes") and isinstance(value, int) and abs(value) < 2**63:
        return name.removesuffix("_bytes").replace("_", " "), f"{value / 2**30:.1f} GiB"
    return name.replace("_", " "), _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
