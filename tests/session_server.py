"""Starts sessions of the suite as a shell would, but without the seconds that every import of torch takes.

A process that has imported torch and read the images forks one child per session; the child runs pytest's own
entry point on the arguments it is given, in its folder, with its output in a file. It is a process of its
own, to be sent signals and killed. Requests are lines of JSON on standard input.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve until standard input ends; in a child, the exit code of its session."""
    _warm_up()
    gc.collect()
    gc.freeze()  # what is here already is no session's: its collections leave it alone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for the children that wait
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            return _watch(request)
    return 0


def _warm_up() -> None:
    """Everything slow, once. Here and not above, since this file is imported again by what sessions start."""
    theirs = ("execnet", "msgspec", "pdb", "pytest", "rich.progress", "safetensors.torch", "scipy.stats")
    ours = ("bsr.compute.in_process", "bsr.records.replacing")  # but the plugin, which pytest imports itself
    for name in (*theirs, *ours):
        import_module(name)
    import torch

    from bsr.data.images import load_split
    from bsr.experiments import PRESETS
    from bsr.experiments.original import batch_size

    assert torch.get_num_threads() == 1, "a fork of a process that has run OpenMP threads can hang"
    for run in batch_size(PRESETS["smoke"].grid):
        load_split(run)
    cpuinfo: Any = import_module("cpuinfo")
    about = cpuinfo.get_cpu_info()
    cpuinfo.get_cpu_info = lambda: about


def _watch(request: dict[str, Any]) -> int:
    """Fork the session, write its number, and when it has ended its exit code (negative: the signal)."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return _session(request)
    output = Path(request["output"])
    _write(output.with_suffix(".pid"), pid)
    _, status = os.waitpid(pid, 0)
    _write(output.with_suffix(".code"), os.waitstatus_to_exitcode(status))
    os._exit(0)


def _write(path: Path, number: int) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(str(number))
    unfinished.replace(path)


def _session(request: dict[str, Any]) -> int:
    os.setsid()
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])  # as `python -m pytest` does
    os.environ.clear()
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    import pytest

    sys.argv = ["pytest", *request["arguments"]]
    code = int(pytest.main())
    # what the interpreter's end does that can be seen; freeing every object that was forked takes a second
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
