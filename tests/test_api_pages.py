"""`make docs`: every public name has its place on the page, with its docstring, and pdoc warns of nothing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import bsr

MAKE = Path(__file__).parents[1] / "docs" / "make_api.py"


@pytest.mark.slow
def test_every_public_name_is_on_the_page_and_says_what_its_docstring_says(tmp_path: Path) -> None:
    made = subprocess.run([sys.executable, MAKE, tmp_path], capture_output=True, text=True, check=False)
    assert (made.returncode, made.stderr) == (0, "")
    page = (tmp_path / "bsr.html").read_text(encoding="utf-8")
    docstrings = " ".join(re.findall(r'class="docstring">(.*?)</div>', page, flags=re.DOTALL))
    said = unescape(re.sub("<[^>]+>", "", docstrings))
    for name in bsr.__all__:
        assert f'<section id="{name}">' in page
        if callable(found := getattr(bsr, name)):
            assert (inspect.getdoc(found) or "").splitlines()[0].replace("`", "") in said
