"""Runs on a Dask cluster (optional extra `bsr[dask]`): any number of machines, data travel with the package.

Dask schedules, trains again what a lost worker was training, and streams results back; nothing of that is
ours. Here its workers are checked before they are trusted, as they come and go, and each trains one Run at a
time.
"""

from bsr.compute.cluster.connection import ClusterError
from bsr.compute.cluster.executor import WAIT_SECONDS, Cluster

__all__ = ["WAIT_SECONDS", "Cluster", "ClusterError"]
