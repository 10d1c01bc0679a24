"""Runs whose GPU was throttled or shared are labelled, and enter no statement on speed unless asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError
from bsr.records.schema import SessionRecord
from bsr.result import GpuRecord, GpuState
from bsr.run import Run
from reports.__main__ import main
from reports.cells import Cells
from reports.chapters import figures, findings, tables
from reports.compare import compare
from reports.compare.figures import figures as comparison_figures
from reports.compare.gate import Judgement, judge, parse_limit
from reports.compare.tables import cell_rows
from reports.compare.words import statement

GRID = Grid(tasks=("mean", "std"), batch_sizes=(16, 64, 256), runs=4, epochs=3)
THROTTLED = GpuRecord(after=GpuState(throttle_reasons=("hw_thermal_slowdown",)))
SHARED = GpuRecord(after=GpuState(other_processes=2))
CALM = GpuRecord(after=GpuState(throttle_reasons=("gpu_idle",), other_processes=0))
WORDS = "timed while the GPU was throttled or shared"


def slow(seeds: int, gpu: GpuRecord = THROTTLED) -> Callable[[Run], dict[str, Any]]:
    """The first seeds of each cell take a hundred times as long, with that record of the GPU."""

    def circumstances(run: Run) -> dict[str, Any]:
        disturbed = run.seed - run.batch_size < seeds
        usual = synthetic.result(run).training_seconds
        return {
            "gpu": gpu if disturbed else CALM,
            "training_seconds": tuple(value * (100 if disturbed else 1) for value in usual),
        }

    return circumstances


def session(circumstances: Callable[[Run], dict[str, Any]] | None = None) -> SessionRecord:
    return synthetic.session(grid=GRID, circumstances=circumstances)


def cells(made: SessionRecord, *, include: bool = False) -> Cells:
    return Cells(Recording(path=Path("run.json"), session=made), include)


def column(data: Cells, table: str, name: str) -> list[Any]:
    found = next(one for one in tables(data) if one.name == table)
    return [row[found.header.index(name)] for row in found.rows]


def second(made: SessionRecord, finished_at: str = "later") -> SessionRecord:
    """As another session on another machine recorded it."""
    about = {"other": {**synthetic.fingerprint(), "id": "other", "device_name": "Other GPU"}}
    cases = tuple(
        replace(case, result=replace(case.result, environment="other", finished_at=finished_at))
        for case in made.cases
    )
    return replace(made, cases=cases, environments=about)


def recordings(*sessions: SessionRecord) -> list[Recording]:
    return [
        Recording(path=Path(f"{name}.json"), session=one) for name, one in zip("ab", sessions, strict=True)
    ]


def judged(limits: Sequence[str], *sessions: SessionRecord, include: bool = False) -> list[Judgement]:
    compared = compare(recordings(*sessions), include_disturbed=include)
    return judge(compared, [parse_limit(limit) for limit in limits])


def test_a_disturbed_run_is_labelled_and_its_time_in_no_statement() -> None:
    data = cells(session(slow(1)))
    assert column(data, "runs", "timed").count("alone; throttled (hw thermal slowdown)") == 6
    assert column(data, "runs", "timed").count("alone") == 18
    assert set(column(data, "times", "runs")) == {3}
    assert max(column(data, "times", "s per epoch")) < 50
    less_time = next(one for one in findings(data).learning if one.name == "less-time")
    said = f"6 runs were {WORDS}, and left out of every statement on speed; --include-disturbed lets them in."
    assert said in less_time.statistics
    assert said in next(one for one in tables(data) if one.name == "times").note


def test_its_error_counts_all_the_same() -> None:
    calm, disturbed = cells(session(slow(1, CALM))), cells(session(slow(1)))
    assert [one.rows for one in tables(disturbed) if one.name == "errors"] == [
        one.rows for one in tables(calm) if one.name == "errors"
    ]
    assert [cell.finals for cell in disturbed.cells("std")] == [cell.finals for cell in calm.cells("std")]


@pytest.mark.parametrize("seeds", [1, 4])
def test_it_counts_where_epochs_and_errors_stand_beside_times_in_one_table(seeds: int) -> None:
    calm, disturbed = cells(session(slow(seeds, CALM))), cells(session(slow(seeds)))
    for name in ("runs", "never", "epochs", "steps"):
        assert column(disturbed, "convergence", name) == column(calm, "convergence", name)
    assert column(disturbed, "convergence", "training s") != column(calm, "convergence", "training s")


@pytest.mark.parametrize("seeds", [1, 4])
def test_so_it_does_in_an_experiment_without_a_chapter(seeds: int) -> None:
    made = session(slow(seeds))
    cases = tuple(replace(case, cases={"unknown": "a case"}) for case in made.cases)
    data = cells(replace(made, cases=cases, experiments=("unknown",)))
    assert set(column(data, "other-experiments", "seeds")) == {4}
    seconds = column(data, "other-experiments", "training s")
    assert all(value < 50 for value in seconds) if seeds == 1 else set(seconds) == {None}
    drawn = {figure.name for figure in figures() if figure.draw(data) is not None}
    assert ("others-error" in drawn, "others-time" in drawn) == (True, seeds == 1)


def test_when_asked_its_time_is_in_and_said_to_be() -> None:
    data = cells(session(slow(4, SHARED)), include=True)
    assert set(column(data, "times", "runs")) == {4}
    assert min(column(data, "times", "s per epoch")) > 300
    assert set(column(data, "runs", "timed")) == {"alone; shared with 2 other processes"}
    assert data.disturbed_text() == (
        f"24 runs were {WORDS}, included in statements on speed as asked for (--include-disturbed)."
    )


def test_without_a_disturbed_run_nothing_is_said() -> None:
    assert cells(session(slow(0))).disturbed_text() == cells(session()).disturbed_text() == ""


def test_where_every_run_was_disturbed_there_are_no_times_and_all_else() -> None:
    data = cells(session(slow(4)))
    drawn = {figure.name for figure in figures() if figure.draw(data) is not None}
    assert not drawn & {"speed", "mse-against-seconds", "published-seconds"}
    assert {"convergence", "time-to-target"} & drawn
    assert not next(one for one in tables(data) if one.name == "times").rows
    less_time = next(one for one in findings(data).learning if one.name == "less-time")
    assert (less_time.verdict, less_time.sentence) == ("cannot tell", "Too few timed runs to say.")


def test_a_comparison_leaves_its_time_out_and_keeps_its_error() -> None:
    compared = compare(recordings(session(), second(session(slow(3)))))
    (pair,) = compared.pairs
    assert (pair.time.replicates, pair.error.replicates) == (1, 4)
    assert 0.9 < (pair.time.ratio or 0) < 1.1
    times = [row["times as fast"] for row in cell_rows(pair)]
    assert all(isinstance(one, float) and 0.5 < one < 2 for one in times)
    assert min(pair.second.throughput("batch-size").values()) > 1_000
    assert f"b.json: 18 runs were {WORDS}, and left out" in compared.notes[0]
    drawn = {figure.name: figure.draw(cells(session())) for figure in comparison_figures(compared)}
    for name, n in (
        ("comparison-times", "1 to 4"),
        ("comparison-speed", "2 to 8"),
        ("comparison-error", "4"),
    ):
        assert f"n = {n} runs per point" in getattr(drawn[name], "caption", "")


def test_a_comparison_of_disturbed_runs_alone_has_no_times_to_compare() -> None:
    compared = compare(recordings(session(), second(session(slow(4)))))
    (pair,) = compared.pairs
    said = statement(pair)
    assert said.speed == "Speed: no training times to compare."
    assert said.headline.startswith("no times to compare; final MSE: same")
    assert all(figure.draw(cells(session())) is not None for figure in comparison_figures(compared))


def test_the_gate_judges_the_error_of_a_disturbed_run_and_no_time_of_it() -> None:
    of_time, of_error = judged(["time:20%", "mse:20%"], session(), second(session(slow(1))))
    assert (of_time.outcome, of_error.outcome) == ("passed", "passed")
    assert of_time.message.endswith(f"6 runs of Other GPU left out, {WORDS}")
    assert "left out" not in of_error.message


def test_the_gate_has_nothing_to_judge_where_every_time_was_disturbed_unless_asked() -> None:
    both = session(), second(session(slow(4)))
    with pytest.raises(RefusedError, match=rf"got none \(24 runs of Other GPU left out, {WORDS}: --include"):
        judged(["time:20%"], *both)
    (of_time,) = judged(["time:20%"], *both, include=True)
    assert of_time.outcome == "failed"


def test_the_commands_gate_is_asked_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.page.build.build", lambda _recording, folder, _comparison, **_: folder)
    paths = [
        str(synthetic.write(tmp_path / name, made))
        for name, made in (("a.json", session()), ("b.json", second(session(slow(4)))))
    ]
    assert main([*paths, "--fail-on", "time:20%"]) == 2
    assert main([*paths, "--fail-on", "time:20%", "--include-disturbed"]) == 1


def test_device_seconds_stand_beside_the_hosts_in_the_table_of_epochs() -> None:
    def by_events(run: Run) -> dict[str, Any]:
        return {"device_seconds": tuple(value / 2 for value in synthetic.result(run).training_seconds)}

    data = cells(session(by_events))
    host, device = column(data, "epochs", "training s"), column(data, "epochs", "device s")
    assert device == [value and value / 2 for value in host]
    assert host[:2] == [None, host[1]]


def test_the_page_says_it_at_the_top_and_the_command_has_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.build.figures", tuple)  # drawing takes seconds
    grid = Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=1)
    made = synthetic.session(grid=grid, circumstances=slow(1))
    path = str(synthetic.write(tmp_path / "run.json", made))
    for arguments, said in (([], ", and left out of"), (["--include-disturbed"], ", included in")):
        assert main([path, "--output", str(tmp_path), *arguments]) == 0
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert f"1 run was {WORDS}{said}" in page.partition("<main")[0]
