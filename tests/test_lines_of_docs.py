"""What the lines of README and docs write into a checkout, git leaves alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = re.compile(r"(?:--benchmark-json=|--output )([\w./-]+)(?![\w$./-])")


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="of a checkout alone")
def test_git_ignores_what_they_write() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    names = {name.rstrip(".") for text in texts for name in WRITTEN.findall(text)}
    assert {"run.json", "answer"} <= names
    files = sorted(name if Path(name).suffix else f"{name}/index.html" for name in names)
    asked = subprocess.run(
        ["git", "check-ignore", *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert asked.stdout.split() == files
