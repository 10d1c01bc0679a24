"""What came out of one Run, the record of its GPU included: plain values.

Nothing here imports torch. Of a GPU None stands for what the device, its driver or the user's rights do not
tell; bsr.machine.nvml asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Annotated, Final, Literal

import msgspec

from bsr.run import Run

LARGEST: Final = 1e100
"""Of any measured number, so that ratios and sums stay finite."""
Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**62)]

Status = Literal[
    "ok",  # trained to the last epoch
    "diverged",  # a training loss was not finite, or the trained error is absurd (see EXPLODED)
    "dead",  # the predictions are constant where the labels are not
    "failed",  # an exception, or an assertion after the measurement
    "out_of_memory",
    "timed_out",
    "interrupted",
    "not_run",  # planned; the session ended before its turn
]
FINISHED: Final[frozenset[Status]] = frozenset({"ok", "diverged", "dead"})
"""Statuses that are results of the training itself; a resumed session retries all others."""
TRAINED: Final[frozenset[Status]] = frozenset({"ok", "dead"})
"""Statuses of a training that came to an error one can speak of."""
EXPLODED: Final = 1e6
"""Times the best constant's MSE, beyond which a finite test MSE tells of nothing but divergence."""

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
PROBE_TOLERANCE: Final = 1e-3
"""Two versions of torch, or two machines, differ by 1e-5 of a probe's numbers."""
PROBED: Final = 8
"""Predictions with which a probe begins."""
MOST_THROTTLED: Final = 0.01
"""Share of its time that a Run may be throttled: what lower clocks do in so little, no time shows."""


