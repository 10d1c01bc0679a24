"""What NVML says of the GPU that trains, by nvidia-ml-py (the extra `gpu`): never a reason to end a Run."""

from __future__ import annotations

import os
from typing import Any, Final

import torch

from bsr.result import GpuRecord, GpuState
from bsr.text.strict_json import one_line

REASONS: Final = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
"""Bits of nvmlClocksEventReasons in nvml.h."""


class Watch:
    """The GPU of one Run, seen before and after its epochs; sees nothing on another kind of device."""

    def __init__(self, device: str) -> None:
        self.notes: tuple[str, ...] = ()
        """Why nothing was seen of a GPU."""
        self._device = device
        self._gpu: _Gpu | None = None
        self._before: GpuState | None = None

    def begin(self) -> None:
        """Before the first epoch: the device computes already, so that NVML lists this process."""
        self._before = self._look()

    def end(self) -> GpuRecord | None:
        """After the last; None where NVML told nothing."""
        after = self._look()
        if self._gpu is None or (self._before is None and after is None):
            return None
        return GpuRecord(uuid=self._gpu.uuid, before=self._before, after=after)

    def _look(self) -> GpuState | None:
        if torch.device(self._device).type != "cuda":
            return None
        try:
            self._gpu = self._gpu or _Gpu(self._device)
            return self._gpu.state()
        except Exception as error:  # noqa: BLE001 - no package, no driver, a lost GPU: the Run goes on
            remedy = "; pip install 'bsr[gpu]'" if isinstance(error, ImportError) else ""
            self.notes = (f"clocks and neighbours of the GPU could not be read: {one_line(error)}{remedy}",)
            return None


def driver_version() -> str | None:
    """Of the NVIDIA driver; None where NVML does not tell."""
    try:
        return str(_nvml().nvmlSystemGetDriverVersion())
    except Exception:  # noqa: BLE001 - a missing driver must not stop a measurement
        return None


def _nvml() -> Any:
    import pynvml  # noqa: PLC0415 - the optional extra `gpu`

    pynvml.nvmlInit()  # counted, and cheap where it was done before
    return pynvml


class _Gpu:
    """A CUDA device as NVML knows it, which numbers devices by itself and sees those that are hidden."""

    def __init__(self, device: str) -> None:
        self._nvml = _nvml()
        self._own = self._found(torch.cuda.get_device_properties(device))
        # clocks, power and heat are the whole GPU's: an instance of it has none
        whole = self._ask("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", on=self._own)
        self._whole = self._own if whole is None else whole
        self.uuid = str(self._ask("nvmlDeviceGetUUID", on=self._own) or "")

    def _found(self, properties: Any) -> Any:
        """By UUID, of a GPU or a MIG instance; else by its place on the PCI bus."""
        for kind in ("GPU", "MIG"):
            named = self._ask("nvmlDeviceGetHandleByUUID", on=f"{kind}-{properties.uuid}")
            if named is not None:
                return named
        place = (properties.pci_domain_id, properties.pci_bus_id, properties.pci_device_id)
        return self._nvml.nvmlDeviceGetHandleByPciBusId("{:08x}:{:02x}:{:02x}.0".format(*place))

    def _ask(self, name: str, *arguments: int, on: Any = None) -> Any:
        """What NVML answers; None where this device, driver or user gets no answer."""
        try:
            return getattr(self._nvml, name)(self._whole if on is None else on, *arguments)
        except Exception:  # noqa: BLE001 - NotSupported, NoPermission, a function of another version
            return None

    def state(self) -> GpuState:
        """As it is now. Raises what NVML does where the GPU is lost."""
        nvml, ask = self._nvml, self._ask
        nvml.nvmlDeviceGetUUID(self._own)
        return GpuState(
            sm_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_clock_mhz=ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            max_sm_clock_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            max_memory_clock_mhz=ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
            throttle_reasons=self._throttle_reasons(),
            power_throttled_seconds=self._throttled(nvml.NVML_PERF_POLICY_POWER),
            thermal_throttled_seconds=self._throttled(nvml.NVML_PERF_POLICY_THERMAL),
            temperature_celsius=self._temperature(),
            power_watts=_thousandth(ask("nvmlDeviceGetPowerUsage")),
            power_limit_watts=_thousandth(ask("nvmlDeviceGetEnforcedPowerLimit")),
            energy_joules=_thousandth(ask("nvmlDeviceGetTotalEnergyConsumption")),
            ecc=_current(ask("nvmlDeviceGetEccMode")),
            ecc_errors=ask(
                "nvmlDeviceGetTotalEccErrors", nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            ),
            mig=_current(ask("nvmlDeviceGetMigMode")),
            persistence=_current([ask("nvmlDeviceGetPersistenceMode")]),
            other_processes=self._other_processes(),
        )

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name before driver 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        known = tuple(name for bit, name in REASONS.items() if bits & bit)
        unknown = bits & ~sum(REASONS)
        return (*known, *([f"unknown_{unknown:#x}"] if unknown else []))

    def _throttled(self, policy: int) -> float | None:
        violation = self._ask("nvmlDeviceGetViolationStatus", policy)
        return None if violation is None else violation.violationTime / 1e9

    def _temperature(self) -> int | None:
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        celsius = self._ask("nvmlDeviceGetTemperatureV", sensor)
        if celsius is None:  # the name that CUDA 14 removes
            celsius = self._ask("nvmlDeviceGetTemperature", sensor)
        return None if celsius is None else int(celsius)

    def _other_processes(self) -> int | None:
        """Beside this one, which computes there, and its parent, the session that may have tried the device.

        In a container NVML gives the ids that processes have outside of it: then one of them is this one.
        Where it lists none, it does not list this one either, and so tells nothing.
        """
        listed = [
            self._ask(f"nvmlDeviceGet{kind}RunningProcesses", on=self._own)
            for kind in ("Compute", "MPSCompute")
        ]
        ids = {process.pid for processes in listed for process in processes or ()}
        if not ids:
            return None
        return len(ids - {os.getpid(), os.getppid()}) if os.getpid() in ids else len(ids) - 1


def _thousandth(value: int | None) -> float | None:
    """Of milliwatts watts, of millijoules joules."""
    return None if value is None else value / 1000


def _current(modes: Any) -> bool | None:
    """Of a mode that is now and one after the next reboot; None where there is none."""
    return None if not modes or modes[0] is None else bool(modes[0])
