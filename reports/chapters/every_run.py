"""What was recorded, run by run and epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bsr.result import Result
from reports.cells import Cells, circumstances
from reports.chapters.chapter import Chapter
from reports.text.table import Table


def _identity(result: Result) -> dict[str, object]:
    run = result.run
    return {
        "task": run.task,
        "batch size": run.batch_size,
        "seed": run.seed,
        "learning rate": run.learning_rate,
        "optimiser": run.optimiser,
        "loss": run.loss,
        "epochs": run.epochs or None,
        "updates": run.total_steps,
        "evaluated on": run.evaluate_on,
        "network": run.model,
    }


def _troubles_table(data: Cells) -> Table:
    """Every case that did not end well."""
    rows = [
        {
            "status": result.status.replace("_", " "),
            **_identity(result),
            "experiments": ", ".join(case.cases),
            "final MSE": result.final_mse,
            "diverged at step": result.diverged_at_step,
            "message": result.message,
        }
        for case in data.session.cases
        if (result := case.result).status != "ok"
    ]
    note = "Those with a final MSE enter the statistics whatever their status; those without are left out."
    return Table.of("not-ok", "Runs that did not end well", rows, note, folded=len(rows) > 20, each_run=True)


def _runs_table(data: Cells) -> Table:
    """Every planned case."""
    rows = [
        {
            **_identity(result := case.result),
            "status": result.status.replace("_", " "),
            "final MSE": result.final_mse,
            "normalised MSE": result.normalised_mse,
            "training s": result.total_training_seconds or None,
            "images per s": result.images_per_second,
            "engine": result.engine,
            "threads": result.threads,
            "timed": circumstances(result),
            "resumed": "yes" if case.resumed else "no",
            "experiments": ", ".join(case.cases),
            "key": case.key,
        }
        for case in data.session.cases
    ]
    return Table.of("runs", "Every run", rows, folded=True, each_run=True)


def _epochs_table(data: Cells) -> Table:
    """Every epoch of every run; only as a file."""
    return Table.of("epochs", "Every epoch", _epochs(data), on_page=False)


def _epochs(data: Cells) -> Iterator[dict[str, object]]:
    for result in data.all_results:
        identity = _identity(result)
        for epoch, mse in enumerate(result.test_mse):
            trained = epoch - 1 if epoch else len(result.training_seconds)
            yield {
                **identity,
                "epoch": epoch,
                "evaluated MSE": mse,
                "evaluated MAE": _at(result.test_mae, epoch),
                "training loss": _at(result.training_loss, trained),
                "training s": _at(result.training_seconds, trained),
                "device s": _at(result.device_seconds, trained),
                "evaluation s": _at(result.evaluation_seconds, epoch),
            }


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[index] if index < len(values) else None


CHAPTER: Final = Chapter(
    tables=lambda data: [_troubles_table(data), _runs_table(data), _epochs_table(data)],
)
