"""Figures: all of them from a whole study, smaller ones from less, and nothing from nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

import synthetic
from bsr import published, stats
from bsr.experiments import Grid
from bsr.experiments.grid import EXTENDED_BATCH_SIZES
from bsr.experiments.tried_rates import best_rate, by_rate, contenders, rate_finals
from bsr.records.reading import Recording
from bsr.records.schema import SessionRecord
from bsr.result import Status
from bsr.run import Run
from reports.analysis.published import beside
from reports.cells import Cells
from reports.chapters import figures
from reports.chapters.chapter import Figure, FigureContent, measure_command
from reports.drawing import panel as drawing
from reports.drawing import style
from reports.drawing.panel import Panel
from reports.text import number, tick, ticks

EVERYTHING = synthetic.EPOCH_BASED
SOME = Grid(batch_sizes=(16, 128, 256, 1024), runs=3)
HOSTILE = '<b>$x^2$ & "q"\x1b[31m'


def measured(session: SessionRecord) -> Cells:
    return Cells(Recording(path=Path("run.json"), session=session))


def draw(name: str, frame_: Cells) -> FigureContent | None:
    return next(figure for figure in figures() if figure.name == name).draw(frame_)


def drawn(name: str, frame_: Cells) -> FigureContent:
    found = draw(name, frame_)
    assert found is not None, name
    return found


def axes_of(panel: Panel) -> list[Axes]:
    """The panel's axes, drawn but not rendered."""
    with mpl.rc_context(style.PARAMETERS):  # type: ignore[arg-type]
        canvas = style.PanelFigure(figsize=style.PANEL_SIZE)
        panel.draw(canvas.add_axes(style.axes_place()))
        return canvas.axes


def places(line: Line2D) -> list[float]:
    return [float(value) for value in np.asarray(line.get_xdata(), dtype=float)]


def heights(line: Line2D) -> list[float]:
    return [float(value) for value in np.asarray(line.get_ydata(), dtype=float)]


def marks(axes: Axes) -> int:
    """Lines, bars and boxes that show data."""
    lines = [line for line in axes.lines if len(places(line))]
    return len(lines) + len(axes.patches) + len(axes.collections)


@pytest.fixture(scope="module")
def whole() -> Cells:
    return measured(synthetic.session(EVERYTHING, SOME, harness=synthetic.harness((16, 1024))))


OF_OTHER_RECORDINGS = {
    "equal-epochs", "square", "error-over-updates", "test-over-training-error", "at-equal-training-error",
    "why", "equal-updates", "steps-to-target", "tuning-linear", "tuning-constant", "networks", "others-error",
    "others-time", "time-to-error",
}  # fmt: skip
"""Figures of controlled runs, of several networks, and of experiments without a chapter."""


def test_a_whole_study_gives_every_figure(whole: Cells) -> None:
    assert {figure.name for figure in figures() if figure.draw(whole) is None} == OF_OTHER_RECORDINGS


def of_epochs() -> list[Figure]:
    """Figures of the study's experiments."""
    return [figure for figure in figures() if figure.name not in OF_OTHER_RECORDINGS]


def test_no_panel_is_empty(whole: Cells) -> None:
    for figure in of_epochs():
        for panel in drawn(figure.name, whole).panels:
            assert all(marks(axes) for axes in axes_of(panel)), f"{figure.name}: {panel.title}"


EXTENDED = Grid(tasks=("mean",), batch_sizes=EXTENDED_BATCH_SIZES, runs=2, epochs=10)


@pytest.mark.parametrize("grid", [SOME, EXTENDED], ids=["four batch sizes", "eleven batch sizes"])
def test_every_legend_stays_in_its_panel_and_off_the_axes(grid: Grid) -> None:
    some = measured(
        synthetic.session(EVERYTHING, grid, circumstances=mixed, harness=synthetic.harness((16, 1024)))
    )
    for figure in figures():
        made = figure.draw(some)
        for axes in axes_of(made.panels[0]) if made else ():
            if legend := axes.get_legend():
                box, whole_panel = legend.get_window_extent(), axes.figure.bbox
                assert box.x0 >= 0, figure.name
                assert box.x1 <= whole_panel.x1, figure.name
                assert box.y0 >= max(other.get_window_extent().y1 for other in axes.figure.axes) - 2, (
                    figure.name
                )


