"""A session uses the cores and the memory that its process may use, also in a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bsr.machine.capacity import problem_of_workers, usable_cores, usable_memory_bytes, workers_that_fit

GIB = 2**30


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


def system(root: Path, cgroup: str, **files: str) -> Path:
    """A machine with 16 GiB free whose control groups say so; `__` in a file's name is a slash."""
    written = {"proc/self/cgroup": cgroup, "proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {16 * 2**20} kB\n"}
    written |= {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_quota_they_are_those_it_may_run_on(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/user\n", **{"user/cpu.max": "max 100000\n", "user/memory.max": "max\n"})
    assert (usable_cores(root), usable_memory_bytes(root)) == (8, 16 * GIB)
    assert usable_cores(tmp_path / "not linux") == 8
    assert usable_memory_bytes(tmp_path / "not linux") is None


@pytest.mark.parametrize(
    ("quota", "cores"), [("250000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)]
)
def test_a_quota_bounds_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(system(tmp_path, "0::/\n", **{"cpu.max": quota})) == cores


def test_the_quota_of_a_group_around_counts_too(tmp_path: Path) -> None:
    groups = {"pod/cpu.max": "300000 100000", "pod/job/cpu.max": "max 100000"}
    assert usable_cores(system(tmp_path, "0::/pod/job\n", **groups)) == 3


def test_the_first_version_of_control_groups_is_understood(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        "4:memory:/box\n3:cpu,cpuacct:/box\n",
        **{
            "cpu,cpuacct/box/cpu.cfs_quota_us": "400000",
            "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            "memory/box/memory.limit_in_bytes": str(2 * GIB),
            "memory/box/memory.usage_in_bytes": str(GIB),
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/memory.usage_in_bytes": str(GIB),
        },
    )
    assert (usable_cores(root), usable_memory_bytes(root)) == (4, GIB)


def test_what_is_left_of_a_limit_bounds_the_memory(tmp_path: Path) -> None:
    limit = {"memory.max": str(3 * GIB), "memory.current": str(2 * GIB)}
    assert usable_memory_bytes(system(tmp_path, "0::/\n", **limit)) == GIB


def test_there_are_no_more_workers_than_the_memory_holds(tmp_path: Path) -> None:
    limit = {"memory.max": str(10**9), "memory.current": "0"}
    count, why = workers_that_fit(55_000_000, system(tmp_path / "small", "0::/\n", **limit))
    assert (count, why) == (2, "2 workers on 8 cores: each takes 440 MB, 1,000 MB are free")
    assert workers_that_fit(55_000_000, system(tmp_path / "large", "0::/\n")) == (8, "")


def test_of_a_data_set_that_takes_most_of_the_memory_there_is_one_copy(tmp_path: Path) -> None:
    """Every worker loads it, so two would not fit; where not even one does, the session's process trains."""
    root = system(tmp_path, "0::/\n", **{"memory.max": str(10 * 10**9), "memory.current": "0"})
    why = "on 8 cores: each takes"
    assert workers_that_fit(6 * 10**9, root) == (1, f"1 worker {why} 6,385 MB, 10,000 MB are free")
    assert workers_that_fit(12 * 10**9, root) == (0, f"no workers {why} 12,385 MB, 10,000 MB are free")


def test_workers_that_could_not_hold_the_data_set_are_refused(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/\n", **{"memory.max": str(10 * 10**9), "memory.current": "0"})
    assert problem_of_workers(1, 6 * 10**9, root) == ""
    assert problem_of_workers(0, 60 * 10**9, root) == ""
    assert problem_of_workers(2, 6 * 10**9, root) == (
        "expected at most 1, got 2: each loads the data set, 6,000 MB, and 10,000 MB are free"
    )
