"""Whether the answer holds for other networks: what the page says, draws and tabulates of it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

import synthetic
from bsr.experiments import PRESETS, plan
from bsr.records.reading import Recording
from bsr.records.schema import SessionRecord
from bsr.result import Result
from reports.cells import Cells
from reports.chapters.networks import findings, ratios
from reports.page.build import build

PRESET = PRESETS["networks"]
FACTORS = {"study": 2.0, "wide": 3.0, "deep": 0.5}
"""By network, the error at equal epochs of a batch size over that of one a fourth as large."""


def recorded(factors: dict[str, float] = FACTORS) -> SessionRecord:
    """A session whose errors are as if they were made by these factors, halved for each seed alike."""
    session = synthetic.session(PRESET.experiments, PRESET.grid)
    quarters = {16: 0, 64: 1, 256: 2, 1024: 3}

    def made(result: Result) -> Result:
        run = result.run
        at_end = factors[run.model] ** quarters[run.batch_size] * (1 + 0.01 * run.seed % 1)
        at_586 = 10.0 / 2 ** quarters[run.batch_size]
        moments = run.evaluation_steps
        errors = [at_586 if step == 586 < run.steps else at_end for step in (0, *moments)]
        if run.steps == 586:
            errors[-1] = at_end
        return replace(result, test_mse=tuple(errors))

    return replace(session, cases=tuple(replace(case, result=made(case.result)) for case in session.cases))


def cells(session: SessionRecord) -> Cells:
    return Cells(Recording(path=Path("run.json"), session=session))


def test_the_preset_is_three_networks_at_four_batch_sizes_of_ten_epochs_each() -> None:
    runs = plan(PRESET.experiments, PRESET.grid)["networks"].values()
    assert len(runs) == 3 * 3 * 4 * 3
    ten_epochs = {(16, 37_500), (64, 9_375), (256, 2_344), (1024, 586)}
    assert {(run.batch_size, run.steps) for run in runs} == ten_epochs
    assert all(586 in run.evaluation_steps for run in runs)
    assert {run.model for run in runs} == {"study", "wide", "deep"}


def test_each_network_s_factor_is_that_of_its_own_runs() -> None:
    errors = {(e.network, e.equal, e.batch_size): e.error.factor for e in ratios(cells(recorded()))}
    for name, factor in FACTORS.items():
        assert errors[name, "epochs", 64] == pytest.approx(factor, rel=1e-6)
        assert errors[name, "epochs", 1024] == pytest.approx(factor**3, rel=1e-6)
        assert errors[name, "updates", 256] == pytest.approx(0.25, rel=1e-6)


def test_two_sentences_say_it_with_a_verdict_over_all_networks() -> None:
    epochs, updates = findings(cells(recorded()))
    said = "the error at batch size 1024 is that at 16 times"
    assert epochs.sentence.startswith(
        f"After the same epochs {said} 8.00 (study), 27.0 (wide) and 0.125 (deep)."
    )
    assert "3 whole seeds tell a direction, and no p-value" in epochs.sentence
    assert epochs.verdict == "cannot tell"
    assert updates.sentence.startswith(f"After the same 586 updates {said} ")


def test_six_whole_seeds_carry_a_verdict() -> None:
    session = recorded(dict.fromkeys(FACTORS, 2.0))
    runs = [replace(case.result.run, seed=case.result.run.seed + 3) for case in session.cases]
    results = [replace(case.result, run=run) for case, run in zip(session.cases, runs, strict=True)]
    more = tuple(replace(case, result=result) for case, result in zip(session.cases, results, strict=True))
    epochs, updates = findings(cells(replace(session, cases=(*session.cases, *more))))
    assert (epochs.verdict, updates.verdict) == ("shown", "shown")


def test_a_recording_without_the_experiment_says_nothing_of_it() -> None:
    assert findings(cells(synthetic.session())) == []


def test_a_smoke_session_says_nothing_of_equal_epochs() -> None:
    grid = replace(PRESET.grid, most_steps=8)
    assert {one.equal for one in ratios(cells(synthetic.session(PRESET.experiments, grid)))} == {"updates"}


def test_the_page_draws_one_figure_and_one_table_of_it(tmp_path: Path) -> None:
    page = build(Cells(Recording(path=tmp_path / "run.json", session=recorded())), tmp_path / "page")
    assert (tmp_path / "page" / "figures" / "networks.png").exists()
    table = (tmp_path / "page" / "tables" / "networks.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert len(rows) == 3 * 2 * 3
    assert {row["network"] for row in rows} == {"study", "wide", "deep"}
    assert "figures of network study; in the tables too: wide and deep" in page.read_text()