def test_every_caption_says_n_and_every_figure_has_words_for_who_cannot_see_it(whole: Cells) -> None:
    for figure in of_epochs():
        found = drawn(figure.name, whole)
        assert re.search(r"\bn = \d", found.caption), figure.name
        assert len(found.alternative) > 60, figure.name


LESS = {
    "one seed": Grid(runs=1, epochs=3),
    "one task": Grid(tasks=("std",), runs=3, epochs=3),
    "one batch size": Grid(batch_sizes=(64,), runs=3, epochs=3),
    "one of each": Grid(tasks=("mean",), batch_sizes=(100,), runs=1, epochs=1),
    "only a degenerate task": Grid(tasks=("median",), runs=2, epochs=3),
}


@pytest.mark.parametrize("grid", LESS.values(), ids=LESS.keys())
def test_less_data_give_fewer_figures_and_none_of_them_empty(grid: Grid) -> None:
    less = measured(synthetic.session(grid=grid))
    found = {figure.name: made for figure in figures() if (made := figure.draw(less))}
    assert {"final-mse", "convergence", "speed"} <= set(found)
    assert not {"learning-rate", "optimiser", "loss", "longer", "label-distribution", "harness"} & set(found)
    assert ("seeds" in found) == (grid.runs > 1)
    for name, made in found.items():
        for panel in made.panels:
            assert all(marks(axes) for axes in axes_of(panel)), f"{name}: {panel.title}"


def test_a_figure_speaks_of_intervals_only_where_seeds_carry_some(whole: Cells) -> None:
    def speaking(data: Cells) -> set[str]:
        made = {figure.name: found for figure in figures() if (found := figure.draw(data))}
        said = {name: [one.caption, *(panel.measure for panel in one.panels)] for name, one in made.items()}
        return {name for name, texts in said.items() if "; lines: 95%" in " ".join(texts)}

    assert "updates" in speaking(whole)
    assert speaking(measured(synthetic.session(grid=LESS["one seed"]))) == set()


def test_nothing_is_drawn_from_nothing() -> None:
    lost = measured(synthetic.session(EVERYTHING, SOME, lambda _run: "not_run", labels=()))
    assert [figure.name for figure in figures() if figure.draw(lost)] == []


def test_a_missing_figure_names_the_command_that_would_measure_it(whole: Cells) -> None:
    options = {figure.name: figure.options for figure in figures()}
    line = "pytest benchmarks --benchmark-json=run.json --bsr-preset paper --bsr-experiments loss"
    assert measure_command(whole, options["loss"]) == line


def test_a_preset_that_nobody_knows_never_reaches_the_command() -> None:
    line = measure_command(
        measured(synthetic.session(grid=SOME, preset="x; rm -rf /")), "--bsr-experiments loss"
    )
    assert line == "pytest benchmarks --benchmark-json=run.json --bsr-experiments loss"


def test_a_degenerate_task_comes_last_and_is_named_so(whole: Cells) -> None:
    titles = [panel.title for panel in drawn("convergence", whole).panels]
    assert titles == ["mean", "std", "var", "median (degenerate)"]
    assert "Left out because every label is the same: median" in drawn("normalised-mse", whole).caption


def test_convergence_starts_at_the_untrained_network_with_a_curve_per_batch_size(whole: Cells) -> None:
    (axes,) = axes_of(drawn("convergence", whole).panels[0])
    assert [line.get_label() for line in axes.lines] == ["16", "128", "256", "1024"]
    for line in axes.lines:
        assert places(line) == list(range(11))
        assert heights(line)[0] == pytest.approx(synthetic.UNTRAINED_MSE["mean"])


