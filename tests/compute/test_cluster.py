"""A Dask cluster computes what this process computes, and is refused where it could not."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace

import pytest

import bsr
from bsr.compute.answers import believed
from bsr.compute.cluster import Cluster, ClusterError
from bsr.compute.cluster.connection import connect
from bsr.compute.cluster.roster import lacking_resource
from bsr.compute.cluster.worker import (
    UnlikeWorkerError,
    WorkerIdentity,
    compute_on_worker,
    identify,
    unfit_because,
)
from bsr.compute.in_process import Computed, compute
from bsr.data.images import load_images
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.result import Result, Status
from bsr.run import Execution, Run
from plugin_support import PATIENCE
from trainings import CPU

distributed = pytest.importorskip("distributed", reason="distributed is not installed")

RUNS = tuple(batch_size(PRESETS["smoke"].grid))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster("local", CPU, "MNIST")
    yield cluster
    cluster.shutdown(cancel_futures=True)


@pytest.mark.slow
def test_a_cluster_gives_the_same_errors_to_the_last_bit_as_this_process(cluster: Cluster) -> None:
    runs = RUNS[:4]
    there = [cluster.compute(run, cluster.execution) for run in runs]
    for run, future in zip(runs, there, strict=True):
        here = compute(run, CPU).result
        result = believed(future.result(), run).result
        assert result.test_mse == here.test_mse
        assert result.order_digest == here.order_digest


@pytest.mark.slow
def test_each_result_names_the_machine_that_trained_it(cluster: Cluster) -> None:
    computed = believed(cluster.compute(RUNS[1], cluster.execution).result(), RUNS[1])
    assert computed.result.environment == computed.environment["id"]
    assert computed.environment["threads"] == 1


@pytest.mark.slow
def test_a_result_says_how_many_workers_share_its_machine(cluster: Cluster) -> None:
    computed = believed(cluster.compute(RUNS[1], cluster.execution).result(), RUNS[1])
    assert computed.result.beside == cluster.workers - 1


@pytest.mark.slow
def test_killing_a_worker_in_the_middle_of_a_run_loses_nothing(cluster: Cluster) -> None:
    long = [replace(run, epochs=20, seed=run.seed + 1) for run in RUNS[:4]]
    futures = [cluster.compute(run, cluster.execution) for run in long]
    wait(futures, timeout=1.5)
    os.kill(_a_worker(cluster), signal.SIGKILL)
    answers = [future.result(timeout=120) for future in futures]
    results = [believed(answer, run).result for answer, run in zip(answers, long, strict=True)]
    assert [result.status for result in results] == ["ok"] * len(long)
    assert [result.run for result in results] == long


def _a_worker(cluster: Cluster) -> int:
    pids = cluster._client.run(os.getpid, nanny=False)
    return int(next(iter(pids.values())))


FIRST = WorkerIdentity(bsr.__version__, "digest", {"device": "cpu"})


def test_a_worker_with_another_version_is_refused_with_both_versions() -> None:
    problem = unfit_because(FIRST._replace(version="0.0.1"), FIRST)
    assert problem == f"expected bsr {bsr.__version__}, got 0.0.1; install the same there"


def test_a_worker_with_other_data_is_refused_with_both_digests() -> None:
    problem = unfit_because(FIRST._replace(digest="other"), FIRST)
    assert problem == "expected data with digest digest, got other; give every worker the same files"


def test_a_worker_with_other_code_is_refused_with_both_digests() -> None:
    first, other = (FIRST._replace(trained=(("network mine:Net", digest),)) for digest in ("aa", "bb"))
    assert unfit_because(other, first) == (
        "expected network mine:Net aa, got bb; give every worker the same code"
    )


def test_a_worker_that_cannot_train_says_why() -> None:
    assert unfit_because(FIRST._replace(problem="no such device"), FIRST) == "no such device"
    assert not unfit_because(FIRST, FIRST)


@pytest.mark.parametrize(
    ("execution", "precision", "problem"),
    [
        (replace(CPU, engine="graph"), "float32", "graph needs a CUDA device; this is cpu"),
        (replace(CPU, engine="native"), "bfloat16", "native computes in float32; the precision is bfloat16"),
        (CPU, "tf32", "expected a CUDA device for tf32, got cpu"),
        (replace(CPU, device="cuda:99"), "float32", "CUDA devices of this machine"),
    ],
)
def test_a_worker_knows_what_it_cannot_train(execution: Execution, precision: str, problem: str) -> None:
    run = replace(PRESETS["smoke"].grid.example, precision=precision)  # type: ignore[arg-type]
    assert problem in identify(execution, "MNIST", (run,)).problem


def test_a_missing_scheduler_is_one_line_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsr.compute.cluster.connection.CONNECT_SECONDS", 1)
    with pytest.raises(
        ClusterError, match=r"expected a Dask scheduler at 'tcp://127.0.0.1:9'.*--bsr-dask local"
    ):
        Cluster("tcp://127.0.0.1:9", CPU, "MNIST")


@pytest.mark.slow
def test_a_worker_that_is_no_longer_what_it_was_does_not_train() -> None:
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as started,
        distributed.Client(started, set_as_default=False) as client,
    ):
        future = client.submit(compute_on_worker, _tiny(), CPU, ("0.0.1", "digest", {}))
        with pytest.raises(UnlikeWorkerError, match=r"expected bsr 0\.0\.1 and data digest, got version"):
            future.result(timeout=60)


class LeftError(BaseException):
    """The process would have ended."""


def _leave(_code: int) -> None:
    raise LeftError


@pytest.mark.parametrize(("status", "leaves"), [("failed", True), ("out_of_memory", False)])
def test_a_worker_that_can_train_no_more_ends_so_that_its_run_goes_to_another(
    monkeypatch: pytest.MonkeyPatch, status: Status, leaves: bool
) -> None:
    spent = Computed(
        Result(run=_tiny(), status=status, environment="0"), {"id": "0"}, "cuda:0 is lost to this process"
    )
    monkeypatch.setattr("bsr.compute.cluster.worker.compute", lambda *_arguments: spent)
    monkeypatch.setattr("bsr.compute.cluster.worker._neighbours", lambda: 0)
    monkeypatch.setattr("os._exit", _leave)
    expected: tuple[str, str, dict[str, str]] = (bsr.__version__, load_images("MNIST").digest, {})
    with pytest.raises(LeftError) if leaves else nullcontext():
        answer = compute_on_worker(_tiny(), CPU, expected)
        assert believed(answer, _tiny()).result.status == status
    monkeypatch.setattr("bsr.compute.cluster.worker.spent_reason", lambda _execution: spent.spent)
    with pytest.raises(LeftError):  # and begins no other
        compute_on_worker(_tiny(), CPU, expected)


def _tiny() -> Run:
    return replace(RUNS[1], train_images=256, epochs=1)


def test_something_else_that_listens_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    monkeypatch.setattr("bsr.compute.cluster.connection.CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match="got something else that listens there; start one with: dask"):
            connect(address, wait=1)


@contextmanager
def saying(first: bytes) -> Iterator[str]:
    """The address of something that says so much to whoever connects, then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        done = threading.Event()

        def serve() -> None:
            with suppress(OSError):
                caller, _ = listener.accept()
                with caller:
                    caller.sendall(first)
                    done.wait(PATIENCE)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
    thread.join()


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"-ERR unknown command\r\n",
        (3 * 2**60).to_bytes(8, "little"),
        (3 * 2**30).to_bytes(8, "little"),
        b"\xff" * 64,
        (8).to_bytes(8, "little") + (1).to_bytes(8, "little"),
        (16).to_bytes(8, "little") + (2**62).to_bytes(8, "little") + b"x" * 8,
        (16).to_bytes(8, "little") + (1).to_bytes(8, "little") + (0).to_bytes(8, "little"),
    ],
    ids=["http", "ssh", "redis", "3 EiB", "3 GiB", "noise", "no frame", "4 EiB of frames", "an empty frame"],
)
def test_whatever_something_else_says_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr("bsr.compute.cluster.connection.CONNECT_SECONDS", 0.3)
    with saying(first) as address, pytest.raises(ClusterError) as refused:
        connect(address, wait=1)
    assert str(refused.value).startswith(f"expected a Dask scheduler at {address!r}, got ")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "ucx://127.0.0.1:9",
        "http://127.0.0.1:9",
        "nonsense",
        "tcp://",
        "tcp://127.0.0.1:99999",
        "tcp://[::1",
        "tcp://127.0.0.1:9/x",
        "tcp://\ud800:1",
        "tcp://a\n\x1b[2J:1",
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("bsr.compute.cluster.connection.CONNECT_SECONDS", 0.3)
    with pytest.raises(ClusterError) as refused:
        connect(address, wait=1)
    assert str(refused.value).startswith(f"expected a Dask scheduler at {address!r}, got ")
    assert str(refused.value).isprintable()


def test_a_worker_that_offers_no_gpu_is_refused_before_a_run_waits_for_ever() -> None:
    gpu = FIRST._replace(environment={"device": "cuda:0"})
    assert lacking_resource(gpu, {"resources": {}}).startswith(
        "expected the resource GPU, got none; start it"
    )
    assert not lacking_resource(gpu, {"resources": {"GPU": 1}})
    assert not lacking_resource(FIRST, {"resources": {}})
