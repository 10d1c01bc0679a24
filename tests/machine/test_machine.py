"""Devices, precision, memory and the fingerprint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bsr.machine import device as machine
from bsr.run import Execution
from trainings import CPU


def switches() -> list[str]:
    """Every switch by which PyTorch may compute float32 in something less."""
    backends: Any = torch.backends
    return [
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
        backends.mkldnn.matmul.fp32_precision,
        backends.mkldnn.conv.fp32_precision,
    ]


def test_auto_is_a_device_that_works() -> None:
    device = machine.resolve_device("auto")
    assert device == "cpu" or device.startswith(("cuda:", "mps"))
    assert machine.resolve_device(device) == device
    machine.synchronise(device)


@pytest.mark.parametrize("name", ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps:0", "meta", "CPU"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(
        machine.DeviceError, match=r"unknown device .*; expected one of auto, cpu, cuda, cuda:N, mps"
    ):
        machine.resolve_device(name)


def test_a_cuda_device_that_is_not_there_is_refused_with_the_number_there_are() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(
        machine.DeviceError, match=f"one of the {count} CUDA devices of this machine, got 'cuda:99'"
    ):
        machine.resolve_device("cuda:99")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has an MPS device")
def test_an_mps_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        machine.DeviceError, match="expected an MPS device on this machine, got none; use auto or cpu"
    ):
        machine.resolve_device("mps")


def test_a_device_that_is_there_and_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("no kernel image is available\nfor execution on the device")

    monkeypatch.setattr(torch, "ones", broken)
    with pytest.raises(
        machine.DeviceError, match="expected a working device, got 'no kernel image is available'"
    ):
        machine.resolve_device("cpu")


def test_a_kind_of_device_that_cannot_be_waited_for_is_an_error_not_a_silent_nothing() -> None:
    with pytest.raises(
        machine.DeviceError, match="no way known to synchronise 'meta'; expected cpu, cuda or mps"
    ):
        machine.synchronise("meta")


@pytest.mark.parametrize(
    ("precision", "expected"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")]
)
def test_float32_is_float32_unless_something_else_is_asked_for(precision: str, expected: str) -> None:
    before = switches()
    with machine.configured(precision, CPU):
        assert switches() == [expected] * 4
    assert switches() == before


@pytest.mark.parametrize(("capability", "allowed"), [((7, 5), False), ((8, 0), True), ((12, 0), True)])
def test_tf32_is_refused_before_ampere(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], allowed: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    machine.check_precision("float32", "cuda:0")
    if allowed:
        machine.check_precision("tf32", "cuda:0")
        return
    with pytest.raises(
        machine.DeviceError, match=r"expected compute capability 8.0 or above for tf32, got 7.5 on cuda:0"
    ):
        machine.check_precision("tf32", "cuda:0")


def test_what_the_user_had_set_before_is_overruled_and_comes_back() -> None:
    backends: Any = torch.backends
    usual = backends.cudnn.conv.fp32_precision
    backends.cudnn.conv.fp32_precision = "tf32"
    try:
        with machine.configured("float32", CPU):
            assert backends.cudnn.conv.fp32_precision == "ieee"
        assert backends.cudnn.conv.fp32_precision == "tf32"
    finally:
        backends.cudnn.conv.fp32_precision = usual


def test_settings_come_back_after_an_error() -> None:
    threads, precision = torch.get_num_threads(), switches()

    def fail() -> None:
        with machine.configured("tf32", Execution(threads=threads + 1, deterministic=True)):
            assert torch.get_num_threads() == threads + 1
            assert torch.backends.cudnn.deterministic
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert (torch.get_num_threads(), switches()) == (threads, precision)
    assert not torch.backends.cudnn.deterministic


def test_an_allocation_that_cannot_be_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert machine.is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
            ),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_only_what_an_allocator_says_is_out_of_memory(error: Exception, expected: bool) -> None:
    assert machine.is_out_of_memory(error) == expected


def test_a_capture_that_memory_made_invalid_is_out_of_memory() -> None:
    invalid = RuntimeError("CUDA error: operation failed due to a previous error during capture")
    assert not machine.is_out_of_memory(invalid)
    invalid.__context__ = torch.OutOfMemoryError("CUDA out of memory")
    assert machine.is_out_of_memory(invalid)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "CUDA error: an illegal memory access was encountered\nmore",
            "an illegal memory access was encountered",
        ),
        ("CUDA error: uncorrectable ECC error encountered", "uncorrectable ECC error"),
        ("CUDA error: out of memory", ""),
    ],
)
def test_a_device_that_fails_at_anything_is_lost_to_the_process(
    monkeypatch: pytest.MonkeyPatch, said: str, reason: str
) -> None:
    assert machine.lost_reason("cpu") == ""

    def lost(*_arguments: object, **_options: object) -> None:
        raise torch.AcceleratorError(said)

    monkeypatch.setattr(torch, "ones", lost)
    found = machine.lost_reason("cuda:0")
    assert reason in found
    assert found.startswith("cuda:0 is lost to this process: AcceleratorError: CUDA error") == bool(reason)


def test_a_lost_device_gives_no_memory_back_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    machine.release_memory()


def test_memory_is_counted_in_bytes_and_can_be_released() -> None:
    machine.reset_peak_memory("cpu")
    machine.release_memory()
    peak = machine.peak_memory_bytes("cpu")
    if peak is None:
        pytest.skip("this system does not tell the peak memory of a process")
    assert 50e6 < peak < 50e9  # torch alone is more than the one, no machine of a test has the other
    ballast = torch.ones(60_000_000)  # 240 MB
    assert (machine.peak_memory_bytes("cpu") or 0) >= ballast.numel() * 4


def test_the_fingerprint_is_plain_json_without_addresses() -> None:
    about = machine.fingerprint(CPU)
    assert json.loads(json.dumps(about, allow_nan=False)) == about
    assert " at 0x" not in json.dumps(about)
    assert about["device"] == "cpu"
    assert about["torch"] == torch.__version__
    assert about["device_name"]
    assert about["threads"] == 1


def test_what_is_set_for_cuda_is_recorded_on_a_cuda_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = SimpleNamespace(name="H200", total_memory=141 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: gpu)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    for name, value in {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NVIDIA_TF32_OVERRIDE": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync",
        "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "control").touch()
    about = machine.fingerprint(Execution(device="cuda:0"))
    assert (about["cudnn_benchmark"], about["mps_service"]) == (True, True)
    assert (about["cublas_workspace"], about["tf32_override"]) == (":4096:8", "1")
    assert (about["allocator"], about["cublaslt_workspace"]) == ("backend:cudaMallocAsync", None)
    (tmp_path / "control").unlink()
    assert machine.fingerprint(Execution(device="cuda:0"))["id"] != about["id"]
    assert not {*machine.CUDA_VARIABLES, "mps_service"} & machine.fingerprint(CPU).keys()


def test_the_same_machine_has_the_same_fingerprint() -> None:
    assert machine.fingerprint(CPU) == machine.fingerprint(CPU)


@pytest.mark.parametrize("change", [{"threads": 7}, {"engine": "other"}, {"deterministic": True}])
def test_what_changes_times_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert machine.fingerprint(replace(CPU, **change))["id"] != machine.fingerprint(CPU)["id"]


def test_where_the_data_lie_and_models_go_does_not_change_it() -> None:
    elsewhere = replace(CPU, data="elsewhere", save_models="models", timeout_seconds=9)
    assert machine.fingerprint(elsewhere) == machine.fingerprint(CPU)


def test_a_cpu_is_called_cpu_in_file_names() -> None:
    assert machine.name_for_files("cpu") == "cpu"


def test_a_gpu_is_called_by_its_name_in_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA GeForce RTX(TM) 4090 / 24GB")
    assert machine.name_for_files("cuda:0") == "nvidia-geforce-rtx-tm-4090-24gb"
