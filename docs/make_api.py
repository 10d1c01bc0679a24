"""Writes pages of the API, from its docstrings, into a folder: `make docs`. A warning of pdoc is an error."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Final

from pdoc import pdoc

import bsr

MODULES: Final = (
    "bsr",
    "bsr.engines",
    r"!bsr\.engines\.",  # less the modules in it
    "bsr.experiments",
    "bsr.model",
    "bsr.records.reading",
    "bsr.records.schema",
    "bsr.result",
    "bsr.run",
    "bsr.tasks",
    "bsr.training",
)
"""What a user's own code imports, and what those names are made of."""


def main(folder: Path) -> None:
    """One page per module, and a search."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # where the report is, which draws for bsr.draw
    for name in bsr.__all__:  # they load when first used, and pdoc looks without using them
        setattr(bsr, name, getattr(bsr, name))
    with warnings.catch_warnings(action="error"):
        pdoc(*MODULES, output_directory=folder)
    print(folder / "bsr.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
