"""Workers of a cluster come later, are lost, come back; each is checked, and every Run is recorded once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

import bsr.compute.cluster.executor
import bsr.compute.cluster.roster
import bsr.compute.cluster.worker
from bsr.compute import in_process
from bsr.compute.answers import AnswerError, believed, packed
from bsr.compute.cluster import Cluster, ClusterError
from bsr.compute.cluster.worker import WorkerIdentity, identify
from bsr.compute.in_process import compute
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.result import Result
from bsr.run import Execution, Run
from bsr.text.strict_json import one_line
from plugin_support import PATIENCE, SMOKE, Suite, suite, timeless
from trainings import CPU

__all__ = ["suite"]
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

TINY = replace(next(batch_size(PRESETS["smoke"].grid)), train_images=256, test_images=100, epochs=1)
RUNS = [replace(TINY, seed=seed) for seed in range(12)]
LONG = replace(TINY, epochs=1000)


@pytest.fixture
def local() -> Iterator[Any]:
    """A Dask cluster that has no worker yet; those to come are threads of this process."""
    with distributed.LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=":0",
    ) as cluster:
        yield cluster


@pytest.fixture
def connected(local: Any) -> Iterator[Cluster]:
    """An executor over it, of two workers."""
    local.scale(2)
    cluster = Cluster(local.scheduler_address, CPU, "MNIST", wait=PATIENCE)
    until(lambda: list(cluster.news()) or cluster.workers == 2)
    yield cluster
    cluster.shutdown(cancel_futures=True)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lose(local: Any, count: int = 1) -> None:
    """As if their machines were switched off."""
    for name in list(local.workers)[:count]:
        worker = local.workers.pop(name)
        local.worker_spec.pop(name)
        local.sync(worker.close, nanny=False, executor_wait=False, callback_timeout=PATIENCE)


def train(cluster: Cluster, runs: list[Run], at: dict[int, Callable[[], None]]) -> list[Result]:
    """As a session does it; what happens once so many Results are there is in `at`."""
    waiting, pending, results = list(runs), dict[Future[Any], Run](), list[Result]()
    deadline = time.monotonic() + PATIENCE
    while len(results) < len(runs):
        assert time.monotonic() < deadline
        while waiting and len(pending) < cluster.capacity:
            run = waiting.pop(0)
            pending[cluster.compute(run, cluster.execution)] = run
        time.sleep(0 if pending else 0.05)
        for future in wait(pending, timeout=0.05, return_when=FIRST_COMPLETED).done:
            run = pending.pop(future)
            if future.cancelled():
                waiting.insert(0, run)
                continue
            results.append(believed(future.result(), run).result)
            at.pop(len(results), lambda: None)()
        assert not list(cluster.news())
    return results


def test_a_cluster_that_has_no_worker_yet_is_waited_for(local: Any) -> None:
    waited: list[float] = []

    def tell(seconds: float) -> None:
        waited.append(seconds)
        local.scale(1)

    cluster = Cluster(local.scheduler_address, CPU, "MNIST", (TINY,), PATIENCE, tell)
    assert waited == sorted(waited)
    assert cluster.workers == 1
    cluster.shutdown(cancel_futures=True)


def test_a_cluster_that_gets_no_worker_is_refused_with_the_command_that_starts_one(local: Any) -> None:
    with pytest.raises(ClusterError) as refused:
        Cluster(local.scheduler_address, CPU, "MNIST", wait=1)
    assert str(refused.value) == (
        "expected at least one worker within 1 s, got none; start them with: "
        f"dask worker {local.scheduler_address} --nthreads 1, or wait longer with --bsr-dask-wait"
    )


def test_an_adaptive_cluster_starts_a_worker_for_a_session_that_waits(local: Any) -> None:
    local.adapt(minimum=0, maximum=2, interval="100ms")
    cluster = Cluster(local.scheduler_address, CPU, "MNIST", wait=PATIENCE)
    assert cluster.workers
    cluster.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_every_run_is_trained_once_whatever_workers_come_and_go(connected: Cluster, local: Any) -> None:
    in_flight = [connected.capacity]

    def noticed(workers: int) -> None:
        until(lambda: [list(connected.news()), connected.workers == workers][1])
        in_flight.append(connected.capacity)

    happens = {
        2: lambda: lose(local),
        4: lambda: noticed(1),
        5: lambda: local.scale(3),
        7: lambda: noticed(3),
    }
    results = train(connected, RUNS, at=dict(happens))
    assert sorted(result.run.seed for result in results) == [run.seed for run in RUNS]
    assert {result.status for result in results} == {"ok"}
    assert in_flight == [4, 2, 6]
    for result in results[:1] + results[-1:]:
        assert result.test_mse == compute(result.run, CPU).result.test_mse


@pytest.mark.slow
def test_what_only_lost_workers_could_train_is_given_back(connected: Cluster, local: Any) -> None:
    future = connected.compute(LONG, connected.execution)
    lose(local, 2)
    until(lambda: list(connected.news()) or future.cancelled())
    assert connected.workers == connected.capacity == 0
    local.scale(1)
    assert [result.status for result in train(connected, RUNS[:1], at={})] == ["ok"]


@pytest.mark.slow
def test_without_a_worker_for_too_long_it_ends_and_says_how_to_go_on(local: Any) -> None:
    local.scale(1)
    cluster = Cluster(local.scheduler_address, CPU, "MNIST", wait=2)
    lose(local)
    with pytest.raises(BrokenExecutor, match=r"got none for 2 s; start them, then go on with --bsr-resume"):
        until(lambda: list(cluster.news()))
    cluster.shutdown(cancel_futures=True)


OLD = "0.0.1"


def identify_by_number(execution: Execution, dataset: str, runs: tuple[Run, ...]) -> WorkerIdentity:
    """The first worker is as it should be, every later one has an old version."""
    found = identify(execution, dataset, runs)
    return found if distributed.get_worker().name == 0 else found._replace(version=OLD)


def test_a_newcomer_that_differs_is_named_once_and_trains_nothing(
    local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bsr.compute.cluster.roster, "identify", identify_by_number)
    local.scale(1)
    cluster = Cluster(local.scheduler_address, CPU, "MNIST", wait=PATIENCE)
    local.scale(2)
    lines: list[str] = []
    until(lambda: lines.__iadd__(cluster.news()))
    assert len(lines) == 1
    assert f"expected bsr {bsr.__version__}, got {OLD}; install the same there; it trains nothing" in lines[0]
    where = {cluster.submit(lambda: distributed.get_worker().name).result(timeout=PATIENCE) for _ in range(4)}
    assert where == {0}
    time.sleep(0.6)
    assert not list(cluster.news())
    cluster.shutdown(cancel_futures=True)


def test_a_newcomer_is_checked_beside_no_training_of_its_process(
    connected: Cluster, local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To try a network draws from the stream that the weights of a training are drawn from."""
    training, beside = threading.Event(), list[bool]()

    def compute_slowly(*arguments: Any) -> Any:
        training.set()
        time.sleep(1.5)
        training.clear()
        return compute(*arguments)

    def check_trainable(*arguments: Any) -> None:
        beside.append(training.is_set())
        in_process.check_trainable(*arguments)

    monkeypatch.setattr(bsr.compute.cluster.worker, "compute", compute_slowly)
    monkeypatch.setattr(bsr.compute.cluster.worker, "check_trainable", check_trainable)
    future = connected.compute(TINY, connected.execution)
    assert training.wait(PATIENCE)
    local.scale(3)
    until(lambda: list(connected.news()) or connected.workers == 3)
    assert believed(future.result(PATIENCE), TINY).result.status == "ok"
    assert beside == [False, False]  # the Run's own worker, and the newcomer


