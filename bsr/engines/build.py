"""Compiles a network's native kernel on first use with the system's compiler, and keeps it.

Nothing else of bsr needs a compiler. The library is cached under a digest of everything that shapes it: the
source with its headers, what the compiler says of itself and of this CPU, and the flags.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from filelock import FileLock, Timeout

from bsr.data.images import cache_folder
from bsr.engines.source import HEADERS, digest
from bsr.text import Refused, printable

COMPILERS: Final = ("c++", "g++", "clang++") if os.name == "posix" else ()
"""Looked for in this order; on Windows only $CXX counts: what is on the path there is seldom meant."""
FLAGS: Final = ("-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")
"""Without -fno-math-errno Adam's square root is not vectorised. -ffast-math is out: it would lose NaN."""
_X86: Final = ("-march=native", "-mprefer-vector-width=512")  # without the second Clang halves the vectors
_ARM: Final = ("-mcpu=native",)
NATIVE_FLAGS: Final = {"x86_64": _X86, "amd64": _X86, "arm64": _ARM, "aarch64": _ARM}
"""By `platform.machine()`: the flags for the machine at hand."""
COMPILE_SECONDS: Final = 180.0
"""A compiler takes two to ten; one that takes longer than this hangs."""
LONGEST_SAID: Final = 300
"""Letters of what a compiler says that are shown."""
REMEDY: Final = "set CXX to another compiler"


class KernelError(Refused, RuntimeError):
    """The kernel cannot be had on this machine; the message is one line: what, why, remedy."""


def library(source: str) -> ctypes.CDLL:
    """The compiled source, which may include the headers, loaded once per process. Raises KernelError.

    $CXX names the compiler (default: the first of c++, g++, clang++ that exists). $BSR_KERNEL_FLAGS replaces
    the flags that name the CPU, to try another vector width: `-mavx2 -mfma`.
    """
    found = _library(source, compiler(), target_flags(), cache_folder() / "kernels")
    if isinstance(found, KernelError):
        raise found
    return found


@cache
def _library(
    source: str, command: tuple[str, ...], target: tuple[str, ...], folder: Path
) -> ctypes.CDLL | KernelError:
    """The library, or why there is none: what failed once, or hung, is not tried again in this process."""
    try:
        return _loaded(source, command, target, folder)
    except KernelError as error:
        return error


def _loaded(source: str, command: tuple[str, ...], target: tuple[str, ...], folder: Path) -> ctypes.CDLL:
    path = folder / f"{_key(source, command, target)}.so"
    try:
        if not _intact(path):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=COMPILE_SECONDS):
                if not _intact(path):
                    _compile(source, command, target, path)
        return ctypes.CDLL(str(path))
    except Timeout as error:
        raise KernelError(f"{error.lock_file} was held for {COMPILE_SECONDS:g} s; remove it") from error
    except OSError as error:
        raise KernelError(
            f"the native kernel cannot be kept in {folder} or loaded from there: {error}; "
            "set BSR_CACHE to another folder"
        ) from error


def compiler() -> tuple[str, ...]:
    """The compiler's command: $CXX, else the first of COMPILERS on the path. Raises KernelError."""
    named = os.environ.get("CXX")
    for command in [named] if named else COMPILERS:
        words = _words("CXX", command)
        if words and shutil.which(words[0]):
            return tuple(words)
    wanted = f"CXX={named}" if named else f"one of {', '.join(COMPILERS) or 'what CXX names'}"
    raise KernelError(f"no C++ compiler: expected {wanted} on the path; install GCC or Clang, or set CXX")


def _words(variable: str, value: str) -> list[str]:
    try:
        return shlex.split(value, posix=os.name == "posix")
    except ValueError as error:
        raise KernelError(
            f"{variable}: expected words as a shell reads them, got {value!r} ({error})"
        ) from error


def target_flags() -> tuple[str, ...]:
    """The flags that name the CPU: $BSR_KERNEL_FLAGS, else this machine's own."""
    if flags := os.environ.get("BSR_KERNEL_FLAGS"):
        return tuple(_words("BSR_KERNEL_FLAGS", flags))
    return NATIVE_FLAGS.get(platform.machine().lower(), ())


@cache
def macros(command: tuple[str, ...], target: tuple[str, ...]) -> str:
    """What the compiler predefines for a target: its own version, and a line per feature of the CPU.

    Raises KernelError.
    """
    return _run(command, (*target, "-dM", "-E", "-x", "c++", "-"))


def _key(source: str, command: tuple[str, ...], target: tuple[str, ...]) -> str:
    """32 hexadecimal digits."""
    shaping = (*FLAGS, *target, macros(command, target), digest(source))
    return hashlib.sha256("\0".join(shaping).encode()).hexdigest()[:32]


def _compile(source: str, command: tuple[str, ...], target: tuple[str, ...], path: Path) -> None:
    """The library appears under its name only when whole, and its digest after it."""
    for left in path.parent.glob(f".{path.stem}.*"):  # of one that was killed: who compiles this is alone
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        made, written = Path(folder) / path.name, Path(folder) / "network.cpp"
        written.write_text(source, encoding="ascii")
        _run(command, (*FLAGS, *target, f"-I{HEADERS}", "-o", str(made), str(written)))
        seal = made.with_suffix(".sha256")
        seal.write_text(_digest(made), encoding="ascii")
        made.replace(path)
        seal.replace(path.with_suffix(".sha256"))


def _intact(path: Path) -> bool:
    """Whether a library is there as it was compiled; loading a damaged one could kill the process."""
    try:
        return path.with_suffix(".sha256").read_text(encoding="ascii") == _digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: tuple[str, ...], arguments: tuple[str, ...]) -> str:
    """The compiler's output. Raises KernelError with the first line that names an error."""
    words = [*command, *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own compiler
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise KernelError(f"{shlex.join(command)} does not run: {error}; {REMEDY}") from error
    try:
        output, errors = process.communicate(timeout=COMPILE_SECONDS)
    except BaseException as error:
        _end(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise KernelError(
            f"{shlex.join(command)} took longer than {COMPILE_SECONDS:g} s and was ended; {REMEDY}"
        ) from error
    if process.returncode:
        lines = errors.strip().splitlines() or [f"exit status {process.returncode}"]
        said = printable(next((line for line in lines if "error" in line), lines[0]).strip(), LONGEST_SAID)
        full = "No space left on device" in errors
        remedy = "make room there and in the folder for temporary files" if full else REMEDY
        raise KernelError(f"{shlex.join(command)} cannot compile the kernel: {said}; {remedy}")
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """The compiler, and what it has started: on POSIX it leads a process group of its own."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()
