"""A Dask scheduler runs the code of whoever reaches it: with TLS only of who has its certificate."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bsr.compute.answers import believed
from bsr.compute.cluster import Cluster, ClusterError
from bsr.compute.cluster.connection import connect
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from trainings import CPU

distributed = pytest.importorskip("distributed", reason="distributed is not installed")
dask: Any = pytest.importorskip("dask", reason="distributed is not installed")

RUN = next(batch_size(PRESETS["smoke"].grid))


def certificate(folder: Path) -> dict[str, Any]:
    """Made by the line of docs/cluster.md, as Dask's configuration names it."""
    folder.mkdir()
    key, its_certificate = (str(folder / f"dask.{name}") for name in ("key", "crt"))
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", "-subj", "/CN=dask"]
    subprocess.run([*line, "-keyout", key, "-out", its_certificate], check=True, capture_output=True)
    pair = {"cert": its_certificate, "key": key}
    return {
        "distributed.comm.tls.ca-file": its_certificate,
        **{f"distributed.comm.tls.{role}": pair for role in ("scheduler", "worker", "client")},
    }


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return certificate(tmp_path_factory.mktemp("tls") / "mine")


@pytest.fixture(scope="module")
def secured(configured: dict[str, Any]) -> Iterator[str]:
    """The address of a cluster of one worker that asks for the certificate."""
    with dask.config.set(configured):
        cluster = distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tls://",
            security=distributed.Security(),
            dashboard_address=":0",
        )
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsr.compute.cluster.connection.CONNECT_SECONDS", 1)


def test_with_the_certificate_of_dasks_configuration_runs_are_trained(
    secured: str, configured: dict[str, Any]
) -> None:
    assert secured.startswith("tls://")
    with dask.config.set(configured):
        cluster = Cluster(secured, CPU, "MNIST", (RUN,))
        assert not list(cluster.news())
        answer = cluster.compute(RUN, cluster.execution).result(timeout=60)
        assert believed(answer, RUN).result.status == "ok"
        cluster.shutdown(cancel_futures=True)


def test_without_a_certificate_it_is_refused_in_one_line_that_names_the_settings(secured: str) -> None:
    with pytest.raises(ClusterError) as refused:
        connect(secured, wait=1)
    assert str(refused.value) == (
        f"expected this machine's certificate for {secured}, got none in Dask's configuration; name it as "
        "distributed.comm.tls.ca-file, .client.cert and .client.key, see docs/cluster.md"
    )


@pytest.mark.usefixtures("impatient")
def test_with_another_certificate_it_is_refused_in_one_line(secured: str, tmp_path: Path) -> None:
    with dask.config.set(certificate(tmp_path / "another")), pytest.raises(ClusterError) as refused:
        connect(secured, wait=1)
    assert "certificate verify failed" in str(refused.value)
    assert str(refused.value).endswith("with the same certificates there as here")
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("impatient")
def test_without_tls_a_scheduler_that_has_it_is_refused_in_one_line(secured: str) -> None:
    with pytest.raises(ClusterError, match=r"one that has TLS is at tls://") as refused:
        connect(secured.replace("tls://", "tcp://"), wait=1)
    assert "\n" not in str(refused.value)


def test_where_encryption_is_required_a_scheduler_without_is_refused_in_one_line() -> None:
    required = {"distributed.comm.require-encryption": True}
    with dask.config.set(required), pytest.raises(ClusterError, match="got encryption required by Dask"):
        connect("tcp://127.0.0.1:9", wait=1)


@pytest.mark.parametrize(("host", "open_to_all"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_scheduler_without_tls_that_everyone_reaches_gets_a_line_of_warning(
    host: str, open_to_all: bool
) -> None:
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host=host,
        dashboard_address=":0",
    ) as local:
        cluster = Cluster(local.scheduler_address, CPU, "MNIST", (RUN,))
        lines = list(cluster.news())
        cluster.shutdown(cancel_futures=True)
    assert len(lines) == open_to_all
    assert all("on every interface and without TLS" in line for line in lines)