LESS: Final = (
    "names less of your own code than is recorded today: what it has is held to its labels, and to shapes "
    "and the source of its network's classes"
)
"""Of a recording made before that code was recorded."""
Trait = str | tuple[float, ...]
"""A digest, or the numbers of a probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One moment."""

    sm_clock_mhz: Whole | None = None
    memory_clock_mhz: Whole | None = None
    max_sm_clock_mhz: Whole | None = None
    max_memory_clock_mhz: Whole | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """Every reason why clocks are below the highest, harmless ones too: see THROTTLES."""
    power_throttled_seconds: Number | None = None
    """Below the application clocks for want of power, a counter that the driver keeps."""
    thermal_throttled_seconds: Number | None = None
    """Likewise for heat."""
    temperature_celsius: Whole | None = None
    power_watts: Number | None = None
    power_limit_watts: Number | None = None
    energy_joules: Number | None = None
    """Since the driver was loaded."""
    ecc: bool | None = None
    ecc_errors: Whole | None = None
    """Uncorrected, since the driver was loaded."""
    mig: bool | None = None
    """Whether the GPU is cut into instances, of which a Run has one."""
    persistence: bool | None = None
    other_processes: Whole | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one Run.

    Sequences are over its evaluations, after each epoch where epochs decide, and stop where the training
    stopped. A number that was not finite is None, and `status` says why.
    """

    run: Run
    status: Status
    message: str = ""
    notes: tuple[str, ...] = ()
    """What did not change the result and should be known: warnings, weights that could not be kept."""
    engine: str = ""
    kernel: str = ""
    """Digest of the source of the engine's own kernel; empty where it has none. Two never share a series."""
    device: str = ""
    threads: Count = 0
    environment: str = ""
    """Identity of the fingerprint of the machine that trained it (see bsr.machine.device)."""
    beside: Count = 0
    """How many other Runs the session let train on this machine at the same time."""
    cohort: Positive = 1
    """Runs trained at once on one device; above 1, training seconds are the cohort's, shared out."""
    cohort_seconds: Amount | None = None
    test_mse: tuple[float | None, ...] = ()
    """[evaluations + 1], the first before training; squared label units, accumulated in float64."""
    test_mae: tuple[float | None, ...] = ()
    """[evaluations + 1], label units."""
    training_mse: tuple[float | None, ...] = ()
    """Of the weights of `test_mse`, evaluated alike, on the first, at most 10,000, images they trained on.

    [evaluations + 1] where steps decide, else [1], of the last weights; empty unless ok or dead, and in
    earlier recordings."""
    validation_mse: tuple[float | None, ...] = ()
    """Likewise on held-out images, those on which the Run would be evaluated on validation, as many as there
    are; empty where there are none, and for a Run that is evaluated on them: its `test_mse` is that."""
    training_loss: tuple[float | None, ...] = ()
    """[evaluations], the mean over the images since the one before of the loss that was trained on."""
    training_seconds: tuple[float, ...] = ()
    """[evaluations], the devices synchronised before and after; no loading, evaluation or compilation."""
    device_seconds: tuple[float, ...] = ()
    """[evaluations], the same stretches by events on a CUDA device; empty where the engine has none."""
    evaluation_seconds: tuple[float, ...] = ()
    """[evaluations + 1]."""
    setup_seconds: float = 0.0
    warmup_seconds: float = 0.0
    """Compilation, capture and warm-up steps; 0 where an engine has none."""
    wall_seconds: Amount = 0.0
    """Of the whole Run, set-up to last evaluation."""
    steps: Count = 0
    diverged_at_step: int | None = None
    """The first step (from 1) whose loss was not finite."""
    baseline_mse: float | None = None
    """MSE of the best constant predictor: the population variance of the test labels."""
    prediction_spread: Amount | None = None
    """Standard deviation of the last predictions on the test set, label units."""
    labels_digest: str = ""
    """SHA-256 over the labels that it trained and was evaluated on, 16 hexadecimal digits."""
    parameter_shapes: str = ""
    """Of the network, in their order: `10x1x5x5, 10, ...`."""
    network_digest: str = ""
    """Of the source of the network's classes, see bsr.model; as the two before it empty where none was
    recorded."""
    code: tuple[tuple[str, str], ...] = ()
    """(file, digest) of a user's own, (package, version) of what it imports; see bsr.own.code."""
    structure: str = ""
    """Of a user's own network: the version of torch, a digest of its parts; see bsr.own.network."""
    probe: tuple[float, ...] = ()
    """What a user's own network computes with weights that a formula gives; compared by `same_probe`."""
    dataset_digest: str = ""
    """SHA-256 over the pixels of the data set, 16 hexadecimal digits; empty in earlier recordings."""
    order_digest: str = ""
    """SHA-256 over the order of every training batch, 16 hexadecimal digits."""
    peak_memory_bytes: Count | None = None
    gpu: GpuRecord | None = None
    """Its clocks, throttling and sharing; None on another device, and where NVML told nothing."""
    finished_at: str = ""
    """UTC, ISO 8601."""

    @property
    def final_mse(self) -> float | None:
        """Test MSE after the last epoch; None where the training did not get there, diverged or failed."""
        last, constant = self._last_mse, self.baseline_mse
        return None if last is not None and constant and last > EXPLODED * constant else last

    @property
    def final_training_mse(self) -> float | None:
        """Error of the last weights on images that they trained on; None where it was not measured."""
        return self.training_mse[-1] if self.training_mse else None

    @property
    def final_validation_mse(self) -> float | None:
        """Error of the last weights on held-out images; None where it was not measured."""
        return self.validation_mse[-1] if self.validation_mse else None

    @property
    def degenerate(self) -> bool:
        """Whether the test labels do not vary, so that there is nothing to learn."""
        return self.baseline_mse == 0

    @property
    def normalised_mse(self) -> float | None:
        """Final MSE over the best constant predictor's (1 - R squared); None on degenerate labels."""
        if not self.baseline_mse or (final := self.final_mse) is None:
            return None
        return final / self.baseline_mse

    @property
    def exploded(self) -> bool:
        """Whether its last error is beyond EXPLODED, as in recordings of versions that called this `ok`."""
        return bool(self.baseline_mse) and (self._last_mse or 0.0) > EXPLODED * (self.baseline_mse or 0.0)

    @property
    def _last_mse(self) -> float | None:
        trained = self.status in TRAINED and len(self.test_mse) == self.run.evaluations + 1
        return self.test_mse[-1] if trained else None

    @property
    def total_training_seconds(self) -> float:
        """Seconds over all epochs trained."""
        return sum(self.training_seconds)

    @property
    def images_per_second(self) -> float | None:
        """Training images per second of training time."""
        if not self.total_training_seconds:
            return None
        return self.run.images_until(len(self.training_seconds)) / self.total_training_seconds

    @property
    def identity(self) -> dict[str, Trait]:
        """By what it is of, all that every result mixed with this one must share.

        Digests of data set, labels and network, and of a user's own code; and what its network computes, see
        `same_probe`. What was not recorded is left out.
        """
        run = self.run
        images = f"{run.train_images:,} and {run.test_images:,} {run.evaluate_on} images of {run.dataset}"
        network = f"{self.parameter_shapes}, source {self.network_digest}"
        said: dict[str, Trait] = {
            "dataset digest": self.dataset_digest,
            f"labels of {run.task} ({images})": self.labels_digest,
            f"network {run.model}": network if self.network_digest else "",
            **{f"code of {name}": digest for name, digest in self.code},
        }
        torch, _, structure = self.structure.partition(" ")
        said[f"structure of {run.model} in torch {torch}"] = structure
        said[f"predictions of network {run.model} on {run.dataset}"] = self.probe
        return {name: value for name, value in said.items() if value}

    @property
    def says_less(self) -> bool:
        """Whether it names a user's own and was recorded before the code of such was."""
        own = any(":" in name for name in (self.run.task, self.run.model, self.run.dataset))
        return own and bool(self.network_digest) and not self.code

    @property
    def timing(self) -> str:
        """Under which circumstances it was timed; times of different modes never share a series."""
        if self.cohort > 1:
            return f"amortised over {self.cohort}"
        others = "1 other run" if self.beside == 1 else f"{self.beside} other runs"
        return f"in parallel with {others}" if self.beside else "alone"

    @property
    def disturbed(self) -> str:
        """How its GPU was throttled or shared: its times say less of the device. Empty as far as is known."""
        seconds = sum(self.training_seconds) + sum(self.evaluation_seconds)
        return self.gpu.disturbed(seconds) if self.gpu is not None else ""


