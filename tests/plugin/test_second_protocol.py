"""The second protocol as a user runs it: look after look until the tuning has ended, then what it chose."""

from __future__ import annotations

import signal

import pytest

import bsr
from bsr.experiments import tuning
from bsr.experiments.settings import SHIPPED, Problem
from plugin_support import SMOKE, Suite, suite
from recomputed import RESULTS
from reports.__main__ import main

__all__ = ["suite"]
TUNED = (*SMOKE, "--bsr-tasks=mean", "--bsr-batch-sizes=32,256")


@pytest.mark.slow
def test_a_tuning_goes_on_until_it_has_ended_and_what_it_chose_is_trained(suite: Suite) -> None:
    first = suite.run(*TUNED, "--bsr-experiments=why-tune", "--benchmark-json=tune-1.json")
    assert first.code == 0, first.output
    report = (*TUNED, "--bsr-experiments=square")
    early = suite.run(*report, "--bsr-rates=tune-1.json")
    assert "the tuning of --bsr-rates has not ended" in early.output
    for look in range(2, 12):
        name = f"tune-{look}.json"
        ended = suite.run(
            *TUNED, "--bsr-experiments=why-tune", "--bsr-refine=tune-*.json", f"--benchmark-json={name}"
        )
        if ended.code:
            break
    assert "expected a tuning that has not ended" in ended.errors[0]
    assert not (suite.folder / name).exists()

    tuned = bsr.read(suite.folder / "tune-*.json")
    tried = tuning.tried_settings(tuned.results)
    assert {problem.batch_size for problem in tried} == {32, 256}
    assert all(sorted(map(len, errors.values()))[-4:] == [5, 5, 5, 5] for errors in tried.values())

    chosen = suite.run(*report, "--bsr-rates=tune-*.json", "--benchmark-json=square.json")
    assert chosen.code == 0, chosen.output
    assert "has not ended" not in chosen.output
    session = bsr.read(suite.folder / "square.json").session
    best = {row.problem: row.setting for row in session.settings if row.among == "all"}
    for problem, errors in tried.items():
        found = tuning.choice(errors, "all")
        assert found is not None
        assert best[problem] == found.setting
    trained = [case.result.run for case in session.cases]
    assert {Problem.of(run)._replace(train_images=1) for run in trained} == {
        problem._replace(train_images=1) for problem in tried
    }
    assert {run.evaluate_on for run in trained} == {"test"}
    files = [str(path) for path in sorted(suite.folder.glob("tune-*.json"))]
    assert main([*files, str(suite.folder / "square.json"), "--merged", "--output", str(suite.folder)]) == 0


@pytest.mark.slow
def test_a_look_that_was_interrupted_goes_on_as_it_was_planned(suite: Suite) -> None:
    look = (*TUNED, "--bsr-experiments=why-tune")
    assert suite.run(*look, "--benchmark-json=tune-1.json").code == 0
    second = (*look, "--bsr-refine=tune-*.json", "--benchmark-json=tune-2.json")
    session = suite.start(*second)
    session.until(lambda: " MSE " in session.output(), "a case was trained")
    session.send(signal.SIGTERM)
    session.wait()
    planned = suite.json("tune-2.json")["bsr"]["planned"]
    again = suite.run(*second, "--bsr-resume")
    assert again.code == 0, again.output
    assert suite.json("tune-2.json")["bsr"]["planned"] == planned
    assert bsr.read(suite.folder / "tune-*.json").session.finished > planned


@pytest.mark.slow
@pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")
def test_a_budget_that_was_not_tuned_is_left_out_by_name(suite: Suite) -> None:
    of_586 = f"--bsr-rates={RESULTS}/cpu-square-586-tune-*.journal.jsonl.gz"
    session = suite.run(
        "--bsr-preset=why",
        "--bsr-experiments=square",
        "--bsr-engine=eager",
        of_586,
        "-k=mean-bs16-seed200",
    )
    assert session.code == 0, session.output
    said = (
        "left out, since nothing was tuned for it: batch size 16, 64, 256 and 1,024 at 2,344 and 9,375 "
        "updates on 50,000 images; 16, 64 and 256 at 37,500 updates on 50,000 images"
    )
    assert said in session.output


def test_the_settings_that_ship_serve_any_of_its_experiments(suite: Suite) -> None:
    planned = ("--bsr-preset=why", "--collect-only", "-q")
    for rates in ((), (f"--bsr-rates={SHIPPED}",)):
        for experiment in ("travelling-rate", "usual-rate"):
            session = suite.run(*planned, f"--bsr-experiments={experiment}", *rates)
            assert session.code == 0, session.output
    other = suite.run(*planned, "--bsr-models=wide")
    assert "of MNIST, network wide, got none; tune it with --bsr-preset why-tune" in other.errors[0]


@pytest.mark.skipif(not RESULTS.exists(), reason="recordings are in a checkout alone")
def test_a_pattern_needs_no_ending(suite: Suite) -> None:
    looks = f"--bsr-rates={RESULTS}/cpu-square-586-tune-*"
    session = suite.run("--bsr-preset=why", "-k=586steps", "--collect-only", "-q", looks)
    assert session.code == 0, session.output


@pytest.mark.slow
def test_a_recording_of_something_else_is_no_tuning(suite: Suite) -> None:
    assert suite.run(*TUNED, "--benchmark-json=run.json").code == 0
    ended = suite.run(*TUNED, "--bsr-experiments=why-tune", "--bsr-refine=run.json")
    assert ended.code == 4
    assert "expected a tuning of settings, got none; record one with --bsr-preset why-tune" in ended.errors[0]
