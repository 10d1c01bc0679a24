"""Refusing to compare what is not of the same trainings, what shares nothing, and a file with its copy."""

from __future__ import annotations

from collections.abc import Sequence

from bsr.experiments import EXPERIMENTS
from bsr.records import agreement
from bsr.records.reading import RefusedError
from bsr.run import STUDY_MODEL
from reports.cells import Cells
from reports.text import counted, listed, printable


def check_comparable(first: Cells, second: Cells) -> None:
    """Raises RefusedError, which lists field, first's value, second's value, where Runs or data differ."""
    a, b = (printable(str(data.recording.path)) for data in (first, second))
    found = [
        f"{field} is {_shown(one)} in {a} and {_shown(other)} in {b}"
        for field, one, other in agreement.unlike_trainings(first.session, second.session)
    ]
    if found:
        raise RefusedError(
            f"expected recordings of the same trainings, got unlike ones: {'; '.join(found)}; "
            "record both with the same options"
        )
    if agreement.places(first.session).keys().isdisjoint(agreement.places(second.session)):
        raise nothing_shared([first, second])


def experiments(files: Sequence[Cells]) -> list[str]:
    """Every experiment that was recorded: in the order in which they are declared, then somebody's own."""
    recorded = [name for data in files for case in data.session.cases for name in case.cases]
    return [*EXPERIMENTS, *dict.fromkeys(name for name in recorded if name not in EXPERIMENTS)]


def one_measurement(files: Sequence[Cells]) -> RefusedError | None:
    """Where the files hold the same runs bit for bit, so that there is one measurement and no second."""
    first, others = files[0], files[1:]
    known = {result.run.key: result for result in first.all_results if result.finished_at}
    copies = sum(known.get(result.run.key) == result for data in others for result in data.all_results)
    if not copies:
        return None
    names = listed(printable(str(data.recording.path)) for data in files)
    return RefusedError(
        f"expected two measurements, got one: {names} share {counted(copies, 'run')} bit for bit, times too; "
        "record the second one anew"
    )


def nothing_shared(files: Sequence[Cells]) -> RefusedError:
    """What each file has, where no two have a finished case in common."""
    said = "; ".join(f"{printable(str(data.recording.path))} has {_contents(data)}" for data in files)
    return RefusedError(f"expected cases that both files finished, got none: {said}")


def _contents(data: Cells) -> str:
    parts = []
    for name in experiments((data,)):
        results = [r for r in data.of_every_network(name) if r.training_seconds]
        if results:
            tasks = listed(sorted({result.run.task for result in results}))
            sizes = listed(sorted({result.run.batch_size for result in results}))
            networks = sorted({result.run.model for result in results} - {STUDY_MODEL})
            of = f", network {listed(networks)}" if networks else ""
            parts.append(f"{name} ({tasks} at batch size {sizes}{of})")
    return printable(listed(parts), 300) or "no finished case"


def _shown(value: object) -> str:
    return printable(f"{value:g}" if isinstance(value, float) else str(value), 40)
