"""What every test shares: reproducible examples, one thread, and a cache that is nobody's own."""

from __future__ import annotations

import os
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from bsr.data.images import Images

# A busy machine is no reason to fail: no deadline, and slow draws are fine
_PATIENT = [HealthCheck.too_slow]
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, max_examples=50, suppress_health_check=_PATIENT
)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=_PATIENT)
settings.load_profile("ci")  # another one by --hypothesis-profile


def pytest_configure(config: pytest.Config) -> None:
    """Before torch is imported, here and in every process that a test starts; workers share one cache."""
    if not hasattr(config, "workerinput"):
        cache = tempfile.TemporaryDirectory(prefix="bsr-tests-")
        config.add_cleanup(cache.cleanup)
        os.environ["BSR_CACHE"] = cache.name
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin are dear beside other tests
    os.environ.pop("PYTEST_XDIST_WORKER", None)  # a session that a test starts is nobody's worker
    # What a shell starts in the background ignores Ctrl-C, and what nohup starts SIGHUP:
    # so would every session that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def mnist() -> Images:
    """The real images, all 70,000."""
    from bsr.data.images import load_images

    return load_images("MNIST")


@pytest.fixture(scope="session")
def native_kernel() -> None:
    """The study's, compiled; without a compiler what asks for it is skipped."""
    from bsr.engines import unavailable_reason

    if reason := unavailable_reason("native"):
        pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is marked `gpu` needs one."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")
