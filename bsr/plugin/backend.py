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
    identities: Callable[[], dict[str, str]]
    """See bsr.compute.in_process.identities."""

    def leave(self) -> None:
        """Give it up unused."""
        self.executor(lambda _run, _epoch: None).shutdown(cancel_futures=True)


def find(options: Options, runs: tuple[Run, ...], waited: Callable[[float], None]) -> Backend:
    """The place that the options ask for; `waited` is told the seconds for which it had no worker.

    Raises pytest.UsageError where it will not do. Loads torch.
    """
    return _cluster(options, options.dask, runs, waited) if options.dask else _this_machine(options, runs)


def _this_machine(options: Options, runs: tuple[Run, ...]) -> Backend:
    from bsr import engines  # noqa: PLC0415
    from bsr.compute.in_process import identities  # noqa: PLC0415
    from bsr.machine import device as machine  # noqa: PLC0415 - torch, which only a session that measures needs

    execution, workers = checks.execution(options, runs)
    train_images = max(map(_train_images, runs), default=1)
    test_images = max((run.test_images for run in runs), default=1)
    digest = checks.data(options.grid.dataset, execution.data, train_images, test_images)

    def executor(on_epoch: OnEpoch) -> RunExecutor:
        if workers:
            from bsr.compute.workers import Workers  # noqa: PLC0415

            return Workers(workers)
        from bsr.compute.in_process import InProcess  # noqa: PLC0415

        return InProcess(on_epoch)

    return Backend(
        execution,
        engines.source_digest(execution.engine),
        workers,
        digest,
        machine.fingerprint(execution),
        executor,
        partial(identities, runs, execution.data),
    )


def _train_images(run: Run) -> int:
    """How many it takes of the training split, those that it validates on too."""
    return run.train_images + (run.test_images if run.evaluate_on == "validation" else 0)


def _cluster(
    options: Options, address: str, runs: tuple[Run, ...], waited: Callable[[float], None]
) -> Backend:
    from bsr import engines  # noqa: PLC0415 - loads torch
    from bsr.compute.cluster import WAIT_SECONDS, Cluster, ClusterError  # noqa: PLC0415 - the optional extra

    asked = replace(options.execution, threads=options.execution.threads or 1)
    checks.wherever(asked)
    try:
        wait = options.dask_wait or WAIT_SECONDS
        cluster = Cluster(address, asked, options.grid.dataset, runs, wait, waited)
    except ClusterError as error:
        raise pytest.UsageError(f"--bsr-dask: {error}") from error
    kernel = engines.source_digest(cluster.execution.engine)
    return Backend(
        cluster.execution,
        kernel,
        0,
        cluster.digest,
        cluster.environment,
        lambda _on_epoch: cluster,
        lambda: cluster.trained,
    )
