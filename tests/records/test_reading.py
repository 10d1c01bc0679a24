"""Reading recordings: what is drawn, what is refused, and how that is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording, RefusedError, read, read_all
from bsr.result import Status
from bsr.run import Run
from bsr.text.bounded_json import nesting

SMALL = Grid(tasks=("mean",), batch_sizes=(32, 64), runs=1, epochs=2)
Document = dict[str, Any]


def document() -> Document:
    """A small recording as a fresh, plain document."""
    whole: Document = json.loads(json.dumps(synthetic.document(synthetic.session(grid=SMALL))))
    return whole


def saved(folder: Path, content: Document | str | bytes, name: str = "run.json") -> Path:
    path = folder / name
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_recording_is_read_whole(tmp_path: Path) -> None:
    session = synthetic.session(grid=SMALL)
    recording = read(synthetic.write(tmp_path / "run.json", session))
    assert recording.session.cases == session.cases
    assert recording.session.environments == session.environments
    assert recording.pytest_benchmark == "5.3.1"


def test_a_byte_order_mark_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = saved(tmp_path, b"\xef\xbb\xbf" + json.dumps(document()).encode())
    assert len(read(path).session.cases) == 2


def first(document: Document) -> Document:
    case: Document = document["bsr"]["cases"][0]
    return case


def set_in(*path: str | int, value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        at: Any = document
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def test_a_recording_of_own_code_from_before_that_code_was_recorded_is_read_with_a_note(
    tmp_path: Path,
) -> None:
    grid = replace(SMALL, models=("mine:Net",))
    said = {"network_digest": "0" * 12, "parameter_shapes": "2, 1"}
    before = synthetic.session(grid=grid, circumstances=lambda _run: said)
    (note,) = read(synthetic.write(tmp_path / "before.json", before)).notes
    assert note.startswith("before.json names less of your own code than is recorded today")
    code = said | {"code": (("mine.py", "0" * 12),)}
    now = synthetic.session(grid=grid, circumstances=lambda _run: code)
    assert read(synthetic.write(tmp_path / "now.json", now)).notes == ()


def case_field(*path: str | int, value: object) -> Callable[[Document], None]:
    return set_in("bsr", "cases", 0, *path, value=value)


def label_field(name: str, value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["bsr"]["labels"] = [asdict(synthetic.labels(("mean",))[0]) | {name: value}]

    return change


def repeat_case(document: Document) -> None:
    document["bsr"]["cases"].append(first(document))


def other_dataset(document: Document) -> None:
    """A case of another dataset under its true key: consistent in itself, foreign to the study."""
    other = synthetic.session(
        grid=Grid(tasks=("mean",), batch_sizes=(128,), runs=1, epochs=2, dataset="KMNIST")
    )
    document["bsr"]["cases"].append(json.loads(json.dumps(synthetic.document(other)))["bsr"]["cases"][0])


def other_labels(document: Document) -> None:
    """Two results of one task whose labels were not the same."""
    for case, digest in zip(document["bsr"]["cases"], ("aa", "bb"), strict=True):
        case["result"]["labels_digest"] = digest


ALTERED = {
    "a part that is missing": (lambda d: d.pop("bsr"), "a part `bsr`"),
    "another kind of JSON": (lambda d: d.clear(), "got another kind of JSON"),
    "a later schema": (set_in("bsr", "schema", value=2), "$.bsr.schema: expected 1, got 2"),
    "text for a number": (
        case_field("result", "run", "batch_size", value="x"),
        "$.bsr.cases[0].result.run.batch_size: expected `int`, got `str`",
    ),
    "an unknown status": (case_field("result", "status", value="fine"), "$.bsr.cases[0].result.status"),
    "a field that is missing": (lambda d: first(d)["result"]["run"].pop("seed"), "$.bsr.cases[0].result.run"),
    "a negative error": (
        case_field("result", "test_mse", 1, value=-1.0),
        "$.bsr.cases[0].result.test_mse[1]",
    ),
    "an error beyond all measure": (
        case_field("result", "test_mse", 1, value=1e200),
        "test_mse[1]: expected",
    ),
    "a gap among the errors": (case_field("result", "test_mse", 1, value=None), "only as the last value"),
    "more epochs than were planned": (case_field("result", "test_mse", value=[1.0] * 9), "at most 3 values"),
    "a missing epoch of another measure": (case_field("result", "test_mae", value=[1.0]), "result.test_mae"),
    "a batch size of zero": (
        case_field("result", "run", "batch_size", value=0),
        "run.batch_size: expected a whole number from 1",
    ),
    "a batch size beyond all memory": (
        case_field("result", "run", "batch_size", value=10**400),
        "batch_size",
    ),
    "a rate too large for a float": (
        case_field("result", "run", "learning_rate", value=10**400),
        "learning_rate",
    ),
    "a key of another run": (case_field("key", value="0" * 16), "$.bsr.cases[0].key"),
    "a case without experiment": (case_field("cases", value={}), "$.bsr.cases[0].cases"),
    "the same case twice": (repeat_case, "$.bsr.cases[2].key"),
    "no case at all": (set_in("bsr", "cases", value=[]), "at least one case"),
    "a second dataset": (
        other_dataset,
        "run.dataset: expected one value in a study, 'MNIST', got 'KMNIST' too",
    ),
    "labels of two kinds under one name": (
        other_labels,
        "$.bsr.cases[1].result: expected labels of mean (60,000 and 10,000 test images of MNIST) aa",
    ),
    "an error smaller than any": (
        case_field("result", "test_mse", 1, value=1e-300),
        "test_mse[1]: expected 0, or 1e-100 to 1e+100",
    ),
    "an error without its baseline": (
        case_field("result", "baseline_mse", value=None),
        "result.baseline_mse: expected a number, since it has a final MSE",
    ),
    "an error on one measure alone": (
        case_field("result", "test_mae", -1, value=None),
        "result.test_mae: expected a last number",
    ),
    "a label beyond all measure": (
        label_field("maximum", 1e308),
        "$.bsr.labels[0].maximum",
    ),
    "more labels than can be": (label_field("count", 10**400), "labels[0].count"),
    "a longer experiment that is no longer": (
        case_field("cases", value={"batch-size": "x", "longer": "x"}),
        "expected experiment longer to train for more epochs than batch-size, 2, got 2",
    ),
    "two baselines of one task": (case_field("result", "baseline_mse", value=1.0), "result.baseline_mse"),
}


@pytest.mark.parametrize(("change", "said"), ALTERED.values(), ids=ALTERED.keys())
def test_an_altered_recording_is_refused_by_the_path_of_its_field(
    tmp_path: Path, change: Callable[[Document], None], said: str
) -> None:
    altered = document()
    change(altered)
    with pytest.raises(RefusedError) as refusal:
        read(saved(tmp_path, altered))
    message = str(refusal.value)
    assert said in message
    assert str(tmp_path / "run.json") in message
    assert "\n" not in message
    assert "was altered" not in message  # nobody knows that


UNREADABLE = {
    "nothing": b"",
    "half a document": b'{"bsr": {',
    "no UTF-8": b'{"bsr": "\xff"}',
    "NaN": b'{"benchmarks": [NaN]}',
    "Infinity": b'{"benchmarks": [-Infinity]}',
    "a number too large": b'{"benchmarks": [1e999]}',
    "a number too long": b'{"benchmarks": [' + b"1" * 5000 + b"]}",
    "a duplicate key": b'{"benchmarks": [], "bsr": {}, "bsr": {}}',
    "half a character": b'{"benchmarks": ["\\ud800"]}',
    "another encoding": '{"benchmarks": []}'.encode("utf-16"),
    "half a character in its bytes": b'{"benchmarks": ["\xed\xa0\x80"]}',
    "depth": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_strict_json_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedError, match="run.json: expected") as refusal:
        read(saved(tmp_path, content))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("end", ["", "\n"], ids=["within a line", "alone in one"])
def test_a_refusal_names_the_duplicate_key(tmp_path: Path, end: str) -> None:
    twice = '{"schema":1,"schema":1}'
    with pytest.raises(RefusedError, match="'schema' twice"):
        read(saved(tmp_path, f'{{"benchmarks": [], "bsr": {end}{twice}{end}}}'))


def test_a_refusal_says_where_though_usual_lines_went_before(tmp_path: Path) -> None:
    text = '{"benchmarks": [\n{"a":1},\n{"a":2}\n], "bsr": oh}'
    with pytest.raises(RefusedError, match=rf"line 4 column 11 \(char {text.index('oh')}\)"):
        read(saved(tmp_path, text))


def test_an_object_alone_in_a_line_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="expected strict JSON"):
        read(saved(tmp_path, '{"benchmarks": [],\n{"a":1}\n: 1}'))


def test_depth_is_bounded_before_anything_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsr.text.bounded_json.json.loads", lambda *_args, **_kwargs: pytest.fail("parsed"))
    with pytest.raises(RefusedError, match="nested at most 64 deep, got 65"):
        read(saved(tmp_path, b"[" * 65 + b"]" * 65))


def test_size_is_bounded_before_anything_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, document())
    monkeypatch.setattr("bsr.records.reading.json_file.MOST_BYTES", path.stat().st_size - 1)
    monkeypatch.setattr("bsr.text.bounded_json.json.loads", lambda *_args, **_kwargs: pytest.fail("parsed"))
    with pytest.raises(RefusedError, match="expected at most .* MiB"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, got in (
        (tmp_path, "a folder"),
        (tmp_path / "none.json", "no such file"),
        (Path("/dev/null"), "a special file"),
    ):
        if path.name != "null" or path.exists():
            with pytest.raises(RefusedError, match=got):
                read(path)


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refusal:
        read(tmp_path / "a\x1b[31m\nb.json")
    assert str(refusal.value).isprintable()


def test_bad_files_never_stop_the_good_ones(tmp_path: Path) -> None:
    good = synthetic.write(tmp_path / "good.json", synthetic.session(grid=SMALL))
    bad = saved(tmp_path, b"{", "bad.json")
    recordings, refused = read_all([bad, good, tmp_path / "none.json", good])
    assert [recording.path for recording in recordings] == [good, good]
    assert ["bad.json" in str(refused[0]), "none.json" in str(refused[1])] == [True, True]


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}",\\a'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[]{}"\\'), inner, max_size=3)
    ),
    max_leaves=12,
)


def depth(tree: object) -> int:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(trees)
def test_nesting_counts_brackets_outside_strings_alone(tree: object) -> None:
    assert nesting(json.dumps(tree).encode()) == depth(tree)


WHOLE = json.dumps(document()).encode()


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=3))
def test_no_flipped_byte_ends_in_anything_but_a_recording_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, place: int, bytes_: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.json"
    path.write_bytes(WHOLE[:place] + bytes_ + WHOLE[place + len(bytes_) :])
    _, refused = read_all([path])
    assert not any("\n" in str(refusal) for refusal in refused)


# one's own analysis


def recorded(tmp_path: Path) -> Recording:
    def disturb(run: Run) -> Status:
        return "diverged" if run.batch_size == 64 else "ok"

    return read(synthetic.write(tmp_path / "run.json", synthetic.session(grid=SMALL, disturb=disturb)))


def test_runs_are_a_tidy_table(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    runs = recording.runs
    assert list(runs["batch_size"]) == [32, 64]
    assert {"key", "task", "seed", "learning_rate", "experiments", "status", "final_mse"} <= set(runs)
    assert list(runs["status"]) == ["ok", "diverged"]
    assert list(runs["final_mse"].isna()) == [False, True]
    assert runs["final_mse"][0] == recording.results[0].final_mse


def test_epochs_are_a_tidy_table_from_before_training_on(tmp_path: Path) -> None:
    recording = recorded(tmp_path)
    first = recording.epochs[recording.epochs["batch_size"] == 32]
    assert list(first["epoch"]) == [0, 1, 2]
    assert tuple(first["test_mse"]) == recording.results[0].test_mse
    assert tuple(first["training_seconds"].dropna()) == recording.results[0].training_seconds
    assert first["training_loss"].isna().tolist() == [True, False, False]


def test_the_errors_of_the_last_weights_stand_in_the_last_row(tmp_path: Path) -> None:
    session = synthetic.session(grid=SMALL)
    cases = [replace(case, result=replace(case.result, training_mse=(7.0,))) for case in session.cases]
    recording = read(synthetic.write(tmp_path / "run.json", replace(session, cases=tuple(cases))))
    first = recording.epochs[recording.epochs["batch_size"] == 32]
    assert first["training_mse"].isna().tolist() == [True, True, False]
    assert list(first["training_mse"])[-1] == next(iter(recording.runs["final_training_mse"])) == 7.0
    assert first["validation_mse"].isna().all()


def test_errors_beside_the_test_error_fit_its_evaluations(tmp_path: Path) -> None:
    session = synthetic.session(grid=SMALL)
    cases = [replace(case, result=replace(case.result, training_mse=(7.0, 6.0))) for case in session.cases]
    path = synthetic.write(tmp_path / "run.json", replace(session, cases=tuple(cases)))
    with pytest.raises(
        RefusedError, match=r"result.training_mse: expected none or 1 values .*, got 2 values"
    ):
        read(path)


def test_without_pandas_everything_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    recording = recorded(tmp_path)
    assert recording.results
    with pytest.raises(ImportError, match=r"^Recording.runs and .epochs: .*pip install 'bsr\[pandas\]'$"):
        _ = recording.runs


def test_tables_of_many_runs_are_those_of_each(tmp_path: Path) -> None:
    """Runs of unlike lengths, one that never began and one that ended early among them."""
    ends: dict[int, Status] = {32: "ok", 64: "diverged", 128: "not_run"}
    grid = replace(SMALL, batch_sizes=tuple(ends), runs=2, epochs=4)
    session = synthetic.session(grid=grid, disturb=lambda run: ends[run.batch_size])
    epochs = read(synthetic.write(tmp_path / "run.json", session)).epochs
    for case in session.cases:
        rows = epochs[epochs["key"] == case.key]
        assert tuple(rows["test_mse"].replace(float("nan"), None)) == case.result.test_mse
        assert tuple(rows["training_seconds"].dropna()) == case.result.training_seconds
        assert tuple(rows["step"]) == (0, *case.result.run.evaluation_steps)[: len(rows)]
        assert set(rows["status"]) <= {case.result.status}


def test_parquet_files_hold_what_the_frames_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("bsr.records.reading.recording.AT_ONCE", 1)
    recording = recorded(tmp_path)
    runs, epochs = (parquet.read_table(path) for path in recording.to_parquet(tmp_path / "tables"))
    assert runs.column_names == list(recording.runs)
    assert runs.column("final_mse").to_pylist() == [recording.results[0].final_mse, None]
    assert str(runs.schema.field("order_seed").type) == "int64"  # though no Run has one
    assert set(epochs.column_names) == set(recording.epochs)
    first = recording.epochs.iloc[1]
    assert {name: epochs.column(name)[1].as_py() for name in ("key", "epoch", "step", "test_mse")} == {
        name: first[name] for name in ("key", "epoch", "step", "test_mse")
    }
    assert epochs.column("training_loss").to_pylist()[0] is None


def test_without_pyarrow_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'bsr\[parquet\]'$"):
        recorded(tmp_path).to_parquet(tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