def test_the_minimum_over_the_epochs_is_shown_beside_the_last_and_named(whole: Cells) -> None:
    (axes,) = axes_of(drawn("final-mse", whole).panels[0])
    last, lowest = (heights(line) for line in axes.lines)
    assert [line.get_label() for line in axes.lines] == ["last epoch", "minimum over the epochs"]
    assert all(low <= final for low, final in zip(lowest, last, strict=True))
    assert "minimum over the epochs" in drawn("final-mse", whole).caption


def test_every_seed_is_a_dot(whole: Cells) -> None:
    (axes,) = axes_of(drawn("seeds", whole).panels[0])
    dots = [line for line in axes.lines if line.get_marker() == "." and len(places(line))]
    assert [sorted(heights(line)) for line in dots] == [sorted(cell.finals) for cell in whole.cells("mean")]


def test_the_best_constant_is_a_line_at_one(whole: Cells) -> None:
    (axes,) = axes_of(drawn("normalised-mse", whole).panels[0])
    assert {line.get_label(): heights(line)[0] for line in axes.lines}["best constant predictor"] == 1


def test_the_batch_axis_is_log2_with_plain_integers(whole: Cells) -> None:
    (axes,) = axes_of(drawn("final-mse", whole).panels[0])
    formatter = axes.xaxis.get_major_formatter()
    assert axes.xaxis.get_transform().base == 2  # type: ignore[attr-defined]
    assert [formatter(size, 0) for size in axes.xaxis.get_major_locator()()] == ["16", "128", "256", "1024"]


def test_batch_sizes_too_close_for_their_labels_share_one() -> None:
    assert style.spaced([90, 96, 100, 128, 1000], 0.25) == [90, 128, 1000]


def test_bars_start_at_zero(whole: Cells) -> None:
    for axes in axes_of(drawn("mse-and-time", whole).panels[0]):
        assert axes.get_ylim()[0] == 0


def mixed(run: Run) -> dict[str, Any]:
    return {"engine": "native", "threads": 1, "beside": 1} if run.seed % 2 else {}


def test_times_of_different_circumstances_never_share_a_line() -> None:
    both = measured(
        synthetic.session(
            grid=Grid(tasks=("mean",), batch_sizes=(16, 32), runs=4, epochs=2), circumstances=mixed
        )
    )
    (axes, _) = [axes_of(panel)[0] for panel in drawn("speed", both).panels]
    names = [str(line.get_label()) for line in axes.lines if not str(line.get_label()).startswith("_")]
    assert names == ["eager, 2 threads, alone", "native, 1 thread, in parallel with 1 other run"]
    assert len(drawn("mse-against-seconds", both).panels) == 2
    assert len(drawn("time-to-converge", both).panels) == 4
    for name in ("speed", "mse-against-seconds", "time-to-converge"):
        assert (
            "eager, 2 threads, alone and native, 1 thread, in parallel with 1 other run"
            in drawn(name, both).caption
        )


def test_a_final_error_counts_whatever_its_status_with_the_number_beside() -> None:
    statuses = {16: "dead", 17: "diverged", 18: "not_run"}
    grid = Grid(tasks=("mean",), batch_sizes=(16,), runs=4, epochs=3)
    partly = measured(synthetic.session(grid=grid, disturb=lambda run: statuses.get(run.seed, "ok")))  # type: ignore[arg-type, return-value]
    (cell,) = partly.cells("mean")
    assert len(cell.finals) == 2
    assert max(cell.finals) == pytest.approx(synthetic.BASELINE_MSE["mean"] * 1.001)
    caption = drawn("final-mse", partly).caption
    assert "n = 2 seeds per batch size" in caption
    assert "Includes 1 dead." in caption
    assert "Without a final MSE, and so left out: 1 diverged and 1 not run." in caption


def test_runs_without_a_final_error_are_counted_on_the_learning_rates(whole: Cells) -> None:
    (axes,) = axes_of(drawn("optimiser", whole).panels[0])
    assert [text.get_text() for text in axes.texts] == ["3", "3", "3", "3"]


