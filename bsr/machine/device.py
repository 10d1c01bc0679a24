"""The machine that trains: devices, clocks, precision, memory, and the fingerprint that records say it by."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch

from bsr.machine import nvml
from bsr.run import Execution
from bsr.text import Refused
from bsr.text.strict_json import one_line, words

AMPERE: Final = (8, 0)
"""Compute capability of the first GPUs that have TF32."""
CUDA_VARIABLES: Final = {
    "cublas_workspace": ("CUBLAS_WORKSPACE_CONFIG",),
    "cublaslt_workspace": ("CUBLASLT_WORKSPACE_SIZE",),
    "tf32_override": ("NVIDIA_TF32_OVERRIDE",),
    "cublas_tf32_override": ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",),
    "allocator": ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"),
    "mps_threads_percent": ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",),
}
"""Environment variables that change times, memory or numbers on a CUDA device, under their name in a record.

The first that is set counts, as in PyTorch.
"""


class DeviceError(Refused):
    """The device is not there or does not work; the message says expected, got, remedy."""


def resolve_device(name: str) -> str:
    """The device a name stands for: `auto` is CUDA, else MPS, else the CPU.

    Returns `cpu`, `mps` or `cuda:N`, and has computed one sum there. Raises DeviceError.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, colon, index = name.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or (colon and (kind != "cuda" or not index.isdigit())):
        raise DeviceError(f"unknown device {name!r}; expected one of auto, cpu, cuda, cuda:N, mps")
    if kind == "cuda":
        count = torch.cuda.device_count()
        if int(index or 0) >= count:
            raise DeviceError(
                f"expected one of the {count} CUDA devices of this machine, got {name!r}; use auto or cpu"
            )
        name = f"cuda:{index or 0}"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("expected an MPS device on this machine, got none; use auto or cpu")
    try:
        _try(name)
    except RuntimeError as error:
        raise DeviceError(
            f"expected a working device, got {str(error).splitlines()[0]!r} on {name}; use cpu"
        ) from error
    return name


def check_precision(precision: str, device: str) -> None:
    """Raises DeviceError where a device cannot compute in a precision."""
    if precision != "tf32":
        return
    if not device.startswith("cuda"):
        raise DeviceError(f"expected a CUDA device for tf32, got {device}; use float32")
    capability = torch.cuda.get_device_capability(device)
    if capability < AMPERE:
        raise DeviceError(
            f"expected compute capability 8.0 or above for tf32, got {capability[0]}.{capability[1]} on "
            f"{device}, which would compute in float32 and call it tf32; use float32"
        )


def synchronise(device: str) -> None:
    """Wait until the device has done everything asked of it. Raises DeviceError for an unknown kind."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    elif kind != "cpu":
        raise DeviceError(f"no way known to synchronise {device!r}; expected cpu, cuda or mps")


@contextlib.contextmanager
def configured(precision: str, execution: Execution) -> Iterator[None]:
    """Threads, precision and determinism as asked for; what they were before, afterwards.

    fp32 means fp32: TF32 is off unless `precision` is tf32 (cuDNN's convolutions default to it).
    """
    threads = torch.get_num_threads()
    backends: Any = torch.backends  # its switches are not typed
    settings = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv]
    before = [setting.fp32_precision for setting in settings]
    deterministic = torch.backends.cudnn.deterministic
    if execution.threads:
        torch.set_num_threads(execution.threads)
    for setting in settings:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cudnn.deterministic = execution.deterministic
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
        torch.backends.cudnn.deterministic = deterministic


@contextlib.contextmanager
def timed_by_events(device: torch.device, seconds: list[float]) -> Iterator[None]:
    """On a CUDA device, append the seconds from when it began what is asked of it here until it was done.

    By events on the current stream; elsewhere, and where it raises, nothing is appended.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.current_stream(device)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record(stream)
    yield
    ended.record(stream)
    ended.synchronize()
    seconds.append(began.elapsed_time(ended) / 1000)


# what allocators say that raise a plain RuntimeError: of the CPU, of the CPU on Windows, of MPS, of cuBLAS
_ALLOCATOR_PHRASES: Final = (
    "can't allocate memory",
    "not enough memory",
    "backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",  # AcceleratorError, where the driver says it and not the allocator
    "CUBLAS_STATUS_NOT_INITIALIZED",  # a handle needs memory too
    "CUDNN_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute",  # cuDNN, where no algorithm's workspace fits
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator, of a device or of the CPU, raised it.

    Or what was raised in its place: a capture that ends for want of memory says only that it is invalid.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    said = words(error).lower()
    if any(phrase.lower() in said for phrase in _ALLOCATOR_PHRASES):
        return True
    return error.__context__ is not None and is_out_of_memory(error.__context__)


def release_memory() -> None:
    """Give back what a failed Run left behind, so that the next one can have it."""
    gc.collect()
    if torch.cuda.is_available():
        with contextlib.suppress(RuntimeError):  # a device that is lost gives nothing back
            torch.cuda.empty_cache()


def lost_reason(device: str) -> str:
    """Why this process can no longer use a device that worked, in one line; empty where it can.

    After an illegal address or an uncorrectable memory error every call of the process fails; another process
    has the device as new.
    """
    try:
        _try(device)
    except RuntimeError as error:
        return "" if is_out_of_memory(error) else f"{device} is lost to this process: {one_line(error)}"
    return ""


def _try(device: str) -> None:
    torch.ones(2, device=device).sum().item()


def reset_peak_memory(device: str) -> int:
    """Let the peak of a CUDA device count from here; returns the bytes that lie there already.

    A process's own memory counts from its start, and 0 is returned.
    """
    if torch.device(device).type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def peak_memory_bytes(device: str, before: int = 0) -> int | None:
    """A Run's own: peak allocated on a CUDA device since `reset_peak_memory`, less what that returned.

    Elsewhere the most that was resident since this process began; None where the system does not tell. What
    libraries keep for good, cuBLAS's 32 MiB say, counts for the first Run of a process that needs it.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.max_memory_allocated(device)) - before
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fingerprint(execution: Execution) -> dict[str, Any]:
    """What the times and the numbers depend on, plain values only; `id` is a digest of all of it."""
    device = torch.device(execution.device)
    about: dict[str, Any] = {
        "device": execution.device,
        "device_name": cpu_name(),
        "memory_bytes": _memory_bytes(),
        "compute_capability": None,
        "driver": None,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu_name(),
        "cpu_cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": execution.threads or torch.get_num_threads(),
        "engine": execution.engine,
        "deterministic": execution.deterministic,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about |= {
            "device_name": properties.name,
            "memory_bytes": properties.total_memory,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "driver": nvml.driver_version(),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "mps_service": _mps_service_runs(),
            **{name: _first_set(variables) for name, variables in CUDA_VARIABLES.items()},
        }
    text = json.dumps(about, sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:12], **about}


def _first_set(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if name in os.environ), None)


def _mps_service_runs() -> bool:
    """Whether NVIDIA's Multi-Process Service, through which processes share a GPU, has its pipe here."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control").exists()  # noqa: S108 - its own default


def cpu_name() -> str:
    """The processor's model name, as the system calls it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def name_for_files(device: str) -> str:
    """A device's name as part of a file's: `cpu`, `mps`, `nvidia-h200`."""
    if torch.device(device).type != "cuda":
        return device
    name = torch.cuda.get_device_name(device).lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())
