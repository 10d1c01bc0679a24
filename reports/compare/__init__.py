"""Two or more recordings side by side: which is faster, where, and whether the error is the same.

`series` are results that were computed and timed alike, with names that tell them apart; `guards` say what
must agree before anything is compared; `pairs` are two series over the cells that both have; `words` puts
them into sentences, `tables` into rows, `terminal` prints both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bsr import stats
from bsr.records.reading import Recording, RefusedError
from reports.cells import Cells
from reports.compare.guards import check_comparable, experiments, nothing_shared, one_measurement
from reports.compare.pairs import Pair
from reports.compare.series import Series, commit_of, labelled, series_of
from reports.text import listed, printable

__all__ = ["Comparison", "Pair", "Series", "compare"]


MOST_PAIRWISE: Final = 3
"""Files of which every other is compared with the first; more are a board, unless one is named."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every series of every recording, and the pairs in which they are compared."""

    files: tuple[Cells, ...]
    series: tuple[Series, ...]
    pairs: tuple[Pair, ...]
    """Of the main experiment: the first that series share, the batch sizes where they can be had."""
    others: tuple[Pair, ...]
    """Of the further experiments that two series share."""
    notes: tuple[str, ...] = ()
    against: bool = False
    """Whether it was asked that all are compared with the first."""

    @property
    def pairwise(self) -> bool:
        """Whether pairs are told of one by one: of few files, or against one that was named."""
        return self.against or len(self.files) <= MOST_PAIRWISE

    @property
    def experiment(self) -> str:
        """The main experiment."""
        return self.pairs[0].experiment


def compare(
    recordings: Sequence[Recording],
    labels: Sequence[str] = (),
    *,
    same_engine: bool = False,
    margin: float = stats.MARGIN,
    include_disturbed: bool = False,
    target: float | None = None,
    against: str = "",
) -> Comparison:
    """Compare the first recording with every other.

    `labels` names the recordings (empty: after their machines); `same_engine` keeps only series of the first
    one's engine; `margin` is how far apart two errors may be and still count as the same (0.2 is 20%);
    `include_disturbed` and `target` are those of Cells; `against` is the label or file name of the recording
    to compare with, instead of the first. Raises RefusedError, in one line, where there is nothing
    comparable.
    """
    if against:
        recordings, labels = first_of(recordings, labels, against)
    if len(recordings) < 2:
        raise RefusedError(f"expected two or more recordings to compare, got {len(recordings)}")
    files = [Cells(recording, include_disturbed, target=target) for recording in recordings]
    common = [name for name in files[0].networks if all(name in data.networks for data in files)]
    files = [data.of_network(common[0]) if common else data for data in files]
    for other in files[1:]:
        check_comparable(files[0], other)
    found = [series for data in files for series in series_of(data)]
    found, notes = _of_one_engine(found) if same_engine else (found, [])
    series = labelled(found, files, labels)
    pairs = {name: list(_pairs(series, name, margin)) for name in experiments(files)}
    shared = [name for name, members in pairs.items() if any(not pair.within_one_file for pair in members)]
    if not shared:
        raise one_measurement(files) or nothing_shared(files)
    return Comparison(
        files=tuple(files),
        series=tuple(series),
        pairs=tuple(pairs[shared[0]]),
        others=tuple(pair for name in shared[1:] for pair in pairs[name]),
        against=bool(against),
        notes=(
            *notes,
            *_other_networks(common),
            *_alone(series, pairs[shared[0]]),
            *_disturbed(files),
            *_commits(series),
        ),
    )


def first_of(
    recordings: Sequence[Recording], labels: Sequence[str], name: str
) -> tuple[list[Recording], list[str]]:
    """The recordings, and their labels if there are any, with the one of that name first."""
    names = [{one.path.name, one.path.stem, str(one.path)} for one in recordings]
    for index, label in enumerate(labels[: len(names)]):
        names[index].add(label)
    found = [index for index, known in enumerate(names) if name in known]
    if len(found) != 1:
        known = listed(labels or [one.path.name for one in recordings], "or")
        raise RefusedError(f"--against: expected one of {known}, got {printable(name, 80)!r}")
    order = [*found, *(index for index in range(len(names)) if index not in found)]
    return [recordings[index] for index in order], [labels[index] for index in order] if labels else []


def _pairs(series: Sequence[Series], experiment: str, margin: float) -> Iterator[Pair]:
    """Every series against those of the first recording whose circumstances are most like its own."""
    first = [one for one in series if one.data is series[0].data]
    for second in series[1:]:
        earlier = first[: first.index(second)] if second in first else first
        pairs = [Pair(one, second, experiment, margin) for one in earlier]
        pairs = [pair for pair in pairs if pair.cells]
        fewest = min((len(pair.across) for pair in pairs), default=0)
        yield from (pair for pair in pairs if len(pair.across) == fewest)


def _of_one_engine(series: Sequence[Series]) -> tuple[list[Series], list[str]]:
    """The series of the first one's engine, and a note on the others."""
    engine = series[0].timing.engine if series else ""
    kept = [one for one in series if one.timing.engine == engine]
    dropped = listed(sorted({one.timing.engine for one in series} - {engine}))
    if len({id(one.data) for one in kept}) < 2:
        raise RefusedError(
            f"--same-engine: expected results of engine {engine!r} in another file too, "
            f"got {printable(dropped, 80) or 'none'}; leave --same-engine out"
        )
    return kept, [f"Only engine {engine}; left out: {dropped}."] if dropped else []


def _other_networks(common: Sequence[str]) -> list[str]:
    """A note on the networks that all files have and that are not compared."""
    if len(common) < 2:
        return []
    return [f"Only network {common[0]} is compared; the files also share {listed(common[1:])}."]


def _alone(series: Sequence[Series], pairs: Sequence[Pair]) -> list[str]:
    """A note on the series of other files that have nothing in common with the first file."""
    paired = {id(one) for pair in pairs for one in (pair.first, pair.second)}
    alone = [one.label for one in series if one.data is not series[0].data and id(one) not in paired]
    first = series[0].data.recording.path.name
    said = f"Not compared, having no finished case of {pairs[0].experiment} in common with {first}"
    return [f"{said}: {listed(alone)}."] if alone else []


def _disturbed(files: Sequence[Cells]) -> list[str]:
    """A note on each file with runs that were timed on a throttled or shared GPU."""
    said = {data.recording.path.name: data.disturbed_text() for data in files}
    return [f"{name}: {text}" for name, text in said.items() if text]


def _commits(series: Sequence[Series]) -> list[str]:
    """A note on the commits that were measured, where they differ or hold local changes."""
    said = {one.label: commit_of(one.data.recording.commit) for one in series}
    if len(set(said.values())) < 2 and not any("changes" in text for text in said.values()):
        return []
    return ["Commits: " + "; ".join(f"{label}: {text}" for label, text in said.items()) + "."]
