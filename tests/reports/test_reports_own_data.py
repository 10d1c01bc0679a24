"""A page of a user's own data: what to do comes first, and every command names that data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import synthetic
from bsr.experiments import Grid
from bsr.records.reading import Recording
from bsr.records.schema import SessionRecord
from reports.cells import Cells
from reports.chapters import findings
from reports.chapters.chapter import asked_for, measure_command
from reports.page.render import render

ANSWER = ("tune", "study-rate", "equal-epochs", "equal-updates")


def cells(session: SessionRecord) -> Cells:
    return Cells(Recording(path=Path("mine.json"), session=session))


def of_own() -> Cells:
    """A network and a target of the user's, as a recording has them."""
    grid = Grid(tasks=("left",), dataset="mine:discs", models=("mine:Net",), batch_sizes=(16, 64), runs=1)
    return cells(synthetic.session(grid=grid))


def test_a_command_names_the_recordings_own_data_network_and_task() -> None:
    assert measure_command(of_own(), "--bsr-experiments longer") == (
        "pytest benchmarks --benchmark-json=run.json --bsr-preset paper --bsr-experiments longer "
        "--bsr-dataset mine:discs --bsr-models mine:Net --bsr-tasks left"
    )


def test_the_tasks_of_the_study_are_not_asked_of_other_data() -> None:
    command = measure_command(of_own(), "--bsr-experiments batch-size --bsr-tasks mean,std,var")
    assert command.endswith("--bsr-models mine:Net --bsr-tasks left")
    assert command.count("--bsr-tasks") == 1


def test_the_studys_own_data_need_no_naming() -> None:
    study = cells(synthetic.session(grid=Grid(tasks=("mean", "std"), runs=1)))
    assert "--bsr-tasks" not in measure_command(study, "--bsr-experiments longer")
    assert "--bsr-dataset" not in measure_command(study, "--bsr-experiments longer")


def test_what_would_train_nothing_of_these_tasks_is_not_asked_for() -> None:
    assert not asked_for(of_own(), "--bsr-experiments std-at-0.01")
    assert not asked_for(of_own(), "--bsr-experiments batch-size --bsr-tasks std")
    assert asked_for(of_own(), "--bsr-experiments batch-size")
    assert asked_for(cells(synthetic.session(grid=Grid(tasks=("std",)))), "--bsr-experiments std-at-0.01")


def test_the_page_begins_with_what_to_do_and_after_how_many_epochs_that_holds() -> None:
    session = synthetic.why_session(updates=30.0, batch_size=0.8, tasks=("mean",), experiments=ANSWER, runs=3)
    data = cells(replace(session, harness=synthetic.harness((16, 64, 256, 1024))))
    found = findings(data)
    text = render(data, found, [], [], [])
    assert text.index("soonest: after") < text.index("After the same 600,000 images")
    (first,) = (one for one in found.learning if one.name == "choosing")
    assert "The runs trained for 12 epochs; longer ones may differ." in first.sentence
    assert first.sentence.endswith("With 3 seeds that is a direction.")
    assert first.verdict == "cannot tell"
