"""A machine of its own in namespaces of Linux: processes, network, mounts and a name; nothing outlives it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

REPOSITORY: Final = Path(__file__).parents[3]
HOME: Final = "/root"
PATIENCE: Final = 120
NAMES: Final = {"here": "10.0.0.1", "other": "10.0.0.2"}
_OWN: Final = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
_SHARED: Final = tuple(str(folder) for folder in (REPOSITORY, Path(sys.base_prefix)))
_LAID: Final = f"""
mount -t tmpfs tmpfs /mnt
mkdir /mnt/0 /mnt/1
mount --bind {_SHARED[0]} /mnt/0
mount --bind {_SHARED[1]} /mnt/1
mount --bind "$OWN" {HOME}
mount --bind "$OWN"/hosts /etc/hosts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p {_SHARED[0]} {_SHARED[1]} /run/sshd
mount --bind /mnt/0 {_SHARED[0]}
mount --bind /mnt/1 {_SHARED[1]}
hostname "$NAME"
ip link set lo up
touch {HOME}/laid
exec sleep infinity
"""
"""Of what is outside it has this checkout and its Python, wherever they lie; HOME, /tmp, /run are its own."""


class Host:
    """`name` of NAMES, with HOME in `folder` and this checkout."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.address = NAMES[name]
        self.home = folder / name
        self.home.mkdir(parents=True)
        hosts = [f"{address} {other}" for other, address in NAMES.items()]
        (self.home / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, ""]))
        work = self.home / "work"
        work.mkdir()
        for part in ("benchmarks", "conftest.py", "pyproject.toml"):
            (work / part).symlink_to(REPOSITORY / part)
        line = ["setpriv", "--pdeathsig", "KILL", "unshare", *_OWN, "sh", "-ec", _LAID]
        environment = {"PATH": path(), "OWN": str(self.home), "NAME": name}
        self._outer = subprocess.Popen(line, env=environment, start_new_session=True)
        until((self.home / "laid").exists, f"the host {name} is there")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        self.pid = int(children.split()[0])
        self._namespace = Path(f"/proc/{self.pid}/ns/pid").readlink()

    def start(self, line: str, log: str, **environment: str) -> subprocess.Popen[bytes]:
        """A shell's line in its work folder, with what it says in a log of its HOME."""
        with (self.home / log).open("ab") as output:
            return self._shell(line, output, environment)

    def run(self, line: str, **environment: str) -> str:
        """A line to its end, and all that it says; raises AssertionError where it fails."""
        shell = self._shell(line, subprocess.PIPE, environment)
        said = shell.communicate(timeout=PATIENCE)[0].decode()
        assert shell.returncode == 0, f"{self.name}: {line}: {said}"
        return said

    def _shell(
        self, line: str, output: IO[bytes] | int, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        known = {"HOME": HOME, "PATH": path(), "LANG": "C.UTF-8", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
        enter = ["nsenter", "--target", str(self.pid), "--all", "sh", "-c", f"cd {HOME}/work; {line}"]
        return subprocess.Popen(
            enter,
            env=known | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def processes(self, word: str = "") -> list[str]:
        """The command lines of its processes that have a word in them."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "ns/pid").readlink() == self._namespace:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip())
            except OSError:  # it has ended meanwhile
                continue
        return [line for line in found if word in line]

    def close(self) -> None:
        """Kill all that runs there; with the last process its namespaces end. Raises AssertionError."""
        self._outer.send_signal(signal.SIGKILL)
        self._outer.wait(timeout=PATIENCE)
        until(lambda: not self.processes(), f"no process of {self.name} is left")


class TwoHosts:
    """`here` and `other` with a network between them, and an ssh server on `other`."""

    def __init__(self, folder: Path) -> None:
        self.here, self.other = Host("here", folder), Host("other", folder)
        here, other = self.here.pid, self.other.pid
        link = f"ip link add name eth0 netns {here} type veth peer name eth0 netns {other}"
        subprocess.run(link.split(), check=True)
        for host in (self.here, self.other):
            host.run(f"ip addr add {host.address}/24 dev eth0 && ip link set eth0 up")
        self._let_in()

    def _let_in(self) -> None:
        for host in (self.here, self.other):
            host.run(f"mkdir -m 700 {HOME}/.ssh {HOME}/.config")
        self.here.run(f"ssh-keygen -q -t ed25519 -N '' -f {HOME}/.ssh/id_ed25519")
        shutil.copy(self.here.home / ".ssh/id_ed25519.pub", self.other.home / ".ssh/authorized_keys")
        (self.here.home / ".ssh/config").write_text(
            "Host other\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )
        (self.other.home / "sshd_config").write_text(
            f"ListenAddress {self.other.address}\nHostKey {HOME}/.ssh/host\nStrictModes no\nUsePAM no\n"
            f"PidFile none\nSubsystem sftp internal-sftp\nSetEnv PATH={path()} OMP_NUM_THREADS=1\n"
        )
        self.other.run(f"ssh-keygen -q -t ed25519 -N '' -f {HOME}/.ssh/host")
        self.other.start(f"exec /usr/sbin/sshd -D -e -f {HOME}/sshd_config", "sshd.log")
        until(lambda: "Server listening" in self.said("other", "sshd.log"), "the ssh server listens")

    def said(self, name: str, log: str) -> str:
        """What is in a log so far."""
        path = (self.here if name == "here" else self.other).home / log
        return path.read_text(errors="replace") if path.exists() else ""

    def cut(self) -> None:
        """Take the link between them down."""
        self.here.run("ip link set eth0 down")

    def mend(self) -> None:
        """Bring it back."""
        self.here.run("ip link set eth0 up")

    def close(self) -> None:
        """See Host."""
        self.here.close()
        self.other.close()


def path() -> str:
    """Where programs are: this Python's first."""
    return f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until it is so. Raises AssertionError."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
