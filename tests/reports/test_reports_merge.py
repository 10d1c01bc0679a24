from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

import synthetic
from bsr.experiments import PRESETS, Grid, plan
from bsr.plugin.refinement import settings_tried
from bsr.records import journal
from bsr.records.document import entry, one_round
from bsr.records.reading import Recording, RefusedError, merged, read
from bsr.records.reading.journal_file import cases_of, experiments_of
from bsr.records.schema import Case, SessionRecord
from bsr.result import Result, Status
from bsr.run import Execution, Run
from reports.__main__ import main as report
from reports.merge import main, merge

SMALL = Grid(tasks=("mean", "median"), batch_sizes=(16, 64), runs=2, epochs=2)
COMMAND = "pytest benchmarks --benchmark-json=run.json --bsr-preset paper --bsr-epochs 2"


def part(session: SessionRecord, keep: Callable[[Run], bool]) -> SessionRecord:
    cases = tuple(case for case in session.cases if keep(case.result.run))
    return replace(session, cases=cases, planned=len(cases), finished=len(cases))


def shards(session: SessionRecord | None = None) -> tuple[SessionRecord, SessionRecord]:
    """A study cut in two by batch size."""
    whole = session or synthetic.session(grid=SMALL)
    return part(whole, lambda run: run.batch_size == 16), part(whole, lambda run: run.batch_size != 16)


def changed(session: SessionRecord, **fields: Any) -> SessionRecord:
    cases = tuple(replace(case, result=replace(case.result, **fields)) for case in session.cases)
    return replace(session, cases=cases)


def on_machine(session: SessionRecord, **fingerprint: Any) -> SessionRecord:
    about = synthetic.fingerprint() | {"id": "another"} | fingerprint
    moved = changed(session, environment="another", engine=about["engine"])
    return replace(moved, environments={"another": about})


def written(path: Path, session: SessionRecord) -> Path:
    """As pytest-benchmark writes it, an entry per finished case and experiment."""
    made = synthetic.document(session)
    entries = [entry(case, name) for case in session.cases if case.result.final_mse for name in case.cases]
    made["benchmarks"] = [dict(one, options={"timer": path.stem}) for one in entries]
    made["commit_info"] = {"id": path.stem * 10, "dirty": False}
    path.write_text(json.dumps(made, allow_nan=False), encoding="utf-8")
    return path


def journalled(
    path: Path, session: SessionRecord, results: int | None = None, command: str = COMMAND
) -> Path:
    """The journal of a session that recorded the first `results` cases, then was killed."""
    opened = journal.Journal(path)
    opened.append(
        journal.Header(
            planned=tuple(case.result.run for case in session.cases),
            execution=Execution(),
            dataset_digest=session.dataset_digest,
            environment=next(iter(session.environments.values())),
            started_at="2026-01-02T03:04:05+00:00",
            command=command,
        )
    )
    for case in session.cases[:results]:
        opened.record(case.result)
    opened.close()
    return path


def by_key(session: SessionRecord) -> dict[str, Case]:
    return {case.key: case for case in session.cases}


def of(*studies: SessionRecord) -> list[Recording]:
    return [
        Recording(path=Path(f"{name}.json"), session=session)
        for name, session in zip("abcd", studies, strict=False)
    ]


def refused(*studies: SessionRecord, several_machines: bool = False) -> str:
    with pytest.raises(RefusedError) as found:
        merged(of(*studies), several_machines=several_machines)
    assert "\n" not in str(found.value)
    return str(found.value)


# What becomes of the parts


def test_shards_of_a_grid_become_the_whole(tmp_path: Path) -> None:
    first, second = shards()
    paths = [written(tmp_path / "a.json", first), written(tmp_path / "b.json", second)]
    assert main([*map(str, paths), "--output", str(tmp_path / "all.json")]) == 0
    whole = read(tmp_path / "all.json").session
    assert by_key(whole) == by_key(synthetic.session(grid=SMALL))
    assert (whole.planned, whole.finished) == (8, 8)
    assert whole.options["merged_from"] == ["a.json", "b.json"]


