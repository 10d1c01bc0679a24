"""What else was measured over the batch size: error and time in every experiment that no chapter draws."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from bsr.experiments import EXPERIMENTS
from bsr.run import RUN_FIELDS, Run
from reports.cells import Cell, Cells, beside_dead, ended, span
from reports.chapters.chapter import Chapter, Figure, FigureContent, finals_cells
from reports.drawing import style
from reports.drawing.legend import legend
from reports.drawing.marks import dots, titled
from reports.drawing.panel import Panel
from reports.text import listed, number
from reports.text.table import Table

MOST_LINES: Final = 6
"""Of a panel: as many as there are colours."""
_RATE_LAST: Final = sorted(
    set(RUN_FIELDS) - {"task", "batch_size", "seed", "order_seed"},
    key=lambda name: (name == "learning_rate", RUN_FIELDS.index(name)),
)
"""What may tell two cells of one batch size apart; the rate last, since it often follows from the others."""
_WORDS: Final = {"learning_rate": "rate {:g}", "steps": "{:,} updates", "epochs": "{:,} epochs"}

_Rows = Mapping[str, Mapping[int, Sequence[float]]]
"""Setting -> batch size -> a value per run."""


class Sweep(NamedTuple):
    """One task of one experiment, over at least two batch sizes."""

    experiment: str
    task: str
    lines: dict[str, list[Cell]]
    """Setting -> cells of rising batch size."""

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for line in self.lines.values() for cell in line]

    @property
    def evaluated_on(self) -> str:
        """`test`, or `validation`."""
        return listed(sorted({cell.results[0].run.evaluate_on for cell in self.cells}))


def chapter(owned: Collection[str]) -> Chapter:
    """Of every experiment in a recording but the `owned`, which have chapters of their own."""
    return Chapter(
        section="The other choices",
        figures=(
            Figure("Error in other experiments", partial(_error, owned=owned), name="others-error"),
            Figure("Time in other experiments", partial(_time, owned=owned), name="others-time"),
        ),
        tables=lambda data: [_table(data, owned)],
    )


def _error(data: Cells, owned: Collection[str]) -> FigureContent | None:
    """Final error against batch size, a panel per experiment and task, a line per setting."""
    found = _sweeps(data, owned)
    cells = [cell for part in found for cell in part.cells]
    rows = [
        {name: {cell.batch_size: cell.finals for cell in line} for name, line in part.lines.items()}
        for part in found
    ]
    measures = [f"{part.evaluated_on} MSE, squared label units (log)" for part in found]
    caption = f"Error after the last update: mean over seeds (line), and each seed. {beside_dead(cells)}"
    return _content(data, found, rows, measures, "error", caption.strip(), fmean)


def _time(data: Cells, owned: Collection[str]) -> FigureContent | None:
    """Training time of a run against batch size, likewise; ways of timing are lines of their own."""
    found = [part for part in _sweeps(data, owned) if _times(data, part)]
    rows = [_times(data, part) for part in found]
    caption = "Training time of a whole run, without loading and evaluation: median over seeds, and each."
    return _content(data, found, rows, ["training s of a run (log)"] * len(found), "time", caption, median)


def _times(data: Cells, part: Sweep) -> _Rows:
    several = len(data.timings(result for cell in part.cells for result in cell.finished)) > 1
    rows: dict[str, dict[int, list[float]]] = {}
    for name, line in part.lines.items():
        for cell in line:
            for timing, results in data.timings(cell.finished).items():
                label = ", ".join(filter(None, (name, data.timing_label(timing) if several else "")))
                rows.setdefault(label, {})[cell.batch_size] = [r.total_training_seconds for r in results]
    return rows


def _content(
    data: Cells,
    found: Sequence[Sweep],
    rows: Sequence[_Rows],
    measures: Sequence[str],
    what: str,
    caption: str,
    centre: Callable[[Sequence[float]], float],
) -> FigureContent | None:
    if not found:
        return None
    names = list(dict.fromkeys(part.experiment for part in found))
    most = max(map(len, rows))
    left_out = (
        f" Of {most} lines the {MOST_LINES} over the most batch sizes are drawn; the table has all."
        if most > MOST_LINES
        else ""
    )
    counts = [len(values) for of_part in rows for line in of_part.values() for values in line.values()]
    return FigureContent(
        [
            Panel(
                f"{part.experiment}, {titled(data, part.task)}", partial(_draw, rows=lines, centre=centre), on
            )
            for part, lines, on in zip(found, rows, measures, strict=True)
        ],
        f"{listed(map(_with_question, names))}. {caption}{left_out}",
        f"Lines of {what} against batch size, a panel per experiment and task. "
        + "; ".join(_ends(part, lines, centre) for part, lines in zip(found, rows, strict=True))
        + ".",
        n=f"{span(counts, 'seed')} per batch size and line",
        results=[result for name in names for result in data.results(name)],
    )


def _with_question(experiment: str) -> str:
    known = EXPERIMENTS.get(experiment)
    return f"{experiment} ({known.question.rstrip('?')})" if known else experiment


def _ends(part: Sweep, rows: _Rows, centre: Callable[[Sequence[float]], float]) -> str:
    name, line = next(iter(rows.items()))
    first, last = min(line), max(line)
    setting = f", {name}" if name else ""
    return (
        f"{part.experiment}, {part.task}{setting}: {number(centre(line[first]), 3)} at batch size {first} to "
        f"{number(centre(line[last]), 3)} at {last}"
    )


def _draw(axes: Axes, rows: _Rows, centre: Callable[[Sequence[float]], float]) -> None:
    drawn = dict(sorted(rows.items(), key=lambda row: -len(row[1]))[:MOST_LINES])
    scale = style.log_axis(
        axes.yaxis, [value for row in drawn.values() for values in row.values() for value in values]
    )
    for index, (name, row) in enumerate(drawn.items()):
        colour, marker = style.kind(index)
        for size, values in row.items():
            dots(axes, size, scale.place(values), colour)
        heights = scale.place(map(centre, row.values()))
        axes.plot(list(row), heights, color=colour, marker=marker, label=style.name(name, 64))
    style.batch_axis(axes, sorted({size for row in drawn.values() for size in row}))
    if any(drawn):
        legend(axes)


def _sweeps(data: Cells, owned: Collection[str]) -> list[Sweep]:
    """Experiments that are not owned, a part per task with errors at two batch sizes or more."""
    cells = {
        (name, task): data.cells(task, name) for name in _names(data, owned) for task in data.tasks_of(name)
    }
    several = {where: row for where, row in cells.items() if len({cell.batch_size for cell in row}) > 1}
    return [Sweep(name, task, by_setting(row)) for (name, task), row in several.items()]


def _names(data: Cells, owned: Collection[str]) -> list[str]:
    """Experiments in the recording that are not owned, in its order."""
    recorded = dict.fromkeys(name for case in data.session.cases for name in case.cases)
    return [name for name in recorded if name not in owned]


def by_setting(cells: Sequence[Cell], by: Sequence[str] = _RATE_LAST) -> dict[str, list[Cell]]:
    """Cells as lines over the batch size: set apart by a field as long as a batch size has two values of it.

    So a rate that follows from the batch size, tuned or scaled, makes one line.
    """
    field = next((name for name in by if _ambiguous(cells, name)), None)
    if field is None:
        return {"": list(cells)}
    apart: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: _in_order(getattr(cell.results[0].run, field))):
        apart.setdefault(_word(field, cell.results[0].run), []).append(cell)
    return {
        ", ".join(filter(None, (setting, rest))): line
        for setting, alike in apart.items()
        for rest, line in by_setting(alike, by[by.index(field) + 1 :]).items()
    }


def _ambiguous(cells: Sequence[Cell], field: str) -> bool:
    values = {(cell.batch_size, getattr(cell.results[0].run, field)) for cell in cells}
    return len(values) > len({size for size, _ in values})


def _in_order(value: Any) -> tuple[bool, Any]:
    """What was left out before what was given."""
    return value is not None, value


def _word(field: str, run: Run) -> str:
    """Empty where the Run leaves it out; asked of what differs, so no warm-up is said beside one."""
    value = getattr(run, field)
    if value is None:
        return "no warm-up" if field == "warmup" else ""
    if field in _WORDS:
        return _WORDS[field].format(value)
    return value if isinstance(value, str) else f"{field.replace('_', ' ')} {value:g}"


def _table(data: Cells, owned: Collection[str]) -> Table:
    rows = [row for name in _names(data, owned) for row in _rows(data, name)]
    note = (
        "Error after the last update, squared label units, on test images unless others are named. Interval: "
        "bootstrap of the mean over seeds. Times: median over seeds."
    )
    return Table.of("other-experiments", "Other experiments", rows, note, folded=len(rows) > 60)


def _rows(data: Cells, experiment: str) -> Iterator[dict[str, object]]:
    """A row per cell and way of timing."""
    for task in data.tasks_of(experiment):
        cells = data.cells(task, experiment)
        varied = [name for name in _RATE_LAST if len({getattr(c.results[0].run, name) for c in cells}) > 1]
        for whole in cells:
            for timing, results in data.by_timing(whole.finished).items():
                cell = Cell.of(results)
                timed = [result for result in results if data.speaks_of_speed(result)]
                speeds = [speed for result in timed if (speed := result.images_per_second)]
                seconds = [result.total_training_seconds for result in timed]
                yield {
                    "experiment": experiment,
                    "task": task,
                    "batch size": cell.batch_size,
                    "setting": _setting(results[0].run, varied),
                    "timed": data.timing_label(timing),
                    **finals_cells(cell),
                    "normalised MSE": fmean(cell.normalised) if cell.normalised else None,
                    "training s": median(seconds) if seconds else None,
                    "images per s": median(speeds) if speeds else None,
                    "status": ended(results),
                }


def _setting(run: Run, varied: Sequence[str]) -> str:
    images = ["validation images"] if run.evaluate_on == "validation" and "evaluate_on" not in varied else []
    return ", ".join(filter(None, [_word(name, run) for name in varied] + images))
