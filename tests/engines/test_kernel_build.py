"""The kernel is compiled once, kept whole, and its absence explained in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bsr.engines import build, generated, source, unavailable_reason
from bsr.machine import compiler
from bsr.machine.compiler import KernelError

CHECKOUT = Path(__file__).parents[2]
SMALL = 'extern "C" int answer() { return 42; }\n'
COUNTING = """#!/bin/sh
case "$*" in *" -o "*) echo compiled >> {log} ;; esac
exec {compiler} "$@"
"""
HALF_WAY = """#!/bin/sh
for last in "$@"; do test "$before" = -o && echo half > "$last"; before=$last; done
case "$*" in *" -o "*) echo 'kernel.cpp:1: error: the disk is full' >&2; exit 1 ;; esac
exec {compiler} "$@"
"""


ANOTHER_PROCESSOR = """#!/bin/sh
case "$*" in *-dM*) echo '#define __ANOTHER_PROCESSOR__ 1' ;; esac
exec {compiler} "$@"
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; no $BSR_KERNEL_FLAGS, and the first compiler of this machine."""
    try:
        compiler.command()
    except KernelError as error:
        pytest.skip(str(error))
    monkeypatch.delenv("BSR_KERNEL_FLAGS", raising=False)
    monkeypatch.setenv("BSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> Path:
    """A compiler of our own; returns where it writes its log."""
    log, path = tmp_path / "log", tmp_path / "our-c++"
    real = shutil.which(compiler.command()[0])
    path.write_text(script.format(log=log, compiler=real), encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return log


def load_again(source: str = SMALL) -> int:
    """As another process would."""
    build._library.cache_clear()
    compiler.macros.cache_clear()
    return int(build.library(source).answer())


def test_a_second_process_finds_what_the_first_compiled(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use(monkeypatch, tmp_path, COUNTING)
    assert [load_again() for _ in range(3)] == [42, 42, 42]
    assert log.read_text().count("compiled") == 1


def test_machines_that_share_a_cache_never_run_each_others_code(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that names another processor's features for the same flags has a library of its own."""
    assert load_again() == 42
    (here,) = cache.glob("*.so")
    before = here.read_bytes()
    use(monkeypatch, tmp_path, ANOTHER_PROCESSOR)
    assert load_again() == 42
    (there,) = set(cache.glob("*.so")) - {here}
    assert Path(str(build.library(SMALL)._name)) == there
    assert here.read_bytes() == before


@pytest.mark.slow
def test_processes_that_start_at_once_compile_it_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use(monkeypatch, tmp_path, COUNTING)
    code = "from bsr.engines import native; print(native.lanes())"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(outputs)) == 1
    assert log.read_text().count("compiled") == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "overwritten", "unsealed", "sealed badly"])
