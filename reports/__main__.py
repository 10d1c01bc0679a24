"""`python -m reports RUN.json [RUN2.json ...] [--output DIR]`: draw the page of every recording."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.build import OutputError, build
from reports.load import Recording, load_all
from reports.text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; returns 0, or 1 where a file was refused (the others are drawn all the same)."""
    parser = argparse.ArgumentParser(
        prog="python -m reports", description="Figures, tables and a page from benchmark JSON."
    )
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RUN.json")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: RUN-report beside each RUN.json")
    options = parser.parse_args(arguments)
    recordings, refused = load_all(options.recordings)
    problems: list[Exception] = [*refused]
    pages = []
    for recording, folder in folders(recordings, options.output, several=len(options.recordings) > 1):
        try:
            pages.append(build(recording, folder))
        except OutputError as error:
            problems.append(error)
    for problem in problems:
        print(f"error: {printable(str(problem))}", file=sys.stderr)
    for page in pages:
        print(f"report: {printable(str(page.resolve()))}")
    return 1 if problems else 0


def folders(
    recordings: Sequence[Recording], output: Path | None, *, several: bool
) -> list[tuple[Recording, Path]]:
    """Where each recording is drawn: beside it, in `output`, or, of several, in a folder each there."""
    chosen: list[tuple[Recording, Path]] = []
    for recording in recordings:
        stem = recording.path.stem
        if output is None:
            folder = recording.path.with_name(f"{stem}-report")
        else:
            folder = output / stem if several else output
        taken = {path for _, path in chosen}
        again = (folder.with_name(f"{folder.name}-{count}") for count in range(2, len(taken) + 3))
        chosen.append(
            (recording, folder if folder not in taken else next(path for path in again if path not in taken))
        )
    return chosen


if __name__ == "__main__":
    sys.exit(main())
