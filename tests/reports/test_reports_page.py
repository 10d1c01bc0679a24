"""The report as a user runs it: the command line, its files, and the page in a real browser."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import synthetic
from browser import Opened, browser, needs_chromium, opened
from bsr.experiments import PRESETS, Grid
from bsr.records.reading import Recording
from bsr.text import Refused
from reports.__main__ import main
from reports.cells import Cells
from reports.page.build import Output, OutputError
from reports.page.render import MOST_RUNS, RenderedFigure
from reports.page.render import _table as on_page
from reports.text import printable, spreadsheet_cell
from reports.text.table import Table

__all__ = ["browser"]
ROOT = Path(__file__).parents[2]
SMALL = Grid(tasks=("mean",), batch_sizes=(32,), runs=2, epochs=1)
HOSTILE = '<img src=x onerror="hacked=1"></script><script>hacked=1</script>\x1b[31m{{ 7*7 }}'


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report with every figure, from as few runs as give them."""
    folder = tmp_path_factory.mktemp("report")
    grid = Grid(tasks=("mean", "median"), batch_sizes=(16, 1024), runs=2, epochs=10)
    session = synthetic.session(synthetic.EPOCH_BASED, grid, harness=synthetic.harness((16, 1024)))
    assert main([str(synthetic.write(folder / "run.json", session))]) == 0
    return folder / "run-report"


@pytest.fixture(scope="module")
def shown(browser: Browser, report: Path) -> Opened:
    """The report's page in a browser."""
    return opened(browser, report / "index.html")


@pytest.fixture
def page(shown: Opened) -> Page:
    """The same, its folds open, to be clicked and asked."""
    shown.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    return shown.page


@pytest.mark.parametrize(("runs", "shown_"), [(MOST_RUNS, MOST_RUNS), (MOST_RUNS + 1, 0)])
def test_a_table_of_every_run_is_on_the_page_while_they_can_be_read_there(runs: int, shown_: int) -> None:
    rows = [{"task": "mean", "seed": seed} for seed in range(runs)]
    table = on_page(Table.of("runs", "Every run", rows, each_run=True))
    assert len(table["rows"]) == shown_
    assert table["left_out"] == ("" if shown_ else "501 rows in the CSV file.")
    assert len(on_page(Table.of("errors", "Errors", rows))["rows"]) == runs


@pytest.mark.parametrize(
    ("cell", "text"),
    [(0.01, "0.01"), (0.0015, "0.0015"), (29.468, "29.47"), (1.5, "1.5"), (37500.0, "37,500")],
)
def test_a_number_of_a_table_has_no_zeros_that_say_nothing(cell: float, text: str) -> None:
    (row,) = on_page(Table.of("rates", "Rates", [{"rate": cell}]))["rows"]
    assert row[0]["text"] == text


