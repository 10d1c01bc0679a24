"""A user's own task, network and data set, from a module outside the package that nothing registered."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bsr
from bsr import engines
from bsr.compute.cluster.worker import identify
from bsr.compute.in_process import UntrainableError, check_trainable, compute
from bsr.data import images as data
from bsr.model import identity, network
from bsr.plugin.own_code import rates_by_task
from bsr.result import Result
from bsr.run import Execution, Run
from plugin_support import ONE_CASE, SMOKE, Suite, suite
from reports.__main__ import main

__all__ = ["suite"]
MODULE = '''
import torch
from torch import nn


def contrast(images):
    """Brightest less average pixel."""
    pixels = images.flatten(1).double()
    return (pixels.amax(1) - pixels.mean(1)).float()


class Net(nn.Module):
    """Another width, other images, dropout."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, kernel_size=5, stride=3)
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(600, 1)

    def forward(self, images):
        hidden = self.conv(images).relu()
        return self.linear(self.dropout(hidden.view(len(hidden), -1))).squeeze(1)


def blocks():
    """32x32 pixels, four brightnesses an image."""
    draw = torch.Generator().manual_seed(5)
    parts = (torch.randint(0, 256, (count, 2, 2), dtype=torch.uint8, generator=draw) for count in (320, 80))
    return tuple(part.repeat_interleave(16, 1).repeat_interleave(16, 2) for part in parts)
