"""How much of the machine this process may use: cores by affinity and quota, memory by what is left of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
"""Where `proc` and `sys` are; tests have their own."""
UNLIMITED: Final = 2**60
"""Bytes from which on a limit is none: version 1 of control groups writes a huge number."""
WORKER_BYTES: Final = 385_000_000
"""Resident memory of one worker process that trains, torch included, without its data set."""
_MOUNT: Final = "sys/fs/cgroup"


def usable_cores(root: Path = ROOT) -> int:
    """Cores that this process may run on, no more than its container's quota; at least 1."""
    may_run_on = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([may_run_on, *map(int, _quotas(root))]))


def usable_memory_bytes(root: Path = ROOT) -> int | None:
    """Memory that is free for this process, no more than its container's limit leaves; None if not told."""
    return min([*_available(root), *_left_of_limits(root)], default=None)


def workers_that_fit(data_bytes: int, root: Path = ROOT) -> tuple[int, str]:
    """One worker per usable core, fewer where the memory does not hold them; and why, in one line, if so.

    Each holds a data set of so many bytes. 0 where not even one fits: then this process trains, which has it.
    """
    cores, free = usable_cores(root), usable_memory_bytes(root)
    if free is None or (fit := free // (WORKER_BYTES + data_bytes)) >= cores:
        return cores, ""
    each = f"each takes {(WORKER_BYTES + data_bytes) // 10**6:,} MB, {free // 10**6:,} MB are free"
    return fit, f"{fit or 'no'} worker{'' if fit == 1 else 's'} on {cores} cores: {each}"


def problem_of_workers(count: int, data_bytes: int, root: Path = ROOT) -> str:
    """Why so many workers cannot each hold such a data set, in one line; empty where they can."""
    free = usable_memory_bytes(root)
    if free is None or count * data_bytes <= free:
        return ""
    return (
        f"expected at most {free // data_bytes}, got {count}: each loads the data set, "
        f"{data_bytes // 10**6:,} MB, and {free // 10**6:,} MB are free"
    )


def _quotas(root: Path) -> Iterator[float]:
    """Cores per control group (versions 2 and 1) of this process, and of every group around it."""
    for group in _groups(root, ""):
        if len(words := _words(group / "cpu.max")) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
    for group in (*_groups(root, "cpu"), *_groups(root, "cpu,cpuacct")):
        quota, period = (_words(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period and int(quota[0]) > 0:
            yield int(quota[0]) / int(period[0])


def _left_of_limits(root: Path) -> Iterator[int]:
    names = {
        "": ("memory.max", "memory.current"),
        "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    }
    for controller, (limit_name, used_name) in names.items():
        for group in _groups(root, controller):
            limit, used = _words(group / limit_name), _words(group / used_name)
            if limit and used and limit[0] != "max" and int(limit[0]) < UNLIMITED:
                yield max(0, int(limit[0]) - int(used[0]))


def _available(root: Path) -> Iterator[int]:
    with suppress(OSError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those around it; `controller` "" is version 2."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == controller:
                group = Path(path.lstrip("/"))
                for folder in (group, *group.parents):
                    yield root / _MOUNT / controller / folder


def _words(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split()
    return []