def test_what_is_asked_of_a_recording_twice_is_looked_for_once() -> None:
    data = Cells(Recording(path=Path("run.json"), session=synthetic.session(grid=SMALL)))
    assert data.results("batch-size", "mean") is data.results("batch-size", "mean")
    assert [one is other for one, other in zip(data.cells("mean"), data.cells("mean"), strict=True)] == [True]
    assert data.results("batch-size", task="mean") == data.of_network("study").results("batch-size", "mean")
    assert data.of_network("other").results() == ()


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure has its place on the page, and none is drawn, which takes a second for ten."""
    monkeypatch.setattr(
        "reports.page.build.write_figure", lambda figure, made, _output: RenderedFigure(figure, made, [], 1)
    )


def small(folder: Path, name: str = "run.json", **fields: Any) -> Path:
    return synthetic.write(folder / name, synthetic.session(grid=SMALL, **fields))


@pytest.mark.usefixtures("undrawn")
def test_the_report_lies_beside_its_recording_and_the_last_line_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small(tmp_path))]) == 0
    page = tmp_path / "run-report" / "index.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"report: {page}"
    assert page.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-report", "run.json"]


def test_every_figure_is_there_as_png_and_svg_and_every_table_as_csv(report: Path) -> None:
    endings = {path.suffix for path in (report / "figures").iterdir()}
    names = {path.stem for path in (report / "figures").iterdir()}
    assert endings == {".png", ".svg"}
    assert {"convergence", "optimiser", "label-distribution", "published"} <= names
    assert len(list((report / "figures").iterdir())) == 2 * len(names)
    tables = {path.name for path in (report / "tables").iterdir()}
    assert {"findings.csv", "errors.csv", "times.csv", "runs.csv", "epochs.csv", "published.csv"} <= tables


@pytest.mark.usefixtures("undrawn")
def test_a_bad_file_costs_the_exit_status_and_not_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad\x1b[31m.json"
    bad.write_text("{", encoding="utf-8")
    assert main([str(bad), str(small(tmp_path))]) == 1
    said = capsys.readouterr()
    assert (tmp_path / "run-report" / "index.html").is_file()
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    assert "\x1b" not in said.err + said.out


@pytest.mark.slow
def test_a_figure_of_an_earlier_report_does_not_outlive_its_data(tmp_path: Path) -> None:
    path = small(tmp_path)
    main([str(path)])
    assert (tmp_path / "run-report/figures/seeds.png").exists()
    synthetic.write(path, synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=1)))
    main([str(path)])
    assert not (tmp_path / "run-report/figures/seeds.png").exists()
    assert (tmp_path / "run-report/figures/final-mse.png").exists()


def test_nothing_is_written_outside_the_output_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "figures").symlink_to(elsewhere)
    output = Output(tmp_path / "out")
    with pytest.raises(OutputError, match="got a link out of it"):
        output.write("figures/seeds.png", b"")
    with pytest.raises(OutputError, match="expected a path inside"):
        output.write("../escaped.html", b"")
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "escaped.html").exists()


def test_a_link_in_place_of_the_page_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").symlink_to(precious)
    Output(tmp_path / "out").write("index.html", b"page")
    assert precious.read_text(encoding="utf-8") == "kept"
    assert (tmp_path / "out" / "index.html").read_bytes() == b"page"


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main([str(small(tmp_path)), "--output", str(tmp_path / "file" / "out")]) == 1
    assert re.fullmatch(
        r"error: .*expected to write here, got .*; choose --output\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "\\tx"),
        ("\r=1", "\\r=1"),
        ("\N{FULLWIDTH EQUALS SIGN}1+1", "'\N{FULLWIDTH EQUALS SIGN}1+1"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("plain = text", "plain = text"),
        (-1.5, -1.5),
        (None, ""),
    ],
)
def test_no_spreadsheet_runs_a_cell(cell: object, shown: object) -> None:
    assert spreadsheet_cell(cell) == shown


@pytest.mark.usefixtures("undrawn")
def test_a_formula_for_a_name_stays_text_in_every_file(tmp_path: Path) -> None:
    name = "=cmd|'/c calc'!A1"
    session = synthetic.session(grid=Grid(tasks=(name,), batch_sizes=(32, 64), runs=1, epochs=1))
    assert main([str(synthetic.write(tmp_path / "run.json", session))]) == 0
    for path in (tmp_path / "run-report" / "tables").iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "@", "\t", "\r"))], path.name
    with (tmp_path / "run-report/tables/errors.csv").open(encoding="utf-8", newline="") as file:
        (row, *_) = list(csv.DictReader(file))
    assert row["task"] == f"'{name}"
    assert float(row["mean_mse"]) > 0


def test_columns_of_a_file_are_named_for_machines() -> None:
    header = ("batch size", "95% from", "normalised MSE", "=cmd|' /c calc'!A1", "±")
    table = Table("errors", "Errors", header, [])
    assert table.csv().decode() == "batch_size,low_95,normalised_mse,cmd_c_calc_a1,column\n"


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"
    assert printable("x" * 3000).endswith("…")


NO_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "pytest"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
from reports.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


PLAIN_FIGURES = """
import io
from matplotlib.figure import Figure
for _ in range(20):
    figure = Figure()
    for place in range(1, 5):
        figure.add_subplot(2, 2, place).loglog([1, 10, 1000], [3, 2, 1])
    for kind in ("svg", "png"):
        figure.savefig(io.BytesIO(), format=kind)