@pytest.mark.slow
def test_a_run_stops_after_its_epoch_once_nobody_waits_for_it(local: Any) -> None:
    local.scale(1)
    cluster = Cluster(local.scheduler_address, CPU, "MNIST", wait=PATIENCE)
    cluster.compute(replace(LONG, epochs=10_000), cluster.execution)
    worker = local.workers[0]
    until(lambda: worker.state.executing)
    cluster.close()  # as a session does that is killed
    until(lambda: not worker.state.tasks)


@pytest.mark.slow
def test_a_session_follows_the_workers_and_records_every_run_once(suite: Suite, local: Any) -> None:
    asked = (*SMOKE, "--bsr-runs", "2")
    session = suite.start(*asked, "--bsr-dask", local.scheduler_address, "--benchmark-json=there.json", "-vv")
    session.until_it_says("waiting up to 5 min 00 s for workers")
    assert f"dask worker {local.scheduler_address} --nthreads 1" in session.output()
    local.scale(2)
    session.until(lambda: suite.journal_lines("there.json") > 3, "two Results are there")
    lose(local)
    so_far = suite.journal_lines("there.json")
    session.until(lambda: suite.journal_lines("there.json") > so_far + 2, "two more are there")
    local.scale(3)
    ended = session.wait()
    assert ended.code == 0, ended.output
    for text in ("2 workers]", "1 worker]", "3 workers]"):
        assert text in ended.output
    assert suite.run(*asked, "--benchmark-json=here.json").code == 0
    here, there = (
        {case["key"]: timeless(case["result"]["test_mse"]) for case in suite.cases(name)}
        for name in ("here.json", "there.json")
    )
    assert there == here
    assert set(suite.journalled("there.json").values()) == {"ok"}