def test_files_of_a_pattern_are_read_as_what_merging_them_writes(tmp_path: Path) -> None:
    for name, session in zip("ab", shards(), strict=True):
        written(tmp_path / f"{name}.json", session)
    merge([tmp_path / "a.json", tmp_path / "b.json"], tmp_path / "all.json")
    pattern = read(str(tmp_path / "[ab].json"))
    assert pattern.session == read(tmp_path / "all.json").session
    assert {result.run for result in pattern.results} == {
        case.result.run for case in synthetic.session(grid=SMALL).cases
    }
    with pytest.raises(RefusedError, match=r"c\*.json: expected files of that pattern, got none"):
        read(tmp_path / "c*.json")


@pytest.mark.slow
def test_a_page_of_several_files_is_that_of_the_file_that_merging_them_writes(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / f"{name}.json", session) for name, session in zip("ab", shards(), strict=True)
    ]
    merge(paths, tmp_path / "a-merged.json")
    assert report([str(tmp_path / "a-merged.json"), "--output", str(tmp_path / "one")]) == 0
    assert report([*map(str, paths), "--merged"]) == 0
    page = (tmp_path / "a-merged-report" / "tables" / "errors.csv").read_bytes()
    assert page == (tmp_path / "one" / "tables" / "errors.csv").read_bytes()
    assert report([*map(str, paths), "--merged", "--same-engine"]) == 1
    assert report([*map(str, paths), str(tmp_path / "none.json"), "--merged", "--output", "no"]) == 1


