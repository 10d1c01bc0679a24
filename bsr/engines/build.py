"""Compiles a network's native kernel on first use with the system's compiler, and keeps it.

Nothing else of bsr needs a compiler. The library is cached under a digest of everything that shapes it: the
source with its headers, what the compiler says of itself and of this CPU, and the flags.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from filelock import FileLock, Timeout

from bsr.data.images import cache_folder
from bsr.engines.source import HEADERS, digest
from bsr.machine import compiler
from bsr.machine.compiler import COMPILE_SECONDS, KernelError

FLAGS: Final = ("-std=c++17", "-O3", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-shared")
"""Without -fno-math-errno Adam's square root is not vectorised. -ffast-math is out: it would lose NaN."""


def library(source: str) -> ctypes.CDLL:
    """The compiled source, which may include the headers, loaded once per process. Raises KernelError.

    $CXX names the compiler (default: the first of c++, g++, clang++ that exists). $BSR_KERNEL_FLAGS replaces
    the flags that name the CPU, to try another vector width: `-mavx2 -mfma`.
    """
    found = _library(source, compiler.command(), compiler.target_flags(), cache_folder() / "kernels")
    if isinstance(found, KernelError):
        raise found
    return found


@cache
def _library(
    source: str, command: tuple[str, ...], target: tuple[str, ...], folder: Path
) -> ctypes.CDLL | KernelError:
    """The library, or why there is none: what failed once, or hung, is not tried again in this process."""
    try:
        shaping = "\0".join((*FLAGS, *target, compiler.macros(command, target), digest(source)))
        path = folder / f"{hashlib.sha256(shaping.encode()).hexdigest()[:32]}.so"
        if not _intact(path):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock"), timeout=COMPILE_SECONDS):
                if not _intact(path):
                    _compile(source, command, target, path)
        return ctypes.CDLL(str(path))
    except KernelError as error:
        return error
    except Timeout as error:
        return KernelError(f"{error.lock_file} was held for {COMPILE_SECONDS:g} s; remove it")
    except OSError as error:
        return KernelError(
            f"the native kernel cannot be kept in {folder} or loaded from there: {error}; "
            "set BSR_CACHE to another folder"
        )


def _compile(source: str, command: tuple[str, ...], target: tuple[str, ...], path: Path) -> None:
    """The library appears under its name only when whole, and its digest after it."""
    for left in path.parent.glob(f".{path.stem}.*"):  # of one that was killed: who compiles this is alone
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        made, written = Path(folder) / path.name, Path(folder) / "network.cpp"
        written.write_text(source, encoding="ascii")
        compiler.output_of(command, *FLAGS, *target, f"-I{HEADERS}", "-o", str(made), str(written))
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
