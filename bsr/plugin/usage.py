"""Loaded early, by `-p` in pyproject.toml: what a usage error shows beside pytest's own words.

pytest refuses `--benchmark-json` without a path before any conftest is read, so the line that shows how to
write it must be there by then.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Show the right line under every usage error."""
    parser.extra_info["to record a study"] = "pytest benchmarks --benchmark-json=reports/runs/mine.json"