def test_zeros_lie_on_a_floor_that_is_named_zero() -> None:
    scale = style.LogScale.of([0.0, 1e-6, 1.0])
    assert scale.floor is not None
    assert scale.low < scale.floor < 1e-6
    assert scale.place([0.0, 1e-6]) == [scale.floor, 1e-6]
    axes = Canvas().add_subplot()
    scale.apply(axes.yaxis)
    labels = [axes.yaxis.get_major_formatter()(place, 0) for place in axes.yaxis.get_major_locator()()]
    assert labels[0] == "0"
    assert labels[-1] == "1"


def test_values_too_small_to_tell_apart_are_not_called_zero() -> None:
    assert style.LogScale.of([1e-90, 1.0]).floor_label == "<10⁻¹⁶"


def test_a_scale_of_zeros_alone_can_be_drawn() -> None:
    scale = style.LogScale.of([0.0, 0.0])
    assert scale.low < scale.place([0.0])[0] < scale.high


def test_never_converged_is_counted_at_the_top_and_drawn_nowhere_else() -> None:
    never = measured(
        synthetic.session(grid=Grid(tasks=("mean", "std"), batch_sizes=(16, 1024), runs=2, epochs=2))
    )
    (*_, panel) = drawn("time-to-converge", never).panels
    (axes,) = axes_of(panel)
    assert "2" in [text.get_text() for text in axes.texts]
    assert "not reached by half of the runs" in drawn("time-to-converge", never).alternative


def test_measured_stands_beside_published_at_the_same_epoch(whole: Cells) -> None:
    (cell, *_) = beside(whole, "mean")
    known = next(row for row in published.final_mse() if (row.task, row.batch_size) == ("mean", 16))
    at_nine = [result.test_mse[9] for result in whole.cells("mean")[0].results]
    assert cell.published == known
    assert known.epoch == 9
    assert sorted(cell.measured) == sorted(mse for mse in at_nine if mse is not None)
    assert cell.ratio == pytest.approx(sum(cell.measured) / 3 / known.mean_mse)
    assert cell.overlap == (min(cell.measured) <= known.max_mse and max(cell.measured) >= known.min_mse)
    assert beside(whole, "var")[0].published.epoch == 10


def test_controlled_runs_in_the_same_recording_leave_the_published_ones_where_they_are(whole: Cells) -> None:
    controlled = synthetic.why_session(tasks=("mean",), experiments=("study-rate",))
    together = measured(replace(whole.session, cases=(*whole.session.cases, *controlled.cases)))
    assert beside(together, "mean") == beside(whole, "mean")


@pytest.mark.parametrize("other", [{"dataset": "KMNIST"}, {"train_images": 1024}, {"precision": "tf32"}])
def test_nothing_published_stands_beside_another_protocol(other: dict[str, Any]) -> None:
    foreign = measured(synthetic.session(EVERYTHING, replace(SOME, **other)))
    for name in ("published", "published-convergence", "published-seconds"):
        assert draw(name, foreign) is None
    for name in ("learning-rate", "loss"):
        labels = {
            str(line.get_label()) for axes in axes_of(drawn(name, foreign).panels[1]) for line in axes.lines
        }
        assert not any("published" in label for label in labels)


def test_too_few_epochs_are_not_compared_with_the_published_ninth() -> None:
    assert draw("published", measured(synthetic.session(grid=replace(SOME, epochs=8)))) is None


def rendered(title: str = "mean") -> drawing.RenderedPanel:
    def plot(axes: Axes) -> None:
        axes.plot([1, 2], [3, 4], "o-", color=style.kind(0)[0], label=style.name(HOSTILE))
        axes.legend()

    return drawing.rendered(Panel(title, plot, "MSE"), "figure-0")


def test_names_from_the_data_are_text_and_nothing_else() -> None:
    svg = drawing.inline(rendered(HOSTILE), HOSTILE)
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count('<b>$x^2$ & "q"\\x1b[31m') == 2
    assert "<b>" not in svg
    assert "\x1b" not in svg
    assert ET.fromstring(svg).find(".//{http://www.w3.org/2000/svg}b") is None


def test_a_letter_that_the_font_lacks_is_no_warning() -> None:
    assert style.name("日本é") == "??é"
    rendered("日本é")


