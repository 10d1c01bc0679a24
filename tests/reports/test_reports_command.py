"""Several recordings on the command line: the page, the terminal, the gate's exit status, merging."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import synthetic
from browser import browser, needs_chromium, opened
from bsr.experiments import Grid
from bsr.records import journal
from bsr.records.reading import read
from bsr.result import Result
from bsr.run import Execution
from plugin_support import REPOSITORY
from reports.__main__ import main

__all__ = ["browser"]
SMALL = Grid(tasks=("mean", "median"), batch_sizes=(32, 64, 256), runs=3, epochs=2)
HOSTILE = '<img src=x onerror="hacked=1"></script><script>hacked=1</script>\x1b[31m{{ 7*7 }}[red]$x^2$'
FIGURES = {"comparison-speed", "comparison-times", "comparison-error"}


def written(folder: Path, name: str, change: Callable[[Result], Result] = lambda r: r, **about: Any) -> str:
    session = synthetic.session(**{"grid": SMALL} | about)
    cases = tuple(replace(case, result=change(case.result)) for case in session.cases)
    return str(synthetic.write(folder / f"{name}.json", replace(session, cases=cases)))


def slower(result: Result) -> Result:
    return replace(result, training_seconds=tuple(2 * seconds for seconds in result.training_seconds))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the drawing, which takes seconds: what is said and returned."""
    monkeypatch.setattr(
        "reports.page.build.build", lambda _recording, folder, _comparison, **_: folder / "index.html"
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on two files with hostile names for everything that may be named.

    Of its figures those of the comparison are drawn, and not the first file's own.
    """
    folder = tmp_path_factory.mktemp("compared")
    machines = {HOSTILE: synthetic.fingerprint() | {"device_name": HOSTILE, HOSTILE: HOSTILE}}
    circumstances = {"engine": HOSTILE, "environment": HOSTILE}
    paths = [
        written(folder, "a"),
        written(folder, "b", circumstances=circumstances, environments=machines),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.page.build.figures", list)
        assert main(paths) == 0
    return folder / "a-report"


@pytest.mark.slow
def test_the_page_of_the_first_file_gains_the_comparison_before_all_else(compared: Path) -> None:
    text = (compared / "index.html").read_text(encoding="utf-8")
    parts = ['id="comparison"', 'id="comparison-speed"', 'id="findings"', 'id="table-comparison-verdicts"']
    assert sorted(parts, key=text.index) == parts
    assert "but for the tables of the comparison, is of a.json alone" in text
    assert "Drawn by bsr from a.json" in text
    assert "same within 20%" in text


def test_figures_and_tables_of_the_comparison_are_files_too(compared: Path) -> None:
    for name in FIGURES:
        assert (compared / "figures" / f"{name}.png").stat().st_size > 5000
        assert "<script" not in (compared / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    with (compared / "tables" / "comparison-cells.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * (1 + 2)
    assert all(float(row["speed_up"]) == pytest.approx(1) for row in rows)


@needs_chromium
def test_a_hostile_file_compared_stays_text(browser: Browser, compared: Path) -> None:
    shown = opened(browser, compared / "index.html")
    assert shown.complaints == []
    page = shown.page
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.evaluate("document.querySelectorAll('img, iframe').length") == 0
    broken = "[...document.querySelectorAll('#comparison svg')].filter(s => s.getBBox().width < 50).length"
    assert page.evaluate(broken) == 0
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


@pytest.mark.usefixtures("undrawn")
def test_the_terminal_shows_the_comparison_and_last_where_the_page_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [written(tmp_path, "a"), written(tmp_path, "b", slower)]
    assert main([*paths, "--output", str(tmp_path / "out"), "--labels", "laptop, desk"]) == 0
    said = capsys.readouterr().out
    assert "desk trains 0.500 times as fast as laptop" in said
    assert said.splitlines()[-1] == f"report: {tmp_path / 'out' / 'index.html'}"


@pytest.mark.slow
def test_a_page_without_comparison_keeps_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    one_cell = Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=1)
    paths = [written(tmp_path, name, grid=one_cell) for name in "ab"]
    assert main(paths) == 0
    assert list((tmp_path / "a-report").rglob("comparison-*"))
    assert main(paths[:1]) == 0
    report = tmp_path / "a-report"
    assert not list(report.rglob("comparison-*"))
    assert 'id="comparison"' not in (report / "index.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_no_name_of_a_file_gives_orders_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title = "\x1b]0;owned\x07\x1b[2J"
    second = written(tmp_path, "b", lambda result: replace(slower(result), engine=title))
    assert main([written(tmp_path, "a"), second, "--fail-on", "time:20%"]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b]0;owned" in said.out


def test_files_that_cannot_be_compared_are_refused_in_one_line_and_nothing_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [written(tmp_path, "a"), written(tmp_path, "b", dataset_digest="feed")]
    assert main(paths) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "error: expected recordings of the same trainings, got unlike ones: dataset digest"
    )
    assert error.count("\n") == 1
    assert not (tmp_path / "a-report").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_bad_file_among_several_does_not_stop_the_comparison_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    paths = [written(tmp_path, "a"), str(tmp_path / "bad.json"), written(tmp_path, "c", slower)]
    assert main([*paths, "--labels", "one,two,three"]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "bad.json" in said.err
    assert "three trains 0.500 times as fast as one" in said.out


@pytest.mark.parametrize(
    "options",
    [["--labels", "x"], ["--same-engine"], ["--margin", "10%"], ["--fail-on", "mse:20%"]],
    ids=lambda options: options[0],
)
def test_what_needs_two_files_is_refused_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main([written(tmp_path, "a"), *options]) == (2 if "--fail-on" in options else 1)
    assert capsys.readouterr().err == "error: expected two or more recordings to compare, got 1\n"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--fail-on", "time:50%"], 1, "failed time:50%: "),
        (["--fail-on", "time:150%"], 0, "passed time:150%: "),
        (["--fail-on", "mse:20%", "--fail-on", "time:50%"], 1, "passed mse:20%: "),
        (["--fail-on", "mse:20%"], 0, "larger than the limit: no; statistically supported: no"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_the_gate_exits_with_1_only_where_a_limit_is_exceeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    assert main([written(tmp_path, "a"), written(tmp_path, "b", slower), *options]) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--fail-on", "mse:lots"],
        ["--fail-on", "mse:20%", "--margin", "0%"],
        ["--fail-on", "mse:20%", "--labels", "x"],
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_gate_that_could_not_judge_exits_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main([written(tmp_path, "a"), written(tmp_path, "b"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {options[-2]}: expected ")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_a_gate_whose_file_cannot_be_read_does_not_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written(tmp_path, "a"), str(tmp_path / "none.json"), "--fail-on", "mse:20%"]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_merging_is_a_command_of_its_own(tmp_path: Path) -> None:
    shards = [
        str(
            synthetic.write(
                tmp_path / f"{size}.json", synthetic.session(grid=replace(SMALL, batch_sizes=(size,)))
            )
        )
        for size in SMALL.batch_sizes
    ]
    assert main(["merge", *shards, "--output", str(tmp_path / "all.json")]) == 0
    assert len(read(tmp_path / "all.json").session.cases) == 18
    assert main([str(tmp_path / "all.json"), written(tmp_path, "whole")]) == 0


@pytest.mark.parametrize("arguments", [["--help"], ["merge", "--help"]])
def test_every_command_has_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: python -m reports" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", "expected a path that ends in .json"),
        ("", "expected a path that ends in .json"),
        ("nowhere/all.json", "expected an existing folder, got no"),
        ("settings.json", "expected a benchmark JSON to replace, got another file"),
    ],
)
def test_merging_overwrites_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    sources = [written(tmp_path, "a"), written(tmp_path, "b")]
    for other in ("notes.txt", "settings.json"):
        (tmp_path / other).write_text('{"mine": 1}')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["merge", *sources, "--keep-first", "--output", name]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_page_that_no_report_wrote_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>mine</title>")
    assert main([path, "--output", str(tmp_path / "site")]) == 1
    assert "expected a report to replace, got another file; choose --output" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"index.html"}
    assert main([path, "--output", str(tmp_path / "fresh")]) == 0
    assert main([path, "--output", str(tmp_path / "fresh")]) == 0  # its own it may


def test_an_empty_output_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([written(tmp_path, "a"), "--output", ""])
    assert "expected a folder, got an empty name" in capsys.readouterr().err


def test_help_and_a_slip_of_the_finger_load_nothing_that_draws() -> None:
    code = (
        "import sys\n"
        "from reports.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print({'scipy', 'matplotlib', 'numpy'} & {*sys.modules})"
    )
    for arguments in (["--help"], ["--no-such-option"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.usefixtures("undrawn")
def test_a_line_of_a_journal_that_was_altered_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = synthetic.session(grid=Grid(tasks=("mean",), batch_sizes=(32,), runs=2, epochs=1))
    header = journal.Header(
        planned=tuple(case.result.run for case in session.cases),
        cases={case.key: case.cases for case in session.cases},
        execution=Execution(),
        dataset_digest="abc",
        environment=synthetic.fingerprint(),
        started_at="2026-01-01T00:00:00+00:00",
    )
    lines = [journal.line_of(header)]
    lines += [journal.line_of(journal.ResultLine(key=case.key, result=case.result)) for case in session.cases]
    lines[2] = lines[2].replace(b'"steps":', b'"steps": ', 1)
    path = tmp_path / "run.journal.jsonl"
    path.write_bytes(b"".join(lines))
    assert main([str(path)]) == 0
    said = capsys.readouterr().err
    assert f"note: {path}, line 3: another checksum, so it was altered since" in said
