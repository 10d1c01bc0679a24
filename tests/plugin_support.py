"""The suite as a user runs it: sessions in processes of their own, what they say, what they leave behind."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bsr.records.journal import journal_path, read
from bsr.result import FINISHED

REPOSITORY = Path(__file__).parents[1]
PATIENCE = 600
"""Seconds after which a session counts as hanging; a busy machine needs many times what an idle one does.

The harness's took 7 s alone, 40 s beside two busy processes, and over two minutes where others had the cores.
"""
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")  # slow to import, and nothing to us
USUAL = ("-c", str(REPOSITORY / "pyproject.toml"), "--rootdir=.", *WITHOUT, "-p", "faults")
SMOKE = ("--bsr-preset", "smoke", "--bsr-engine", "eager", "--bsr-threads", "1")
ONE_CASE = (*SMOKE, "--bsr-epochs", "1", "-k", "mean-bs256")
TWO_CASES = (*SMOKE, "--bsr-epochs", "1", "-k", "bs256 and (mean or std)")


class Ended(NamedTuple):
    """What a session said, and its exit code; negative for the signal that killed it."""

    code: int
    output: str

    @property
    def errors(self) -> list[str]:
        """The lines of a usage error, without pytest's own."""
        lines = self.output.splitlines()
        return [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]


@dataclass
class Started:
    """A session that runs."""

    pid: int
    _output: Path
    _code: Callable[[], int | None]
    patience: float = PATIENCE

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._code() is None

    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + self.patience
        while not condition():
            assert self._code() is None, f"ended before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"never: {what}:\n{self.output()}"
            time.sleep(0.005)

    def until_it_says(self, text: str) -> None:
        """Wait until the text is in the output."""
        self.until(lambda: text in self.output(), f"it said {text!r}")

    def send(self, number: signal.Signals) -> None:
        """Send it, and it alone, a signal, if it still runs."""
        if self._code() is None:
            os.kill(self.pid, number)

    def wait(self) -> Ended:
        """Until it has ended."""
        deadline = time.monotonic() + self.patience
        while (code := self._code()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                pytest.fail(f"a session hung:\n{self.output()}")
            time.sleep(0.005)
        return Ended(code, self.output())


@dataclass
class Suite:
    """Where sessions run, one folder for all of a test's."""

    folder: Path
    arguments: tuple[str, ...] = ()
    """Given to every session, before its own."""
    _count: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def start(
        self, *arguments: str, fresh: bool = False, patience: float = PATIENCE, **environment: str
    ) -> Started:
        """`pytest benchmarks ARGUMENTS`; `fresh` takes a new interpreter, as a shell would."""
        output = self.folder / f"session-{next(self._count)}.out"
        where = (
            () if any(argument.endswith(".py") for argument in arguments) else (f"{REPOSITORY}/benchmarks",)
        )
        line = [*USUAL, *where, *self.arguments, *arguments]
        start = _in_a_new_interpreter if fresh or not hasattr(os, "fork") else _in_a_fork
        started = start(line, self.folder, output, session_environment() | environment)
        started.patience = patience
        return started

    def run(self, *arguments: str, fresh: bool = False, **environment: str) -> Ended:
        """The same, to its end."""
        return self.start(*arguments, fresh=fresh, patience=PATIENCE, **environment).wait()

    def recorded(self, *arguments: str) -> None:
        """What such a session leaves behind, copied from one that all tests of this process share."""
        shutil.copytree(
            _once(*self.arguments, *arguments).folder,
            self.folder,
            ignore=shutil.ignore_patterns("session-*"),
            dirs_exist_ok=True,
        )

    def json(self, name: str = "run.json") -> dict[str, Any]:
        """A document that a session wrote, read strictly."""
        document: dict[str, Any] = strict_json((self.folder / name).read_text())
        return document

    def statuses(self, name: str = "run.json") -> dict[str, str]:
        """Case -> status, in the document's own part."""
        return {case["result"]["run"]["label"]: case["result"]["status"] for case in self.cases(name)}

    def cases(self, name: str = "run.json") -> list[dict[str, Any]]:
        """The planned cases in a document, each Run with its label; what is at its default is there, too."""
        cases: list[dict[str, Any]] = self.json(name)["bsr"]["cases"]
        for case in cases:
            run = case["result"]["run"]
            network = "" if "model" not in run else f"-{run['model']}"
            run.setdefault("model", "study")
            case.setdefault("resumed", False)
            run["label"] = f"{run['task']}-bs{run['batch_size']}-seed{run['seed']}{network}"
        return cases

    def journalled(self, name: str = "run.json") -> dict[str, str]:
        """Case -> status, in the journal beside a document."""
        results = read(journal_path(self.folder / name)).results
        return {result.run.label: result.status for result in results.values()}

    def journal_lines(self, name: str = "run.json") -> int:
        """Whole lines in the journal beside a document, so far."""
        path = journal_path(self.folder / name)
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def left_behind(self) -> set[str]:
        """Names of the files in the folder but what sessions said."""
        return {path.name for path in self.folder.iterdir() if not path.name.startswith("session-")}


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A folder to run sessions in."""
    return Suite(tmp_path)


def strict_json(text: str) -> Any:
    """Parsed as RFC 8259 has it: no NaN, no infinity, no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs), f"a key twice: {pairs}"
        return dict(pairs)

    def refuse(constant: str) -> None:
        pytest.fail(f"not strict JSON: {constant}")

    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def reported(output: str) -> set[str]:
    """The cases that a session said were done."""
    lines = [line.split() for line in output.splitlines() if line.startswith("  ")]
    return {words[0] for words in lines if len(words) > 2 and "-bs" in words[0]}