'''
TASK, NETWORK, DATA = "own_study:contrast", "own_study:Net", "own_study:blocks"
OWN = (f"--bsr-tasks={TASK}", f"--bsr-models={NETWORK}", f"--bsr-dataset={DATA}")
SESSION = (*SMOKE, *OWN, "--bsr-learning-rates=0.002", "--bsr-batch-sizes=32,64")
RUN = Run(
    task=TASK,
    batch_size=32,
    seed=1,
    learning_rate=0.002,
    epochs=2,
    dataset=DATA,
    train_images=320,
    test_images=80,
    model=NETWORK,
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that holds the module; this process forgets it afterwards."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "own_study.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_study", raising=False)
    data._images.cache_clear()
    data._labels.cache_clear()
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a session left that found the module beside it."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "own_study.py").write_text(MODULE)
    ended = Suite(folder).run(*SESSION, "--benchmark-json=run.json")
    assert ended.code == 0, ended.output
    return folder


@pytest.fixture
def session(suite: Suite, recorded: Path) -> Suite:
    """Where that session ran."""
    for name in ("run.json", "run.journal.jsonl", "own_study.py"):
        shutil.copy(recorded / name, suite.folder)
    return suite


def results(suite: Suite, name: str = "run.json") -> dict[str, Result]:
    return {result.run.key: result for result in bsr.read(suite.folder / name).results}


def test_all_of_it_from_python(own: Path) -> None:
    result = bsr.train(RUN, bsr.load_split(RUN), Execution(threads=1))
    assert result.status == "ok"
    assert result.engine == "eager"
    assert result.final_mse is not None
    assert result.final_mse < 0.5 * (result.test_mse[0] or 0.0)
    assert set(result.identity) == {
        "dataset digest",
        f"labels of {TASK} (320 and 80 test images of {DATA})",
        f"network {NETWORK}",
        "code of own_study.py",
        f"structure of {NETWORK} in torch {str(torch.__version__).partition('+')[0]}",
        f"predictions of network {NETWORK} on {DATA}",
    }
    assert result.probe


def test_a_session_trains_them_with_as_many_images_as_there_are_and_all_is_drawn(session: Suite) -> None:
    found = results(session)
    assert {result.run.train_images for result in found.values()} == {320}
    assert {result.run.learning_rate for result in found.values()} == {0.002}
    assert main([str(session.folder / "run.json"), "--output", str(session.folder / "page")]) == 0
    assert (session.folder / "page" / "figures" / "convergence.png").exists()


def test_what_was_edited_is_not_resumed_compared_or_merged(
    session: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three old and thirteen new results in one file, all passed: so it was."""
    edited = MODULE.replace("pixels.amax", "2 * pixels.amax").replace("Dropout(0.25)", "Dropout(0.5)")
    (session.folder / "own_study.py").write_text(edited)
    before = (session.folder / "run.json").read_bytes()
    resumed = session.run(*SESSION, "--benchmark-json=run.json", "--bsr-resume")
    (error,) = resumed.errors
    assert "--bsr-resume would mix unlike results: labels of own_study:contrast (320 and 80 test" in error
    assert "network own_study:Net: the journal has 6x1x5x5, 6, 1x600, 1, source " in error
    assert (session.folder / "run.json").read_bytes() == before
    assert session.run(*SESSION, "--benchmark-json=edited.json").code == 0
    files = [str(session.folder / name) for name in ("run.json", "edited.json")]
    for command in (files, ["merge", *files]):
        assert main([*command, "--output", str(session.folder / "both.json")]) != 0
        said = capsys.readouterr().err
        for name in ("run.json", "edited.json"):
            (digest,) = {result.labels_digest for result in results(session, name).values()}
            assert digest in said


def test_it_is_resumed(session: Suite) -> None:
    resumed = session.run(*SESSION, "--benchmark-json=run.json", "--bsr-resume")
    assert resumed.code == 0
    assert "resumed 2 finished cases, 0 to go" in resumed.output


def test_comments_docstrings_and_layout_are_no_other_network_and_a_number_is(own: Path) -> None:
    made = {}
    for name, (old, new) in {
        "own_study": ("", ""),
        "own_formatted": ("super().__init__()", "super(\n        ).__init__()  # a comment\n"),
        "own_documented": ("Another width, other images, dropout.", "Something else."),
        "own_edited": ("nn.Dropout(0.25)", "nn.Dropout(0.5)"),
    }.items():
        (own / f"{name}.py").write_text(MODULE.replace(old, new) if old else MODULE)
        made[name] = identity(f"{name}:Net", network(f"{name}:Net"))
    alike = [made[name] for name in ("own_study", "own_formatted", "own_documented")]
    assert len({(one.parameter_shapes, one.network_digest, one.code[0][1]) for one in alike}) == 1
    assert made["own_edited"].code[0][1] != alike[0].code[0][1]
    assert made["own_study"].parameter_shapes == made["own_edited"].parameter_shapes
    assert made["own_study"].network_digest != made["own_edited"].network_digest


def test_an_edit_of_the_file_changes_nothing_that_is_loaded(own: Path) -> None:
    before = identity(NETWORK, network(NETWORK))
    (own / "own_study.py").write_text(MODULE.replace("nn.Dropout(0.25)", "nn.Dropout(0.5)"))
    assert identity(NETWORK, network(NETWORK)) == before


@pytest.mark.slow
def test_workers_and_a_cluster_import_it_and_give_the_same_to_the_last_bit(session: Suite) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed")
    for name, where in (("workers", "--bsr-workers=2"), ("cluster", "--bsr-dask=local")):
        ended = session.run(*SESSION, where, f"--benchmark-json={name}.json", fresh=True)
        assert ended.code == 0, ended.output
        mine, theirs = results(session), results(session, f"{name}.json")
        assert mine.keys() == theirs.keys()
        for key, result in mine.items():
            assert theirs[key].test_mse == result.test_mse
            assert theirs[key].identity == result.identity
            assert theirs[key].order_digest == result.order_digest
        files = [str(session.folder / each) for each in ("run.json", f"{name}.json")]
        assert main([*files, "--output", str(session.folder / "page")]) == 0


def test_a_machine_that_cannot_import_it_is_named() -> None:
    run = replace(RUN, task="nowhere_own:task", dataset="MNIST", model="study")
    expected = r"task 'nowhere_own:task': expected to import it on \S+, got ModuleNotFoundError"
    with pytest.raises(UntrainableError, match=expected):
        check_trainable([run])
    failed = compute(run, Execution(threads=1)).result
    assert failed.status == "failed"
    assert "expected to import it on" in failed.message
    assert "expected to import it on" in identify(Execution(), "MNIST", (run,)).problem


def test_images_that_a_network_does_not_take_are_refused_before_the_first_case(
    own: Path, suite: Suite
) -> None:
    ended = suite.run("-o", f"pythonpath={own}", *SMOKE, f"--bsr-dataset={DATA}", "--bsr-tasks=mean")
    (error,) = ended.errors
    assert (
        "network 'study': expected one for images of 32x32, got images: expected shape [N, 1, 28, 28]"
        in error
    )


def test_a_rate_is_for_every_task_or_for_those_that_are_named() -> None:
    assert rates_by_task("0.01", ("mean", "std")) == (("mean", 0.01), ("std", 0.01))
    assert rates_by_task("std=1e-3", ("mean", "std")) == (("std", 0.001),)


def test_a_rate_that_nobody_tuned_is_told_with_how_to_tune_it(suite: Suite) -> None:
    said = "bsr: the rate was never tuned for mean with the network deep; tune it: pytest benchmarks"
    untuned = suite.run(*ONE_CASE, "--bsr-models=deep")
    assert said in untuned.output
    how = "--bsr-tasks mean --bsr-models deep --benchmark-json=rates.json, then give the best: --bsr-learn"
    assert how in untuned.output
    tuned = suite.run(*ONE_CASE, "--bsr-models=deep", "--bsr-learning-rates=0.001")
    assert "was never tuned" not in tuned.output


AUTO = ("--bsr-engine=auto", "--bsr-workers=0", "--benchmark-json=run.json")


@pytest.mark.slow
@pytest.mark.skipif(bool(engines.unavailable_reason("native")), reason="no compiler on this machine")
def test_auto_trains_a_network_of_one_s_own_natively_and_what_is_resumed_keeps_its_engine(
    session: Suite,
) -> None:
    assert session.run(*SESSION, *AUTO, "--bsr-resume").code == 0
    assert {result.engine for result in results(session).values()} == {"eager"}
    ended = session.run(*SESSION, *AUTO)
    assert ended.code == 0, ended.output
    assert {result.engine for result in results(session).values()} == {"native"}
    (kernel,) = {result.kernel for result in results(session).values()}
    assert len(kernel) == 12
    assert "engine eager" not in ended.output


def test_the_session_says_once_why_auto_takes_eager(suite: Suite) -> None:
    normalised = MODULE.replace("nn.Dropout(0.25)", "nn.BatchNorm1d(600)")
    (suite.folder / "own_study.py").write_text(normalised)
    said = suite.run(*SESSION, *AUTO, "--bsr-epochs=1", "-k", "bs64").output
    line = "bsr: engine eager, since native knows no buffers, here running_mean of dropout (BatchNorm1d)"
    assert said.count(line) == 1, said


DRIFTING = (
    MODULE
    + """

def drift():
    \"\"\"Other pixels in every process.\"\"\"
    import os
    train, test = blocks()
    return (train + os.getpid() % 100).to(torch.uint8), test


def mood(images):
    \"\"\"Other labels in every process.\"\"\"
    import os
    return contrast(images) + os.getpid() % 1000
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--bsr-dataset=own_study:drift", f"--bsr-tasks={TASK}"), "dataset digest: expected"),
        ((f"--bsr-dataset={DATA}", "--bsr-tasks=own_study:mood"), "labels of own_study:mood"),
    ],
)
def test_what_depends_on_the_process_is_never_mixed_and_the_session_on_workers_ends_soon(
    suite: Suite, own: Path, asked: tuple[str, ...], said: str
) -> None:
    (own / "own_study.py").write_text(DRIFTING)
    ended = suite.run(
        *SMOKE,
        *asked,
        f"--bsr-models={NETWORK}",
        "--bsr-learning-rates=0.002",
        "--bsr-runs=20",
        "--bsr-workers=2",
        "--benchmark-json=run.json",
        "-o",
        f"pythonpath={own}",
    )
    assert ended.code == 2, ended.output
    assert "Traceback" not in ended.output
    assert said in ended.output
    assert "go on with --bsr-resume" in ended.output
    assert set(suite.statuses().values()) <= {"failed", "interrupted", "not_run"}
    bsr.read(suite.folder / "run.json")
