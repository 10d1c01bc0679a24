"""What the hooks of one pytest session share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bsr.run import Run

if TYPE_CHECKING:
    from filelock import FileLock

    from bsr.plugin.options import Options
    from bsr.plugin.progress import Display
    from bsr.plugin.session import Session


@dataclass(slots=True)
class State:
    """Filled as the session goes: options first, the rest once there are cases to measure."""

    options: Options
    lock: FileLock | None = None
    session: Session | None = None
    display: Display | None = None
    unselected: set[str] = field(default_factory=set)
    """Experiments whose modules were read and whose cases were not asked for."""
    collected: set[str] = field(default_factory=set)
    """Experiments of which a test was read, whether or not it was then deselected."""
    compared: list[dict[str, Any]] = field(default_factory=list)
    """Fingerprints in the files that --benchmark-compare read."""
    shown: set[str] = field(default_factory=set)
    """Node ids of the cases that have a line of their own."""
    finished: bool = False
    """Whether everything was written, as far as it could be."""
    problems: list[str] = field(default_factory=list)
    """What could not be written at the end."""
    lost: bool = False
    """Whether the journal was removed while the session ran."""
    own_table: bool = False
    """Whether pytest-benchmark's table says nothing that ours does not, so that one is enough."""
    notes: list[str] = field(default_factory=list)
    """What was written otherwise than it came."""


STATE = pytest.StashKey[State]()
RUN = pytest.StashKey[Run]()
"""Of an item: the Run that its case measures."""


def state(config: pytest.Config) -> State:
    """The state of this session, from pytest_configure on."""
    return config.stash[STATE]


def measured_session(config: pytest.Config) -> Session:
    """The Session, in a case; there is one by then."""
    session = state(config).session
    assert session is not None
    return session
