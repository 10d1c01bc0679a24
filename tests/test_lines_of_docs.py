"""The lines of README and docs: git leaves alone what they write, and what they draw is one study."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from bsr.records.reading import merged, read_all

ROOT = Path(__file__).parents[1]
WRITTEN = re.compile(r"(?:--benchmark-json=|--output )([\w./-]+)(?![\w$./-])")


DRAWN = re.compile(r"^python -m reports (benchmarks/results/.* --merged.*)$", re.MULTILINE)


@pytest.mark.slow
def test_the_recordings_that_they_draw_are_one_study() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    lines = {line.partition(" --")[0]: line for text in texts for line in DRAWN.findall(text)}
    assert len(lines) >= 3
    for names, line in lines.items():
        paths = [path for name in shlex.split(names) for path in sorted(ROOT.glob(name))]
        recordings, refused = read_all(paths)
        assert recordings
        assert not refused
        merged(recordings, several_machines="--several-machines" in line)


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
