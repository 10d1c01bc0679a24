"""Which batch size is soonest at a given error: planted updates times planted seconds, in words and drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bsr
import synthetic
from bsr.records.reading import Recording, one_of
from bsr.records.schema import HarnessTiming, SessionRecord
from recomputed import RESULTS, prose
from reports.__main__ import main
from reports.analysis import choosing
from reports.analysis.arms import arms_of
from reports.analysis.prediction import predictions
from reports.analysis.targets import steady_from
from reports.cells import Cells
from reports.chapters import figures, findings, tables
from reports.chapters.choosing import finding as choosing_finding

EXPERIMENTS = ("tune", "study-rate", "equal-epochs", "equal-updates")


@pytest.fixture(scope="module")
def session() -> SessionRecord:
    return synthetic.why_session(
        updates=30.0, batch_size=0.8, tasks=("mean", "std"), experiments=EXPERIMENTS, runs=4
    )


def recording(session: SessionRecord, name: str = "why.json") -> Recording:
    return Recording(path=Path(name), session=session)


def timed(seconds: dict[int, float], loop: str = "eager") -> tuple[HarnessTiming, ...]:
    """Seconds per update at each batch size, as a harness measures them on an epoch of 6,400 images."""
    return tuple(
        HarnessTiming(
            loop=loop, batch_size=size, threads=1, seconds=(each * 6_400 / size,) * 2, train_images=6_400
        )
        for size, each in seconds.items()
    )


def test_seconds_are_updates_times_the_seconds_of_one(session: SessionRecord) -> None:
    data = Cells(recording(replace(session, harness=timed({16: 0.001, 64: 0.0001, 256: 0.01, 1024: 1.0}))))
    found = choosing.answers(data)[0]
    curves = choosing.points(data, found)
    assert (found.timed, found.target, found.size) == ("eager, 1 thread, alone", choosing.strictest(data), 64)
    for row in curves.values():
        assert row[1024].seconds == pytest.approx(row[1024].updates * 1.0)
        assert row[1024].images == row[1024].updates * 1024
    pooled = math.sqrt(curves["mean"][16].updates * curves["std"][16].updates)
    assert curves["all tasks"][16].updates == pytest.approx(pooled)


def test_the_sentence_names_the_soonest_its_cost_and_the_end_of_what_was_tried(
    session: SessionRecord,
) -> None:
    data = Cells(recording(replace(session, harness=timed({16: 0.001, 64: 0.004, 256: 0.016, 1024: 0.064}))))
    (said,) = [one for one in findings(data).learning if one.name == "choosing"]
    assert said.verdict == "shown"
    assert said.sentence.startswith("Batch size 16 reaches ")
    assert "16 is the smallest that was compared: one beyond it may be sooner still." in said.sentence
    assert "Batch size 1024 was tuned with fewer than 3 seeds." in said.sentence
    assert "best" not in said.sentence.replace("best constant", "")


def test_batch_sizes_that_cannot_be_told_apart_stand_together_in_the_first_sentence(
    session: SessionRecord,
) -> None:
    data = Cells(recording(session))
    updates = choosing.points(data, choosing.answers(data)[0])["all tasks"]
    for alike, said in (((16, 64), "16 and 64 alike reach"), ((16, 64, 256), "16 and 2 others alike reach")):
        costs = {size: (1.0 if size in alike else 99.0) / point.updates for size, point in updates.items()}
        (one,) = choosing_finding(Cells(recording(replace(session, harness=timed(costs)))))
        assert f"at tuned rates and schedules, batch sizes {said} a given error soonest" in one.short.clause


def test_what_was_not_trained_far_enough_is_never_called_slower(session: SessionRecord) -> None:
    data = Cells(recording(session))
    (rows,) = [one for one in tables(data) if one.name == "updates-to-target"]
    rows_of = [dict(zip(rows.header, row, strict=True)) for row in rows.rows]
    unreached = [row for row in rows_of if row["updates"] is None]
    assert unreached
    assert {row["state"] for row in unreached} == {"not trained that far"}
    assert choosing.batch_sizes_compared(data) == (16, 64, 256, 1024)  # 1 and 4 had no equal epochs


def test_the_arm_is_chosen_on_validation_runs_alone(session: SessionRecord) -> None:
    def spoiled(case: Any) -> Any:
        run = case.result.run
        slow = run.evaluate_on == "test" and run.schedule == "linear"
        return replace(case, result=replace(case.result, test_mse=(1e9,) * 99)) if slow else case

    before = choosing.choices(Cells(recording(session)), "mean", 0.03)
    worse = replace(session, cases=tuple(map(spoiled, session.cases)))
    after = choosing.choices(Cells(recording(worse)), "mean", 0.03)
    assert {size: one.training for size, one in before.items()} == {
        size: one.training for size, one in after.items()
    }


def test_the_seconds_of_another_machine_need_no_runs(session: SessionRecord) -> None:
    bare = replace(session, cases=(), harness=timed({16: 1.0, 64: 1.0, 256: 1.0, 1024: 1.0}, "graph"))
    data = Cells(recording(session), on=recording(bare, "h100.json"))
    (found,) = choosing.answers(data)
    assert found.timed == "graph, 1 thread, alone on h100.json"
    assert found.size == 1024  # where an update costs the same at every size, the largest is soonest


def test_seconds_predicted_for_a_machine_stand_beside_those_measured_there(session: SessionRecord) -> None:
    costs = {16: 0.001, 64: 0.004, 256: 0.016, 1024: 0.064}

    def trained(case: Any, times: float) -> Any:
        ends = (0, *case.result.run.evaluation_steps)
        each = times * costs.get(case.result.run.batch_size, 1.0)
        seconds = tuple(each * (end - start) for start, end in pairwise(ends[: len(case.result.test_mse)]))
        return replace(case, result=replace(case.result, training_seconds=seconds, engine="eager", threads=1))

    for times in (1.0, 1.5):
        slower = tuple(trained(case, times) for case in session.cases)
        there = recording(replace(session, cases=slower, harness=timed(costs)), "there.json")
        data = Cells(recording(session), on=there)
        found = predictions(data)
        assert {one.batch_size for one in found} == set(costs)
        assert {one.target for one in found} <= {0.3, 0.1, 0.03, 0.01}
        assert [one.off for one in found] == pytest.approx([times] * len(found))
        assert [one.an_update for one in found] == pytest.approx([times] * len(found))
        assert all(one.interval and one.interval.within(times * 0.99, times * 1.01) for one in found)
        (said,) = [one for one in findings(data).learning if one.name == "choosing"]
        assert f"over those predicted, by batch size, targets of 1% and above: {times:.2f} (16)" in str(said)
    assert predictions(Cells(recording(session))) == []
    assert predictions(Cells(recording(session), on=recording(replace(session, harness=()), "t.json"))) == []


@pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")
def test_docs_say_how_far_the_recorded_prediction_was_off() -> None:
    native = [*sorted(RESULTS.glob("cpu-tune*.journal.jsonl.gz")), RESULTS / "cpu-prediction-native.json.gz"]
    here = one_of([bsr.read(path) for path in native], Path("native"))
    found = predictions(Cells(here, on=bsr.read(RESULTS / "cpu-prediction-eager.json.gz")))
    assert {one.target for one in found} == {0.03}  # the first reading finds easier ones reached
    text = prose("docs/choosing.md")
    for name, factors in (
        ("to the error", [one.off for one in found]),
        ("of one update", [one.an_update for one in found]),
    ):
        assert f"| {name} | {' | '.join(f'{factor:.2f}' for factor in factors)} |" in text


@pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")
def test_docs_say_what_luck_of_ten_seeds_alone_makes_of_a_prediction() -> None:
    """Ten seeds against ten, drawn from those recorded, at seconds that are predicted exactly."""
    tuning = sorted(RESULTS.glob("cpu-tune*.journal.jsonl.gz"))
    there = Cells(bsr.read(RESULTS / "cpu-prediction-eager.json.gz"))
    files = [bsr.read(path) for path in (*tuning, RESULTS / "cpu-prediction-native.json.gz")]
    data = Cells(one_of(files, Path("native")))
    draws = 20_000
    agree = np.full(draws, True)
    for size in (16, 64, 256, 1024):
        apart = np.zeros(draws)
        for task in choosing.tasks(data):
            choice = choosing.choices(data, task, 0.03)[size]
            more = arms_of(there).trainings.get(choice.training, {}).values()
            updates = [*choice.updates, *(steady_from(one, 0.03) or math.inf for one in more)]
            draw = np.random.default_rng([size, len(task), ord(task[0])])
            ours, theirs = np.log(np.median(draw.choice(updates, (2, draws, 10)), axis=2))
            with np.errstate(invalid="ignore"):
                apart += (ours - theirs) / 3
        agree &= np.abs(apart) < np.log(1.15)
    assert f"in {agree.mean():.0%} of draws" in prose("docs/choosing.md")


def looked_at_late(session: SessionRecord) -> SessionRecord:
    """Where the first three evaluations of every Run are as good as its last."""

    def late(case: Any) -> Any:
        errors = case.result.test_mse
        return replace(
            case, result=replace(case.result, test_mse=(errors[0], *(errors[-1],) * len(errors[1:])))
        )

    return replace(session, cases=tuple(map(late, session.cases)))


def test_of_an_error_that_the_first_reading_finds_reached_nobody_says_who_was_sooner(
    session: SessionRecord,
) -> None:
    data = Cells(recording(looked_at_late(session), "late.json"))
    assert choosing.strictest(data) is not None
    assert choosing.answers(data) == ()
    (said,) = choosing_finding(data)
    assert (said.verdict, said.statistics, said.short.number) == ("cannot tell", (), "")
    assert (
        "nobody saw: the first reading, after 91 updates, found 16, 64, 256 and 1024 there" in said.sentence
    )
    (rows,) = [one for one in tables(data) if one.name == "updates-to-target"]
    states = {row[rows.header.index("state")] for row in rows.rows if row[rows.header.index("updates")]}
    assert states == {"or sooner: at the first reading"}
    (figure,) = [one for one in figures() if one.name == "time-to-error"]
    assert figure.draw(data) is None


def test_another_target_may_be_asked_for(session: SessionRecord) -> None:
    assert choosing.strictest(Cells(recording(session))) != 0.03
    assert choosing.answers(Cells(recording(session), target=0.03))[0].target == 0.03


def test_the_figure_draws_seconds_updates_and_images(session: SessionRecord) -> None:
    (figure,) = [one for one in figures() if one.name == "time-to-error"]
    content = figure.draw(Cells(recording(session)))
    assert content is not None
    titles = [panel.title for panel in content.panels]
    assert titles == ["Seconds to the error", "Updates to the error", "Images to the error"]
    assert figure.draw(Cells(recording(replace(session, cases=())))) is None


@pytest.mark.parametrize("target", ["0%", "100%", "1", "nan%", "1e9%"])
def test_a_target_that_is_no_share_is_one_line(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run.json", "--target", target])
    assert "expected a share above 0% and below 100%" in capsys.readouterr().err.splitlines()[-1]
