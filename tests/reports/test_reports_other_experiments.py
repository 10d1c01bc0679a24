"""An experiment without a chapter of its own: drawn over the batch size, named and in the tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes

import synthetic
from bsr.experiments import EXPERIMENTS, Experiment, Grid
from bsr.records.reading import Recording
from bsr.records.schema import Case
from bsr.result import Result
from bsr.run import Run
from reports.__main__ import main
from reports.cells import Cells
from reports.chapters import CHAPTERS, figures, tables
from reports.chapters.chapter import FigureContent
from reports.chapters.other_experiments import by_setting
from reports.drawing import style
from reports.text.table import Row

SIZES = (16, 64, 1024)
RUNS = [
    Run(task=task, batch_size=size, seed=seed, learning_rate=rate)
    for task, rate in (("mean", 0.0015), ("std", 0.001))
    for size in SIZES
    for seed in (1, 2)
]


def recorded(results: Iterable[Result], experiment: str = "weight-decay") -> Cells:
    """A recording of one experiment, whether or not this version knows it."""
    cases = tuple(Case(key=r.run.key, cases={experiment: r.run.label}, result=r) for r in results)
    session = replace(synthetic.session(grid=Grid(runs=1)), cases=cases, experiments=(experiment,))
    return Cells(Recording(path=Path("run.json"), session=session))


def drawn(data: Cells) -> dict[str, FigureContent]:
    made = {figure.name: figure.draw(data) for figure in figures()}
    return {name: content for name, content in made.items() if content is not None}


def other_rows(data: Cells) -> Sequence[Row]:
    return next(table.rows for table in tables(data) if table.name == "other-experiments")


def labels(content: FigureContent, panel: int = 0) -> list[str]:
    """Of the lines in a panel."""
    with mpl.rc_context(style.PARAMETERS):  # type: ignore[arg-type]
        axes: Axes = style.PanelFigure(figsize=style.PANEL_SIZE).add_axes(style.axes_place())
        content.panels[panel].draw(axes)
    return axes.get_legend_handles_labels()[1]


def test_its_error_and_time_are_drawn_and_named_a_panel_per_task() -> None:
    found = drawn(recorded(map(synthetic.result, RUNS)))
    assert list(found) == ["others-error", "others-time"]
    for content in found.values():
        assert [panel.title for panel in content.panels] == ["weight-decay, mean", "weight-decay, std"]
        assert content.caption.startswith("weight-decay. ")
        assert "n = 2 seeds per batch size and line" in content.caption
    assert [panel.measure for panel in found["others-error"].panels] == [
        "test MSE, squared label units (log)"
    ] * 2
    assert "weight-decay, mean: 0." in found["others-error"].alternative


def test_it_is_in_the_tables_and_on_the_page(tmp_path: Path) -> None:
    session = recorded(map(synthetic.result, RUNS)).session
    assert main([str(synthetic.write(tmp_path / "run.json", session))]) == 0
    report = tmp_path / "run-report"
    with (report / "tables" / "other-experiments.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["experiment"], row["task"], int(row["batch_size"])) for row in rows] == [
        ("weight-decay", task, size) for task in ("mean", "std") for size in SIZES
    ]
    finals = [result.final_mse or 0 for result in map(synthetic.result, RUNS[:2])]
    assert float(rows[0]["mean_mse"]) == pytest.approx(sum(finals) / 2)
    assert float(rows[0]["training_seconds"]) > 0
    page = (report / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in ("others-error", "others-time"))


def test_a_new_entry_among_the_experiments_is_drawn_with_its_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        EXPERIMENTS, "weight-decay", Experiment("Does decay matter?", lambda _grid: iter(RUNS))
    )
    session = synthetic.session(("weight-decay",))
    found = drawn(Cells(Recording(path=Path("run.json"), session=session)))
    assert found["others-error"].caption.startswith("weight-decay (Does decay matter). ")


def test_settings_are_lines_of_their_own() -> None:
    both = [replace(run, loss=loss) for run in RUNS for loss in ("mse", "mae")]
    data = recorded(map(synthetic.result, both))
    found = drawn(data)
    assert labels(found["others-error"]) == ["mae", "mse"]
    assert labels(found["others-time"]) == ["mae", "mse"]
    assert [row[3] for row in other_rows(data)] == ["mse", "mae"] * 6


def test_a_rate_that_follows_from_the_batch_size_makes_one_line() -> None:
    scaled = [replace(run, learning_rate=run.batch_size / 32_000) for run in RUNS]
    data = recorded(map(synthetic.result, scaled))
    ((setting, cells),) = by_setting(data.cells("mean", "weight-decay")).items()
    assert setting == ""
    assert [cell.batch_size for cell in cells] == list(SIZES)


def test_rates_that_do_not_are_set_apart_within_each_other_setting() -> None:
    runs = [
        replace(run, optimiser=optimiser, learning_rate=rate)  # type: ignore[arg-type]
        for run in RUNS
        for optimiser, rates in (("adam", (0.001, 0.002)), ("sgd", (run.batch_size / 1e6,)))
        for rate in rates
    ]
    found = by_setting(recorded(map(synthetic.result, runs)).cells("mean", "weight-decay"))
    assert list(found) == ["adam, rate 0.001", "adam, rate 0.002", "sgd"]


def test_a_warm_up_that_some_runs_leave_out_is_said_of_both() -> None:
    runs = [replace(run, warmup=warmup) for run in RUNS for warmup in (0.05, None)]
    data = recorded(map(synthetic.result, runs))
    assert list(by_setting(data.cells("mean", "weight-decay"))) == ["no warm-up", "warmup 0.05"]
    assert {row[3] for row in other_rows(data)} == {"no warm-up", "warmup 0.05"}


def test_times_taken_otherwise_never_share_a_line() -> None:
    results = [synthetic.result(run, engine="native" if run.seed == 1 else "eager") for run in RUNS]
    found = drawn(recorded(results))
    assert labels(found["others-time"]) == ["eager, 2 threads, alone", "native, 2 threads, alone"]
    assert labels(found["others-error"]) == []


def test_of_more_lines_than_colours_those_over_the_most_batch_sizes_are_drawn_and_it_is_said() -> None:
    many = [replace(run, eps=1e-8 * n) for run in RUNS for n in range(1, 7)]
    few = [replace(run, eps=1e-9) for run in RUNS if run.batch_size == SIZES[0]]
    content = drawn(recorded(map(synthetic.result, [*few, *many])))["others-error"]
    assert len(labels(content)) == 6
    assert "eps 1e-09" not in labels(content)
    assert "Of 7 lines the 6 over the most batch sizes are drawn; the table has all." in content.caption


def test_errors_on_validation_images_are_called_so() -> None:
    runs = [replace(run, train_images=50_000, evaluate_on="validation") for run in RUNS]
    content = drawn(recorded(map(synthetic.result, runs)))["others-error"]
    assert content.panels[0].measure == "validation MSE, squared label units (log)"


def test_one_batch_size_is_no_axis_and_stands_in_the_table_alone() -> None:
    data = recorded(map(synthetic.result, RUNS[:2]))
    assert drawn(data) == {}
    assert len(other_rows(data)) == 1


def test_what_has_a_chapter_is_not_drawn_twice() -> None:
    owned = [name for chapter in CHAPTERS for name in chapter.experiments]
    assert len(set(owned)) == len(owned)
    assert set(owned) <= set(EXPERIMENTS)
    data = Cells(Recording(path=Path("run.json"), session=synthetic.session(grid=Grid(runs=2))))
    assert not {"others-error", "others-time"} & set(drawn(data))
    assert all(
        not table.rows for chapter in CHAPTERS for table in chapter.tables(data) if table.name[:5] == "other"
    )
