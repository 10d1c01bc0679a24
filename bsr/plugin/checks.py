"""Everything that can be refused is refused here, in one line, before the first case runs."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from filelock import FileLock, Timeout

from bsr.machine.capacity import problem_of_workers, workers_that_fit
from bsr.own.named import is_import_path
from bsr.plugin.own_code import PATIENT_SECONDS, called
from bsr.records import durable, replacing
from bsr.records.reading.check import FaultError, check
from bsr.records.reading.journal_file import session_of
from bsr.records.schema import SessionRecord, plain_record
from bsr.run import Execution, Run
from bsr.text import Refused, printable

if TYPE_CHECKING:
    from bsr.data.images import Images
    from bsr.plugin.options import Options
    from bsr.records.journal import Header, History


def only_looks(config: pytest.Config) -> bool:
    """Whether this process only collects: to show what there is, or for pytest-xdist, see `xdist`."""
    return "PYTEST_XDIST_WORKER" in os.environ or any(
        config.getoption(name, default=False) for name in ("collectonly", "setuponly", "setupplan")
    )


def skips(config: pytest.Config) -> bool:
    """Whether pytest-benchmark will skip every case."""
    return bool(config.getoption("benchmark_skip") and not config.getoption("benchmark_only"))


def benchmarks_here(config: pytest.Config) -> None:
    """The folder of the suite's own cases is there, where it was named: an installed package has none."""
    named = [argument.partition("::")[0] for argument in config.args]
    missing = [name for name in named if Path(name).name == "benchmarks" and not Path(name).exists()]
    if missing:
        raise pytest.UsageError(
            f"{missing[0]}: expected that folder of a checkout of bsr, got none in {Path.cwd()}; run this "
            "in one, or measure a test of your own: pytest -p bsr.plugin test_mine.py (docs/your-own.md)"
        )


def host(config: pytest.Config, options: Options) -> None:
    """pytest-benchmark is there and measures, and nothing runs cases elsewhere."""
    if not config.pluginmanager.hasplugin("pytest-benchmark"):
        raise pytest.UsageError(
            "pytest-benchmark: expected it to measure the cases, got none; leave out -p no:benchmark"
        )
    xdist(config)
    asked = options.json or config.getoption("benchmark_save") or config.getoption("benchmark_autosave")
    off = config.getoption("benchmark_disable") and not config.getoption("benchmark_enable")
    for option, given in (("--benchmark-disable", off), ("--benchmark-skip", skips(config))):
        if asked and given:
            raise pytest.UsageError(
                f"{option}: expected measured benchmarks since a JSON was asked for, got none; leave out "
                f"{option}, or the JSON"
            )


def xdist(config: pytest.Config) -> None:
    """No pytest-xdist: with it pytest-benchmark measures nothing, writes nothing and exits with 0."""
    if config.getoption("dist", "no") != "no":
        raise pytest.UsageError(
            "pytest-xdist: expected one session, got several, which disturb each other's times and write "
            "no JSON; leave out -n, and use --bsr-workers for many runs at once"
        )


def output(path: Path) -> None:
    """The JSON's path ends in .json, is a benchmark JSON if it exists, and its folder can be written."""
    what = f"--benchmark-json={path}"
    with usage_errors():
        replacing.check_file_name(path, what)
        for folder in dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)):
            if durable.is_json(path):
                writable(folder, what)
        replacing.check_target(path, what)


@contextmanager
def usage_errors() -> Iterator[None]:
    """What is refused elsewhere ends the session before it begins."""
    try:
        yield
    except Refused as error:
        raise pytest.UsageError(str(error)) from error


def rehearsed(path: Path) -> None:
    """What will be done with the JSON at the end succeeds now: written beside, flushed, renamed onto it."""
    try:
        durable.rehearse(path)
    except OSError as error:
        nowhere = f" (a link to {os.path.realpath(path)})" if path.is_symlink() else ""
        raise pytest.UsageError(
            f"--benchmark-json={path}: expected a path that can be written and renamed onto, got "
            f"{error}{nowhere}; choose another name or folder"
        ) from error


def readable(header: Header, history: History) -> None:
    """What a session that begins so will record is read back by the reader's own check."""
    try:
        if header.planned:
            check(msgspec.convert(plain_record(session_of(header, history)), SessionRecord))
    except (msgspec.ValidationError, FaultError) as error:
        raise pytest.UsageError(
            f"bsr: expected a session whose recording can be read back, got {printable(str(error))}"
        ) from error


def writable(folder: Path, what: str, *, make: bool = False) -> None:
    """The folder is there and a file can be made in it."""
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            raise pytest.UsageError(f"{what}: expected an existing folder, got no {folder}; make it first")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise pytest.UsageError(f"{what}: expected a writable folder, got {error}; choose another") from error