def test_every_colour_of_a_figure_turns_with_the_page(whole: Cells) -> None:
    for name in ("seeds", "convergence", "published"):
        picture = drawing.rendered(drawn(name, whole).panels[0], "x")
        styles = " ".join(
            element.get("style", "") for element in ET.fromstring(drawing.inline(picture, "a")).iter()
        )
        assert re.findall(r"#[0-9a-fA-F]{3,8}\b", re.sub(r"url\(#[^)]*\)", "", styles)) == []
        assert "var(--ink)" in styles


def test_ten_batch_sizes_have_ten_colours_and_neighbours_another_mark() -> None:
    looks = [*style.ordered_looks(EXTENDED_BATCH_SIZES).values()]
    assert len({colour for colour, _ in looks}) == len({mark for _, mark in looks}) == len(looks)


def test_what_lies_at_the_ends_over_seeds_never_looks_as_their_mean(whole: Cells) -> None:
    for panel in drawn("min-mean-max", whole).panels:
        (axes,) = axes_of(panel)
        looks = {line.get_label(): line.get_marker() for line in axes.lines}
        assert looks["mean"] != looks["minimum and maximum"] == "_"


def test_text_of_a_figure_has_no_colour_of_the_data(whole: Cells) -> None:
    """Which is held to less contrast than text needs."""
    for name in ("seeds", "optimiser", "published"):
        svg = drawing.inline(drawing.rendered(drawn(name, whole).panels[0], "x"), "a")
        inks = {
            ink
            for element in ET.fromstring(svg).iter()
            if element.tag.endswith("text")
            for ink in re.findall(r"var\((--[\w-]+)\)", element.get("style", ""))
        }
        assert inks <= {"--ink", "--muted"}, name
        assert inks


def test_light_and_dark_colours_are_told_from_their_paper() -> None:
    """Contrast as WCAG 2 has it: text 4.5 to 1, marks of data and references 3."""
    variables = {name: (light, dark) for name, light, dark in style.variables().values()}
    least = {"--ink": 4.5, "--muted": 4.5, "--reference": 3.0, "--grid": 1.1, "--paper": 1.0}
    for name, shades in variables.items():
        for shade, behind in zip(shades, variables["--paper"], strict=True):
            assert contrast(shade, behind) >= least.get(name, 3.0), name


