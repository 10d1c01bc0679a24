"""The lines of docs/cluster.md run as they stand there, and what their session recorded."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from host import REPOSITORY, Host, TwoHosts, path, until

LONG: Final = 600
SHORT_RUNS: Final = "--bsr-preset smoke --bsr-runs 2 --bsr-tasks mean,std"
LONG_RUNS: Final = "--bsr-preset smoke --bsr-runs 4 --bsr-tasks mean --bsr-epochs 6"
"""Long enough that something can happen in the middle of one."""


class Part(NamedTuple):
    """What is shown of one part."""

    name: str
    runs: int
    wall_seconds: float
    overhead_seconds: float
    """Per Run: what the session took beyond its Runs' own seconds, shared by the workers."""
    note: str = ""


def block(title: str) -> str:
    """The lines of docs/cluster.md under that comment."""
    text = (REPOSITORY / "docs/cluster.md").read_text()
    found = re.search(rf"^```\w*\n# {re.escape(title)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cluster.md: expected a block that begins with '# {title}'"
    return found[1]


def test_errors(document: Path) -> dict[str, Any]:
    """Run -> MSE after each epoch, of a recording all of whose Runs are ok."""
    cases = json.loads(document.read_text())["bsr"]["cases"]
    assert {case["result"]["status"] for case in cases} == {"ok"}, [case["result"] for case in cases]
    return {case["key"]: case["result"]["test_mse"] for case in cases}


class Reference:
    """What one process measures, at one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, runs: str) -> dict[str, Any]:
        """Their errors, measured when they are first asked for."""
        if runs not in self._known:
            document = self._folder / f"reference-{len(self._known)}.json"
            line = (
                f"-m pytest benchmarks --benchmark-json={document} --bsr-engine eager --bsr-threads 1 {runs}"
            )
            environment = {"PATH": path(), "HOME": str(self._folder), "OMP_NUM_THREADS": "1"}
            subprocess.run(
                [sys.executable, *shlex.split(line)],
                cwd=REPOSITORY,
                env=environment,
                check=True,
                capture_output=True,
                timeout=LONG,
            )
            self._known[runs] = test_errors(document)
        return self._known[runs]


def part(name: str, host: Host, reference: Reference, runs: str, note: str = "") -> Part:
    """Of the session that has ended on a host: all planned Runs once, and equal to the last bit."""
    document = host.home / "work/run.json"
    assert test_errors(document) == reference.of(runs), "the errors are not those of one process"
    record = json.loads(document.read_text())["bsr"]
    results = [case["result"] for case in record["cases"]]
    said = (host.home / "session.log").read_text()
    workers = max(map(int, re.findall(r"(\d+) workers?[],]", said)))
    busy = sum(result["wall_seconds"] for result in results) / workers
    overhead = (record["wall_seconds"] - busy) / len(results)
    return Part(name, len(results), record["wall_seconds"], overhead, f"{workers} workers at most{note}")


def session(
    host: Host, lines: str, runs: str, meanwhile: Callable[[], None] = lambda: None, code: int = 0
) -> str:
    """Run lines whose last is a session's to the end, and return all that they said."""
    shell = host.start(lines, "session.log", PYTEST_ADDOPTS=runs)
    try:
        meanwhile()
        assert shell.wait(timeout=LONG) == code
    except BaseException:
        print((host.home / "session.log").read_text()[-6000:], file=sys.stderr)
        raise
    return (host.home / "session.log").read_text()


def until_recorded(host: Host, results: int) -> None:
    """Wait until the session's journal has so many Results."""

    def recorded() -> bool:
        journal = host.home / "work/run.journal.jsonl"
        return journal.exists() and journal.read_bytes().count(b'"test_mse"') >= results

    until(recorded, f"{results} Results are recorded", LONG)


IDLE: Final = """
import sys, time
from distributed import Client
client = Client(sys.argv[1], timeout=20)
for _ in range(15):  # workers hear a moment later that nobody wants a key any more
    left = client.run(lambda dask_worker: sorted(map(str, dask_worker.state.tasks)))
    if left and not any(left.values()):
        break
    time.sleep(0.2)
else:
    sys.exit(f"three seconds after the session workers still hold {left}")
client.close(timeout=5)
"""


def nothing_of_the_session_remains(hosts: TwoHosts, address: str) -> None:
    """Its processes are gone, and on the user's workers, which live, so are its Runs."""
    for host in (hosts.here, hosts.other):
        assert not host.processes("pytest"), host.processes("pytest")
    (hosts.here.home / "idle.py").write_text(IDLE)
    hosts.here.run(f"timeout 60 python /root/idle.py {address}")
