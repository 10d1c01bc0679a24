"""On a terminal a live line tells what trains and leaves no trace; what is expected comes from few steps."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from bsr.engines import ENGINES
from bsr.engines.eager import EagerLearner
from bsr.experiments import PRESETS
from bsr.experiments.original import batch_size
from bsr.plugin.estimate import Forecast
from bsr.plugin.progress import Display
from bsr.result import Result
from bsr.run import Run
from plugin_support import REPOSITORY, TWO_CASES, USUAL, session_environment
from trainings import CPU

RUN = next(batch_size(PRESETS["smoke"].grid))


class Screen:
    """As much of a terminal as the live line needs: what is written, and what can be seen."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = self.column = 0

    def write(self, text: str) -> None:
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|[\r\n])", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part.startswith("\x1b["):
                self._control(part[2:-1], part[-1])
            elif part:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
                self.column += len(part)

    def _control(self, number: str, what: str) -> None:
        if what == "A":
            self.row -= int(number or 1)
        elif what == "K":
            self.lines[self.row] = "" if number == "2" else self.lines[self.row][: self.column]
        else:
            assert what in "mhl", f"an unknown control sequence: {number}{what}"


@pytest.fixture(
    scope="module", params=[(), pytest.param(("-v",), marks=pytest.mark.slow)], ids=["quiet", "verbose"]
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that a session of two cases writes to a terminal."""
    terminal, its_end = pty.openpty()
    line = [*USUAL, f"{REPOSITORY}/benchmarks", *TWO_CASES, "--bsr-epochs=3", *request.param]
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", *line],
        cwd=tmp_path_factory.mktemp("terminal"),
        env=session_environment() | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    text = b"".join(_read(terminal)).decode()
    os.close(terminal)
    assert session.wait() == 0, text
    return text


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            content = os.read(terminal, 65536)
        except OSError:  # as Linux says that the other end is closed
            return
        if not content:
            return
        yield content


@pytest.mark.slow
def test_the_live_line_tells_case_epoch_and_time_left(written: str) -> None:
    uncoloured = re.sub(r"\x1b\[[0-9;]*m", "", written)
    for epoch in range(4):
        assert re.search(rf"0/2 mean-bs256-seed256 epoch {epoch}/3, \d+ s left", uncoloured)
    assert re.search(r"1/2 std-bs256-seed256 epoch 0/3", uncoloured)


@pytest.mark.slow
def test_the_live_line_leaves_no_trace_and_every_line_survives(written: str) -> None:
    screen = Screen()
    screen.write(written)
    seen = [line.rstrip() for line in screen.lines]
    assert not [line for line in seen if "epoch " in line]
    cases = [line for line in seen if re.match(r"  (mean|std)-bs256", line)]
    assert [line.split()[0] for line in cases] == ["mean-bs256-seed256", "std-bs256-seed256"]
    assert cases[0].endswith("left]")
    assert cases[1].endswith("[2/2]")
    assert "bsr: 2 of 2 cases finished" in seen


@pytest.mark.slow
def test_the_cursor_is_there_again(written: str) -> None:
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_an_estimate_counts_steps_and_evaluations() -> None:
    estimate = Forecast()
    estimate.probe(CPU, RUN)
    assert not estimate.problem
    once, twice = (estimate.total([RUN] * count) for count in (1, 2))
    assert once is not None
    assert 0 < once < 60
    assert twice == pytest.approx(2 * once)
    assert estimate.total([replace(RUN, epochs=20)]) > once * 5  # type: ignore[operator]
    assert Forecast(workers=2).total([RUN]) is None


def test_an_estimate_knows_what_was_done_and_what_it_really_took() -> None:
    estimate = Forecast()
    estimate.probe(CPU, RUN)
    expected = estimate.run(RUN)
    assert estimate.total([RUN], begun=[(RUN, 1)]) == pytest.approx(expected / 2)
    estimate.learn(RUN, 3 * expected)
    assert estimate.total([RUN]) == pytest.approx(3 * expected)


def test_the_time_left_is_not_summed_anew_for_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 cases each costs as many looks at what a Run takes as of 20: twice, here and as it finishes."""
    looked: list[Run] = []
    usual = Forecast.run

    def counted(self: Forecast, run: Run) -> float:
        looked.append(run)
        return usual(self, run)

    monkeypatch.setattr(Forecast, "run", counted)
    estimate = Forecast()
    estimate.problem, estimate._steps = "", [(1, 0.001)]
    runs = {run.key: run for run in (replace(RUN, seed=seed) for seed in range(200))}
    cases = {key: {"batch-size": key} for key in runs}
    results: dict[str, Result] = {}
    lines: list[str] = []
    reporter = SimpleNamespace(
        ensure_newline=lambda: None, write_line=lambda text, **_: lines.append(text), flush=lambda: None
    )
    session = SimpleNamespace(
        notes=[],
        executor=None,
        runs=runs,
        results=results,
        header=SimpleNamespace(cases=cases, cluster=False),
    )
    display = Display(reporter, session, estimate)  # type: ignore[arg-type]
    for key, run in runs.items():
        results[key] = Result(run=run, status="ok", wall_seconds=2 * usual(estimate, run))
        display.finished(results[key])
        display.case(key, results[key], resumed=False)
    assert len(looked) <= 2 * len(runs)
    assert "[1/200, " in lines[0]
    assert lines[0].endswith(" left]")
    assert lines[-1].endswith("[200/200]")


def test_between_probed_batch_sizes_a_steps_time_is_interpolated_and_beyond_proportional() -> None:
    estimate = Forecast()
    estimate._steps = [(10, 1.0), (20, 2.0), (40, 3.0)]
    steps = {size: estimate._step(size) for size in (1, 10, 15, 30, 40, 80)}
    assert steps == {1: 1.0, 10: 1.0, 15: 1.5, 30: 2.5, 40: 3.0, 80: 6.0}


class Unlucky(EagerLearner):
    def train_epoch(self, order: Tensor, deadline: float) -> Tensor:
        raise torch.OutOfMemoryError("no room")


def test_an_estimate_that_fails_says_so_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "unlucky", f"{__name__}:Unlucky")
    estimate = Forecast()
    estimate.probe(replace(CPU, engine="unlucky"), RUN)
    assert estimate.problem == "OutOfMemoryError: no room"
    assert estimate.total([RUN]) is None
    estimate.learn(RUN, 1.0)


def test_an_estimate_stops_probing_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsr.plugin.estimate.PROBE_SECONDS", 0)
    estimate = Forecast()
    estimate.probe(CPU, RUN)
    assert len(estimate._steps) == 1
    assert estimate.total([RUN])


def test_a_probe_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    Forecast().probe(CPU, RUN)
    assert bool((torch.get_rng_state() == before).all())


def test_nothing_is_drawn_where_there_is_no_terminal(tmp_path: Path) -> None:
    from bsr.plugin.progress import _LiveLine

    with (tmp_path / "output").open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "__stdout__", file)
        assert not _LiveLine.possible()
        patch.setattr(sys, "__stdout__", None)
        assert not _LiveLine.possible()
