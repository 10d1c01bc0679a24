"""The sessions that an answer is made of: ordinary ones of pytest, each gone on from where it was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bsr.experiments.fitting import PlanError
from bsr.records.reading import Recording, RefusedError, read

PRESET: Final = "answer"
PARENT_DIED: Final = 1
"""PR_SET_PDEATHSIG of Linux' prctl."""
LEFT_BEHIND: Final = (0, 1)
"""How pytest ends where every case was tried: all passed, or some failed."""


def checkout() -> Path:
    """The folder that holds `benchmarks` and `reports`. Raises PlanError elsewhere."""
    folder = Path(__file__).parents[2]
    if not (folder / "benchmarks").is_dir() or not (folder / "reports").is_dir():
        raise PlanError(
            f"python -m bsr.answer: expected a checkout of bsr, got the package alone, in {folder}; "
            "run it in a checkout, or with one on PYTHONPATH"
        )
    return folder


def whole(path: Path) -> Recording | None:
    """The recording of a session in which every case was finished; None where it has to go on."""
    try:
        recording = read(path) if path.exists() else None
    except RefusedError:
        return None
    done = recording is not None and recording.session.finished == recording.session.planned
    return recording if done else None


def session(path: Path, options: Sequence[str]) -> Recording:
    """Record a session of the preset, or go on with it. Raises PlanError where it ended before its end."""
    if (recording := whole(path)) is not None:
        return recording
    cases = ["-p", "no:cacheprovider", str(checkout() / "benchmarks"), f"--bsr-preset={PRESET}"]
    ended = _run(["pytest", *cases, *options, "--bsr-resume", f"--benchmark-json={path}"])
    if ended not in LEFT_BEHIND or not path.exists():
        raise PlanError(f"{path}: the session ended before its last case; the same command goes on from here")
    return read(path)


def report(recordings: Sequence[Path], folder: Path) -> None:
    """One page of all of them. Raises PlanError."""
    if _run(["reports", *map(str, recordings), "--merged", "--output", str(folder)]):
        raise PlanError(f"{folder}: the page was not drawn; the same command tries again")


def _run(module: Sequence[str]) -> int:
    """A Python module as a process of its own, which sees this folder and ends with this process."""
    paths = [str(Path.cwd()), str(checkout()), *filter(None, [os.environ.get("PYTHONPATH")])]
    with subprocess.Popen(  # noqa: S603 - modules of ours
        [sys.executable, "-m", *module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - there are no threads
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it heard of it too, and writes what there is
            return process.wait() or signal.SIGINT


def _end_with_parent() -> None:
    """So that nobody trains on, and keeps the recording locked, when this process is killed."""
    import ctypes  # noqa: PLC0415 - Linux alone

    ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGKILL)
