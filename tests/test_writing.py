"""Results from Python as a file: read as they were, drawn, compared and merged as a session's is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bsr
import synthetic
from bsr.data.images import load_split
from bsr.records.reading import RefusedError, json_file
from bsr.result import Result
from bsr.run import Execution, Run
from plugin_support import ONE_CASE, Suite, suite
from reports.__main__ import main

__all__ = ["suite"]
RUNS = [
    Run(task="mean", batch_size=size, seed=seed, learning_rate=0.0015, epochs=2)
    for size in (16, 64)
    for seed in (1, 2)
]
RESULTS = [synthetic.result(run, dataset_digest="0123456789abcdef") for run in RUNS]


@pytest.fixture(scope="module")
def trained() -> list[Result]:
    """Of few images, by `bsr.train` as a user calls it."""
    small = [replace(run, train_images=64, test_images=32, epochs=1) for run in RUNS]
    return [bsr.train(run, bsr.load_split(run), Execution(threads=1)) for run in small]


def report(*paths: Path) -> Path:
    """The folder of the report on these files."""
    assert main([str(path) for path in paths]) == 0
    return paths[0].with_name(f"{paths[0].stem}-report")


def test_what_was_trained_here_is_written_and_read_as_it_was(trained: list[Result], tmp_path: Path) -> None:
    path = bsr.write(tmp_path / "run.json", trained)
    recording = bsr.read(path)
    assert list(recording.results) == trained
    assert recording.session.dataset_digest == load_split(trained[0].run).digest
    (about,) = recording.session.environments.values()
    assert about["engine"] == "eager"
    assert trained[0].environment == about["id"]


def test_the_report_draws_it(trained: list[Result], tmp_path: Path) -> None:
    folder = report(bsr.write(tmp_path / "run.json", trained))
    assert (folder / "figures" / "final-mse.png").exists()
    assert len((folder / "tables" / "errors.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_results_of_other_seeds_are_merged_with_it(tmp_path: Path) -> None:
    parts = [bsr.write(tmp_path / f"{name}.json", RESULTS[at::2]) for name, at in (("a", 0), ("b", 1))]
    output = tmp_path / "all.json"
    assert main(["merge", *map(str, parts), "--output", str(output)]) == 0
    assert {result.run for result in bsr.read(output).results} == set(RUNS)


@pytest.mark.slow
def test_results_of_another_engine_are_compared_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [replace(result, engine="native", finished_at="2026-01-01T00:00:00") for result in RESULTS]
    a, b = bsr.write(tmp_path / "a.json", RESULTS), bsr.write(tmp_path / "b.json", other)
    report(a, b)
    assert "native" in capsys.readouterr().out


def test_a_session_on_this_machine_recorded_the_same_and_is_compared_with_it(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert suite.run(*ONE_CASE, "--benchmark-json=session.json").code == 0
    session = bsr.read(suite.folder / "session.json")
    (recorded,) = session.results
    here = bsr.train(recorded.run, bsr.load_split(recorded.run), Execution(threads=1))
    assert here.test_mse == recorded.test_mse
    path = bsr.write(suite.folder / "python.json", [here])
    assert bsr.read(path).session.environments == session.session.environments
    assert main([str(session.path), str(path)]) == 0, capsys.readouterr().err


def test_an_experiment_of_any_name_is_drawn_compared_and_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [synthetic.result(replace(run, loss=loss)) for run in RUNS for loss in ("mse", "mae")]
    path = bsr.write(tmp_path / "a.json", both, experiment="mine")
    again = [replace(result, engine="native", finished_at="2026-01-01T00:00:00") for result in both]
    other = bsr.write(tmp_path / "b.json", again, experiment="mine")
    names = [made["name"] for made in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]]
    assert names[:2] == ["test_mine[mean-bs16-seed1-mse]", "test_mine[mean-bs16-seed1-mae]"]
    assert (report(path, other) / "figures" / "others-error.png").exists()
    assert "native" in capsys.readouterr().out
    halves = [bsr.write(tmp_path / f"half-{n}.json", both[n::2], experiment="mine") for n in (0, 1)]
    assert main(["merge", *map(str, halves), "--output", str(tmp_path / "all.json")]) == 0
    assert len(bsr.read(tmp_path / "all.json").results) == len(both)


def test_what_could_not_be_trained_is_written_with_its_status(tmp_path: Path) -> None:
    results = [RESULTS[0], synthetic.result(RUNS[1], "diverged"), synthetic.result(RUNS[2], "failed")]
    results = [replace(result, dataset_digest="") for result in results]
    recording = bsr.read(bsr.write(tmp_path / "run.json", results))
    assert [result.status for result in recording.results] == ["ok", "diverged", "failed"]
    assert (recording.session.finished, recording.session.planned) == (2, 3)


def test_an_older_recording_that_holds_more_is_kept(tmp_path: Path) -> None:
    path = bsr.write(tmp_path / "run.json", RESULTS)
    bsr.write(path, RESULTS)
    assert not (tmp_path / "run.kept-1.json").exists()
    with pytest.warns(UserWarning, match="held what was not measured again: it is kept as .*kept-1.json"):
        bsr.write(path, RESULTS[:1])
    assert len(bsr.read(tmp_path / "run.kept-1.json").results) == len(RESULTS)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "expected at least one case, got none"),
        ([RESULTS[0], RESULTS[0]], "expected each key once, got .* again after"),
        ([RESULTS[0], replace(RESULTS[1], dataset_digest="another")], "expected one data set, got pixels of"),
        (
            [RESULTS[0], synthetic.result(replace(RUNS[1], loss="mae"), dataset_digest="0123456789abcdef")],
            "run.loss: expected one value in task 'mean' of experiment batch-size, 'mse', got 'mae' too",
        ),
    ],
    ids=["none", "one twice", "two data sets", "no such experiment"],
)
def test_results_that_are_no_recording_are_refused_in_one_line(
    results: list[Result], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RefusedError, match=message) as refused:
        bsr.write(tmp_path / "run.json", results)
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_for_a_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    for name, message in (
        ("run.txt", "expected a path that ends in .json"),
        ("none/run.json", "expected an existing folder"),
        ("notes.json", "expected a benchmark JSON to replace, got another file"),
    ):
        with pytest.raises(RefusedError, match=message):
            bsr.write(tmp_path / name, RESULTS)
    assert (tmp_path / "notes.json").read_text(encoding="utf-8") == "{}"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no path": ({"path": None}, "path: expected one that ends in .json, got NoneType"),
    "a Result alone": ({"results": RESULTS[0]}, "results: expected Results of bsr.train, got Result"),
    "text": ({"results": "mean"}, "results: expected Results of bsr.train, got str"),
    "Runs": ({"results": RUNS}, r"results\[0\]: expected a Result of bsr.train, got Run"),
    "no name": ({"experiment": None}, "experiment: expected a name, got None"),
    "a number for a name": ({"experiment": 3}, "experiment: expected a name, got 3"),
}
ALTERED: dict[str, tuple[dict[str, Any], str]] = {
    "a status that does not exist": ({"status": "fine"}, r"status: invalid enum value 'fine'"),
    "a number of another kind": (
        {"test_mse": ("1.0",)},
        r"test_mse\[0\]: expected `float \| null`, got `str`",
    ),
    "seconds that are not finite": (
        {"training_seconds": (1.0, float("inf"))},
        r"training_seconds\[1\]: expected `float`, got `null`",
    ),
    "threads below none": ({"threads": -1}, "threads: expected `int` >= 0"),
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *WRONG.values(),
        *(
            ({"results": [RESULTS[0], replace(RESULTS[1], **fields)]}, rf"results\[1\]\.{message}")
            for fields, message in ALTERED.values()
        ),
    ],
    ids=[*WRONG, *ALTERED],
)
def test_what_no_reader_would_read_is_refused_in_one_line_and_nothing_is_written(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    usual: dict[str, Any] = {"path": tmp_path / "run.json", "results": RESULTS}
    with pytest.raises(RefusedError, match=message) as refused:
        bsr.write(**usual | given)
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_larger_than_a_reader_reads_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_file, "MOST_BYTES", 2**12)
    with pytest.raises(RefusedError, match="run.json: expected at most 0 MiB, got more; split the study"):
        bsr.write(tmp_path / "run.json", RESULTS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_read_only_stays(tmp_path: Path) -> None:
    path = bsr.write(tmp_path / "run.json", RESULTS)
    path.chmod(0o444)
    before = path.read_bytes()
    with pytest.raises(RefusedError, match="run.json: expected a file to write, got one that is read-only"):
        bsr.write(path, RESULTS)
    assert path.read_bytes() == before


@pytest.mark.parametrize("letters", range(220, 262, 5))
def test_a_name_of_any_length_is_written_or_refused_in_one_line(tmp_path: Path, letters: int) -> None:
    path = tmp_path / f"{'n' * letters}.json"
    said = ""
    try:
        bsr.write(path, RESULTS[:1])
    except RefusedError as refused:
        said = str(refused)
    assert [len(bsr.read(found).results) for found in tmp_path.iterdir()] == ([] if said else [1])
    assert not said or (": expected " in said and len(said.splitlines()) == 1)