def locked(path: Path) -> FileLock:
    """The lock of a journal and its JSON, held; it goes with its owner, however that ends.

    Whatever links lead to a file, its lock is one.
    """
    real = Path(os.path.realpath(path))
    place = real.with_name(f"{real.name}.lock")
    with usage_errors():
        replacing.check_file_name(place, str(place))
        replacing.check_replaceable(path, str(path))
    if place.exists() and not place.is_file():
        raise pytest.UsageError(f"{place}: expected a lock file or none, got something else; remove it")
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
        since = datetime.now(UTC).isoformat(" ", timespec="seconds")
        place.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}", encoding="utf-8")
    except Timeout:
        raise pytest.UsageError(
            f"{path}: expected no other session there, got one that runs ({_owner(place)}); "
            "wait for it, or name another JSON"
        ) from None
    except OSError as error:
        raise pytest.UsageError(
            f"{path}: expected to lock it, got {error}; choose another name or folder"
        ) from error
    return lock


def _owner(place: Path) -> str:
    try:
        return printable(place.read_text(encoding="utf-8"), 200) or "it did not say which"
    except (OSError, UnicodeDecodeError):
        return "it did not say which"


@contextmanager
def telling(config: pytest.Config, what: str) -> Iterator[None]:
    """Say what is waited for, where that takes long."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        yield
        return

    def say() -> None:
        reporter.write_line(f"bsr: {what}")
        reporter.flush()

    timer = threading.Timer(PATIENT_SECONDS, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def execution(
    options: Options, runs: tuple[Run, ...], data_bytes: int, engine: str = ""
) -> tuple[Execution, int, str]:
    """The execution with its device and engine found and tried, the number of workers, and why so few.

    Each worker loads the data set, so many bytes. `engine` is as in backend.backend_for. Loads torch.
    """
    from bsr import engines  # noqa: PLC0415
    from bsr.machine import device as machine  # noqa: PLC0415

    asked = options.execution
    try:
        found = engines.placed(replace(asked, engine=engine or asked.engine), runs or (options.grid.example,))
        machine.resolve_device(found.device)
    except machine.DeviceError as error:
        raise pytest.UsageError(f"--bsr-device: {error}") from error
    except engines.EngineError as error:
        raise pytest.UsageError(f"--bsr-engine: {error}") from error
    try:
        machine.check_precision(options.grid.precision, found.device)
    except machine.DeviceError as error:
        raise pytest.UsageError(f"--bsr-precision: {error}") from error
    check_before_placement(found)
    workers, why = options.workers, ""
    if workers is None:  # one Run per core; one on all of them where PyTorch was asked for by name
        several = found.engine == "native" or (asked.engine == "auto" and found.device == "cpu")
        workers, why = workers_that_fit(data_bytes) if several else (0, "")
    elif problem := problem_of_workers(workers, data_bytes):
        raise pytest.UsageError(f"--bsr-workers: {problem}; give fewer, or 0 to train in this process")
    if workers > 1 and found.device.startswith("cuda"):
        raise pytest.UsageError(
            f"--bsr-workers: expected at most 1 on {found.device}, got {workers}, which would share one GPU "
            "and disturb each other's times; for several GPUs use --bsr-dask, one worker per GPU"
        )
    threads = asked.threads or (1 if workers or found.engine == "native" else None)
    return replace(found, threads=threads), workers, why


def check_before_placement(execution: Execution) -> None:
    """What can be refused without knowing the machine that will train."""
    if execution.save_models:
        writable(Path(execution.save_models), f"--bsr-save-models={execution.save_models}", make=True)
    if execution.engine == "native" and (execution.threads or 1) > 1:
        raise pytest.UsageError(
            f"--bsr-threads: expected 1 with the native engine, got {execution.threads}; "
            "use --bsr-workers for more cores"
        )


def trainable(runs: tuple[Run, ...], folder: str | None) -> None:
    """Every task and network is there and works on these images."""
    from bsr.compute.in_process import UntrainableError, altered, check_trainable  # noqa: PLC0415
    from bsr.data.images import load_images  # noqa: PLC0415

    if any(is_import_path(name) for run in runs for name in (run.task, run.model, run.dataset)):
        with suppress(Refused):  # which is said there
            for dataset in {run.dataset for run in runs}:
                load_images(dataset, folder)
                altered(dataset, folder)
        called("", check_trainable, runs, folder)
        return
    try:
        check_trainable(runs, folder)
    except UntrainableError as error:
        raise pytest.UsageError(str(error)) from error


def data(dataset: str, folder: str | None, runs: tuple[Run, ...]) -> Images:
    """The data are there, genuine and enough."""
    from bsr.data.images import DataError, load_images, takes  # noqa: PLC0415

    try:
        images = load_images(dataset, folder)
        for run in {(run.train_images, run.test_images, run.evaluate_on): run for run in runs}.values():
            takes(run, images)
    except DataError as error:
        raise pytest.UsageError(str(error)) from error
    return images