class Trap:
    """Raises where it arrives."""

    def __reduce__(self) -> Any:
        return (eval, ("1 / 0",))


class UnreadableError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def lie(kind: str) -> Any:
    """What a worker that is not what it was may do in place of an answer."""
    match kind:
        case "none":
            return None
        case "trap":
            return Trap()
        case "lock":
            return threading.Lock()
        case "raise":
            raise UnreadableError("one", "two")
        case "exit":
            raise SystemExit("left")
        case "much":
            return bytes(2**25 + 1)
        case _:
            return packed(compute(replace(RUNS[0], seed=77), CPU))


LIES = ("none", "trap", "lock", "raise", "much", "another Run")


LIARS: dict[str, Any] = {}
"""How they lie, how many, and the names of those that were asked first."""


def answer_or_lie(run: Run, execution: Execution, _expected: object) -> Any:
    """In place of compute_on_worker, in threads of this process."""
    name = distributed.get_worker().name
    if len(LIARS["names"]) < LIARS["count"]:
        LIARS["names"].add(name)
    return lie(LIARS["kind"]) if name in LIARS["names"] else packed(compute(run, execution))


def let_lie(monkeypatch: pytest.MonkeyPatch, kind: str, count: int) -> None:
    monkeypatch.setitem(LIARS, "kind", kind)
    monkeypatch.setitem(LIARS, "count", count)
    monkeypatch.setitem(LIARS, "names", set())
    monkeypatch.setattr(bsr.compute.cluster.executor, "compute_on_worker", answer_or_lie)


def go_through(cluster: Cluster, runs: list[Run]) -> tuple[list[Result], list[str]]:
    """As a session does it, one Run after the other: the results, and what was said."""
    lines: list[str] = []
    results: list[Result] = []
    for run in runs:
        while len(results) <= runs.index(run):
            future = cluster.compute(run, cluster.execution)
            wait([future], timeout=PATIENCE)
            lines += cluster.news()
            if (error := future.exception()) is None:
                with suppress(AnswerError):
                    results.append(believed(future.result(), run).result)
                    continue
            cluster.refuse(future, one_line(error) if error else "no answer")
    return results, lines


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIES)
def test_a_worker_that_lies_is_asked_thrice_and_every_run_is_trained_by_the_other(
    connected: Cluster, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    let_lie(monkeypatch, kind, count=1)
    lines: list[str] = []
    for _ in range(3):
        connected._refused_by.clear()  # else it might not be asked again
        results, said = go_through(connected, RUNS[:3])
        assert [result.run for result in results] == RUNS[:3]
        lines += said
    assert connected.workers == 1
    until(lambda: lines.__iadd__(connected.news()) and "3 answers were refused" in lines[-1])
    assert sum("an answer was refused: " in line for line in lines) == 3
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("kind", LIES)
def test_where_every_worker_lies_the_session_ends_at_once_and_says_how_to_go_on(
    connected: Cluster, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    let_lie(monkeypatch, kind, count=2)
    with pytest.raises(BrokenExecutor, match=r"answers can be believed, got none .*with --bsr-resume"):
        go_through(connected, RUNS)
