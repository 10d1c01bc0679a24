"""What must agree before anything is compared: the fields of Run and the data. All else labels the series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bsr.experiments import EXPERIMENTS
from bsr.records.reading import RefusedError
from bsr.run import RUN_FIELDS, STUDY_MODEL, Run
from reports.cells import Cells
from reports.text import counted, listed, printable


def check_comparable(first: Cells, second: Cells) -> None:
    """Raises RefusedError, which lists field, first's value, second's value, where Runs or data differ."""
    a, b = (printable(str(data.recording.path)) for data in (first, second))
    found = [
        f"{field} is {_shown(one)} in {a} and {_shown(other)} in {b}"
        for field, one, other in differences(first, second)
    ]
    if found:
        raise RefusedError(
            f"expected recordings of the same trainings, got unlike ones: {'; '.join(found)}; "
            "record both with the same options"
        )
    if not _shared(first, second):
        raise nothing_shared([first, second])


Shared = dict[tuple[str, str, str], tuple[Run, Run]]
"""(experiment, task, network) that both planned -> a Run of either."""


def differences(first: Cells, second: Cells) -> list[tuple[str, object, object]]:
    """(field, first's value, second's value) for everything that must agree and does not.

    Tasks, networks, batch sizes and seeds may differ: what both have is compared. So may what an experiment
    varies.
    """
    found: list[tuple[str, object, object]] = []
    if first.session.dataset_digest != second.session.dataset_digest:
        found.append(("dataset digest", first.session.dataset_digest, second.session.dataset_digest))
    found += _unlike_code(first, second)
    shared = _shared(first, second)
    for field in RUN_FIELDS:
        values = list(_values(shared, field))
        unlike = [entry for entry in values if entry[1] != entry[2]]
        if len(unlike) == len(values) and len({entry[1:] for entry in unlike}) == 1:
            unlike = [("", *unlike[0][1:])]
        found += [(f"{field} of {where}" if where else field, a, b) for where, a, b in unlike]
    return found


def _unlike_code(first: Cells, second: Cells) -> Iterator[tuple[str, object, object]]:
    """Labels and networks that bear one name and were not the same."""
    mine, its = ({k: v for r in data.all_results for k, v in r.identity.items()} for data in (first, second))
    yield from ((name, mine[name], its[name]) for name in mine if its.get(name, mine[name]) != mine[name])


def _shared(first: Cells, second: Cells) -> Shared:
    runs, others = (
        {(name, task, run.model): run for name, task, run in _runs(data)} for data in (first, second)
    )
    return {place: (run, others[place]) for place, run in runs.items() if place in others}


def _runs(data: Cells) -> Iterator[tuple[str, str, Run]]:
    for case in data.session.cases:
        for name in case.cases:
            yield name, case.result.run.task, case.result.run


def experiments(files: Sequence[Cells]) -> list[str]:
    """Every experiment that was recorded: in the order in which they are declared, then somebody's own."""
    recorded = [name for data in files for case in data.session.cases for name in case.cases]
    return [*EXPERIMENTS, *dict.fromkeys(name for name in recorded if name not in EXPERIMENTS)]


def _values(shared: Shared, field: str) -> Iterator[tuple[str, object, object]]:
    """(where, first's value, second's) for each shared experiment and task in which a field has one value."""
    several = len({name for name, _, _ in shared}) > 1
    for (name, task, _), runs in shared.items():
        known = EXPERIMENTS.get(name)  # one of somebody's own may vary anything
        if known and field not in {"task", "batch_size", "seed", *known.varies}:
            first, second = (getattr(run, field) for run in runs)
            yield f"task {task} in {name}" if several else f"task {task}", first, second


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