def test_a_damaged_library_is_compiled_again(cache: Path, damage: str) -> None:
    load_again()
    (kept,) = cache.glob("*.so")
    seal, whole = kept.with_suffix(".sha256"), kept.read_bytes()
    kept.unlink()  # and written anew: this process has the old one mapped
    kept.write_bytes(
        {"cut": whole[: len(whole) // 2], "empty": b"", "overwritten": b"\x7fELF" * 999}.get(damage, whole)
    )
    if damage == "unsealed":
        seal.unlink()
    if damage == "sealed badly":
        seal.write_bytes(b"\xff" * 64)
    assert load_again() == 42
    assert len(kept.read_bytes()) == len(whole)


def test_a_compilation_that_fails_half_way_leaves_nothing_to_load(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        use(patch, tmp_path, HALF_WAY)
        with pytest.raises(KernelError, match="the disk is full"):
            load_again()
    assert not [*cache.glob("*.so"), *cache.glob("*.sha256"), *cache.glob("tmp*")]
    assert load_again() == 42


def test_another_source_or_other_flags_are_another_library(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_again() == 42
    wanted_by_flag = SMALL.replace("42", "WANTED")
    for wanted in (43, 44):
        monkeypatch.setenv("BSR_KERNEL_FLAGS", f"-DWANTED={wanted}")
        assert load_again(wanted_by_flag) == wanted
    assert len(list(cache.glob("*.so"))) == 3


def test_the_compiler_may_have_arguments(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{compiler.command()[0]} -DWANTED=45")
    assert load_again(SMALL.replace("42", "WANTED")) == 45


def test_an_error_is_the_compilers_first_in_one_line(cache: Path) -> None:
    with pytest.raises(
        KernelError, match=r"cannot compile the kernel: .*network\.cpp:2.*twice.*set CXX"
    ) as caught:
        build.library("int twice = 1;\nint twice = 2;\nint f() { return absent; }\n")
    assert "\n" not in str(caught.value)


def test_a_compiler_that_says_very_much_is_shown_in_a_short_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = "#!/bin/sh\nhead -c 9000000 /dev/zero | tr '\\0' 'x' >&2; printf '\\033[2J error' >&2; exit 1\n"
    use(monkeypatch, tmp_path, loud)
    with pytest.raises(KernelError, match=r"cannot compile the kernel: x+…; set CXX") as caught:
        build.library(SMALL)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))
    assert str(caught.value).isprintable()


def test_what_a_killed_compilation_left_goes_with_the_next(cache: Path) -> None:
    load_again()
    (kernel,) = cache.glob("*.so")
    kernel.unlink()
    left = cache / f".{kernel.stem}.abc"
    left.mkdir()
    (left / kernel.name).write_bytes(b"half")
    build._library.cache_clear()
    load_again()
    assert kernel.exists()
    assert not left.exists()


@pytest.mark.parametrize("named", [None, "no-such-compiler -O9"])
def test_without_a_compiler_one_line_says_so(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    if named:
        monkeypatch.setenv("CXX", named)
    reason = unavailable_reason("native")
    assert reason.startswith("no C++ compiler: expected")
    assert (named or "clang++") in reason


def test_a_compiler_that_does_not_run_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken-c++"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "broken-c++ does not run" in unavailable_reason("native")


@pytest.mark.slow
def test_a_compiler_that_hangs_is_ended_with_what_it_started_and_not_tried_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, tmp_path, "#!/bin/sh\nsleep 1234.5 & echo $! >> {log}; echo begun >> {log}; wait\n")
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 0.5)
    for _ in range(2):
        with pytest.raises(KernelError, match=r"took longer than 0.5 s and was ended; set CXX to another"):
            build.library(SMALL)
    child, *said = (tmp_path / "log").read_text().split()
    assert said == ["begun"]  # once
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(int(child), 0)
            time.sleep(0.01)


def test_an_unbalanced_quote_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CXX", "BSR_KERNEL_FLAGS"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "g++ '")
            with pytest.raises(KernelError, match=f"{variable}: expected words as a shell reads them"):
                build.library(SMALL)


def test_a_full_disk_is_not_blamed_on_the_compiler(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, tmp_path, HALF_WAY.replace("the disk is full", "No space left on device"))
    with pytest.raises(KernelError, match="No space left on device; make room there and in the folder for"):
        build.library(SMALL)


def test_a_cache_that_cannot_be_written_is_named_with_its_remedy(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("BSR_CACHE", str(tmp_path / "a-file"))
    with pytest.raises(KernelError, match=r"cannot be kept in .*a-file.*set BSR_CACHE"):
        build.library(SMALL)


@pytest.mark.slow
def test_a_source_distribution_has_the_tests_with_their_helpers_and_the_report(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not tracked:
        pytest.skip("no git checkout")
    for name in (name for name in tracked if (CHECKOUT / name).is_file()):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).symlink_to(CHECKOUT / name)
    code = "from setuptools import build_meta; print(build_meta.build_sdist('.'))"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    with tarfile.open(checkout / made.stdout.splitlines()[-1]) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("tests", "reports", "benchmarks", "bsr", "docs"):
        lacking = [
            name
            for name in tracked
            if name.startswith(f"{folder}/")
            and not name.startswith("benchmarks/results/")
            and name not in packed
        ]
        assert not lacking, lacking


def test_it_compiles_for_neon() -> None:
    clang = shutil.which("clang++")
    target = [str(clang), "--target=aarch64-linux-gnu", "-ffreestanding"]
    empty = [*target, "-x", "c++", "-c", "-o", os.devnull, "-"]
    if clang is None or subprocess.run(empty, input=b"", capture_output=True, check=False).returncode:
        pytest.skip("no clang++ that knows aarch64")
    strict = [*target, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{source.HEADERS}"]
    done = subprocess.run(
        [*strict, "-x", "c++", "-c", "-o", os.devnull, "-"],
        input=generated.study(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_carries_every_header() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bsr"]
    headers = sorted(source.HEADERS.glob("*.h"))
    for header in headers:
        assert any(fnmatch(f"engines/kernel/{header.name}", pattern) for pattern in patterns), header.name
    quoted = [
        line.split('"')[1]
        for text in (generated.study(), *(header.read_text(encoding="utf-8") for header in headers))
        for line in text.splitlines()
        if line.startswith('#include "')
    ]
    assert set(quoted) == {header.name for header in headers}
