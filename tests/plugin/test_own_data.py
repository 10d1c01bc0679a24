"""A data set with targets and a validation part, floats and colour, through the suite as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

import bsr
from bsr.experiments.grid import Grid
from bsr.run import Run
from plugin_support import SMOKE, Suite, suite
from reports.__main__ import main

__all__ = ["suite"]
MODULE = '''
import numpy as np
import torch
from torch import nn

import bsr


def part(count, seed):
    """32x32 pixels in three colours; how bright the red is, and where."""
    draw = np.random.default_rng(seed)
    images = draw.random((count, 3, 32, 32), np.float32) / 4
    images[:, 0] += draw.random((count, 1, 1), np.float32)
    targets = {"redness": images[:, 0].mean((1, 2)), "contrast": images[:, 0].std((1, 2)) - 0.1}
    return images, targets


def faces():
    return bsr.ImageData(train=part(200, 1), test=part(80, 2), validation=part(40, 3))


def pairs():
    (images, targets), (others, theirs) = part(200, 1), part(80, 2)
    return (images, targets["redness"]), (others, theirs["redness"])


class Normalised(nn.Module):
    """Batch normalisation, and a division in place."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(196, 1)
        )

    def forward(self, images):
        images /= 2
        return self.layers(images).squeeze(1)
