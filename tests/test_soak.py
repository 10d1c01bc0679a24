"""Fault injection at many random moments: `make soak`, minutes. Left out of the usual run by its marker."""

from __future__ import annotations

import random
import signal

import pytest

from bsr.journal import journal_path
from plugin_support import Suite, assert_resumed_to_the_whole, interrupt, suite, timeless, uninterrupted

__all__ = ["suite"]
pytestmark = pytest.mark.soak
KILLS = 24
"""Random moments per kind of session; a seed each, so that what failed can be repeated."""
ENDINGS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_session_that_is_ended_at_any_moment_is_resumed_to_the_same_whole(suite: Suite, seed: int) -> None:
    """In one process, each of up to three endings on the way to the whole."""
    chance = random.Random(seed)
    for attempt in range(chance.choice((1, 1, 2, 3))):
        resume = ("--bsr-resume",) if attempt else ()
        before = suite.journal_lines()
        lines = before + chance.randrange(10)
        number = chance.choice(ENDINGS)
        interrupt(suite, number, *resume, lines=lines, delay=chance.random() * 0.3, fresh=seed % 8 == 0)
    assert_resumed_to_the_whole(suite)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_session_on_two_workers_that_is_ended_at_any_moment_is_resumed_to_the_same_whole(
    suite: Suite, seed: int
) -> None:
    chance = random.Random(1000 + seed)
    workers = "--bsr-workers=2"
    interrupt(
        suite,
        chance.choice(ENDINGS),
        workers,
        lines=chance.randrange(9),
        delay=chance.random(),
        fresh=seed % 8 == 0,
    )
    assert_resumed_to_the_whole(suite, workers)


@pytest.mark.parametrize("share", [index / 20 for index in range(1, 21)])
def test_a_journal_cut_anywhere_is_resumed_to_the_same_whole(suite: Suite, share: float) -> None:
    """From the middle of its header to all but its last byte."""
    content = journal_path(uninterrupted().folder / "run.json").read_bytes()
    journal_path(suite.folder / "run.json").write_bytes(content[: int(share * len(content)) - 1])
    assert_resumed_to_the_whole(suite)


def test_what_compares_two_sessions_sees_a_difference() -> None:
    """Else the tests above would show nothing."""
    document = uninterrupted().json()
    other = uninterrupted().json()
    other["bsr"]["cases"][3]["result"]["test_mse"][-1] *= 1 + 1e-9
    assert timeless(document) != timeless(other)
    other = uninterrupted().json()
    other["bsr"]["cases"][3]["result"]["wall_seconds"] += 1
    assert timeless(document) == timeless(other)