"""
"""Takes 5 seconds on a processor on which the report of 280 cases takes as long, and may take 15."""


@pytest.mark.slow
def test_280_cases_take_little_longer_than_drawing_does_and_no_torch(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="POSIX alone tells the processor time of a child")

    def processor_seconds(code: str, *arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-W", "error", "-c", code, *arguments]
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    session = synthetic.session(grid=Grid())
    assert len(session.cases) == 280
    path = synthetic.write(tmp_path / "paper.json", session)
    # beside what matplotlib takes here, since processors differ by a factor of two, and others work on them
    assert processor_seconds(NO_TORCH, str(path)) < 3 * processor_seconds(PLAIN_FIGURES)
    assert (tmp_path / "paper-report" / "index.html").is_file()


def test_the_page_holds_its_parts_in_order(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    parts = ['id="findings"', 'id="convergence"', 'id="tables"', 'id="table-errors"', 'id="reproduce"']
    assert sorted(parts, key=text.index) == parts
    assert "pytest benchmarks --benchmark-json=run.json --bsr-preset paper" in text
    assert "Synthetic CPU @ 2.00GHz" in text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("preset", "head"), [("paper", "preset paper"), ("paper and why", "done \N{MIDDLE DOT} MNIST")]
)
def test_the_head_names_one_preset_and_where_there_are_more_the_command_s_section_does(
    tmp_path: Path, preset: str, head: str
) -> None:
    main([str(small(tmp_path, preset=preset))])
    text = (tmp_path / "run-report" / "index.html").read_text(encoding="utf-8")
    assert head in text[: text.index('id="findings"')]
    assert f"<dt>presets</dt><dd>{preset.replace(' and', ',')}</dd>" in text[text.index('id="reproduce"') :]


@pytest.mark.usefixtures("undrawn")
def test_a_page_with_less_names_what_is_missing_and_how_to_measure_it(tmp_path: Path) -> None:
    main([str(small(tmp_path, preset="quick"))])
    text = (tmp_path / "run-report" / "index.html").read_text(encoding="utf-8")
    missing = text[text.index('id="missing"') : text.index('id="tables"')]
    assert "Adam against SGD" in missing
    assert "<code>pytest benchmarks --benchmark-json=run.json --bsr-experiments optimiser</code>" in missing
    assert missing.count("--bsr-experiments optimiser<") == 1  # figure and conclusion in one line
    assert "--bsr-preset why<" in missing
    assert "--bsr-preset why-first" not in missing  # one protocol is asked for, not both
    assert "Not measured here" not in text
    assert "Final error per batch size" not in missing
    assert 'id="optimiser"' not in text


@pytest.mark.usefixtures("undrawn")
def test_a_page_of_the_first_protocol_s_tuning_asks_for_that_protocol(tmp_path: Path) -> None:
    grid = replace(PRESETS["tune"].grid, tasks=("std",), batch_sizes=(16,), runs=1, budgets=1)
    main([str(synthetic.write(tmp_path / "run.json", synthetic.session(("tune",), grid)))])
    text = (tmp_path / "run-report" / "index.html").read_text(encoding="utf-8")
    missing = text[text.index('id="missing"') : text.index('id="tables"')]
    assert "--bsr-preset why-first<" in missing
    assert "--bsr-preset why<" not in missing


@needs_chromium
def test_the_page_opens_from_disk_without_a_complaint_and_asks_for_nothing_else(
    shown: Opened, report: Path
) -> None:
    page = shown.page
    assert shown.complaints == []
    assert [url for url in shown.requests if not url.startswith("data:")] == [
        (report / "index.html").as_uri()
    ]
    assert page.evaluate("document.title").startswith("Does the batch size affect")
    assert page.evaluate("document.querySelectorAll('figure svg').length") > 20
    # every drawing is laid out with a size, and none is broken
    assert page.evaluate("[...document.querySelectorAll('figure svg')].every(s => s.getBBox().width > 50)")


@needs_chromium
def test_every_drawing_has_words_for_who_cannot_see_it(page: Page) -> None:
    words = (
        "[...document.querySelectorAll('figure svg[role=img]')].map(s => s.getAttribute('aria-label').length)"
    )
    assert len(page.evaluate(words)) == page.evaluate("document.querySelectorAll('figure svg').length")
    assert min(page.evaluate(words)) > 10


def column(page: Page, table: str, index: int) -> list[str]:
    """The cells of a column from top to bottom, as they are sorted."""
    rows = f"[...document.querySelectorAll('#table-{table} tbody tr')]"
    found: list[str] = page.evaluate(
        f"{rows}.map(r => r.cells[{index}].dataset.value ?? r.cells[{index}].textContent)"
    )
    return found


@needs_chromium
def test_tables_sort_by_click_and_by_keyboard(shown: Opened, page: Page) -> None:
    heads = "document.querySelectorAll('#table-errors thead th')"
    index = page.evaluate(f"[...{heads}].map(h => h.textContent)").index("mean MSE")
    page.evaluate(f"{heads}[{index}].firstChild.click()")
    rising = [float(cell) for cell in column(page, "errors", index)]
    assert len(rising) == 4
    assert rising == sorted(rising)
    assert page.evaluate(f"{heads}[{index}].getAttribute('aria-sort')") == "ascending"
    page.evaluate(f"{heads}[{index}].firstChild.focus()")
    page.keyboard.press("Enter")
    assert [float(cell) for cell in column(page, "errors", index)] == rising[::-1]
    assert page.evaluate(f"{heads}[{index}].getAttribute('aria-sort')") == "descending"
    assert page.evaluate(f"[...{heads}].filter(h => h.getAttribute('aria-sort') !== 'none').length") == 1
    assert shown.complaints == []


@needs_chromium
def test_what_is_empty_comes_last_whichever_way_a_table_is_sorted(page: Page) -> None:
    """The degenerate task has no normalised MSE."""
    button = "document.querySelectorAll('#table-errors thead button')[10]"
    assert page.evaluate(f"{button}.textContent") == "normalised MSE"
    for _ in ("rising", "falling"):
        page.evaluate(f"{button}.click()")
        assert [bool(cell) for cell in column(page, "errors", 10)] == [True, True, False, False]


@needs_chromium
def test_every_run_is_searched_by_words_of_any_cell(page: Page) -> None:
    page.evaluate("document.querySelector('#table-runs details').open = true")
    tasks, sizes = column(page, "runs", 0), column(page, "runs", 1)
    seen = "[...document.querySelectorAll('#table-runs tbody tr')].filter(r => !r.hidden).length"
    box = page.get_by_label("Search: Every run")
    box.fill("MEDIAN 1024")
    wanted = [task == "median" and size == "1024" for task, size in zip(tasks, sizes, strict=True)]
    assert 0 < page.evaluate(seen) < len(tasks)
    assert page.evaluate(seen) >= sum(wanted)
    box.fill("no such run")
    assert page.evaluate(seen) == 0
    box.fill("")
    assert page.evaluate(seen) == len(tasks)


@needs_chromium
def test_text_sorts_by_its_letters(page: Page) -> None:
    page.evaluate("document.querySelector('#table-runs details').open = true")
    page.evaluate("document.querySelectorAll('#table-runs thead button')[0].click()")
    tasks = column(page, "runs", 0)
    assert tasks == sorted(tasks)
    assert set(tasks) == {"mean", "median"}


@needs_chromium
def test_the_page_turns_dark_with_its_figures_and_fits_a_phone(page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('figure svg text')).fill"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper), page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    assert (page.evaluate(paper), page.evaluate(ink)) == ("rgb(15, 17, 20)", "rgb(233, 235, 238)")
    assert light == ("rgb(244, 245, 247)", "rgb(27, 30, 35)")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    widths = "[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().width)"
    assert min(page.evaluate(widths)) > 280
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


@needs_chromium
def test_with_one_seed_the_page_says_once_that_it_gives_no_verdicts(browser: Browser, tmp_path: Path) -> None:
    one = synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(16, 64, 256), runs=1, epochs=2))
    main([str(synthetic.write(tmp_path / "run.json", one))])
    page = opened(browser, tmp_path / "run-report" / "index.html").page
    assert page.evaluate("document.querySelectorAll('.badge').length") == 0
    text = page.inner_text("body")
    assert text.count("this page shows values and gives no verdicts") == 1
    assert "--bsr-runs 10" in page.inner_text("header")
    assert re.findall(r".*(?:\bshown\b|\bp = |\bp below|p-value).*", text) == []
    assert "--several-machines --output answer" in page.inner_text(
        "header"
    )  # how to draw the one with verdicts
    assert "rank correlation" in text  # the first statistic of a finding is there
    findings = (tmp_path / "run-report/tables/findings.csv").read_text(encoding="utf-8")
    assert re.findall(r".*(?:\bshown\b|\bp = |\bp below|p-value).*", findings) == []


@needs_chromium
def test_a_hostile_recording_stays_text(browser: Browser, tmp_path: Path) -> None:
    session = synthetic.session(
        grid=Grid(tasks=(HOSTILE,), batch_sizes=(32, 64), runs=1, epochs=1, dataset=HOSTILE),
        circumstances={"engine": HOSTILE, "message": HOSTILE, "environment": HOSTILE},
        command=HOSTILE,
        preset=HOSTILE,
        options={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        environments={HOSTILE: {"device_name": HOSTILE, HOSTILE: HOSTILE}},
    )
    assert main([str(synthetic.write(tmp_path / "run.json", session))]) == 0
    assert "\x1b" not in (tmp_path / "run-report" / "index.html").read_text(encoding="utf-8")
    for path in (tmp_path / "run-report" / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8")
    shown = opened(browser, tmp_path / "run-report" / "index.html")
    assert shown.complaints == []
    page = shown.page
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("document.querySelectorAll('img, iframe').length") == 0
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.body.textContent.includes('{{ 7*7 }}')")
    # the page's own policy would stop a script that got in all the same
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"hacked=1\">')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'hacked=1'}))")
    assert page.evaluate("typeof hacked") == "undefined"


def test_a_file_of_a_report_that_is_read_only_is_refused_and_stays(tmp_path: Path) -> None:
    path = Output(tmp_path).write("tables/errors.csv", b"old")
    path.chmod(0o444)
    with pytest.raises(Refused, match="errors.csv: expected a file to write, got one that is read-only"):
        Output(tmp_path).write("tables/errors.csv", b"new")
    assert path.read_bytes() == b"old"
