"""A pretended NVML and the CUDA devices it watches: answers as written down, everything else not supported.

The answers follow NVML's documentation; they were read off no GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pytest
import torch

CONSTANTS: Final = {
    "NVML_CLOCK_SM": 1,
    "NVML_CLOCK_MEM": 2,
    "NVML_TEMPERATURE_GPU": 0,
    "NVML_PERF_POLICY_POWER": 0,
    "NVML_PERF_POLICY_THERMAL": 1,
    "NVML_MEMORY_ERROR_TYPE_UNCORRECTED": 1,
    "NVML_VOLATILE_ECC": 0,
}
Answers = dict[tuple[Any, ...], Any]
"""Name of a function and its arguments -> what it answers, or raises."""


class NVMLError(Exception):
    """As of nvidia-ml-py."""


class NotSupportedError(NVMLError):
    """NVMLError_NotSupported."""


def processes(*ids: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=None, gpuInstanceId=None) for pid in ids]


def server_gpu() -> Answers:
    """A server's GPU at work, of which everything can be asked."""
    return {
        ("nvmlDeviceGetClockInfo", 1): 1_755,
        ("nvmlDeviceGetClockInfo", 2): 2_619,
        ("nvmlDeviceGetMaxClockInfo", 1): 1_980,
        ("nvmlDeviceGetMaxClockInfo", 2): 2_619,
        ("nvmlDeviceGetCurrentClocksEventReasons",): 0x1,
        ("nvmlDeviceGetViolationStatus", 0): SimpleNamespace(violationTime=3_000_000_000),
        ("nvmlDeviceGetViolationStatus", 1): SimpleNamespace(violationTime=0),
        ("nvmlDeviceGetTemperatureV", 0): 41,
        ("nvmlDeviceGetPowerUsage",): 123_400,
        ("nvmlDeviceGetEnforcedPowerLimit",): 700_000,
        ("nvmlDeviceGetTotalEnergyConsumption",): 5_000_500,
        ("nvmlDeviceGetEccMode",): [1, 1],
        ("nvmlDeviceGetTotalEccErrors", 1, 0): 0,
        ("nvmlDeviceGetMigMode",): [0, 0],
        ("nvmlDeviceGetPersistenceMode",): 1,
        ("nvmlDeviceGetComputeRunningProcesses",): processes(os.getpid()),
    }


def home_gpu() -> Answers:
    """An older card under an older driver: no ECC, MIG, energy, or counters, and functions' former names."""
    return {
        ("nvmlDeviceGetClockInfo", 1): 1_905,
        ("nvmlDeviceGetMaxClockInfo", 1): 2_100,
        ("nvmlDeviceGetCurrentClocksThrottleReasons",): 0x400,
        ("nvmlDeviceGetTemperature", 0): 63,
    }


@dataclass
class Gpu:
    """One that NVML knows; `instances` are the UUIDs of its MIG instances, with what each answers itself."""

    uuid: str
    answers: Answers
    bus: int = 1
    instances: dict[str, Answers] = field(default_factory=dict)


class FakeNvml(ModuleType):
    """Stands in for `pynvml`; handles are UUIDs."""

    def __init__(self, gpus: Iterable[Gpu], broken: str = "") -> None:
        super().__init__("pynvml")
        self.gpus = list(gpus)
        self.broken = broken
        self.asked: set[str] = set()
        self.__dict__.update(CONSTANTS)

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        if self.broken:
            raise NVMLError(self.broken)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802 - NVML's name
        return "580.65.06"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDevice"):
            raise AttributeError(name)
        return lambda *arguments: self._answer(name, *arguments)

    def _answer(self, name: str, handle: str, *arguments: Any) -> Any:
        self.asked.add(name)
        if name == "nvmlDeviceGetHandleByPciBusId":
            return next(gpu.uuid for gpu in self.gpus if f"{gpu.bus:02x}" == handle.split(":")[1])
        known = {gpu.uuid: gpu.answers for gpu in self.gpus}
        known |= {uuid: answers for gpu in self.gpus for uuid, answers in gpu.instances.items()}
        if handle not in known:
            raise NVMLError("Not Found")
        if name in {"nvmlDeviceGetHandleByUUID", "nvmlDeviceGetUUID"}:
            return handle
        whole = {uuid: gpu.uuid for gpu in self.gpus for uuid in gpu.instances}
        if name == "nvmlDeviceGetDeviceHandleFromMigDeviceHandle" and handle in whole:
            return whole[handle]
        if (name, *arguments) not in known[handle]:
            raise NotSupportedError("Not Supported")
        return known[handle][(name, *arguments)]


def pretend(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> None:
    """CUDA devices in the order that CUDA_VISIBLE_DEVICES gives NVML's; None for no package."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    for name in ("synchronize", "reset_peak_memory_stats", "manual_seed", "get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, name, lambda *_arguments: None)
    for name in ("memory_allocated", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda _device: 0)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: nullcontext())

    def properties(device: object) -> Any:
        order = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
        place = int(order[int(str(device).removeprefix("cuda:"))])
        gpu = nvml.gpus[place] if nvml else Gpu("GPU-aaaa", {})
        uuid = next(iter(gpu.instances), gpu.uuid).split("-", 1)[1]
        about = {"name": "Pretended GPU", "total_memory": 2**30, "major": 9, "minor": 0}
        return SimpleNamespace(uuid=uuid, pci_domain_id=0, pci_bus_id=gpu.bus, pci_device_id=0, **about)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
