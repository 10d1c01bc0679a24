"""What a GPU did while a Run was timed, and whether that speaks against the time: plain values.

None stands for what the device, its driver or the user's rights do not tell. bsr.machine.nvml asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

THROTTLES: Final = (
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
)
"""Reasons for lower clocks that come from outside a Run: heat, power, another GPU.

No others do: an idle GPU, clocks that its owner set, the voltage that ends every boost.
"""
MOST_THROTTLED: Final = 0.01
"""Share of its time that a Run may be throttled: what lower clocks do in so little, no time shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One moment."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    max_sm_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """Every reason why clocks are below the highest, harmless ones too: see THROTTLES."""
    power_throttled_seconds: float | None = None
    """Below the application clocks for want of power, a counter that the driver keeps."""
    thermal_throttled_seconds: float | None = None
    """Likewise for heat."""
    temperature_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    """Since the driver was loaded."""
    ecc: bool | None = None
    ecc_errors: int | None = None
    """Uncorrected, since the driver was loaded."""
    mig: bool | None = None
    """Whether the GPU is cut into instances, of which a Run has one."""
    persistence: bool | None = None
    other_processes: int | None = None
    """That compute on the GPU, or the instance, beside the Run's own and the session that started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRecord:
    """The GPU of one Run, which `uuid` names as NVML does."""

    uuid: str = ""
    before: GpuState | None = None
    """Warmed up, before the first evaluation; None where the Run did not get there."""
    after: GpuState | None = None
    """After the last evaluation, or where the Run ended."""

    @property
    def energy_joules(self) -> float | None:
        """Of the whole GPU, between both moments."""
        return self._between("energy_joules")

    def disturbed(self, seconds: float) -> str:
        """`throttled (sw power cap)`, `shared with 1 other process`, both, or nothing that is known.

        `seconds` lie between both moments.
        """
        causes = (*self._reasons(), *self._counted("power", seconds), *self._counted("thermal", seconds))
        throttled = f"throttled ({', '.join(causes)})" if causes else ""
        others = max((state.other_processes or 0 for state in self._states), default=0)
        shared = f"shared with {others} other process{'es' * (others > 1)}" if others else ""
        return "; ".join(filter(None, (throttled, shared)))

    @property
    def _states(self) -> tuple[GpuState, ...]:
        return tuple(state for state in (self.before, self.after) if state is not None)

    def _reasons(self) -> list[str]:
        seen = {reason for state in self._states for reason in state.throttle_reasons or ()}
        return [reason.replace("_", " ") for reason in THROTTLES if reason in seen]

    def _counted(self, kind: str, seconds: float) -> list[str]:
        throttled = self._between(f"{kind}_throttled_seconds") or 0.0
        return [f"{kind} for {throttled:.3g} s"] if throttled > MOST_THROTTLED * seconds else []

    def _between(self, counter: str) -> float | None:
        """How far a counter went; None where it was not read twice, or began anew."""
        first, last = (getattr(state, counter, None) for state in (self.before, self.after))
        return last - first if first is not None and last is not None and last >= first else None
