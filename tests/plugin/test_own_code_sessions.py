"""A session with own code that raises, exits, hangs or was edited: one line, an end, and nothing mixed."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from plugin_support import SMOKE, Suite, suite

__all__ = ["suite"]
MODULE = """
import os
import sys
import time

import torch
from torch import nn

import own_parts

def blobs():
    draw = torch.Generator().manual_seed(5)
    sizes = (320, 6, 6), (80, 6, 6)
    return tuple(torch.randint(0, 256, size, dtype=torch.uint8, generator=draw) for size in sizes)

def tilt(images):
    return images.double().mean((1, 2)).float()

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(36, 1)

    def forward(self, images):
        return own_parts.shifted(self.linear(images.flatten(1))).squeeze(1)
"""
PARTS = "SHIFT = 0.0\n\ndef shifted(values):\n    return values + SHIFT\n"
SESSION = (
    *SMOKE,
    *("--bsr-tasks=own_mine:tilt", "--bsr-models=own_mine:Net", "--bsr-dataset=own_mine:blobs"),
    *("--bsr-batch-sizes=64", "--bsr-learning-rates=0.001", "--bsr-epochs=1", "--benchmark-json=run.json"),
)
PLACES = {
    "import": ("import own_parts", "{}"),
    "data set": ("def blobs():", "def blobs():\n    {}"),
    "task": ("def tilt(images):", "def tilt(images):\n    {}"),
    "network": ("def forward(self, images):", "def forward(self, images):\n        {}"),
}


@pytest.fixture
def mine(suite: Suite) -> Suite:
    write(suite.folder)
    return suite


def write(folder: Path, old: str = "", new: str = "") -> None:
    assert old in MODULE
    (folder / "own_mine.py").write_text(MODULE.replace(old, new) if old else MODULE)
    (folder / "own_parts.py").write_text(PARTS)


def spoil(folder: Path, place: str, line: str) -> None:
    old, new = PLACES[place]
    write(folder, old, new.format(line))


QUICK = {("data set", "os._exit(0)"), ("network", "os._exit(0)")}
ENDINGS = {
    "os._exit(0)": "the end of its process, with exit code 0; mend it",
    "sys.exit(0)": "SystemExit: 0",
    "os.kill(os.getpid(), 9)": "the end of its process, by SIGKILL; mend it",
}


@pytest.mark.parametrize(
    ("place", "line"),
    [
        pytest.param(place, line, marks=() if (place, line) in QUICK else pytest.mark.slow)
        for place in PLACES
        for line in ENDINGS
    ],
)
def test_own_code_that_ends_its_process_is_named_before_the_first_case(
    mine: Suite, place: str, line: str
) -> None:
    """At exit code 0 and without a word a session ended."""
    spoil(mine.folder, place, f"import os, sys; {line}")
    ended = mine.run(*SESSION)
    assert ended.code == 4, ended.output
    (error,) = ended.errors
    assert ENDINGS[line] in error
    assert f"{'data set' if place == 'import' else place} 'own_mine:" in error
    assert "run.json" not in mine.left_behind()


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_own_code_that_hangs_is_told_of_and_ends_with_the_session(
    mine: Suite, place: str, number: signal.Signals
) -> None:
    """It catches whatever comes."""
    stubborn = "exec('while True:\\n try: time.sleep(9)\\n except BaseException: pass')"
    spoil(mine.folder, place, f"import time; {stubborn}")
    session = mine.start(*SESSION)
    session.until_it_says("bsr: still calling ")
    began = time.monotonic()
    session.send(number)
    ended = session.wait()
    assert ended.code != 0
    assert time.monotonic() - began < 10
    assert f"{'data set' if place == 'import' else place} 'own_mine:" in ended.output


def test_what_a_session_cannot_train_has_no_case(mine: Suite) -> None:
    write(mine.folder, ".squeeze(1)", ".squeeze(1).detach()")
    (error,) = mine.run(*SESSION).errors
    assert error.startswith(
        "network 'own_mine:Net': trained on 8 images: expected predictions with a gradient"
    )


@pytest.mark.slow
def test_a_helper_that_was_edited_is_not_resumed_and_the_refusal_names_its_file(mine: Suite) -> None:
    assert mine.run(*SESSION).code == 0
    (mine.folder / "own_parts.py").write_text(PARTS.replace("0.0", "1.0"))
    before = (mine.folder / "run.json").read_bytes()
    (error,) = mine.run(*SESSION, "--bsr-resume").errors
    assert "--bsr-resume would mix unlike results: code of own_parts.py: " in error
    assert (mine.folder / "run.json").read_bytes() == before
    (mine.folder / "own_parts.py").write_text(f"# as it was\n{PARTS}")
    resumed = mine.run(*SESSION, "--bsr-resume")
    assert "resumed 1 finished cases, 0 to go" in resumed.output


@pytest.mark.slow
def test_the_question_of_why_is_asked_of_an_own_task_as_its_refusal_advises(mine: Suite) -> None:
    """What it advised planned nothing that could be trained."""
    own = ("--bsr-dataset=own_mine:blobs", "--bsr-models=own_mine:Net", "--bsr-tasks=own_mine:tilt")
    (error,) = mine.run("--bsr-preset=why-first", *own).errors
    assert "tune with --bsr-preset tune" in error or "tune it with --bsr-preset tune" in error
    tuned = mine.run("--bsr-preset=tune", *own, "-k", "bs16 and seed100 and linear")
    assert tuned.code == 0, tuned.output
    assert "0 of" not in tuned.output


@pytest.mark.slow
def test_an_exit_in_the_middle_of_a_training_is_named_where_a_process_of_its_own_trains(mine: Suite) -> None:
    write(mine.folder, "return own_parts", "if len(images) == 64: os._exit(0)\n        return own_parts")
    ended = mine.run(*SESSION, "--bsr-workers=1", fresh=True)
    assert ended.code == 1
    assert "its process died 2 times, at last with exit code 0" in ended.output
