"""`python -m reports merge A.json B.journal.jsonl ... --output MERGED.json`: shards of a grid as one file.

So are an interrupted session and the one that went on from it. All must come from one environment, unless
several machines are asked for; a Run that two of them finished with different results is refused by name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bsr.records.document import encoded
from bsr.records.reading import RefusedError, merged
from bsr.records.reading.json_file import check_written, refusing
from bsr.records.replacing import check_target, kept_note, replace
from bsr.records.schema import SessionRecord
from reports.compare.series import commit_of
from reports.merge.document import document
from reports.merge.sources import Source, read
from reports.text import counted, listed, printable

__all__ = ["Source", "main", "merge", "read"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Merge; returns 0, or 1 where the files cannot be merged and nothing was written."""
    parser = argparse.ArgumentParser(
        prog="python -m reports merge",
        description="Benchmark JSONs and journals of one environment become one benchmark JSON.",
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="RUN.json|RUN.journal.jsonl")
    parser.add_argument("--output", required=True, type=Path, metavar="MERGED.json")
    parser.add_argument(
        "--keep-first",
        action="store_true",
        help="of a run that several files trained to the same end, keep the first file's times",
    )
    parser.add_argument(
        "--several-machines",
        action="store_true",
        help="let files of several machines be one study; each run keeps the name of its own",
    )
    options = parser.parse_args(arguments)
    allowed = {"keep_first": options.keep_first, "several_machines": options.several_machines}
    try:
        session, notes = merge(options.sources, options.output, **allowed)
    except (RefusedError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    path = printable(str(options.output))
    print(f"merged: {path}, {session.finished:,} of {counted(session.planned, 'case')} finished")
    for note in notes:
        print(f"note: {printable(note)}")
    print(f"draw it with: python -m reports {path}")
    return 0


def merge(
    paths: Sequence[Path], output: Path, *, keep_first: bool = False, several_machines: bool = False
) -> tuple[SessionRecord, list[str]]:
    """Write `output` whole or not at all; returns the study in it, and what should be known of it.

    `keep_first` and `several_machines` as in bsr.records.reading.merged.
    Raises RefusedError where the files cannot be merged, OSError where `output` cannot be written.
    """
    _check_output(output, paths)
    sources = [read(path) for path in paths]
    recordings = [source.recording for source in sources]
    session = merged(recordings, keep_first=keep_first, several_machines=several_machines)
    made = document(sources, session)
    content = encoded(made)
    with refusing(output):
        check_written(session, content)
    kept = replace(output, made, content)
    return session, [*kept_note(output, kept), *_notes(sources)]


def _check_output(output: Path, sources: Sequence[Path]) -> None:
    """Raises RefusedError for what a merged recording must not be written to."""
    what = f"--output {printable(str(output))!r}"
    check_target(output, what)
    if output.resolve() in {path.resolve() for path in sources}:
        raise RefusedError(f"{what}: expected another file than the sources; choose a new name")


def _notes(sources: Sequence[Source]) -> Iterator[str]:
    """What may differ between files of one environment, or is known of one, and should be known."""
    yield from (note for source in sources for note in source.recording.notes)
    commits = {source.name: commit_of(source.part("commit_info")) for source in sources if source.document}
    if len(set(commits.values())) > 1:
        yield "commits differ: " + "; ".join(f"{name}: {said or 'unknown'}" for name, said in commits.items())
    results = [case.result for source in sources for case in source.recording.session.cases]
    modes = sorted({result.timing for result in results if result.training_seconds})
    if len(modes) > 1:
        yield f"runs timed {listed(modes)} stay apart in the report"