'''
FACES = ("--bsr-dataset=own_faces:faces", "--bsr-models=own_faces:Normalised")
SESSION = (*SMOKE, *FACES, "--bsr-batch-sizes=32,64")


@pytest.fixture
def faces(suite: Suite) -> Suite:
    """Sessions that find the module beside them."""
    (suite.folder / "own_faces.py").write_text(MODULE)
    return suite


def runs(suite: Suite, name: str = "run.json") -> list[Run]:
    return [result.run for result in bsr.read(suite.folder / name).results]


def test_its_targets_are_the_tasks_and_all_of_it_is_drawn(faces: Suite) -> None:
    ended = faces.run(*SESSION, "--benchmark-json=run.json")
    assert ended.code == 0, ended.output
    results = bsr.read(faces.folder / "run.json").results
    assert {result.status for result in results} == {"ok"}
    assert {(result.run.task, result.run.batch_size) for result in results} == {
        (task, size) for task in ("redness", "contrast") for size in (32, 64)
    }
    assert {(run.train_images, run.test_images) for run in runs(faces)} == {(200, 80)}
    for result in results:
        assert result.test_mse[-1] != result.test_mse[0]
    assert main([str(faces.folder / "run.json"), "--output", str(faces.folder / "page")]) == 0
    assert "redness" in (faces.folder / "page" / "index.html").read_text()


def test_rates_are_chosen_on_its_validation_part(faces: Suite) -> None:
    rates = ("--bsr-experiments=learning-rate", "--bsr-tasks=redness", "--bsr-evaluate-on=validation")
    ended = faces.run(*SESSION, *rates, "--bsr-epochs=1", "--benchmark-json=run.json")
    assert ended.code == 0, ended.output
    assert {(run.evaluate_on, run.train_images, run.test_images) for run in runs(faces)} == {
        ("validation", 200, 40)
    }
    assert main([str(faces.folder / "run.json"), "--output", str(faces.folder / "page")]) == 0
    page = (faces.folder / "page" / "index.html").read_text()
    assert "Final validation MSE at batch size 32" in page
    assert "Final test MSE" not in page
    assert "test MSE, squared label units" not in page
    assert "--bsr-preset why-first --bsr-dataset own_faces:" in page


@pytest.mark.slow
def test_two_workers_load_it_themselves_and_train_the_same(faces: Suite) -> None:
    for name, workers in (("here", 0), ("there", 2)):
        ended = faces.run(*SESSION, f"--bsr-workers={workers}", f"--benchmark-json={name}.json", fresh=True)
        assert ended.code == 0, ended.output
    here, there = (
        {result.run.key: (result.test_mse, result.identity, result.dataset_digest) for result in read.results}
        for read in (bsr.read(faces.folder / f"{name}.json") for name in ("here", "there"))
    )
    assert here == there


LITTLE_MEMORY = """
from bsr.machine import capacity

capacity.WORKER_BYTES = 0
capacity.usable_cores = lambda _root: 2
capacity.usable_memory_bytes = lambda _root=None: 6_600_000  # the data set takes 3.9 MB of it
"""


@pytest.mark.slow
def test_of_a_data_set_that_takes_most_of_the_memory_one_worker_is_started_and_it_is_said(
    faces: Suite,
) -> None:
    (faces.folder / "own_faces.py").write_text(MODULE + LITTLE_MEMORY)
    ended = faces.run(
        *SESSION, "--bsr-engine=auto", "--bsr-tasks=redness", "--benchmark-json=run.json", fresh=True
    )
    assert ended.code == 0, ended.output
    assert "bsr: 1 worker on 2 cores: each takes 3 MB, 6 MB are free" in ended.output
    assert "1 thread(s), 1 workers" in ended.output
    (error,) = faces.run(*SESSION, "--bsr-workers=2").errors
    assert error.startswith(
        "--bsr-workers: expected at most 1, got 2: each loads the data set, 3 MB, and 6 MB are"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*FACES, "--bsr-tasks=age"), "--bsr-tasks: expected one or more of redness, contrast, mean, s"),
        ((*FACES, "--bsr-evaluate-on=validation"), "--bsr-evaluate-on: expected --bsr-experiments learning-"),
        (("--bsr-tasks=angle",), "--bsr-tasks: expected one or more of mean, std, var, median"),
        (("nowhere/benchmarks",), "nowhere/benchmarks: expected that folder of a checkout of bsr, got"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_one_line(faces: Suite, arguments: tuple[str, ...], said: str) -> None:
    ended = faces.run(*SMOKE, *arguments)
    (error,) = ended.errors
    assert error.startswith(said)


def test_targets_that_are_wrong_are_one_line_before_the_first_case(faces: Suite) -> None:
    wrong = MODULE.replace("images[:, 0].std((1, 2)) - 0.1", "images[1:, 0].std((1, 2))")
    (faces.folder / "own_faces.py").write_text(wrong)
    (error,) = faces.run(*SESSION).errors
    assert error == (
        "--bsr-dataset: data set 'own_faces:faces', train, target 'contrast': expected float32 [200], one "
        "per image, got float32 [199]; give every image one"
    )


def test_a_network_that_divides_its_images_in_place_changes_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_faces_here.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = Run(
        task="redness",
        batch_size=32,
        seed=0,
        learning_rate=0.001,
        epochs=1,
        dataset="own_faces_here:pairs",
        train_images=200,
        test_images=80,
        model="own_faces_here:Normalised",
    )
    with pytest.raises(LookupError):
        bsr.load_split(run)
    (images, targets), (others, theirs) = __import__("own_faces_here").pairs()
    split = bsr.Split.of(images, targets, others, theirs, task="redness")
    before = split.train_images.clone(), split.test_images.clone()
    assert bsr.train(run, split, bsr.Execution(threads=1)).status == "ok"
    assert split.train_images.equal(before[0])
    assert split.test_images.equal(before[1])


def test_where_there_is_no_validation_part_the_last_sixth_of_a_small_one_is() -> None:
    small = Grid(part_images=320, train_images=320, test_images=80)
    run = small.validated(next(small.cell("mean", 32)))
    assert (run.train_images, run.test_images) == (267, 53)
    mnist = Grid()
    run = mnist.validated(next(mnist.cell("mean", 32)))
    assert (run.train_images, run.test_images) == (50_000, 10_000)
    own = Grid(part_images=320, train_images=320, test_images=80, validation_images=40)
    run = own.validated(next(own.cell("mean", 32)))
    assert (run.train_images, run.test_images) == (320, 40)