# What differs between two sessions that measured the same: times, and where and when it was.
OF_THE_MOMENT = frozenset(
    {
        "command",
        "commit_info",
        "datetime",
        "device_seconds",
        "evaluation_seconds",
        "finished_at",
        "gpu",
        "images_per_second",
        "machine_info",
        "options",
        "peak_memory_bytes",
        "resumed",
        "setup_seconds",
        "started_at",
        "stats",
        "training_seconds",
        "wall_seconds",
    }
)


def timeless(document: Any) -> Any:
    """A document without its times, and without what says where and when it was made."""
    if isinstance(document, dict):
        return {name: timeless(value) for name, value in document.items() if name not in OF_THE_MOMENT}
    return [timeless(value) for value in document] if isinstance(document, list) else document


def interrupt(
    suite: Suite, number: signal.Signals, *arguments: str, lines: int, delay: float = 0, fresh: bool = False
) -> Ended:
    """A smoke session that is sent a signal `delay` seconds after the journal has so many lines.

    Whatever it said was done is in the journal, and what it wrote is strict and says what the journal says.
    On a busy machine a session may come to its end before its signal: then it is begun again.
    """
    before = {path: path.read_bytes() for path in suite.folder.iterdir() if path.is_file()}
    for _ in range(2):
        ended = _interrupted(suite, number, *arguments, lines=lines, delay=delay, fresh=fresh)
        if ended.code != 0:
            return ended
        for path in suite.folder.iterdir():
            if path.is_file():
                path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
    return _interrupted(suite, number, *arguments, lines=lines, delay=delay, fresh=fresh)


def _interrupted(
    suite: Suite, number: signal.Signals, *arguments: str, lines: int, delay: float, fresh: bool
) -> Ended:
    session = suite.start(*SMOKE, "--benchmark-json=run.json", *arguments, fresh=fresh)
    while (
        session.runs() and lines and ("bsr: journal" not in session.output() or suite.journal_lines() < lines)
    ):
        time.sleep(0.002)
    time.sleep(delay)
    session.send(number)
    ended = session.wait()
    journal = suite.journalled()
    assert reported(ended.output) <= set(journal), ended.output
    if number != signal.SIGKILL and "run.json" in suite.left_behind():
        whole = uninterrupted(*(argument for argument in arguments if argument != "--bsr-resume"))
        assert suite.statuses() == {case: journal.get(case, "not_run") for case in whole.statuses()}
    return ended


def assert_resumed_to_the_whole(suite: Suite, *arguments: str) -> None:
    """Going on completes the grid: nothing twice, what was finished as it was, all as never interrupted."""
    path = journal_path(suite.folder / "run.json")
    before = {key: result for key, result in read(path).results.items() if result.status in FINISHED}
    ended = suite.run(*SMOKE, "--benchmark-json=run.json", "--bsr-resume", *arguments)
    assert ended.code == 0, ended.output
    assert timeless(suite.json()) == timeless(uninterrupted(*arguments).json())
    kept = {case["key"]: case["result"]["training_seconds"] for case in suite.cases() if case["resumed"]}
    assert kept == {key: list(result.training_seconds) for key, result in before.items()}
    assert not {name for name in suite.left_behind() if name.startswith(".run.json")}


def uninterrupted(*arguments: str) -> Suite:
    """A smoke session that nothing happened to; one for all tests of this process."""
    return _once(*SMOKE, "--benchmark-json=run.json", *arguments)


@cache
def _once(*arguments: str) -> Suite:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    suite = Suite(Path(folder.name))
    ended = suite.run(*arguments)
    assert ended.code == 0, ended.output
    return suite


@cache
def _cache_folder() -> str:
    """One for all sessions: the tests' own, or one that goes with them."""
    if folder := os.environ.get("BSR_CACHE"):
        return folder
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    return kept.name


def session_environment() -> dict[str, str]:
    """All variables of a session: the tests' own, but those by which pytest-xdist knows its workers, and what
    would show its lines at once: it does that itself.

    What one session compiles the next one finds, as it does for a user.
    """
    paths = (str(REPOSITORY), str(REPOSITORY / "tests"), os.environ.get("PYTHONPATH", ""))
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_") and name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    }
    return inherited | {
        "BSR_CACHE": _cache_folder(),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "TERM": "dumb",
    }


def _in_a_new_interpreter(
    line: list[str], folder: Path, output: Path, environment: dict[str, str]
) -> Started:
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *line],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Started(process.pid, output, process.poll)


def _in_a_fork(line: list[str], folder: Path, output: Path, environment: dict[str, str]) -> Started:
    request = {"arguments": line, "folder": str(folder), "output": str(output), "environment": environment}
    server = _server()
    assert server.stdin is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    pid, code = output.with_suffix(".pid"), output.with_suffix(".code")
    while not pid.exists():
        assert server.poll() is None
        time.sleep(0.002)
    return Started(int(pid.read_text()), output, lambda: int(code.read_text()) if code.exists() else None)


@cache
def _server() -> subprocess.Popen[str]:
    """See session_server; one for all tests of this process."""
    server = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "tests" / "session_server.py")],
        env=session_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    atexit.register(server.communicate)  # run last first: killed, then waited for, and its pipes closed
    atexit.register(server.kill)
    assert server.stdout.readline() == "ready\n"
    return server
