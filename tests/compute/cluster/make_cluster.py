"""`make cluster`: sessions over SLURM, over ssh to a second host, over a link that is cut, and with TLS.

Everything is real, on one machine: see host.py. Each part runs the lines of docs/cluster.md, checks that its
errors are those of one process to the last bit, and that no process is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import slurm
from host import HOME, REPOSITORY, TwoHosts, until
from parts import (
    LONG,
    LONG_RUNS,
    SHORT_RUNS,
    Part,
    Reference,
    block,
    nothing_of_the_session_remains,
    part,
    session,
    until_recorded,
)

NEEDED: Final = {
    "slurmctld": "slurm-wlm",
    "munged": "munge",
    "sshd": "openssh-server",
    "ip": "iproute2",
    "openssl": "openssl",
}
CLIENT: Final = "pytest benchmarks --benchmark-json=refused.json --bsr-dask {}"


def over_ssh(folder: Path, reference: Reference) -> Part:
    """Two sessions, one after the other, on one scheduler and its workers."""
    with closing(TwoHosts(folder)) as hosts:
        session(hosts.here, block("two machines"), SHORT_RUNS)
        shown = part("ssh to a second host", hosts.here, reference, SHORT_RUNS)
        nothing_of_the_session_remains(hosts, "tcp://10.0.0.1:8786")
        again = block("two machines").splitlines()[-1]
        session(hosts.here, again, SHORT_RUNS)
        part("the next session", hosts.here, reference, SHORT_RUNS)
        assert hosts.other.processes("dask worker"), "the user's workers live"
    return shown


def over_a_cut_link(folder: Path, reference: Reference) -> Part:
    """The link is down while the other host trains; a worker here goes on, then the other's do too."""
    took: list[float] = []

    def cut() -> None:
        until_recorded(hosts.here, 1)
        hosts.cut()
        began = time.monotonic()
        until(lambda: "Remove worker" in hosts.said("here", "session.log"), "the cut is noticed", LONG)
        took.append(time.monotonic() - began)
        hosts.mend()
        hosts.here.start("ssh other " + worker, "ssh.log")

    scheduler, ssh, last = block("two machines").splitlines()
    worker = ssh.removeprefix("ssh other ").removesuffix("&")
    with closing(TwoHosts(folder)) as hosts:
        here = worker.replace("10.0.0.2", "10.0.0.1").replace("--nworkers 2", "--nworkers 1")
        session(hosts.here, "\n".join([scheduler, ssh, f"{here} &", last]), LONG_RUNS, cut)
        shown = part("cut link", hosts.here, reference, LONG_RUNS, f", noticed after {took[0]:.0f} s")
        nothing_of_the_session_remains(hosts, "tcp://10.0.0.1:8786")
    return shown


def with_tls(folder: Path, reference: Reference) -> Part:
    """A session, then a worker and two clients that are refused."""
    with closing(TwoHosts(folder)) as hosts:
        hosts.here.run(" && ".join(block("a certificate").splitlines()))
        session(hosts.here, block("two machines with TLS"), SHORT_RUNS)
        shown = part("TLS", hosts.here, reference, SHORT_RUNS)
        address = "tls://10.0.0.1:8786"
        for name, asked in (("no certificate", address), ("no TLS", "tcp://10.0.0.1:8786")):
            said = hosts.here.run(f"HOME=/tmp/none {CLIENT.format(asked)} || true")
            lines = [line for line in said.splitlines() if line.startswith("ERROR:")]
            assert len(lines) == 1, said
            print(f"  refused, a session with {name}: {lines[0]}")
        line = f"HOME=/tmp/none timeout 60 dask worker {address} --host 10.0.0.2 --no-dashboard || true"
        said = hosts.other.run(line)
        reason = next(line for line in said.splitlines() if "check your TLS configuration" in line)
        print(f"  refused, a worker with no certificate: {reason.strip()}")
        nothing_of_the_session_remains(hosts, address)
    return shown


def over_slurm(folder: Path, reference: Reference) -> Part:
    """32 jobs asked for, two at a time; one is cancelled in the middle of a Run."""

    def cancel() -> None:
        until_recorded(host, 1)
        running = slurm.slurm(host, "squeue --noheader --states=RUNNING --format=%i").split()
        slurm.slurm(host, f"scancel {running[0]}")

    with closing(TwoHosts(folder)) as hosts:
        host = hosts.here
        slurm.start(host)
        host.run(" && ".join(block("a certificate").splitlines()[:-1]))
        (host.home / "work/slurm.py").write_text(block("SLURM"))
        line = f"SLURM_CONF={HOME}/slurm/slurm.conf python slurm.py"
        session(host, line, LONG_RUNS, cancel)
        shown = part("SLURM", host, reference, LONG_RUNS, ", one job of them cancelled")
        until(lambda: not slurm.slurm(host, "squeue --noheader"), "no job is left")
        assert not host.processes("pytest")
        assert not host.processes("dask_worker")
    return shown


def main() -> int:
    """Run the parts, each in a folder of its own that goes with it."""
    if refused := _refusal():
        print(f"make cluster: {refused}", file=sys.stderr)
        return 2
    _install()
    chosen = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="bsr-cluster-") as folder:
        reference = Reference(Path(folder))
        for run in (over_slurm, over_ssh, over_a_cut_link, with_tls):
            if not chosen or run.__name__ in chosen:
                shown = run(Path(folder) / run.__name__, reference)
                print(
                    f"{shown.name}: {shown.runs} Runs, {shown.wall_seconds:.1f} s, "
                    f"{shown.overhead_seconds:.2f} s overhead per Run, {shown.note}; "
                    "errors those of one process to the last bit, no process left",
                    flush=True,
                )
    return 0


def _refusal() -> str:
    """Why it cannot be run here; empty where it can."""
    if os.geteuid() != 0:
        return f"expected root, which alone makes namespaces, got user {os.geteuid()}; run it as root"
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        return f"expected {', '.join(missing)}, got none; install with: apt-get install {' '.join(missing)}"
    return ""


def _install() -> None:
    """What SLURM's part needs of Python, beside what is there."""
    if not find_spec("dask_jobqueue"):
        line = ["-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "dask-jobqueue>=0.9"]
        subprocess.run([sys.executable, *line], cwd=REPOSITORY, check=True)


if __name__ == "__main__":
    sys.exit(main())
