"""What a worker answers is believed if a recording may hold it; who answers otherwise is asked no more."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthetic
from bsr.compute.answers import MOST_BYTES, AnswerError, believed, packed
from bsr.compute.in_process import Computed
from bsr.compute.process import CallFailedError, WorkerLostError
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.plugin.options import Options
from bsr.plugin.session import Session
from bsr.records import journal
from bsr.records.journal import Header, Journal, ResultLine, line_of
from bsr.records.reading import journal_file
from bsr.result import Result
from bsr.run import Execution, Run

RUNS = tuple(run for run in batch_size(PRESETS["smoke"].grid) if run.task in {"mean", "std"})
RUN = RUNS[0]
MACHINE = {"id": "0123", "device": "cpu", "threads": 1}


def result_of(run: Run, **circumstances: Any) -> Result:
    return synthetic.result(run, **{"environment": "0123", "dataset_digest": "d1"} | circumstances)


def answer(result: Result, environment: dict[str, Any] = MACHINE) -> bytes:
    return packed(Computed(result, environment))


GOOD = result_of(RUN)


def altered(*path: Any, value: object) -> bytes:
    """The good answer with another value somewhere; computed, environment and spent are a list."""
    whole = json.loads(answer(GOOD))
    part = whole
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return json.dumps(whole).encode()


def test_an_answer_arrives_as_it_was_sent() -> None:
    assert believed(answer(GOOD), RUN) == believed(Computed(GOOD, MACHINE), RUN) == (GOOD, MACHINE, "")


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


WRONG: dict[str, tuple[object, str]] = {
    "another Run": (answer(result_of(RUNS[1])), "expected the result of mean-bs32-seed32 "),
    "another rate": (answer(result_of(replace(RUN, learning_rate=0.5))), "expected the result of mean-bs32"),
    "an unknown status": (altered(0, "status", value="brilliant"), "Invalid enum value 'brilliant'"),
    "not a training's": (altered(0, "status", value="not_run"), "the status of a training, got not_run"),
    "a surplus epoch": (altered(0, "test_mse", value=[1.0] * 9), "at most 3 values for 2 evaluations"),
    "a missing epoch": (altered(0, "test_mae", value=[]), "3 values, since it has a final MSE"),
    "a negative error": (altered(0, "test_mse", 0, value=-1.0), "got -1.0"),
    "an infinite time": (altered(0, "wall_seconds", value=1e300), "<= 1e+100 - at `$[0].wall_seconds`"),
    "no number": (altered(0, "training_seconds", 0, value="fast"), "Expected `float`, got `str`"),
    "not a Run": (altered(0, "run", "batch_size", value=0), "Run.batch_size: expected a whole number"),
    "no result": (altered(0, value=None), "Expected `object`, got `null`"),
    "no machine": (altered(1, value={}), "expected a result that names its machine"),
    "another machine": (altered(1, "id", value="9"), "names its machine 9, got 0123"),
    "a machine that is a number": (altered(1, "id", value=5), "names its machine 5, got 0123"),
    "a huge machine": (
        answer(GOOD, MACHINE | {"cpu": "x" * MOST_BYTES}),
        "an answer of at most 262,744 bytes",
    ),
    "a deep machine": (answer(GOOD, MACHINE | {"cpu": nested(40)}), "nested at most 16 deep, got 43"),
    "half an answer": (answer(GOOD)[:-20], "Input data was truncated"),
    "a lone surrogate": (altered(0, "message", value="\ud800"), "end of escaped utf-16 surrogate"),
    "not a number": (answer(GOOD).replace(b'"wall_seconds":', b'"wall_seconds":NaN,"x":'), "invalid"),
    "no answer": (None, "in bytes, got one of type NoneType"),
    "something else": (object(), "in bytes, got one of type object"),
    "an empty tuple": ((), "Expected `array` of length 2 to 3"),
    "a tuple of others": ((object(), object(), object()), "Expected `object`"),
    "nothing": (b"", "Input data was truncated"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_no_recording_may_hold_is_refused_in_one_line(kind: str) -> None:
    said, why = WRONG[kind]
    with pytest.raises(AnswerError) as refused:
        believed(said, RUN)
    assert why in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [(0, name) for name in asdict(GOOD)]
    + [(0, "run", name) for name in asdict(RUN)]
    + [(0, name, 0) for name in ("test_mse", "test_mae", "training_loss", "training_seconds")]
    + [(1,), (1, "id"), (1, "cpu"), (2,), (0,)]
)


@given(FIELDS, JSON)
def test_an_answer_altered_anywhere_is_refused_or_can_be_recorded_and_read(
    where: tuple[Any, ...], value: object
) -> None:
    assert_recorded_or_refused(altered(*where, value=value))


@given(st.binary(max_size=60), st.integers(0, len(answer(GOOD))))
def test_an_answer_with_noise_in_it_is_refused_or_can_be_recorded_and_read(noise: bytes, where: int) -> None:
    good = answer(GOOD)
    assert_recorded_or_refused(good[:where] + noise + good[where:])


def assert_recorded_or_refused(said: bytes) -> None:
    try:
        computed = believed(said, RUN)
    except AnswerError as error:
        why = str(error)
    else:
        line = line_of(ResultLine(key=RUN.key, result=computed.result))
        assert msgspec.json.decode(line, type=ResultLine).result.run == RUN
        assert math.isfinite(computed.result.wall_seconds)
        return
    assert why.isprintable()


class Pool:
    """Two workers in name; what they answer is made here, and three refused answers of one are its last."""

    capacity = 1

    def __init__(self, say: Callable[[Run, int], object]) -> None:
        """`say(run, time)`: an answer, or an exception, to a Run asked for the so many-th time from 0."""
        self.refused: list[str] = []
        self.asked: list[Run] = []
        self._say = say

    @property
    def workers(self) -> int:
        return 2 - len(self.refused) // 3

    def compute(self, run: Run, execution: Execution) -> Future[Any]:
        future: Future[Any] = Future()
        said = self._say(run, self.asked.count(run))
        self.asked.append(run)
        if isinstance(said, BaseException):
            future.set_exception(said)
        else:
            future.set_result(said)
        return future

    def epochs(self) -> Iterable[tuple[str, int]]:
        return [("nobody's", 1), (RUNS[1].key, 10**9), (RUNS[1].key, -1), (RUNS[1].key, 2)]

    def news(self) -> Iterable[str]:
        if not self.workers:
            raise BrokenExecutor("nobody is left")
        return ()

    def refuse(self, future: Future[Any], why: str) -> bool:
        self.refused.append(why)
        return not isinstance(future.exception(), WorkerLostError)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        pass


def session(folder: Path, pool: Pool) -> Session:
    header = Header(
        planned=RUNS,
        cases={run.key: {"batch-size": run.label} for run in RUNS},
        execution=Execution(),
        workers=2,
        dataset_digest="d1",
        environment=MACHINE,
        started_at="",
    )
    chosen = Options(
        preset="smoke", experiments=("batch-size",), grid=PRESETS["smoke"].grid, execution=Execution(),
        json=None, dask=None, dask_wait=None, workers=2, resume=False, elsewhere=False, strict=False,
        given={}, plan={},
    )  # fmt: skip
    log = Journal(folder / "run.journal.jsonl")
    log.append(header)
    begun = Session(chosen, header, log)
    begun.executor = pool
    return begun


def recorded(begun: Session) -> list[Result]:
    """As the reader has it, which refuses what no recording may hold."""
    begun.journal.close()
    return [result for result in journal_file.read(begun.journal.path).results if result.status != "not_run"]


@pytest.mark.parametrize("kind", WRONG)
def test_a_run_answered_wrongly_once_is_asked_for_again(tmp_path: Path, kind: str) -> None:
    pool = Pool(lambda run, time: answer(result_of(run)) if time or run != RUN else WRONG[kind][0])
    begun = session(tmp_path, pool)
    results = [begun.result_of(run) for run in RUNS]
    assert [result.status for result in results] == ["ok"] * len(RUNS)
    assert pool.asked == [RUN, *RUNS]
    assert recorded(begun) == results


@pytest.mark.parametrize("kind", WRONG)
def test_where_every_answer_is_wrong_the_session_ends_soon_and_its_recording_is_read(
    tmp_path: Path, kind: str
) -> None:
    pool = Pool(lambda _run, _time: WRONG[kind][0])
    begun = session(tmp_path, pool)
    with pytest.raises(BrokenExecutor):
        for run in (RUN, *RUNS[2:]):  # the other one is what `another Run` answers
            begun.result_of(run)
    assert len(pool.refused) == 6
    begun.stop()
    assert {result.status for result in recorded(begun)} <= {"failed", "interrupted"}


class UnpicklableError(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


@pytest.mark.parametrize(
    "error",
    [
        CallFailedError("ValueError: what a worker raised"),
        UnpicklableError("what a worker raised"),
        SystemExit("what a worker raised"),
        KeyboardInterrupt("what a worker raised"),
        GeneratorExit("what a worker raised"),
    ],
)
def test_whatever_a_worker_raises_is_named_and_costs_its_run_alone(
    tmp_path: Path, error: BaseException
) -> None:
    pool = Pool(lambda run, _time: error if run == RUN else answer(result_of(run)))
    begun = session(tmp_path, pool)
    first, *others = (begun.result_of(run) for run in RUNS)
    assert first.status == "failed"
    assert "what a worker raised" in first.message
    assert {result.status for result in others} == {"ok"}
    assert pool.asked[:2] == [RUN, RUN]


class Shown:
    """A watcher that keeps what it is shown."""

    def __init__(self) -> None:
        self.epochs: list[tuple[Run, int]] = []

    def epoch(self, run: Run, epoch: int) -> None:
        self.epochs.append((run, epoch))

    def finished(self, result: Result) -> None:
        pass

    def workers(self, count: int) -> None:
        pass


def test_epochs_that_no_run_has_are_not_shown(tmp_path: Path) -> None:
    begun = session(tmp_path, Pool(lambda run, _time: answer(result_of(run))))
    begun.watcher = shown = Shown()
    begun.result_of(RUN)
    assert shown.epochs == [(RUNS[1], 2)]


def test_a_run_of_which_processes_died_is_not_asked_for_again(tmp_path: Path) -> None:
    begun = session(tmp_path, pool := Pool(lambda _run, _time: WorkerLostError("its process died 2 times")))
    assert begun.result_of(RUN).status == "failed"
    assert pool.asked == [RUN]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"dataset_digest": "d2"},
            "dataset digest: expected d1, as before, got d2; the code or the data changed",
        ),
        (
            {"labels_digest": "l2"},
            "labels of mean (1,024 and 512 test images of MNIST): expected l1, as before",
        ),
        (
            {"network_digest": "n2"},
            "network study: expected 10x1x5x5, source n1, as before, got 10x1x5x5, source",
        ),
        (
            {"parameter_shapes": "1x1"},
            "network study: expected 10x1x5x5, source n1, as before, got 1x1, source",
        ),
        ({"baseline_mse": 99.0}, "baseline MSE of mean: expected 124.442, as before, got 99"),
    ],
)
def test_results_of_other_images_labels_or_networks_are_never_of_one_session(
    tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    usual = {"labels_digest": "l1", "network_digest": "n1", "parameter_shapes": "10x1x5x5"}
    first, second = (run for run in RUNS if run.task == "mean")
    pool = Pool(lambda run, _time: answer(result_of(run, **usual | (other if run == second else {}))))
    begun = session(tmp_path, pool)
    assert begun.result_of(first).status == "ok"
    failed = begun.result_of(second)
    assert failed.status == "failed"
    assert failed.message.startswith(said)
    assert pool.asked == [first, second, second]
    assert recorded(begun) == [begun.results[first.key], failed]
    assert journal.read(begun.journal.path).results[second.key] == failed
