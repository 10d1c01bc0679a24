"""The command that would measure what a recording lacks."""

from __future__ import annotations

from bsr.experiments import DEFAULT_PRESET, PRESETS
from reports.frame import Frame


def command(frame: Frame, options: str) -> str:
    """A pytest line with the recording's preset (if it is one of ours) and `options`."""
    preset = frame.session.preset if frame.session.preset in PRESETS else DEFAULT_PRESET
    chosen = "" if "--bsr-preset" in options or preset == DEFAULT_PRESET else f" --bsr-preset {preset}"
    return f"pytest benchmarks --benchmark-json=run.json{chosen} {options}"
