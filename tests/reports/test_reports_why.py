"""Why, on the page: planted causes in the sentence at the top, in the findings, tables and figures."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import synthetic
from bsr.experiments import PRESETS, Grid
from bsr.experiments.controlled import BUDGETS
from bsr.experiments.rates import Arm
from bsr.records.reading import Recording
from bsr.records.schema import NoisePoint, NoiseScale, SessionRecord
from reports.analysis import decomposition as gap
from reports.analysis.arms import arms_of, log_error
from reports.analysis.targets import steady_from
from reports.cells import Cells
from reports.chapters import figures, findings, tables
from reports.drawing import style
from reports.page import first


def cells(session: SessionRecord) -> Cells:
    return Cells(Recording(path=Path("why.json"), session=session))


@pytest.fixture(scope="module")
def data() -> Cells:
    return cells(synthetic.why_session(updates=4.0, rate=1.5, batch_size=0.6, tasks=("mean", "std")))


def table(data: Cells, name: str) -> list[dict[str, Any]]:
    (found,) = [one for one in tables(data) if one.name == name]
    return [dict(zip(found.header, row, strict=True)) for row in found.rows]


def test_the_sentence_at_the_top_names_the_three_factors(data: Cells) -> None:
    answer = findings(data).answer
    assert answer.verdict == "shown"
    assert answer.sentence.startswith("After the same 600,000 images, batch size 1024 has 3.")
    assert "(mean and std together, rates falling linearly to zero)" in answer.sentence
    assert "At constant rates, as in the study, it is \N{MULTIPLICATION SIGN}" in answer.sentence
    assert (
        "below 1: update for update the larger batch is better, with 64 times the images" in answer.sentence
    )
    assert "Of 600,000 images 16 makes 37,500 updates of the weights, 1024 makes 586" in answer.sentence


def test_batch_sizes_budgets_and_rates_of_ones_own_are_compared_as_they_were_recorded() -> None:
    """Of 6,000 images ten epochs are 1,875 updates at 32 and 469 at 128."""
    own: dict[str, Any] = {
        "batch_sizes": (32, 128),
        "part_images": 6_000,
        "train_images": 6_000,
        "test_images": 1_000,
    }
    rates = synthetic.tuned_rates(replace(PRESETS["tune"].grid, tasks=("mean",), **own))
    own["learning_rates"] = (("mean", 0.01),)
    session = synthetic.why_session(
        updates=64.0, rate=1.0, preset="why-quick", tasks=("mean",), rates=rates, **own
    )
    compared = arms_of(cells(session)).compared
    assert (compared.ten_epochs, compared.budgets, compared.own) == ({32: 1_875, 128: 469}, (469,), True)
    sentence = findings(cells(session)).answer.sentence
    assert "After the same 60,000 images, batch size 128 has 4." in sentence
    assert "the usual rate \N{MULTIPLICATION SIGN}" in sentence
    assert "Of 60,000 images 32 makes 1,875 updates of the weights, 128 makes 469" in sentence
    assert "study's" not in sentence
    assert table(cells(session), "why")[0]["updates"] == 469


def test_planted_factors_come_back(data: Cells) -> None:
    found = gap.primary(data)
    assert found is not None
    for name, planted in {"updates": 4.0, "rate": 1.5, "batch size": 0.6, "whole": 3.6}.items():
        part = found.parts[name]
        assert part.factor == pytest.approx(planted, rel=0.12)
        assert part.interval is not None
        assert part.n == (10,)


def test_each_cause_has_a_verdict_of_its_own(data: Cells) -> None:
    verdicts = {one.name: one.verdict for one in findings(data).learning if one.name.startswith("why-")}
    assert verdicts == {"why-updates": "shown", "why-rate": "shown", "why-batch-size": "not shown"}


def test_both_orders_and_both_budgets_are_in_the_table(data: Cells) -> None:
    rows = table(data, "why")
    assert {(row["updates"], row["schedule"]) for row in rows} == {
        (steps, schedule) for steps in BUDGETS for schedule in ("linear", "constant")
    }
    assert {row["part"] for row in rows} >= {"rate at equal epochs", "updates at tuned rates"}
    assert {row["task"] for row in rows} == {"all tasks", "mean", "std"}


def test_four_figures_at_most_stand_with_the_answer(data: Cells) -> None:
    drawn = [one.name for one in figures() if one.section == "Why" and one.draw(data) is not None]
    assert drawn == ["why", "equal-updates", "steps-to-target"]


def test_all_panels_of_the_factors_have_one_axis(data: Cells) -> None:
    made = next(figure for figure in figures() if figure.name == "why").draw(data)
    assert made is not None
    limits = set()
    for panel in made.panels:
        axes = style.PanelFigure(figsize=style.PANEL_SIZE).add_axes(style.axes_place())
        panel.draw(axes)
        limits.add(axes.get_xlim())
    assert len(made.panels) > 1
    assert len(limits) == 1


def test_the_page_says_what_of_the_plan_is_here(data: Cells) -> None:
    rows = {row["what"]: (row["planned"], row["here"]) for row in table(data, "plan")}
    assert rows["study-rate"] == (180, 120)  # two of three tasks
    assert rows["noise-scale"] == (18, 0)


def test_a_rate_at_the_edge_gives_no_verdict() -> None:
    session = synthetic.why_session(updates=4.0, tasks=("mean",))
    edged = tuple(replace(rate, at_edge=rate.batch_size == 1024) for rate in session.rates)
    found = findings(cells(replace(session, rates=edged)))
    assert found.answer.verdict == "cannot tell"
    assert {one.verdict for one in found.learning if one.name.startswith("why-")} == {"cannot tell"}
    said = first.conclusion(found)
    assert said.endswith("times the error of the smallest; these runs cannot tell why.")
    assert len(said.split()) <= first.MOST_WORDS


def test_a_quick_session_says_the_same_with_three_seeds() -> None:
    quick = cells(synthetic.why_session(updates=4.0, preset="why-quick", spread=0.02))
    found = findings(quick).answer
    updates, _constant = re.findall("fewer updates \N{MULTIPLICATION SIGN}([0-9.]+)", found.sentence)
    assert float(updates) == pytest.approx(4.0, rel=0.05)
    assert {row["seeds"] for row in table(quick, "why")} == {3}
    assert {row["95% from"] for row in table(quick, "why")} == {None}


def test_no_remainder_is_said_only_where_it_is_shown() -> None:
    ten, three = (
        findings(cells(synthetic.why_session(updates=4.0, preset=preset, spread=0.02)))
        for preset in ("why-first", "why-quick")
    )
    assert "no effect within 0.8 to 1.25" in ten.answer.sentence
    assert "which these runs cannot tell from no effect" in three.answer.sentence
    assert {one.verdict for one in three.learning if one.name.startswith("why-")} == {"cannot tell"}
    assert (ten.answer.verdict, three.answer.verdict) == ("shown", "cannot tell")
    assert first.conclusion(three).endswith("of the smallest; so few seeds point to fewer updates.")


def test_a_dead_run_counts_as_the_best_constant_and_is_never_dropped(data: Cells) -> None:
    (training, results), *_ = arms_of(data).trainings.items()
    result = next(iter(results.values()))
    dead = replace(result, status="dead")
    assert log_error(dead, training.arm.steps) == 0.0
    short = replace(result, status="diverged", test_mse=result.test_mse[:3])
    assert log_error(short, training.arm.steps) == 0.0
    assert log_error(replace(result, status="failed"), training.arm.steps) is None


def test_a_constant_run_is_read_at_its_smaller_budgets(data: Cells) -> None:
    arms = arms_of(data)
    early, late = (arms.errors_at(Arm("mean", steps, "constant", 16), "study") for steps in (586, 37_500))
    assert set(early) == set(late) == set(range(200, 210))
    assert math.exp(sum(early.values()) / 10 - sum(late.values()) / 10) == pytest.approx(4.0, rel=0.2)
    assert arms.errors_at(Arm("mean", 586, "linear", 16), "study")  # a linear one has Runs of its own


def test_validation_errors_are_none_of_it() -> None:
    session = synthetic.why_session(tasks=("mean",), experiments=("tune", "study-rate"))
    assert {case.result.run.evaluate_on for case in session.cases} == {"test", "validation"}
    assert all(
        result.run.evaluate_on == "test"
        for results in arms_of(cells(session)).trainings.values()
        for result in results.values()
    )


def test_another_network_is_no_seed_of_the_study_s(data: Cells) -> None:
    wide = tuple(
        replace(case, result=replace(case.result, run=replace(case.result.run, model="wide")))
        for case in data.session.cases
    )
    both = cells(replace(data.session, cases=(*data.session.cases, *wide)))
    assert arms_of(both).trainings == arms_of(data).trainings


def test_a_target_is_reached_where_the_median_of_three_evaluations_is(data: Cells) -> None:
    result = next(iter(next(iter(arms_of(data).trainings.values())).values()))
    baseline, probes = result.baseline_mse or 0.0, result.run.evaluations
    once = [1.0] * probes
    once[2] = 0.001
    errors = tuple(baseline * value for value in (1.0, *once))
    assert steady_from(replace(result, test_mse=errors), 0.01) is None
    twice = [1.0] * probes
    twice[2] = twice[3] = 0.001
    errors = tuple(baseline * value for value in (1.0, *twice))
    assert steady_from(replace(result, test_mse=errors), 0.01) == result.run.evaluation_steps[2]


def test_rules_of_thumb_and_adams_memory_are_judged(data: Cells) -> None:
    found = {one.name: one for one in findings(data).learning}
    assert "linear rule" in found["rate-rules"].sentence
    assert "beta2 = 0.99" in found["second-moment"].sentence
    assert len(table(data, "rate-rules")) == 2 * (2 * 2 + 1)  # unscaled, at the study's rate, at 1024 alone
    assert {row["of"] for row in table(data, "adam-memory")} == {"16", "1024", "gap"}


@pytest.mark.parametrize("seeds", [2, 5])
def test_so_few_seeds_carry_no_verdict(seeds: int) -> None:
    session = synthetic.why_session(updates=4.0, spread=0.02)
    few = tuple(case for case in session.cases if case.result.run.seed < 200 + seeds)
    found = {one.name: one for one in findings(cells(replace(session, cases=few))).learning}
    assert found["rate-rules"].verdict == "cannot tell"
    assert all(f"n = {seeds} seeds" in line for line in found["rate-rules"].statistics[:-2])
    assert found["second-moment"].verdict == ("cannot tell" if seeds < 5 else "not shown")
    assert seeds >= 5 or found["steps-to-target"].verdict == "cannot tell"


def noisy(session: SessionRecord) -> SessionRecord:
    def point(step: int, *, cooled: bool) -> NoisePoint:
        return NoisePoint(
            step=step, cooled=cooled, trace=6.0 * step, square=2.0, trace_two_batches=6.0 * step,
            square_two_batches=2.0, trace_adam=4.0, square_adam=1.0,
        )  # fmt: skip

    scales = tuple(
        NoiseScale(
            dataset="MNIST", task="mean", batch_size=16, seed=seed, learning_rate=0.0015,
            train_images=50_000, engine="native",
            points=tuple(point(step, cooled=cooled) for step in (2, 4) for cooled in (False, True)),
        )
        for seed in (200, 201)
    )  # fmt: skip
    return replace(session, noise=scales)


def test_noise_scales_divide_sums_over_seeds_and_stand_beside_what_was_measured() -> None:
    noise = cells(noisy(synthetic.why_session(updates=4.0, tasks=("mean",))))
    rows = table(noise, "noise-scale")
    assert [(row["updates"], row["cooled"], row["noise scale"], row["seeds"]) for row in rows] == [
        (2, "", 6.0, 2), (4, "", 12.0, 2), (2, "cooled", 6.0, 2), (4, "cooled", 12.0, 2),
    ]  # fmt: skip
    (finding,) = [one for one in findings(noise).learning if one.name == "noise-scale"]
    assert "noise scale after cooling 6.0 to 12 images along the training (2 seeds)" in finding.sentence
    assert finding.verdict == "cannot tell"


def test_the_literature_is_answered_or_called_untested(data: Cells) -> None:
    rows = {row["statement"]: row["these data"] for row in table(data, "literature")}
    updates = rows["At a tuned rate and a budget in updates larger batches do not end worse."]
    assert updates.startswith("test error at tuned rates, 1024 over 16: ")
    assert ("586 updates, linear" in updates, "586 updates, constant" in updates) == (True, True)
    assert "by the table of rates that was taken" in rows["The best rate follows no rule of thumb."]
    assert rows["Its moments scale too."] == "not tested here"


def test_where_both_protocols_meet_the_ratio_has_its_interval() -> None:
    controlled = synthetic.why_session(tasks=("mean", "std"), experiments=("study-rate",))
    study = synthetic.session(("batch-size",), Grid(runs=10, tasks=("mean", "std")))
    both = cells(replace(controlled, cases=(*controlled.cases, *study.cases)))
    (finding,) = [one for one in findings(both).learning if one.name == "anchor"]
    assert "586 updates at batch size 1024 on 50,000 images end with" in finding.sentence
    assert "90% interval" in finding.sentence
    assert {row["the study's runs"] for row in table(both, "anchor")} == {10}


def test_a_recording_of_the_study_says_what_it_always_said() -> None:
    study = cells(synthetic.session(("batch-size",)))
    assert gap.primary(study) is None
    assert (
        "equal epochs" in findings(study).answer.sentence
        or "same number of" in findings(study).answer.sentence
    )
    assert not table(study, "literature")
