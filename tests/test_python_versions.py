"""Which versions of Python the project says it runs on, and where that is tried."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMED = re.findall(r"Python :: (3\.[0-9]+)", "\n".join(PROJECT["classifiers"]))


def test_the_versions_that_the_classifiers_name_are_those_that_ci_runs_and_that_may_not_fail() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tried = [
        row for row in re.findall(r'python: "(3\.[0-9]+)", (.*)\}', workflow) if "may-fail" not in row[1]
    ]
    assert [version for version, _ in tried] == NAMED
    assert PROJECT["requires-python"] == f">={NAMED[0]}"


def test_readme_names_them_too() -> None:
    said = re.search(r"CI runs\s+Python ([0-9., and]+) ", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert said is not None
    assert re.findall(r"3\.[0-9]+", said[1]) == NAMED