def same_probe(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two networks compute the same, by what was kept of it; one that was not recorded says nothing.

    A prediction may differ by PROBE_TOLERANCE of the largest one, a gradient's norm by that of itself.
    """
    if not (one and other):
        return True
    if len(one) != len(other):
        return False
    largest = max(map(abs, (*one[:PROBED], *other[:PROBED])))
    norms = max(map(abs, (*one[PROBED:], *other[PROBED:])), default=0.0)
    pairs = list(zip(one, other, strict=True))
    return all(abs(a - b) <= PROBE_TOLERANCE * largest for a, b in pairs[:PROBED]) and all(
        abs(a - b) <= PROBE_TOLERANCE * (max(a, b) + PROBE_TOLERANCE * norms) for a, b in pairs[PROBED:]
    )


@dataclass(frozen=True)
class Cell:
    """The runs of one task at one batch size: they differ by seed alone."""

    task: str
    batch_size: int
    results: tuple[Result, ...]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Cell:
        """A cell of at least one result."""
        run = results[0].run
        return cls(run.task, run.batch_size, tuple(results))

    @cached_property
    def finished(self) -> tuple[Result, ...]:
        """Runs with a final MSE, whatever their status."""
        return tuple(result for result in self.results if result.final_mse is not None)

    @cached_property
    def finals(self) -> list[float]:
        """Final test MSE per run that has one; squared label units."""
        return [result.final_mse for result in self.results if result.final_mse is not None]

    @cached_property
    def normalised(self) -> list[float]:
        """Final MSE over the best constant predictor's; empty on degenerate labels."""
        return [result.normalised_mse for result in self.results if result.normalised_mse is not None]

    @property
    def dead(self) -> int:
        """How many of the runs with a final MSE predict a constant."""
        return sum(result.status == "dead" and not result.degenerate for result in self.finished)

    @cached_property
    def timed(self) -> list[Result]:
        """Runs with a final MSE whose GPU was neither throttled nor shared."""
        return [result for result in self.finished if not result.disturbed]

    @cached_property
    def minima(self) -> list[float]:
        """Minimum over the trained epochs of each run that has a final MSE."""
        return [min(mse for mse in result.test_mse[1:] if mse is not None) for result in self.finished]

    def at_epoch(self, epoch: int) -> list[float]:
        """Test MSE after `epoch` epochs of every run that got there."""
        counted_in = (r for r in self.results if r.status in FINISHED and not r.exploded)
        found = (result.test_mse[epoch] for result in counted_in if len(result.test_mse) > epoch)
        return [mse for mse in found if mse is not None]

    def curve(self, measure: str = "test_mse") -> list[float]:
        """Mean over the runs with a final MSE per epoch; `test_mse`, `test_mae` or `training_loss`."""
        if measure not in self._curves:
            rows = [getattr(result, measure) for result in self.finished]
            columns = zip(*(row for row in rows if None not in row), strict=True)
            self._curves[measure] = [fmean(column) for column in columns]
        return self._curves[measure]

    @cached_property
    def _curves(self) -> dict[str, list[float]]:
        """Those that were asked for: figures ask for one several times."""
        return {}
