"""`python -m reports RUN.json`: draw its page; with more files, compare the first with every other on it.

With `--merged` several files are one study, and `python -m reports merge A.json B.journal.jsonl ... --output
MERGED.json` makes one file of them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bsr.text import Refused
from reports.text import printable

if TYPE_CHECKING:
    from bsr.records.reading import Recording
    from reports.compare import Comparison


PATIENT_SECONDS: Final = 10.0
"""How long a page may be drawn in silence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and compare; returns 0, or 1 where something was refused (a bad file does not stop the others).

    With --fail-on, 1 means that a limit was exceeded, and 2 that something was refused or cannot be told.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["merge"]:
        from reports import merge  # noqa: PLC0415 - as below

        return merge.main(given[1:])
    options = _parser().parse_args(given)
    problems: list[Exception] = []
    outcomes: set[str] = set()
    try:
        outcomes = _report(options, problems)
    except Refused as error:
        problems.append(error)
    for problem in problems:
        print(f"error: {printable(str(problem))}", file=sys.stderr)
    if problems or "cannot tell" in outcomes:
        return 2 if options.fail_on else 1
    return 1 if "failed" in outcomes else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description="Figures, tables and a page from benchmark JSON; of several files, their comparison.",
        epilog="One file from several: python -m reports merge --help",
    )
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RUN.json")
    parser.add_argument(
        "--output", type=_folder, metavar="DIR", help="default: RUN-report beside the first RUN.json"
    )
    parser.add_argument(
        "--merged",
        action="store_true",
        help="draw the files as one study, as `merge` makes one, instead of comparing them",
    )
    parser.add_argument(
        "--keep-first",
        action="store_true",
        help="with --merged: of a run that several files trained to the same end, the first file's times",
    )
    parser.add_argument(
        "--several-machines",
        action="store_true",
        help="with --merged: let files of several machines be one study; each run keeps the name of its own",
    )
    parser.add_argument("--labels", metavar="A,B", help="names of the files, instead of their machines'")
    parser.add_argument(
        "--target",
        type=_share,
        metavar="N%",
        help="the error to reach, as a share of the best constant's (default: the strictest that all reach)",
    )
    parser.add_argument(
        "--on",
        type=Path,
        metavar="RUN.json",
        help="seconds per update from that recording's harness",
    )
    parser.add_argument(
        "--against",
        default="",
        metavar="NAME",
        help="compare every file with that one (a label or file name), instead of the first",
    )
    parser.add_argument("--same-engine", action="store_true", help="compare only results of one engine")
    parser.add_argument(
        "--include-disturbed",
        action="store_true",
        help="let runs whose GPU was throttled or shared into statements on speed, labelled",
    )
    parser.add_argument(
        "--margin",
        metavar="N%",
        help="how far apart errors may be and count as the same (default: 20%%)",
    )
    parser.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="mse:N%|time:N%",
        help="exit 1 where a file is worse than the first by more, and statistically so; may be repeated",
    )
    return parser


def _share(text: str) -> float:
    number = float(text.removesuffix("%")) / 100 if re.fullmatch(r"[0-9.]{1,12}%", text) else 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0% and below 100%, got {text[:20]!r}")
    return number


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a folder, got an empty name; leave the option out")
    return Path(text)


def _report(options: argparse.Namespace, problems: list[Exception]) -> set[str]:
    """Draw the page; files that cannot be read go to `problems`. Returns how the limits came out."""
    # what draws takes over a second to load: help and a slip of the finger need none of it
    from rich.console import Console  # noqa: PLC0415

    from bsr.records.durable import stem  # noqa: PLC0415
    from bsr.records.reading import read, read_all  # noqa: PLC0415
    from reports.cells import Cells  # noqa: PLC0415
    from reports.compare import gate  # noqa: PLC0415
    from reports.compare.terminal import show  # noqa: PLC0415
    from reports.page.build import build  # noqa: PLC0415

    if not options.merged and (options.keep_first or options.several_machines):
        name = "--keep-first" if options.keep_first else "--several-machines"
        raise Refused(f"{name}: expected --merged beside it, got a comparison; add it, or leave {name} out")
    limits = [gate.parse_limit(expression) for expression in options.fail_on]
    recordings, refused = read_all(options.recordings)
    problems += refused
    if not recordings or (options.merged and refused):
        return set()
    if options.merged:
        recordings = [_merged(options, recordings)]
    comparison = _comparison(options, recordings, alone=not refused)
    judgements = gate.judge(comparison, limits) if comparison else []
    if comparison:
        show(comparison, Console(width=max(shutil.get_terminal_size((110, 24)).columns, 80)))
    for judgement in judgements:
        print(printable(judgement.message, limit=10_000))
    for note in (note for recording in recordings for note in recording.notes):
        print(f"note: {printable(note)}", file=sys.stderr)
    first = recordings[0].path
    folder = options.output or first.with_name(f"{stem(first)}-report")
    data = Cells(
        recordings[0], options.include_disturbed, target=options.target, on=options.on and read(options.on)
    )
    page = build(data, folder, comparison, tell=Patience().tell)
    print(f"report: {printable(str(page.resolve()))}")
    return {judgement.outcome for judgement in judgements}


class Patience:
    """A line on a terminal where drawing takes long: after some seconds, then each time that has doubled."""

    def __init__(self) -> None:
        self._began, self._next = time.perf_counter(), PATIENT_SECONDS

    def tell(self, done: int, of: int) -> None:
        """So many figures of so many are drawn."""
        if done and sys.stderr.isatty() and (taken := time.perf_counter() - self._began) > self._next:
            self._next = 2 * taken
            left = taken / done * (of - done)
            print(f"drawing: {done} of {of} figures, some {left:.0f} s left", file=sys.stderr, flush=True)


def _merged(options: argparse.Namespace, recordings: Sequence[Recording]) -> Recording:
    """All as one, under a name beside the first's."""
    from bsr.records.durable import endings, stem  # noqa: PLC0415
    from bsr.records.reading import one_of  # noqa: PLC0415

    if any((options.labels, options.same_engine, options.margin, options.fail_on, options.against)):
        raise Refused(
            "--merged: expected one study, got an option that compares several; leave one of them out"
        )
    first = recordings[0].path
    return one_of(
        recordings,
        first.with_name(f"{stem(first)}-merged{endings(first)}"),
        keep_first=options.keep_first,
        several_machines=options.several_machines,
    )


def _comparison(
    options: argparse.Namespace, recordings: Sequence[Recording], *, alone: bool
) -> Comparison | None:
    """Of all recordings; None of a single one, unless an option asks to compare it, which is refused."""
    from bsr.stats import MARGIN  # noqa: PLC0415
    from reports.compare import compare, gate  # noqa: PLC0415

    asked = any((options.labels, options.same_engine, options.margin, options.fail_on, options.against))
    if len(recordings) == 1 and not (alone and asked):
        return None
    labels = [name.strip() for name in options.labels.split(",")] if options.labels else []
    if len(labels) == len(options.recordings):
        read = {recording.path for recording in recordings}
        labels = [name for name, path in zip(labels, options.recordings, strict=True) if path in read]
    margin = gate.percentage("--margin", options.margin) if options.margin else MARGIN
    return compare(
        recordings,
        labels,
        same_engine=options.same_engine,
        margin=margin,
        include_disturbed=options.include_disturbed,
        target=options.target,
        against=options.against,
    )


if __name__ == "__main__":
    sys.exit(main())
