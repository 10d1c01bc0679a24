"""What was recorded, run by run and epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bsr.result import Result
from reports.cells import Cells, circumstances
from reports.chapters.chapter import Chapter
from reports.table import Row, Table

_IDENTITY: Final = (
    "task",
    "batch size",
    "seed",
    "learning rate",
    "optimiser",
    "loss",
    "epochs",
    "updates",
    "evaluated on",
    "network",
)


def _troubles_table(data: Cells) -> Table:
    """Every case that did not end well."""
    rows: list[Row] = [
        (
            result.status.replace("_", " "),
            *_identity(result),
            ", ".join(case.cases),
            result.final_mse,
            result.diverged_at_step,
            result.message,
        )
        for case in data.session.cases
        if (result := case.result).status != "ok"
    ]
    header = ("status", *_IDENTITY, "experiments", "final MSE", "diverged at step", "message")
    note = "Those with a final MSE enter the statistics whatever their status; those without are left out."
    return Table("not-ok", "Runs that did not end well", header, rows, note, folded=len(rows) > 20)


def _identity(result: Result) -> Row:
    run = result.run
    return (
        run.task,
        run.batch_size,
        run.seed,
        run.learning_rate,
        run.optimiser,
        run.loss,
        run.epochs or None,
        run.total_steps,
        run.evaluate_on,
        run.model,
    )


def _runs_table(data: Cells) -> Table:
    """Every planned case."""
    rows: list[Row] = [
        (*_identity(result), result.status.replace("_", " "), result.final_mse, result.normalised_mse,
         result.total_training_seconds or None, result.images_per_second, result.engine, result.threads,
         circumstances(result), "yes" if case.resumed else "no", ", ".join(case.cases), case.key)
        for case in data.session.cases
        for result in [case.result]
    ]  # fmt: skip
    header = (
        *_IDENTITY, "status", "final MSE", "normalised MSE", "training s", "images per s", "engine",
        "threads", "timed", "resumed", "experiments", "key",
    )  # fmt: skip
    return Table("runs", "Every run", header, rows, folded=True)


def _epochs_table(data: Cells) -> Table:
    """Every epoch of every run; only as a file."""
    header = (
        *_IDENTITY,
        "epoch",
        "evaluated MSE",
        "evaluated MAE",
        "training loss",
        "training s",
        "device s",
        "evaluation s",
    )
    return Table("epochs", "Every epoch", header, list(_epochs(data)), on_page=False)


def _epochs(data: Cells) -> Iterator[Row]:
    for result in data.all_results:
        for epoch, mse in enumerate(result.test_mse):
            trained = epoch - 1 if epoch else len(result.training_seconds)
            yield (
                *_identity(result),
                epoch,
                mse,
                _at(result.test_mae, epoch),
                _at(result.training_loss, trained),
                _at(result.training_seconds, trained),
                _at(result.device_seconds, trained),
                _at(result.evaluation_seconds, epoch),
            )


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[index] if index < len(values) else None


CHAPTER: Final = Chapter(
    tables=lambda data: [_troubles_table(data), _runs_table(data), _epochs_table(data)],
)
