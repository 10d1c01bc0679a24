"""What a record says of the GPU that trained, on a pretended one: nothing here ran on a GPU."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import synthetic
from bsr.engines.eager import EagerLearner
from bsr.experiments import Grid
from bsr.machine import device as machine
from bsr.plugin import summary
from bsr.plugin.progress import notes
from bsr.records import journal
from bsr.records.reading import RefusedError, read
from bsr.records.schema import extra_info, group
from bsr.result import GpuRecord, GpuState, Result
from bsr.run import Execution
from bsr.training.loop import train
from fake_nvml import CONSTANTS, FakeNvml, Gpu, home_gpu, pretend, processes, server_gpu
from trainings import RUN, Puppet, made_split, puppet

ON_CUDA = Execution(device="cuda:0", threads=1)
ONE_RUN = Grid(tasks=("mean",), batch_sizes=(32,), runs=1, epochs=1)


def trained(nvml: FakeNvml, during: dict[tuple[Any, ...], Any] | None = None, **behaviour: Any) -> Result:
    """A Run on the first CUDA device; `during` is what its GPU answers from the first epoch on."""

    def train_epoch(self: Puppet, order: Tensor, deadline: float) -> Tensor:
        nvml.gpus[0].answers.update(during or {})
        return Puppet.train_epoch(self, order, deadline)

    learner: Any = puppet(train_epoch=train_epoch, **behaviour)
    return train(RUN, made_split(RUN), ON_CUDA, learner)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    nvml = FakeNvml([Gpu("GPU-aaaa", server_gpu())])
    pretend(monkeypatch, nvml)
    return nvml


def test_a_run_records_its_gpu_before_and_after(server: FakeNvml) -> None:
    result = trained(server, {("nvmlDeviceGetTotalEnergyConsumption",): 5_900_500})
    assert result.gpu == GpuRecord(
        uuid="GPU-aaaa",
        before=GpuState(
            sm_clock_mhz=1_755,
            memory_clock_mhz=2_619,
            max_sm_clock_mhz=1_980,
            max_memory_clock_mhz=2_619,
            throttle_reasons=("gpu_idle",),
            power_throttled_seconds=3.0,
            thermal_throttled_seconds=0.0,
            temperature_celsius=41,
            power_watts=123.4,
            power_limit_watts=700.0,
            energy_joules=5_000.5,
            ecc=True,
            ecc_errors=0,
            mig=False,
            persistence=True,
            other_processes=0,
        ),
        after=replace(result.gpu.before, energy_joules=5_900.5) if result.gpu and result.gpu.before else None,
    )
    assert result.gpu.energy_joules == 900.0
    assert (result.status, result.disturbed, result.notes) == ("ok", "", ())


def test_what_a_device_does_not_support_is_null_and_the_rest_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = FakeNvml([Gpu("GPU-aaaa", home_gpu())])
    pretend(monkeypatch, nvml)
    result = trained(nvml)
    expected = GpuState(
        sm_clock_mhz=1_905, max_sm_clock_mhz=2_100, throttle_reasons=("reliability",), temperature_celsius=63
    )
    assert result.gpu == GpuRecord(uuid="GPU-aaaa", before=expected, after=expected)
    assert (result.status, result.disturbed, result.notes) == ("ok", "", ())


@pytest.mark.parametrize(
    ("nvml", "note"),
    [
        (None, r"ModuleNotFoundError: .*pynvml.*; pip install 'bsr\[gpu\]'"),
        (FakeNvml([Gpu("GPU-aaaa", {})], broken="NVML Shared Library Not Found"), "Library Not Found"),
    ],
    ids=["no package", "no driver"],
)
def test_without_nvml_a_run_trains_and_notes_why_nothing_is_recorded(
    monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None, note: str
) -> None:
    pretend(monkeypatch, nvml)
    learner: Any = Puppet
    result = train(RUN, made_split(RUN), ON_CUDA, learner)
    assert (result.status, result.gpu) == ("ok", None)
    (said,) = result.notes
    assert re.search(note, said)
    assert machine.fingerprint(ON_CUDA)["driver"] == (None if nvml is None or nvml.broken else "580.65.06")


def test_a_package_of_another_age_ends_no_run(server: FakeNvml) -> None:
    del server.__dict__["NVML_PERF_POLICY_POWER"]
    result = trained(server)
    assert (result.status, result.gpu, len(result.notes)) == ("ok", None, 1)
    assert "NVML_PERF_POLICY_POWER" in result.notes[0]


def test_a_gpu_that_is_lost_on_the_way_ends_no_run(server: FakeNvml) -> None:
    def lose(self: Puppet, order: Tensor, deadline: float) -> Tensor:
        server.gpus.clear()
        return Puppet.train_epoch(self, order, deadline)

    learner: Any = puppet(train_epoch=lose)
    result = train(RUN, made_split(RUN), ON_CUDA, learner)
    assert result.status == "ok"
    assert result.gpu is not None
    assert result.gpu.before is not None
    assert result.gpu.after is None
    assert "Not Found" in result.notes[0]


@pytest.mark.parametrize(("visible", "temperature"), [("0,1,2", 20), ("2,0", 22), ("1", 21)])
def test_nvml_is_asked_about_the_device_that_cuda_means(
    monkeypatch: pytest.MonkeyPatch, visible: str, temperature: int
) -> None:
    gpus = [Gpu(f"GPU-{n}", {("nvmlDeviceGetTemperatureV", 0): 20 + n}, bus=16 + n) for n in range(3)]
    pretend(monkeypatch, FakeNvml(gpus))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    learner: Any = Puppet
    result = train(RUN, made_split(RUN), ON_CUDA, learner)
    assert result.gpu is not None
    assert result.gpu.after is not None
    assert result.gpu.after.temperature_celsius == temperature


def test_a_device_whose_uuid_nvml_does_not_know_is_found_by_its_place_on_the_bus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = FakeNvml([Gpu("GPU-other", server_gpu(), bus=1), Gpu("GPU-aaaa", home_gpu(), bus=0xC1)])
    pretend(monkeypatch, nvml)
    about = SimpleNamespace(uuid="unknown", pci_domain_id=0, pci_bus_id=0xC1, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: about)
    result = trained(nvml)
    assert result.gpu is not None
    assert result.gpu.uuid == "GPU-aaaa"


def test_a_mig_instance_has_its_own_processes_and_the_clocks_of_its_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = server_gpu() | {("nvmlDeviceGetMigMode",): [1, 1]}
    whole["nvmlDeviceGetComputeRunningProcesses",] = processes(os.getpid(), 11, 12)
    own = {("nvmlDeviceGetComputeRunningProcesses",): processes(os.getpid())}
    nvml = FakeNvml([Gpu("GPU-aaaa", whole, instances={"MIG-bbbb": own})])
    pretend(monkeypatch, nvml)
    result = trained(nvml)
    assert result.gpu is not None
    assert result.gpu.uuid == "MIG-bbbb"
    state = result.gpu.after
    assert state is not None
    assert (state.mig, state.sm_clock_mhz, state.other_processes) == (True, 1_755, 0)
    assert result.disturbed == ""


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        ((), None),  # it lists nobody, not even this process
        ((os.getpid(),), 0),
        ((os.getpid(), os.getppid()), 0),  # the session that started a worker has tried the device
        ((os.getpid(), 7), 1),
        ((7,), 0),  # in a container: this process under another number
        ((7, 8, 9), 2),
    ],
)
def test_the_processes_of_others_are_counted(
    server: FakeNvml, ids: tuple[int, ...], others: int | None
) -> None:
    result = trained(server, {("nvmlDeviceGetComputeRunningProcesses",): processes(*ids)})
    assert result.gpu is not None
    assert result.gpu.after is not None
    assert result.gpu.after.other_processes == others
    shared = {1: "shared with 1 other process", 2: "shared with 2 other processes"}
    assert result.disturbed == shared.get(others or 0, "")


@pytest.mark.parametrize(
    ("bits", "disturbed"),
    [
        (0x000, ""),
        (0x001, ""),  # idle
        (0x002, ""),  # clocks that the owner set
        (0x400, ""),  # the voltage that ends every boost
        (0x004, "throttled (sw power cap)"),
        (0x061, "throttled (sw thermal slowdown, hw thermal slowdown)"),
        (1 << 40, ""),
    ],
)
def test_only_heat_power_and_other_gpus_count_as_throttling(
    server: FakeNvml, bits: int, disturbed: str
) -> None:
    result = trained(server, {("nvmlDeviceGetCurrentClocksEventReasons",): bits})
    assert result.disturbed == disturbed
    assert result.gpu is not None
    assert result.gpu.after is not None
    assert ("unknown_0x10000000000" in (result.gpu.after.throttle_reasons or ())) == (bits == 1 << 40)


@pytest.mark.parametrize(
    ("nanoseconds", "disturbed"),
    [(3_000_000_000, ""), (5_000_000_000, "throttled (power for 2 s)"), (1, "")],
    ids=["not since", "two seconds", "counted anew"],
)
def test_throttling_between_both_moments_is_told_by_the_drivers_counters(
    server: FakeNvml, nanoseconds: int, disturbed: str
) -> None:
    counter = SimpleNamespace(violationTime=nanoseconds)
    assert trained(server, {("nvmlDeviceGetViolationStatus", 0): counter}).disturbed == disturbed


def test_throttling_for_less_than_a_hundredth_of_the_time_is_none() -> None:
    states = [GpuState(thermal_throttled_seconds=seconds) for seconds in (10.0, 10.9)]
    gpu = GpuRecord(before=states[0], after=states[1])
    assert gpu.disturbed(100.0) == ""
    assert gpu.disturbed(80.0) == "throttled (thermal for 0.9 s)"


def test_an_energy_counter_that_began_anew_tells_no_energy() -> None:
    states = [GpuState(energy_joules=joules) for joules in (10.0, 4.0)]
    assert GpuRecord(before=states[0], after=states[1]).energy_joules is None


def test_a_run_that_ends_early_keeps_what_was_seen(server: FakeNvml) -> None:
    def exhausted(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    result = trained(server, __init__=exhausted)
    assert result.status == "out_of_memory"
    assert result.gpu is not None
    assert result.gpu.before is None
    assert result.gpu.after is not None


def test_on_the_cpu_nvml_is_not_asked(server: FakeNvml) -> None:
    learner: Any = Puppet
    result = train(RUN, made_split(RUN), Execution(device="cpu", threads=1), learner)
    assert (result.gpu, result.notes, server.asked) == (None, (), set())


def test_the_record_survives_its_journal(server: FakeNvml, tmp_path: Path) -> None:
    result = replace(trained(server), device_seconds=(0.5, 0.25))
    line = journal.line_of(journal.ResultLine(key=result.run.key, result=result))
    header = journal.Header(
        planned=(result.run,), execution=ON_CUDA, dataset_digest="", environment={"id": ""}, started_at=""
    )
    path = tmp_path / "run.journal.jsonl"
    path.write_bytes(journal.line_of(header) + line)
    assert journal.read(path).results[result.run.key] == result


def test_a_disturbed_run_has_a_group_and_a_line_of_its_own(server: FakeNvml) -> None:
    calm = trained(server)
    shared = trained(server, {("nvmlDeviceGetComputeRunningProcesses",): processes(os.getpid(), 7)})
    assert group(shared) == f"{group(calm)}, while its GPU was throttled or shared"
    info = extra_info(shared, "batch-size", resumed=False)
    assert info["disturbed"] == "shared with 1 other process"
    assert shared.gpu is not None
    assert shared.gpu.after is not None
    assert shared.gpu.after.other_processes == 1


def test_the_terminal_says_it_of_the_case_and_keeps_its_time_out_of_the_table() -> None:
    run = synthetic.session(grid=ONE_RUN).cases[0].result.run
    shared = synthetic.result(
        run, gpu=GpuRecord(after=GpuState(other_processes=1)), training_seconds=(777.0,)
    )
    calm = synthetic.result(replace(run, seed=run.seed + 1), training_seconds=(5.0,))
    assert notes(shared) == ("the GPU was shared with 1 other process: in no statement on speed",)
    assert notes(calm) == ()
    session: Any = SimpleNamespace(
        results={one.run.key: one for one in (shared, calm)},
        header=SimpleNamespace(cases={one.run.key: {"batch-size": ""} for one in (shared, calm)}),
    )
    (row,) = (line.split() for line in summary.tables(session, 120).splitlines() if "mean   " in line)
    assert (row[2], row[-2]) == ("2", "5.00")


def test_a_table_of_ones_own_has_what_disturbed_a_run_and_the_devices_seconds(tmp_path: Path) -> None:
    shared = GpuRecord(after=GpuState(other_processes=1))
    made = synthetic.session(grid=ONE_RUN, circumstances={"gpu": shared, "device_seconds": (1.5,)})
    recording = read(synthetic.write(tmp_path / "run.json", made))
    assert recording.results[0].gpu == shared
    assert list(recording.runs.disturbed) == ["shared with 1 other process"]
    assert list(recording.epochs.device_seconds)[1:] == [1.5]


@pytest.mark.parametrize(
    ("about", "where"),
    [
        ({"device_seconds": (1.0, 1.0)}, "result.device_seconds: expected at most 1 values"),
        ({"device_seconds": (1e200,)}, r"result.device_seconds\[0\]: expected 0, or"),
        ({"gpu": GpuRecord(after=GpuState(power_watts=-1e200))}, "result.gpu.after.power_watts: expected"),
        ({"gpu": GpuRecord(before=GpuState(ecc_errors=10**101))}, "result.gpu.before.ecc_errors: expected"),
    ],
)
def test_what_no_gpu_can_say_is_refused_by_the_path_of_the_field(
    tmp_path: Path, about: dict[str, Any], where: str
) -> None:
    made = synthetic.session(grid=ONE_RUN, circumstances=about)
    with pytest.raises(RefusedError, match=where):
        read(synthetic.write(tmp_path / "run.json", made))


def test_seconds_by_events_stand_beside_the_hosts(server: FakeNvml) -> None:
    by_events = [9.0]  # of a warm-up, which is no epoch

    def train_epoch(self: Puppet, order: Tensor, deadline: float) -> Tensor:
        by_events.append(0.5 + len(by_events))
        return Puppet.train_epoch(self, order, deadline)

    learner: Any = puppet(train_epoch=train_epoch, device_seconds=by_events)
    result = train(RUN, made_split(RUN), ON_CUDA, learner)
    assert result.device_seconds == tuple(1.5 + epoch for epoch in range(RUN.epochs))
    assert len(result.training_seconds) == RUN.epochs


def test_events_are_recorded_round_the_work_and_read_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            told.append(f"recorded on {stream}")

        def synchronize(self) -> None:
            told.append("waited")

        def elapsed_time(self, _end: Event) -> float:
            return 1_500.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"{device}'s")
    seconds: list[float] = []
    with machine.timed_by_events(torch.device("cuda:1"), seconds):
        told.append("worked")
    assert (told, seconds) == (
        ["recorded on cuda:1's", "worked", "recorded on cuda:1's", "waited"],
        [1.5],
    )
    with machine.timed_by_events(torch.device("cpu"), seconds):
        pass
    assert seconds == [1.5]


@pytest.mark.gpu
def test_on_a_gpu_clocks_are_recorded_and_events_agree_with_the_host() -> None:
    result = train(RUN, made_split(RUN), ON_CUDA, EagerLearner)
    assert result.notes == ()
    assert result.gpu is not None
    for state in (result.gpu.before, result.gpu.after):
        assert state is not None
        assert 0 < (state.sm_clock_mhz or 0) <= (state.max_sm_clock_mhz or 0)
        assert state.throttle_reasons is not None
    assert len(result.device_seconds) == RUN.epochs
    for device, host in zip(result.device_seconds, result.training_seconds, strict=True):
        assert 0 < device <= host


def test_nvidias_own_package_has_what_is_asked_for(server: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(server)
    monkeypatch.undo()
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert server.asked <= set(dir(pynvml))
    assert {name: getattr(pynvml, name) for name in CONSTANTS} == CONSTANTS
