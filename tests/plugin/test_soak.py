"""Fault injection at many random moments: `make soak`, minutes. Left out of the usual run by its marker."""

from __future__ import annotations

import random
import signal
from datetime import datetime
from pathlib import Path

import pytest

from bsr.machine.capacity import usable_cores
from bsr.records.journal import journal_path
from plugin_support import (
    SMOKE,
    Suite,
    assert_resumed_to_the_whole,
    interrupt,
    suite,
    timeless,
    uninterrupted,
)

__all__ = ["suite"]
pytestmark = pytest.mark.soak
KILLS = 24
"""Random moments per kind of session; a seed each, so that what failed can be repeated."""
ENDINGS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_session_that_is_ended_at_any_moment_is_resumed_to_the_same_whole(suite: Suite, seed: int) -> None:
    """In one process, each of up to three endings on the way to the whole."""
    chance = random.Random(seed)
    for attempt in range(chance.choice((1, 1, 2, 3))):
        resume = ("--bsr-resume",) if attempt else ()
        before = suite.journal_lines()
        lines = before + chance.randrange(10)
        number = chance.choice(ENDINGS)
        interrupt(suite, number, *resume, lines=lines, delay=chance.random() * 0.3, fresh=seed % 8 == 0)
    assert_resumed_to_the_whole(suite)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_session_on_two_workers_that_is_ended_at_any_moment_is_resumed_to_the_same_whole(
    suite: Suite, seed: int
) -> None:
    chance = random.Random(1000 + seed)
    workers = "--bsr-workers=2"
    interrupt(
        suite,
        chance.choice(ENDINGS),
        workers,
        lines=chance.randrange(9),
        delay=chance.random(),
        fresh=seed % 8 == 0,
    )
    assert_resumed_to_the_whole(suite, workers)


OWN_KILLS = 20
"""Random moments for sessions of a user's own code, likewise for those of it on two workers."""
OWN_CODE = '''
"""A task, a network and a data set of a user's own; a helper and a constant beside them."""
import torch
from torch import nn

DARKEST = 8.0


def pixels(images):
    return images.flatten(1).double()


def contrast(images):
    flat = pixels(images)
    return (flat.amax(1) - flat.mean(1) + DARKEST).float()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, kernel_size=5, stride=3)
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(600, 1)

    def forward(self, images):
        hidden = self.conv(images).relu()
        return self.linear(self.dropout(hidden.view(len(hidden), -1))).squeeze(1)


def blocks():
    draw = torch.Generator().manual_seed(5)
    parts = (torch.randint(0, 256, (count, 2, 2), dtype=torch.uint8, generator=draw) for count in (640, 80))
    return tuple(part.repeat_interleave(16, 1).repeat_interleave(16, 2) for part in parts)
'''
OWN = (
    "--bsr-tasks=soaked_study:contrast",
    "--bsr-models=soaked_study:Net",
    "--bsr-dataset=soaked_study:blocks",
    "--bsr-learning-rates=0.002",
    "--bsr-batch-sizes=32,64",
    "--bsr-runs=4",
)


@pytest.fixture(scope="module")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The arguments of a session of eight cases of a user's own; the module lies in a folder of its own."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "soaked_study.py").write_text(OWN_CODE)
    return ("-o", f"pythonpath={folder}", *OWN)


@pytest.mark.parametrize("workers", [(), ("--bsr-workers=2",)], ids=["in one process", "on two workers"])
@pytest.mark.parametrize("seed", range(OWN_KILLS))
def test_a_session_of_own_code_that_is_ended_at_any_moment_is_resumed_to_the_same_whole(
    suite: Suite, own_code: tuple[str, ...], workers: tuple[str, ...], seed: int
) -> None:
    chance = random.Random(2000 + seed)
    asked = (*own_code, *workers)
    interrupt(suite, chance.choice(ENDINGS), *asked, lines=chance.randrange(9), delay=chance.random() * 0.3)
    assert_resumed_to_the_whole(suite, *asked)


@pytest.mark.parametrize("share", [index / 20 for index in range(1, 21)])
def test_a_journal_cut_anywhere_is_resumed_to_the_same_whole(suite: Suite, share: float) -> None:
    """From the middle of its header to all but its last byte."""
    content = journal_path(uninterrupted().folder / "run.json").read_bytes()
    journal_path(suite.folder / "run.json").write_bytes(content[: int(share * len(content)) - 1])
    assert_resumed_to_the_whole(suite)


def test_what_compares_two_sessions_sees_a_difference() -> None:
    """Else the tests above would show nothing."""
    document = uninterrupted().json()
    other = uninterrupted().json()
    other["bsr"]["cases"][3]["result"]["test_mse"][-1] *= 1 + 1e-9
    assert timeless(document) != timeless(other)
    other = uninterrupted().json()
    other["bsr"]["cases"][3]["result"]["wall_seconds"] += 1
    assert timeless(document) == timeless(other)


SEEDS = 250
"""Of each of the eight smoke cells: 2,000 Runs."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell the memory")
@pytest.mark.parametrize("where", [("--bsr-dask", "local"), ("--bsr-workers", "2")], ids=["dask", "workers"])
def test_of_two_thousand_runs_each_costs_little_time_and_next_to_no_memory(
    suite: Suite, where: tuple[str, str]
) -> None:
    """What a Run costs beside its own seconds, on all cores, from the first result to the last."""
    pytest.importorskip("distributed", reason="distributed is not installed")
    session = suite.start(
        *SMOKE, "--bsr-runs", str(SEEDS), *where, "--benchmark-json=run.json", fresh=True, patience=1200
    )
    session.until(lambda: suite.journal_lines() > SEEDS, f"{SEEDS} Runs were recorded")
    early = resident_bytes(session.pid)
    session.until(lambda: suite.journal_lines() > 7 * SEEDS, f"{7 * SEEDS} Runs were recorded")
    late = resident_bytes(session.pid)
    ended = session.wait()
    assert ended.code == 0, ended.output
    results = [case["result"] for case in suite.cases()]
    assert len(results) == 8 * SEEDS
    assert {result["status"] for result in results} == {"ok"}
    times = sorted(datetime.fromisoformat(result["finished_at"]).timestamp() for result in results)
    working = sum(result["wall_seconds"] for result in results) / usable_cores()
    overhead = (times[-1] - times[0] - working) / len(results)
    growth = (late - early) / (6 * SEEDS)
    print(f"{where}: {overhead * 1e3:.1f} ms and {growth / 1e3:.1f} kB per Run")
    assert overhead < 0.050
    assert growth < 20_000  # a Result, its record for pytest and pytest-benchmark's


def resident_bytes(process: int) -> int:
    """What a process holds in memory now."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(f"no process {process}")
