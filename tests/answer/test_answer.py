"""One command from own data to the answer: it measures, plans, trains, draws, and goes on where it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import synthetic
from bsr.answer import sessions
from bsr.answer.__main__ import main
from bsr.experiments import PRESETS
from bsr.experiments.fitting import PlanError
from bsr.plugin.refinement import tuned_in
from bsr.records.durable import replace_file
from bsr.records.reading import read
from bsr.run import Run


@dataclass
class Pretended:
    """Processes that end at once: sessions whose recordings are synthetic, and reports."""

    seconds_per_image: float = 1e-4
    killed_in: str = ""
    """The recording in whose session it is killed."""
    started: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)

    def run(self, module: Sequence[str]) -> int:
        self.lines.append(list(module))
        if module[0] == "reports":
            self.started.append("reports")
            return 0
        options = dict(re.findall(r"--([a-z-]+)=(\S+)", " ".join(module)))
        path = Path(options["benchmark-json"])
        self.started.append(path.stem)
        if path.stem == self.killed_in:
            return -9
        synthetic.write(path, self._recorded(options))
        return 0

    def _recorded(self, options: dict[str, str]) -> Any:
        experiments = options.get("bsr-experiments", "study-rate,equal-epochs,equal-updates").split(",")
        sizes = options.get("bsr-batch-sizes", "16,64,256,1024").split(",")
        grid = replace(
            PRESETS["answer"].grid,
            tasks=("mean",),
            batch_sizes=tuple(map(int, sizes)),
            runs=int(options["bsr-runs"]),
            run_images=int(options["bsr-run-images"]),
        )
        if "bsr-rates" in options:
            grid = replace(grid, rates=tuned_in(map(Path, options["bsr-rates"].split(","))))
        return synthetic.session(experiments, grid, circumstances=self._timed, preset="answer")

    def _timed(self, run: Run) -> dict[str, Any]:
        seconds = run.total_steps * run.batch_size * self.seconds_per_image
        return {
            "training_seconds": (seconds / run.evaluations,) * run.evaluations,
            "evaluation_seconds": (0.01,) * (run.evaluations + 1),
            "wall_seconds": seconds + 0.01 * (run.evaluations + 1),
        }


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretended:
    made = Pretended()
    monkeypatch.setattr(sessions, "_run", made.run)
    monkeypatch.chdir(tmp_path)
    return made


def test_it_measures_plans_tunes_trains_and_draws(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tasks=mean", "--minutes=15"]) == 0
    assert [name for name in pretended.started if name != "edges"] == ["costs", "tune", "answer", "reports"]
    said = capsys.readouterr().out
    assert "bsr.answer: an update takes 1.6 ms at 16" in said
    assert "left out: batch size 1024" in said
    assert said.index("left out") < said.index("tune, planned for")
    plan = json.loads((tmp_path / "answer" / "plan.json").read_bytes())["plan"]
    assert 0.78 < sum(plan["seconds"].values()) / 900 <= 0.8
    runs = {result.run for result in read(tmp_path / "answer" / "answer.json").results}
    assert {run.steps for run in runs if run.batch_size == plan["batch_sizes"][-1]} == {
        plan["run_images"] // plan["batch_sizes"][-1]
    }
    assert all(run.evaluation_steps[:3] == (8, 11, 16) for run in runs)  # so short plans resolve easy errors


def test_what_was_asked_for_is_what_the_sessions_are_told(pretended: Pretended) -> None:
    main(["--dataset=mine:bars", "--models=mine:Net", "--tasks=mean", "--minutes=30"])
    for line in pretended.lines[:-1]:
        assert {"--bsr-dataset=mine:bars", "--bsr-models=mine:Net", "--bsr-tasks=mean"} <= {*line}
        assert {"--bsr-preset=answer", "--bsr-resume"} <= {*line}


@pytest.mark.parametrize("where", ["costs", "tune", "answer"])
def test_what_was_killed_goes_on_with_the_same_plan(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    pretended.killed_in = where
    assert main(["--tasks=mean", "--minutes=15"]) == 1
    assert "the same command goes on from here" in capsys.readouterr().err
    done = {*pretended.started} - {where}
    path = tmp_path / "answer" / "plan.json"
    before = path.read_bytes() if path.exists() else b""
    pretended.killed_in, pretended.started, pretended.seconds_per_image = "", [], 2e-4
    assert main(["--tasks=mean", "--minutes=15"]) == 0
    assert not done & {*pretended.started}  # nothing is trained twice
    assert before in {b"", path.read_bytes()}


def test_another_question_is_not_answered_with_that_plan(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--tasks=mean", "--minutes=15"])
    assert main(["--tasks=mean", "--minutes=20"]) == 1
    assert (
        "expected the plan of this command, got one for --tasks mean --minutes 15;" in capsys.readouterr().err
    )


def test_what_is_no_plan_is_refused(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answer").mkdir()
    replace_file(tmp_path / "answer" / "plan.json", b"[]")
    assert main([]) == 1
    assert re.match(
        r"error: answer.plan.json: expected the plan of an answer, got .*; remove it", capsys.readouterr().err
    )
    assert not pretended.started


def test_minutes_that_are_too_few_are_answered_by_how_many_it_takes(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tasks=mean", "--minutes=1"]) == 1
    assert re.search(r"--minutes: expected at least [0-9]+, got 1", capsys.readouterr().err)
    assert pretended.started == ["costs"]


def test_networks_are_asked_about_one_by_one(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--models=study,wide"]) == 1
    assert "--models: expected one network, got study,wide; ask about each apart" in capsys.readouterr().err
    assert not pretended.started


def test_one_batch_size_is_nothing_to_compare(
    pretended: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tasks=mean", "--batch-sizes=64"]) == 1
    assert "--batch-sizes: expected two or more to compare, got 64" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", ["0", "nan", "soon", "1e9"])
def test_minutes_are_a_number_of_them(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--minutes={minutes}"])
    assert "expected minutes from 1 to 100000" in capsys.readouterr().err


def test_elsewhere_than_in_a_checkout_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sessions, "__file__", str(tmp_path / "bsr" / "answer" / "sessions.py"))
    with pytest.raises(PlanError):
        sessions.checkout()
    assert main([]) == 1
    assert "expected a checkout of bsr, got the package alone" in capsys.readouterr().err
