"""Where the Runs will be computed, found and tried before the first: this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pytest

from bsr.plugin import checks
from bsr.plugin.options import Options
from bsr.plugin.session import RunExecutor
from bsr.result import Trait
from bsr.run import Execution, Run

OnEpoch = Callable[[Run, int], None]
"""Told of a Run and the number of its finished epochs."""


class Backend(NamedTuple):
    """What a session's header says of it, and the executor that computes there."""

    execution: Execution
    kernel: str
    workers: int
    dataset_digest: str
    environment: dict[str, Any]
    executor: Callable[[OnEpoch], RunExecutor]
    identities: Callable[[], dict[str, Trait]]
    """See bsr.compute.in_process.identities."""
    note: str = ""
    """What a person should know of it: why there are so few workers."""

    def leave(self) -> None:
        """Give it up unused."""
        self.executor(lambda _run, _epoch: None).shutdown(cancel_futures=True)


def backend_for(
    options: Options, runs: tuple[Run, ...], waited: Callable[[float], None], engine: str = ""
) -> Backend:
    """The place that the options ask for; `waited` is told the seconds for which it had no worker.

    `engine` is that of a recording which is gone on from, in place of `auto`.

    Raises pytest.UsageError where it will not do. Loads torch.
    """
    if options.dask:
        return _cluster(options, options.dask, runs, waited)
    return _this_machine(options, runs, engine)


def _this_machine(options: Options, runs: tuple[Run, ...], engine: str) -> Backend:
    from bsr import engines  # noqa: PLC0415
    from bsr.compute.in_process import identities  # noqa: PLC0415
    from bsr.machine import device as machine  # noqa: PLC0415 - torch, which only a session that measures needs

    images = checks.data(options.grid.dataset, options.execution.data, runs)
    execution, workers, why = checks.execution(options, runs, images.loading_bytes, engine)

    def executor(on_epoch: OnEpoch) -> RunExecutor:
        if workers:
            from bsr.compute.workers import Workers  # noqa: PLC0415

            return Workers(workers)
        from bsr.compute.in_process import InProcess  # noqa: PLC0415

        return InProcess(on_epoch)

    return Backend(
        execution,
        engines.session_digest(execution, runs),
        workers,
        images.digest,
        machine.fingerprint(execution),
        executor,
        partial(identities, runs, execution.data),
        why,
    )


def _cluster(
    options: Options, address: str, runs: tuple[Run, ...], waited: Callable[[float], None]
) -> Backend:
    from bsr.compute.cluster import WAIT_SECONDS, Cluster, ClusterError  # noqa: PLC0415 - the optional extra

    asked = replace(options.execution, threads=options.execution.threads or 1)
    checks.check_before_placement(asked)
    try:
        wait = options.dask_wait or WAIT_SECONDS
        cluster = Cluster(address, asked, options.grid.dataset, runs, wait, waited)
    except ClusterError as error:
        raise pytest.UsageError(f"--bsr-dask: {error}") from error
    return Backend(
        cluster.execution,
        cluster.kernel,
        0,
        cluster.digest,
        cluster.environment,
        lambda _on_epoch: cluster,
        lambda: cluster.trained,
    )
