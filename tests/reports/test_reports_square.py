"""The second protocol's chapters: planted effects are found and no other."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsr import stats
from bsr.experiments import settings
from bsr.experiments.settings import Problem, Setting
from bsr.records.reading import read
from reports.analysis import choosing, equal_epochs
from reports.analysis.decomposition import factor
from reports.analysis.square import RATES, Place, Rates, at_training_error, seeds_of, square_of
from reports.cells import Cells
from reports.chapters import equal_epochs as same_images
from reports.chapters import figures, findings, literature, little_data, square
from reports.page import first
from synthetic import square_session, write

COUNTS = ("seeds below", "of the smallest", "pairs")
SMALL: dict[str, Any] = {"tasks": ("mean", "std"), "batch_sizes": (16, 256, 1024)}


DRAWN: tuple[Rates, ...] = ("falling", "constant")


def cells(path: Path, **planted: Any) -> Cells:
    return Cells(read(write(path / "run.json", square_session(**planted))))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """1024 ends with 0.8 times the error of 16, and nothing overfits; the tuning is there too."""
    return cells(tmp_path_factory.mktemp("square"), batch_size=0.8, tuning=True, **SMALL)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    """Full batches end 1.3 times as bad, and all overfit."""
    return cells(
        tmp_path_factory.mktemp("little"),
        preset="why-data",
        batch_size=1.3,
        overfits=3.0,
        batch_sizes=(16, 1024),
        parts=((1_000, 2_344), (10_000, 586)),
    )


def test_one_part_of_little_data_is_read_as_such(tmp_path: Path) -> None:
    part = cells(tmp_path, preset="why-data", batch_size=1.3, batch_sizes=(16, 1024), parts=((1_000, 586),))
    assert len(little_data.findings(part)) == 1
    assert square.findings(part) == []


def rows_of(table: Any) -> list[dict[str, Any]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def test_the_batch_size_s_factor_is_found_at_every_budget(planted: Cells) -> None:
    (finding,) = square.findings(planted)
    assert finding.verdict == "shown"
    found = square_of(planted)
    for steps in (586, 2_344):
        ratio = found.over_smallest(Place(50_000, 1024, steps), "falling")
        assert ratio is not None
        assert ratio.factor == pytest.approx(0.8, rel=0.12)
        assert f"{steps:,}" in finding.sentence


@pytest.mark.parametrize("rates", ["falling", "constant", "usual"])
def test_the_gap_after_the_same_images_is_fewer_updates_times_the_batch_size(
    planted: Cells, rates: Rates
) -> None:
    gap = equal_epochs.gaps_of(planted)[rates][1024]
    whole, updates, itself = (part.ratio for part in gap.parts.values())
    assert whole.factor == pytest.approx(updates.factor * itself.factor)
    assert updates.factor == pytest.approx(64**0.4, rel=0.15)  # as the error is planted to fall with updates
    assert itself.factor == pytest.approx(0.8, rel=0.15)
    assert (gap.large.steps, gap.few.steps, gap.small.steps) == (586, 586, 37_500)
    answer = findings(planted).answer
    assert answer.verdict == "shown"
    assert (factor(whole) in answer.short.number) == (rates == "falling")
    assert factor(whole) in answer.sentence
    assert rates != "falling" or answer.short.seeds == f"{whole.n[0]} seeds"


def test_the_figure_and_the_table_of_the_same_images_have_every_schedule(planted: Cells) -> None:
    content = same_images.equal_epochs(planted)
    assert content
    assert len(content.panels) == 3
    assert "600,000 images" in content.caption
    table = rows_of(same_images.CHAPTER.tables(planted)[0])
    assert {(row["batch sizes"], row["schedule"]) for row in table if row["part"] == "fewer updates"} == {
        (f"{size} over 16", words)
        for size in (256, 1024)
        for words in RATES.values()
        if (size, words) != (256, "one untuned rate, constant")  # trained at the ends alone
    }


def test_every_network_has_its_own_gap(tmp_path: Path) -> None:
    data = cells(tmp_path, preset="why-networks", batch_size=0.8, tasks=("mean", "std"), tuning=True)
    assert {row["model"] for row in rows_of(square.CHAPTER.tables(data)[2])} == {"wide", "deep"}
    content = same_images.equal_epochs(data)
    assert content
    named = [f"{network}, {RATES[rates]}" for network in ("Wide", "Deep") for rates in DRAWN]
    assert [panel.title for panel in content.panels] == named
    rows = rows_of(same_images.CHAPTER.tables(data)[0])
    itself = {row["network"]: row["times"] for row in rows if row["part"] == "the batch size itself"}
    assert [*itself] == ["wide", "deep"]
    assert [*itself.values()] == pytest.approx([0.8, 0.8], rel=0.15)
    whole = equal_epochs.gaps_of(data.of_network("deep"))["falling"][1024].parts["whole"].ratio
    answer = findings(data).answer
    assert "That is network wide. Network deep, at rates that fall to zero:" in answer.sentence
    assert factor(whole) in answer.sentence


def test_which_batch_size_is_soonest_is_told_by_what_was_tuned_alike(planted: Cells) -> None:
    (found,) = choosing.answers(planted)
    assert (found.target, [*found.seconds]) == (0.005, [16, 256, 1024])
    tuned = {(row.problem, row.setting) for row in planted.session.settings}
    for task in SMALL["tasks"]:
        for size, choice in choosing.choices(planted, task, found.target).items():
            arm, rate, beta2, warmup, decay = choice.training
            falls = float(arm.schedule == "linear") if decay is None else decay
            setting = Setting(rate or 0.0, falls, warmup or 0.0, beta2)
            assert (Problem(task, size, arm.steps, 50_000), setting) in tuned
    assert choosing.passes(planted) == 12


def test_where_the_same_images_were_not_trained_on_nothing_is_said_of_them(tmp_path: Path) -> None:
    data = cells(tmp_path, most_steps=2_344, **SMALL)
    assert equal_epochs.gaps_of(data) == {}
    assert same_images.equal_epochs(data) is None
    assert choosing.batch_sizes_compared(data) == ()
    assert "After equal epochs" not in {line.what for line in first.parts(findings(data))}


def test_no_effect_is_not_called_one(tmp_path: Path) -> None:
    data = cells(tmp_path, **SMALL)
    (finding,) = square.findings(data)
    assert finding.verdict == "cannot tell"
    assert finding.short.clause.endswith("no effect of the batch size is shown")


def test_a_batch_size_that_another_s_setting_serves_better_gives_no_verdict(tmp_path: Path) -> None:
    data = cells(tmp_path, batch_size=1.3, travels=0.7, **SMALL)
    (finding,) = square.findings(data)
    assert finding.verdict == "cannot tell"
    assert "its own is not its best, so this gives no verdict" in finding.sentence
    assert "these data cannot say" in finding.short.clause


def test_a_batch_that_is_better_anyway_and_could_be_better_still_keeps_its_verdict(tmp_path: Path) -> None:
    (finding,) = square.findings(cells(tmp_path, batch_size=0.7, travels=0.7, **SMALL))
    assert finding.verdict == "shown"
    assert "no verdict" not in finding.sentence


@pytest.mark.parametrize(("batch_size", "verdict"), [(1.5, "cannot tell"), (0.6, "shown")])
def test_a_batch_that_is_worse_and_was_tuned_on_two_seeds_gives_no_verdict(
    tmp_path: Path, batch_size: float, verdict: str
) -> None:
    (finding,) = square.findings(cells(tmp_path, batch_size=batch_size, few_seeds=(1024,), **SMALL))
    assert finding.verdict == verdict
    for said in (finding.sentence, finding.short.sentence):
        assert ("1024 at 2,344 updates was chosen on fewer than 3 seeds" in said) == (verdict != "shown")


def test_a_setting_taken_from_a_smaller_budget_has_no_luck_of_its_own(planted: Cells) -> None:
    """Of the longest trainings falling rates alone were tried."""
    longest = {
        row["schedule"]: row["with luck from"]
        for row in rows_of(square.CHAPTER.tables(planted)[0])
        if (row["batch size"], row["updates"]) == (256, 37_500)
    }
    assert longest["rates falling to zero"] is not None
    assert longest["constant rates"] is None


def test_tuning_s_luck_widens_an_interval_and_moves_no_factor(planted: Cells) -> None:
    rows = [row for row in rows_of(square.CHAPTER.tables(planted)[0]) if row["with luck from"] is not None]
    assert {row["updates"] for row in rows} == {586, 2_344, 37_500}
    for row in rows:
        assert row["with luck from"] <= row["times"] <= row["with luck to"]
        assert row["with luck to"] / row["with luck from"] >= 0.99 * row["95% to"] / row["95% from"]


def test_what_one_untuned_rate_gives_is_told_at_every_budget(planted: Cells) -> None:
    """Of the ends alone, and of a longer training its beginning."""
    rows = [row for row in rows_of(square.CHAPTER.tables(planted)[0]) if row["schedule"] == RATES["usual"]]
    assert {(row["batch size"], row["updates"]) for row in rows} == {(1024, 586), (1024, 2_344)}
    for row in rows:
        assert row["times"] == pytest.approx(0.8, rel=0.12)
        assert row["with luck from"] is None


@pytest.mark.parametrize(("travels", "alike"), [(0.8, ()), (1.25, ()), (1.25, ("std",))])
def test_what_a_setting_of_another_batch_size_costs_is_told(
    tmp_path: Path, travels: float, alike: tuple[str, ...]
) -> None:
    """Of a task whose own setting is the same, nothing."""
    data = cells(tmp_path, travels=travels, batch_size=0.8, alike=alike, **SMALL)
    rows = [row for row in rows_of(square.CHAPTER.tables(data)[3]) if row["batch size"] == 1024]
    assert [row["updates"] for row in rows] == [586, 2_344]
    for row in rows:
        assert row["times"] == pytest.approx(travels ** (0.5 if alike else 1), rel=0.12)


def test_one_setting_for_every_batch_size_costs_nothing_that_is_told(tmp_path: Path) -> None:
    assert not square.CHAPTER.tables(cells(tmp_path, **SMALL))[3].rows


def test_both_orders_multiply_to_the_same_gap(planted: Cells) -> None:
    rows = rows_of(square.CHAPTER.tables(planted)[1])
    assert rows
    for start in range(0, len(rows), 5):
        first, second, third, fourth, interaction = (row["times"] for row in rows[start : start + 5])
        assert first * second == pytest.approx(third * fourth)
        assert interaction == pytest.approx(third / second)


def test_the_settings_that_a_tuning_chose_are_the_table_that_bsr_rates_takes(
    planted: Cells, tmp_path: Path
) -> None:
    table = square.CHAPTER.tables(planted)[2]
    path = tmp_path / "tuned-settings.csv"
    path.write_bytes(table.csv())
    read_back = settings.read(path)
    assert len(read_back) == len(table.rows) == len(list(csv.reader(io.StringIO(path.read_text())))) - 1
    assert {row.among for row in read_back} == {"all", "falling", "constant"}


def test_little_data_s_two_planned_contrasts_are_found(little: Cells) -> None:
    (finding,) = little_data.findings(little)
    assert finding.verdict == "shown"
    assert "1,000 images for 586 updates" in finding.sentence
    assert finding.sentence.count("\N{MULTIPLICATION SIGN}1.") == 2
    assert square.findings(little) == []


def test_the_literature_on_generalisation_is_answered_by_little_data(little: Cells) -> None:
    (table,) = literature.CHAPTER.tables(little)
    rows = {row["statement"]: row["these data"] for row in rows_of(table)}
    answered = rows["Large batches generalise worse at the same training error."]
    assert answered.startswith("test error at equal training error, 1000 over 16: ")
    assert answered.endswith("% of the best constant's")
    updates = rows["Trained for as many updates, large batches generalise as well."]
    assert updates.startswith("test error as tuned, 1000 over 16: \N{MULTIPLICATION SIGN}1.")
    assert updates.endswith("after 586 updates on 1,000 images")
    assert rows["The noise scale grows as the loss falls."] == "not tested here"


def test_what_was_shown_is_what_the_page_concludes(little: Cells, planted: Cells) -> None:
    found = {data: first.conclusion(findings(data)) for data in (little, planted)}
    assert found[little] == "With little data a large batch ends worse at as many updates."
    soonest, same_epochs = found[planted].split("; ")
    assert "soonest" in soonest
    assert same_epochs == "after equal epochs larger batches are worse, making fewer updates."
    (at_equal_updates,) = square.findings(planted)
    assert at_equal_updates.short.clause == "after equal updates larger batches are better"


def test_the_literature_is_answered_by_what_was_tuned_alike(planted: Cells) -> None:
    says = {row["statement"]: row["these data"] for row in rows_of(literature.CHAPTER.tables(planted)[0])}
    as_many = says["Trained for as many updates, large batches generalise as well."]
    for steps in (586, 2_344):
        ratio = square_of(planted).over_smallest(Place(50_000, 1024, steps), "falling")
        assert ratio
        assert f"{factor(ratio)} after {steps:,} updates, rates falling to zero" in as_many
    gap = equal_epochs.gaps_of(planted)["falling"][1024].parts["whole"].ratio
    assert f"{factor(gap)} at 1024" in says["At equal epochs the best batch sizes are 2 to 32."]


def test_one_batch_size_alone_gives_no_verdict(little: Cells, planted: Cells) -> None:
    for data in (little, planted):
        cases = tuple(case for case in data.session.cases if case.result.run.batch_size == 16)
        alone = Cells(replace(data.recording, session=replace(data.session, cases=cases)))
        assert square_of(alone).places
        assert (little_data.findings(alone), square.findings(alone)) == ([], [])
        assert not literature.CHAPTER.tables(alone)[0].rows


def test_a_rate_at_an_edge_is_named_and_gives_no_verdict(little: Cells, planted: Cells) -> None:
    def at_edge(data: Cells, size: int) -> Cells:
        rows = (replace(row, at_the_edge="edge" * (row.batch_size == size)) for row in data.session.settings)
        session = replace(data.session, settings=tuple(rows))
        return Cells(replace(data.recording, session=session))

    for data, chapter, said in ((little, little_data, "16 at 586 updates"), (planted, square, "16 at 2,344")):
        (finding,) = chapter.findings(at_edge(data, 16))
        assert finding.verdict == "cannot tell"
        assert said in finding.sentence
        assert "so this gives no verdict" in finding.sentence
        (finding,) = chapter.findings(at_edge(data, 256))
        assert finding.verdict == "shown"
        assert "edge" not in finding.sentence


def test_every_figure_of_little_data_has_a_panel_per_part(little: Cells) -> None:
    for figure in (square.square, little_data.test_over_training_error, square.error_over_updates):
        content = figure(little)
        assert content is not None
        assert [panel.title for panel in content.panels] == [
            "1,000 training images",
            "10,000 training images",
        ]


@pytest.mark.parametrize("recording", ["planted", "little"])
def test_four_figures_at_most_stand_with_the_answer(recording: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(recording)
    drawn = [one.name for one in figures() if one.section == "Why" and one.draw(data) is not None]
    assert 1 < len(drawn) <= 4


def test_the_fewest_seeds_of_any_schedule_are_named(tmp_path: Path) -> None:
    """1024 was reported at falling rates alone, with five seeds."""
    session = square_session(**SMALL)
    kept = tuple(
        case
        for case in session.cases
        if case.result
        if (run := case.result.run).batch_size < 1024 or (run.schedule == "linear" and run.seed < 205)
    )
    data = Cells(read(write(tmp_path / "run.json", replace(session, cases=kept))))
    assert seeds_of(square_of(data)).startswith("5 to 12 seeds")


def test_seeds_that_fall_below_no_training_error_are_counted(little: Cells) -> None:
    (table,) = little_data.CHAPTER.tables(little)
    rows = {(row["training images"], row["training MSE / best constant"]): row for row in rows_of(table)}
    assert {row["batch size"] for row in rows.values()} == {1_000, 1024}
    counted = {level: [rows[1_000, level][name] for name in COUNTS] for level in (0.1, 0.03, 0.001)}
    assert counted == {0.1: [8, 8, 8], 0.03: [0, 4, 0], 0.001: [0, 0, 0]}
    assert rows[1_000, 0.1]["times"] is not None
    assert rows[1_000, 0.03]["times"] is None


def test_a_test_error_is_taken_where_the_training_error_falls_below_for_good(little: Cells) -> None:
    result = next(r for r in little.results("square") if r.status == "ok")
    baseline = result.baseline_mse
    assert baseline
    logs = np.log(np.array([result.training_mse, result.test_mse], dtype=float) / baseline)
    level = math.exp((logs[0, 3] + logs[0, 4]) / 2)
    assert at_training_error(result, level) == pytest.approx((logs[1, 3] + logs[1, 4]) / 2)
    assert at_training_error(result, 1e-9) is None


def test_a_choice_that_no_draw_would_change_costs_nothing() -> None:
    assert stats.regrets({"good": [1.0, 1.1], "bad": [9.0, 9.5]}).max() == 0
    costs = stats.regrets({"good": [1.0, 2.0], "other": [2.0, 1.2]})
    assert 0 < costs.max() == pytest.approx(math.log(2.4 / 2) / 2)


def test_a_lost_training_is_never_the_choice() -> None:
    assert stats.regrets({"lost": [0.1, math.inf], "good": [1.0, 1.0]}).max() == pytest.approx(0, abs=1e-12)
