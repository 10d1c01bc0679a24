"""The system's C++ compiler: which it is, how it is told of this machine's CPU, and its run to the end."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import cache
from typing import Final

from bsr.text import Refused, printable

COMPILERS: Final = ("c++", "g++", "clang++") if os.name == "posix" else ()
"""Looked for in this order; on Windows only $CXX counts: what is on the path there is seldom meant."""
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
    """A kernel cannot be had on this machine; the message is one line: what, why, remedy."""


def command() -> tuple[str, ...]:
    """The compiler's command: $CXX, else the first of COMPILERS on the path. Raises KernelError."""
    named = os.environ.get("CXX")
    for line in [named] if named else COMPILERS:
        words = _words("CXX", line)
        if words and shutil.which(words[0]):
            return words
    wanted = f"CXX={named}" if named else f"one of {', '.join(COMPILERS) or 'what CXX names'}"
    raise KernelError(f"no C++ compiler: expected {wanted} on the path; install GCC or Clang, or set CXX")


def target_flags() -> tuple[str, ...]:
    """The flags that name the CPU: $BSR_KERNEL_FLAGS, else this machine's own. Raises KernelError."""
    if flags := os.environ.get("BSR_KERNEL_FLAGS"):
        return _words("BSR_KERNEL_FLAGS", flags)
    return NATIVE_FLAGS.get(platform.machine().lower(), ())


def _words(variable: str, value: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value, posix=os.name == "posix"))
    except ValueError as error:
        raise KernelError(
            f"{variable}: expected words as a shell reads them, got {value!r} ({error})"
        ) from error


@cache
def macros(command: tuple[str, ...], target: tuple[str, ...]) -> str:
    """What the compiler predefines for a target: its own version, and a line per feature of the CPU.

    Raises KernelError.
    """
    return output_of(command, *target, "-dM", "-E", "-x", "c++", "-")


def output_of(command: tuple[str, ...], *arguments: str) -> str:
    """The compiler's output. Raises KernelError with the first line that names an error."""
    shown = shlex.join(command)
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own compiler
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise KernelError(f"{shown} does not run: {error}; {REMEDY}") from error
    try:
        output, errors = process.communicate(timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise KernelError(
            f"{shown} took longer than {COMPILE_SECONDS:g} s and was ended; {REMEDY}"
        ) from error
    finally:
        if process.returncode is None:
            _end(process)
    if process.returncode:
        lines = errors.strip().splitlines() or [f"exit status {process.returncode}"]
        said = printable(next((line for line in lines if "error" in line), lines[0]).strip(), LONGEST_SAID)
        full = "No space left on device" in errors
        remedy = "make room there and in the folder for temporary files" if full else REMEDY
        raise KernelError(f"{shown} cannot compile the kernel: {said}; {remedy}")
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """The compiler, and what it has started: on POSIX it leads a process group of its own."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()