CSS = (Path(__file__).parents[2] / "reports" / "page" / "page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_ink_of_the_page_is_read_on_its_ground(dark: bool) -> None:
    """Text 4.5 to 1 on every ground that it may stand on, and where nothing is faded by opacity."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[: 1 + dark]
    shades = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", " ".join(blocks)))
    shades |= {name: pair[dark] for name, *pair in style.variables().values()}
    grounds: dict[str, tuple[str, ...]] = dict.fromkeys(("--ink", "--muted", "--link"), ("--page", "--paper"))
    grounds |= {f"--{badge}": (f"--{badge}-soft",) for badge in ("yes", "no", "open")}
    assert set(re.findall(r"[^-]color: var\((--[\w-]+)\)", CSS)) <= set(grounds)
    for ink, behind in grounds.items():
        for ground in behind:
            assert contrast(shades[ink], shades[ground]) >= 4.5, (ink, ground)


def contrast(first: str, second: str) -> float:
    def luminance(shade: str) -> float:
        parts = [int(to_hex(shade)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_identities_are_unique_over_the_panels_of_a_page() -> None:
    pictures = [drawing.rendered(Panel("a", _plot, "b"), f"figure-{i}") for i in range(2)]
    identities = [set(re.findall(r' id="([^"]+)"', drawing.inline(picture, "a"))) for picture in pictures]
    assert identities[0]
    assert not identities[0] & identities[1]
    svg = drawing.as_svg(pictures, "title", "words").decode()
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    assert used <= identities[0] | identities[1]


def _plot(axes: Axes) -> None:
    axes.plot([1, 2], [1, 2], "o-")


def test_the_files_of_a_figure_hold_all_its_panels() -> None:
    pictures = [rendered()] * 4
    root = ET.fromstring(drawing.as_svg(pictures, "The title", "The words"))
    assert [child.tag.split("}")[1] for child in root] == ["title", "desc", "rect", *["svg"] * 4]
    assert drawing.as_png(pictures).startswith(b"\x89PNG\r\n")


def test_the_same_recording_gives_the_same_bytes(whole: Cells) -> None:
    panel = drawn("seeds", whole).panels[0]
    first, second = (drawing.rendered(panel, "x") for _ in range(2))
    assert drawing.inline(first, "a") == drawing.inline(second, "a")
    assert (first.pixels == second.pixels).all()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.24571, "0.2457"), (11370.4, "11,370"), (0, "0"), (None, "\N{EN DASH}"), (1.234e-9, "1.234·10⁻⁹"),
     (-0.5, "\N{MINUS SIGN}0.5000"), (9.99999, "10.00"), (7, "7")],
)  # fmt: skip
def test_numbers_have_four_digits(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_ticks_are_plain_numbers_or_powers_of_ten() -> None:
    assert [tick(value) for value in (0, 0.001, 20, 1000, 1e-6, 5e-6, 1e7)] == [
        "0", "0.001", "20", "1,000", "10⁻⁶", "5·10⁻⁶", "10⁷",
    ]  # fmt: skip
    far = ticks(1e3, 1e7)
    assert [far(value, 0) for value in (1e3, 1e4, 1e5)] == ["1,000", "10⁴", "10⁵"]
    near = ticks(8e4, 1.6e5)
    assert [near(value, 0) for value in (9.5e4, 1e5)] == ["95,000", "100,000"]


def test_a_rate_at_which_runs_were_lost_is_neither_the_best_nor_tied_with_it() -> None:
    def lost(run: Run) -> Status:
        return "diverged" if run.learning_rate == 1e-4 and run.seed == 32 else "ok"

    grid = Grid(tasks=("mean",), batch_sizes=(32,), runs=4, epochs=2)
    session = synthetic.session(grid=grid, experiments=("learning-rate",), disturb=lost)
    rates = by_rate(measured(session).results("learning-rate"))
    assert len(rate_finals(rates)[1e-4]) == 3
    assert 1e-4 not in contenders(rates)
    assert best_rate(rates) in contenders(rates)
    found = stats.best(contenders(rates))
    assert found is not None
    assert found.level == best_rate(rates)  # what figures mark and what is tuned are chosen by one rule


def test_what_hardly_differs_is_not_drawn_as_if_it_did() -> None:
    scale = style.LogScale.of([0.64, 0.66])
    assert scale.high > 2 * scale.low
    assert scale.low < 0.64
    assert scale.high > 0.66


def test_a_result_without_times_is_in_no_timed_figure() -> None:
    def untimed(_run: Run) -> dict[str, Any]:
        return {"training_seconds": (0.0, 0.0)}

    still = measured(
        synthetic.session(
            grid=Grid(tasks=("mean",), batch_sizes=(16, 32), runs=1, epochs=2), circumstances=untimed
        )
    )
    assert all(result.images_per_second is None for result in still.all_results)
    for figure in figures():
        if made := figure.draw(still):
            for panel in made.panels:
                axes_of(panel)


def test_each_batch_size_has_learning_rates_of_its_own() -> None:
    """Pooled, a rate that is good at one and bad at the other would be neither."""
    session = synthetic.session(("learning-rate",), replace(SOME, tasks=("mean",), runs=2))
    moved = tuple(
        replace(case, key=run.key, result=replace(case.result, run=run))
        for case in session.cases
        for run in [replace(case.result.run, batch_size=1024)]
    )
    figure = drawn("learning-rate", measured(replace(session, cases=(*session.cases, *moved))))
    assert [panel.title for panel in figure.panels] == [
        f"mean at batch size {size}{look}" for size in (32, 1024) for look in ("", ", second look")
    ]
    assert "at batch size 32 and 1024" in figure.caption
    assert figure.alternative.count("lowest at") == 2
