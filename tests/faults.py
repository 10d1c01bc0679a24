"""A pytest plugin for the tests of the suite: makes writing fail, and training go every way it can.

`--fault write:3` lets the third os.write of bsr.records.durable fail as on a full disk; so fsync, replace.
`--bsr-engine faulty` trains each smoke case to another end, `lost-device` loses its device once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bsr.engines import ENGINES
from bsr.plugin import estimate
from bsr.records import durable

MARK = Path("fault-happened")
"""In the session's folder."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault", metavar="CALL:N", help="let the Nth call of os.CALL fail in durable")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    estimate.PROBE_SECONDS = 0  # type: ignore[misc] # one probe is enough for tests
    ENGINES["faulty"] = "faulty_engine:FaultyLearner"
    ENGINES["lost-device"] = "faulty_engine:LostDeviceLearner"
    if fault := config.getoption("--fault"):
        name, number = fault.split(":")
        setattr(durable, "os", FailingOs(name, int(number), MARK))  # noqa: B010 - as the type checker wants it


class FailingOs:
    """`os`, but one call of it fails as on a full disk, having written half of what it should."""

    def __init__(self, name: str, number: int, mark: Path | None = None) -> None:
        """`mark` is made when the call fails, for who cannot see it."""
        self._name = name
        self._left = number
        self._mark = mark

    def __getattr__(self, name: str) -> Any:
        return self._counted if name == self._name else getattr(os, name)

    def _counted(self, *arguments: Any) -> Any:
        self._left -= 1
        call: Callable[..., Any] = getattr(os, self._name)
        if self._left:
            return call(*arguments)
        if self._mark is not None:
            self._mark.touch()
        if self._name == "write":
            call(arguments[0], arguments[1][: len(arguments[1]) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