@pytest.mark.parametrize("option", ["--keep-first", "--several-machines"])
def test_what_files_of_one_study_are_allowed_is_refused_where_they_are_compared(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(["a.json", "b.json", option]) == 1
    assert f"{option}: expected --merged beside it" in capsys.readouterr().err


@given(st.data())
def test_cases_dealt_over_files_in_any_way_come_together_again(data: st.DataObject) -> None:
    whole = synthetic.session(("batch-size", "loss"), SMALL)
    dealt = [data.draw(st.sets(st.sampled_from("abc"), min_size=1)) for _ in whole.cases]
    parts = [
        replace(
            whole, cases=tuple(case for case, files in zip(whole.cases, dealt, strict=True) if name in files)
        )
        for name in data.draw(st.permutations("abc"))
    ]
    found = merged(of(*[session for session in parts if session.cases]))
    assert by_key(found) == by_key(whole)
    assert found.finished == whole.finished


def test_an_interrupted_session_is_completed_by_the_one_that_went_on() -> None:
    def stopped(run: Run) -> Status:
        ends: dict[int, Status] = {16: "ok", 17: "interrupted"}
        return ends.get(run.seed, "not_run")

    before, after = synthetic.session(grid=SMALL, disturb=stopped), synthetic.session(grid=SMALL)
    assert by_key(merged(of(before, after))) == by_key(merged(of(after, before))) == by_key(after)


def test_of_two_unfinished_results_the_one_that_says_more_is_kept() -> None:
    def all_ended(status: Status) -> SessionRecord:
        return synthetic.session(grid=SMALL, disturb=lambda _run: status)

    order: tuple[Status, ...] = ("not_run", "interrupted", "failed")
    for less, more in itertools.pairwise(order):
        for pair in ((all_ended(less), all_ended(more)), (all_ended(more), all_ended(less))):
            assert {case.result.status for case in merged(of(*pair)).cases} == {more}


def test_a_case_keeps_every_experiment_that_any_file_ran_it_for() -> None:
    grid = replace(SMALL, batch_sizes=(32,))
    studies = [synthetic.session((name,), grid) for name in ("batch-size", "learning-rate")]
    found = merged(of(*studies))
    shared = [case for case in found.cases if set(case.cases) == {"batch-size", "learning-rate"}]
    assert len(shared) == 4
    assert found.experiments == ("batch-size", "learning-rate")


def test_options_commands_and_times_of_all_are_kept() -> None:
    first, second = shards()
    first = replace(first, options={"size": "16", "same": 1}, command="one", wall_seconds=10.0)
    second = replace(second, options={"size": "64", "same": 1}, command="two", wall_seconds=5.0)
    found = merged(of(first, second))
    assert found.options == {"size": "16; 64", "same": 1, "merged_from": ["a.json", "b.json"]}
    assert found.command == "one && two"
    assert found.wall_seconds == 15


def test_labels_are_kept_once() -> None:
    labels = synthetic.labels(("mean", "std"))
    first, second = (replace(session, labels=labels) for session in shards())
    assert merged(of(first, second)).labels == labels


# What is refused


def test_two_results_of_one_run_are_refused_by_name_and_by_what_differs() -> None:
    whole = synthetic.session(grid=SMALL)
    run = whole.cases[0].result.run
    message = refused(whole, changed(whole, test_mse=(1.0, 2.0, 3.0)))
    assert message.startswith(
        f"{run.label} ({run.key}): expected one result, got one in a.json and another in b.json"
    )
    assert "unlike in test_mse" in message


def test_a_run_measured_twice_is_two_results_even_where_the_errors_agree() -> None:
    whole = synthetic.session(grid=SMALL)
    message = refused(whole, changed(whole, training_seconds=(1.0, 2.0)))
    assert "unlike in training_seconds" in message
    assert message.endswith("leave one of the files out, or add --keep-first to keep the first one's times")


def test_of_a_run_trained_twice_to_the_same_end_the_first_times_can_be_kept() -> None:
    whole = synthetic.session(grid=SMALL)
    again = changed(whole, training_seconds=(1.0, 2.0))
    assert merged(of(whole, again), keep_first=True).cases == whole.cases
    with pytest.raises(RefusedError, match="unlike in test_mse") as other:
        merged(of(whole, changed(whole, test_mse=(1.0, 2.0, 3.0))), keep_first=True)
    assert str(other.value).endswith("leave one of the files out")


@pytest.mark.parametrize(
    ("fingerprint", "field", "values"),
    [
        ({"device_name": "NVIDIA H200"}, "device_name", ("Synthetic CPU @ 2.00GHz", "NVIDIA H200")),
        ({"torch": "3.0"}, "torch", ("2.9.0", "3.0")),
        ({"engine": "native"}, "engine", ("eager", "native")),
        ({"driver": "580"}, "driver", ("None", "580")),
        ({}, "environment", ("0123456789ab", "another")),
    ],
)
def test_another_environment_is_refused_with_the_field_and_both_values(
    fingerprint: dict[str, str], field: str, values: tuple[str, str]
) -> None:
    first, second = shards()
    message = refused(first, on_machine(second, **fingerprint))
    assert f"{field} is {values[0]} in a.json and {values[1]} in b.json" in message


def test_another_kernel_of_the_same_engine_is_refused() -> None:
    first, second = (changed(one, engine="native") for one in shards())
    assert "kernel is none recorded in a.json and 8b1d2e0286a1 in b.json" in refused(
        first, changed(second, kernel="8b1d2e0286a1")
    )


CIRCUMSTANCES: tuple[dict[str, str], ...] = (
    {},
    {"engine": "native"},
    {"engine": "native", "kernel": "8b1d2e0286a1"},
    {"environment": "another"},
    {"labels_digest": "feed"},
    {"dataset_digest": "feed"},
)


@given(st.data())
def test_whatever_stands_first_the_same_files_are_merged_and_the_same_are_refused(
    data: st.DataObject,
) -> None:
    """Any experiments, machines, engines, labels and data: no order lets unlike seeds into one cell."""
    whole = synthetic.session(("batch-size", "loss"), SMALL)
    usual = whole.environments | {"another": synthetic.fingerprint() | {"id": "another", "torch": "3.0"}}
    parts = []
    for name in "abc":
        of = data.draw(st.sampled_from(({"batch-size"}, {"loss"}, {"batch-size", "loss"})))
        among = [case for case in whole.cases if of.issuperset(case.cases)]
        kept = data.draw(st.sets(st.sampled_from([case.key for case in among]), min_size=1))
        said = data.draw(st.sampled_from(CIRCUMSTANCES))
        session = replace(whole, cases=tuple(case for case in among if case.key in kept))
        if "dataset_digest" in said:
            session = replace(session, dataset_digest="feed")
        session = replace(changed(session, **said), environments=usual)
        parts.append(Recording(path=Path(f"{name}.json"), session=session))
    outcomes = []
    for order in itertools.permutations(parts):
        try:
            outcomes.append(by_results(merged(order)))
        except RefusedError:
            outcomes.append({})
    assert all(outcome == outcomes[0] for outcome in outcomes)
    for experiment in ("batch-size", "loss") if outcomes[0] else ():
        results = [result for result, names in outcomes[0].values() if experiment in names]
        assert len({(result.environment, result.engine, result.kernel) for result in results}) <= 1


def by_results(session: SessionRecord) -> dict[str, tuple[Result, set[str]]]:
    return {case.key: (case.result, set(case.cases)) for case in session.cases}


def test_a_run_that_two_experiments_share_does_not_carry_another_machine_into_one_of_them() -> None:
    """What failed on one machine in an experiment was finished on another, for another experiment."""
    grid = Grid(tasks=("std",), batch_sizes=(32,), runs=1, epochs=2)
    rates, at_one = synthetic.session(("learning-rate",), grid), synthetic.session(("std-at-0.01",), grid)
    (shared,) = by_key(rates).keys() & by_key(at_one).keys()
    failed = tuple(
        replace(case, result=replace(case.result, status="failed", engine="")) if case.key == shared else case
        for case in rates.cases
    )
    assert "another" in refused(replace(rates, cases=failed), on_machine(at_one))


def test_networks_of_one_experiment_have_a_kernel_each_and_may_be_recorded_apart() -> None:
    whole = synthetic.session(grid=replace(SMALL, models=("study", "wide")))
    study = changed(part(whole, lambda run: run.model == "study"), engine="native", kernel="8b1d2e0286a1")
    wide = changed(part(whole, lambda run: run.model == "wide"), engine="native", kernel="1f2e3d4c5b6a")
    both = merged(
        [
            Recording(path=Path(f"{one}.json"), session=one_of)
            for one, one_of in (("study", study), ("wide", wide))
        ]
    )
    assert len(both.cases) == len(whole.cases)
    assert {case.result.kernel for case in both.cases} == {"8b1d2e0286a1", "1f2e3d4c5b6a"}


def test_another_engine_on_the_same_machine_is_refused() -> None:
    first, second = shards()
    assert "engine is eager in a.json and native in b.json" in refused(
        first, changed(second, engine="native")
    )


def test_other_data_are_refused_with_both_digests() -> None:
    first, second = shards()
    message = refused(first, replace(second, dataset_digest="feed"))
    assert "dataset digest is 0123456789abcdef in a.json and feed in b.json" in message


def test_another_grid_is_refused_with_the_field_and_both_values() -> None:
    first, second = shards(synthetic.session(grid=SMALL))[0], synthetic.session(grid=replace(SMALL, epochs=3))
    assert "epochs is 2 in a.json and 3 in b.json" in refused(first, second)


def test_unlike_labels_are_refused() -> None:
    labels = synthetic.labels(("mean",))
    unlike = (replace(labels[0], median=1.0),)
    first, second = shards()
    assert "labels of MNIST, mean and train" in refused(
        replace(first, labels=labels), replace(second, labels=unlike)
    )


def test_a_refusal_writes_nothing_and_exits_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = synthetic.session(grid=SMALL)
    paths = [
        synthetic.write(tmp_path / "a.json", whole),
        synthetic.write(tmp_path / "b.json", changed(whole, test_mse=(1.0, 2.0, 3.0))),
    ]
    output = tmp_path / "all.json"
    before = synthetic.write(output, whole).read_bytes()
    assert main([*map(str, paths), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: mean-bs16-seed16")
    assert error.count("\n") == 1
    assert output.read_bytes() == before


def test_a_source_is_not_overwritten(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "a.json", synthetic.session(grid=SMALL))
    with pytest.raises(RefusedError, match="--output .*: expected another file than the sources"):
        merge([path], tmp_path / "." / "a.json")


def test_an_unrelated_recording_of_the_output_s_name_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        written(tmp_path / f"{name}.json", session) for name, session in zip("ab", shards(), strict=True)
    ]
    output = synthetic.write(tmp_path / "all.json", synthetic.session(grid=replace(SMALL, tasks=("std",))))
    before = output.read_bytes()
    arguments = [*map(str, paths), "--output", str(output)]
    assert main(arguments) == main(arguments) == 0
    assert (tmp_path / "all.kept-1.json").read_bytes() == before
    assert not (tmp_path / "all.kept-2.json").exists()  # the second time it held no more
    assert "note: all.json held what was not measured again: it is kept as" in capsys.readouterr().out
    output.chmod(0o444)
    before = output.read_bytes()
    assert main(arguments) == 1
    assert "expected a file to write, got one that is read-only" in capsys.readouterr().err
    assert output.read_bytes() == before


@pytest.mark.parametrize("name", ["missing.json", "missing.journal.jsonl", "folder.jsonl"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(RefusedError, match=name):
        merge([tmp_path / name], tmp_path / "all.json")


# Journals


def test_a_journal_and_the_json_of_its_session_are_one_session(tmp_path: Path) -> None:
    whole = synthetic.session(grid=SMALL)
    sources = [written(tmp_path / "run.json", whole), journalled(tmp_path / "run.journal.jsonl", whole)]
    found, _ = merge(sources, tmp_path / "all.json")
    assert by_key(found) == by_key(whole)


def test_a_killed_session_is_saved_from_its_journal_alone(tmp_path: Path) -> None:
    whole = synthetic.session(grid=SMALL)
    path = journalled(tmp_path / "run.journal.jsonl", whole, results=3)
    with path.open("ab") as file:
        file.write(b'{"kind":"result","schema":1,"ke')  # torn: killed while it wrote
    found, _ = merge([path], tmp_path / "all.json")
    assert (found.planned, found.finished) == (8, 3)
    assert read(tmp_path / "all.json").session == found
    assert [case.result for case in found.cases[:3]] == [case.result for case in whole.cases[:3]]
    assert {case.result.status for case in found.cases[3:]} == {"not_run"}
    assert all(case.cases == by_key(whole)[case.key].cases for case in found.cases)


def test_a_corrupt_or_empty_journal_is_refused_by_line(tmp_path: Path) -> None:
    path = journalled(tmp_path / "run.journal.jsonl", synthetic.session(grid=SMALL))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{nonsense}\n", *lines[1:]]))
    with pytest.raises(RefusedError, match="line 2: expected a bsr journal record"):
        merge([path], tmp_path / "all.json")
    path.write_bytes(b"")
    with pytest.raises(RefusedError, match="expected a journal with a session in it"):
        merge([path], tmp_path / "all.json")


@pytest.mark.parametrize(
    ("options", "experiments"),
    [
        ("", PRESETS["quick"].experiments),
        ("--bsr-preset study", PRESETS["study"].experiments),
        ("--bsr-preset=smoke --bsr-experiments loss,optimiser", ("loss", "optimiser")),
        ("--bsr-refine run.json", ("learning-rate",)),
        ("--bsr-preset 'unfinished quote", PRESETS["quick"].experiments),
    ],
)
def test_the_command_tells_the_experiments(options: str, experiments: tuple[str, ...]) -> None:
    assert experiments_of(f"pytest benchmarks {options}") == experiments


@pytest.mark.parametrize(
    ("options", "grid"),
    [
        ("--bsr-preset study", PRESETS["study"].grid),
        ("--bsr-preset study --bsr-batch-sizes 16,64", replace(PRESETS["study"].grid, batch_sizes=(16, 64))),
        ("--bsr-experiments longer", Grid(runs=1, epochs=2)),
        ("--bsr-experiments learning-rate,loss", Grid(runs=1, epochs=2)),
        (
            "--bsr-experiments learning-rate --bsr-refine x.json",
            Grid(runs=1, epochs=2, refine_around=(("mean", 0.003),)),
        ),
    ],
)
def test_every_run_of_a_journal_finds_its_experiments_and_case_ids(options: str, grid: Grid) -> None:
    command = f"pytest benchmarks {options}"
    planned = plan(experiments_of(command), grid)
    expected: dict[str, dict[str, str]] = {}
    for name, cases in planned.items():
        for case_id, run in cases.items():
            expected.setdefault(run.key, {})[name] = case_id
    runs = {run.key: run for cases in planned.values() for run in cases.values()}
    assert cases_of(runs.values(), command) == expected


# pytest-benchmark's part


def test_entries_of_a_json_are_kept_and_those_of_a_journal_are_made_like_them(tmp_path: Path) -> None:
    first, second = shards()
    sources = [written(tmp_path / "a.json", first), journalled(tmp_path / "b.journal.jsonl", second)]
    merge(sources, tmp_path / "all.json")
    made = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    entries = {one["extra_info"]["key"]: one for one in made["benchmarks"]}
    assert len(entries) == len(made["benchmarks"]) == 8
    assert all(entries[case.key]["options"] == {"timer": "a"} for case in first.cases)
    assert all(entries[case.key]["options"]["timer"] == "training_seconds" for case in second.cases)
    for case in (*first.cases, *second.cases):
        assert entries[case.key]["name"] == f"test_batch_size[{case.cases['batch-size']}]"
        assert entries[case.key]["stats"]["mean"] == case.result.total_training_seconds
    assert made["commit_info"]["id"] == "a" * 10


def test_only_finished_cases_have_an_entry(tmp_path: Path) -> None:
    def ended(run: Run) -> Status:
        ends: dict[int, Status] = {16: "ok", 17: "diverged", 64: "failed"}
        return ends.get(run.seed, "not_run")

    session = synthetic.session(grid=SMALL, disturb=ended)
    merge([journalled(tmp_path / "a.journal.jsonl", session)], tmp_path / "all.json")
    made = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert {one["extra_info"]["status"] for one in made["benchmarks"]} == {"ok", "diverged"}
    assert len(made["benchmarks"]) == 4
    assert len(made["bsr"]["cases"]) == 8


def test_entries_that_are_no_runs_are_kept_once(tmp_path: Path) -> None:
    paths = []
    for name, session in zip("ab", shards(), strict=True):
        paths.append(written(tmp_path / f"{name}.json", session))
        made = json.loads(paths[-1].read_text(encoding="utf-8"))
        made["benchmarks"].append({"fullname": "labels[mean]", "extra_info": {}, "stats": one_round(1.0)})
        paths[-1].write_text(json.dumps(made), encoding="utf-8")
    merge(paths, tmp_path / "all.json")
    made = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert sum(one["fullname"] == "labels[mean]" for one in made["benchmarks"]) == 1


def test_statistics_of_one_round_are_those_of_pytest_benchmark() -> None:
    stats = Stats()
    stats.update(1.25)
    assert one_round(1.25) == {**stats.as_dict(), "data": [1.25], "iterations": 1}


def test_commits_that_differ_are_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        written(tmp_path / f"{name}.json", session) for name, session in zip("ab", shards(), strict=True)
    ]
    assert main([*map(str, paths), "--output", str(tmp_path / "all.json")]) == 0
    out = capsys.readouterr().out
    assert "8 of 8 cases finished" in out
    assert "note: commits differ: " in out
    assert "aaaaaaaaaa" in out
    assert "bbbbbbbbbb" in out


def test_times_of_two_modes_are_a_note_and_stay_apart() -> None:
    first, second = shards()
    found = merged(of(first, changed(second, beside=3)))
    assert {case.result.timing for case in found.cases} == {"alone", "in parallel with 3 other runs"}


def test_a_run_that_two_experiments_share_has_an_entry_of_each(tmp_path: Path) -> None:
    """Both have the same parameters: `test_std_at_001` and `test_learning_rate` of one seed at rate 0.01."""
    grid = Grid(tasks=("std",), batch_sizes=(32,), runs=1, epochs=2)
    experiments = ("std-at-0.01", "learning-rate")
    paths = [written(tmp_path / f"{name}.json", synthetic.session((name,), grid)) for name in experiments]
    assert main([*map(str, paths), "--output", str(tmp_path / "all.json")]) == 0
    made = json.loads((tmp_path / "all.json").read_text())["benchmarks"]
    names = [one["name"] for one in made]
    assert len(names) == len(set(names)) == 13
    shared = [one for one in made if one["extra_info"]["learning_rate"] == 0.01]
    assert {one["extra_info"]["experiment"] for one in shared} == set(experiments)


def test_files_of_two_machines_are_merged_where_no_experiment_is_in_both(tmp_path: Path) -> None:
    grid = Grid(tasks=("std",), batch_sizes=(32,), runs=2)
    elsewhere = {
        "fedcba987654": {**synthetic.fingerprint(), "id": "fedcba987654", "device_name": "Another CPU"}
    }
    one = synthetic.session(("batch-size",), grid)
    moved = synthetic.session(
        ("std-at-0.01",), grid, circumstances={"environment": "fedcba987654"}, environments=elsewhere
    )
    paths = [synthetic.write(tmp_path / name, part) for name, part in (("a.json", one), ("b.json", moved))]
    merged = tmp_path / "merged.json"
    assert main([*map(str, paths), "--output", str(merged)]) == 0
    assert len(read(merged).session.environments) == 2
    again = synthetic.session(
        ("batch-size",), grid, circumstances={"environment": "fedcba987654"}, environments=elsewhere
    )
    other = synthetic.write(tmp_path / "c.json", again)
    assert main([str(paths[0]), str(other), "--output", str(tmp_path / "no.json")]) == 1


def test_files_of_two_machines_become_one_study_where_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = shards()
    moved = on_machine(second, device_name="Another CPU")
    paths = [
        str(synthetic.write(tmp_path / name, part)) for name, part in (("a.json", first), ("b.json", moved))
    ]
    output = tmp_path / "all.json"
    assert main([*paths, "--output", str(output)]) == 1
    assert capsys.readouterr().err.endswith("add --several-machines to allow it\n")
    assert main([*paths, "--several-machines", "--output", str(output)]) == 0
    trained_on = {case.result.environment for case in read(output).session.cases}
    assert trained_on == {synthetic.fingerprint()["id"], "another"}
    assert read(tmp_path / "[ab].json", several_machines=True).session.cases == read(output).session.cases


def test_what_is_tuned_rests_on_errors_so_its_looks_may_be_of_several_machines(tmp_path: Path) -> None:
    grid = replace(PRESETS["why-tune"].grid, tasks=("mean",), batch_sizes=(16, 64))
    first = synthetic.session(("why-tune",), grid)
    half = len(first.cases) // 2
    later = on_machine(replace(first, cases=first.cases[half:]), device_name="Another CPU")
    for name, look in (("tune-1", replace(first, cases=first.cases[:half])), ("tune-2", later)):
        synthetic.write(tmp_path / f"{name}.json", look)
    tried = dict(settings_tried(tmp_path / "tune-*.json"))
    assert sum(len(seeds) for settings in tried.values() for seeds in settings.values()) == len(first.cases)


@pytest.mark.parametrize(
    ("unlike", "name"), [({"engine": "native"}, "engine is"), ({"labels_digest": "feed"}, "labels of mean")]
)
def test_several_machines_allows_nothing_else(unlike: dict[str, str], name: str) -> None:
    first, second = (changed(one, labels_digest="beef") for one in shards())
    moved = changed(on_machine(second, device_name="Another CPU"), **unlike)
    message = refused(first, moved, several_machines=True)
    assert name in message
    assert "--several-machines" not in message


def test_shards_of_two_networks_at_rates_of_their_own_become_one_study(tmp_path: Path) -> None:
    rates = {"study": 0.001, "wide": 0.002}
    paths = [
        written(
            tmp_path / f"{name}.json",
            synthetic.session(grid=replace(SMALL, models=(name,), learning_rates=(("mean", rate),))),
        )
        for name, rate in rates.items()
    ]
    whole = tmp_path / "whole.json"
    assert main([*map(str, paths), "--output", str(whole)]) == 0
    of_mean = [result.run for result in read(whole).results if result.run.task == "mean"]
    assert {run.model: run.learning_rate for run in of_mean} == rates
