"""A page that takes long to draw says on a terminal how far it is; a log gets nothing of it."""

from __future__ import annotations

import sys

import pytest

from reports import __main__ as command


@pytest.mark.parametrize(("terminal", "lines"), [(True, 1), (False, 0)])
def test_a_long_drawing_tells_a_terminal_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, lines: int
) -> None:
    monkeypatch.setattr(command, "PATIENT_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    patience = command.Patience()
    patience.tell(0, 40)  # nothing is known yet
    patience.tell(20, 40)
    assert capsys.readouterr().err.count("drawing: 20 of 40 figures, some 0 s left\n") == lines
