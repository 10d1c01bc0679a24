"""Tables that list what was recorded: by learning rate, by loss, by label, by run, by epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Final

from bsr import stats
from bsr.run import Result
from reports.figures.rates import rate_finals
from reports.frame import Frame, group
from reports.table import Row, Table


def ended(results: Sequence[Result]) -> str:
    """`ok`, or how many ended how."""
    counts = Counter(result.status for result in results)
    if set(counts) == {"ok"}:
        return "ok"
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))


def rates(frame: Frame) -> Table:
    """Final MSE by learning rate and optimiser."""
    rows: list[Row] = []
    for experiment in ("learning-rate", "optimiser", "std-at-0.01"):
        named = group(
            frame.results(experiment),
            lambda r: (r.run.task, r.run.optimiser, r.run.batch_size, r.run.learning_rate),
        )
        for (task, optimiser, size, rate), results in sorted(named.items()):
            values = rate_finals({rate: results}).get(rate, [])
            middle_value = stats.geometric_mean(values) if values else None
            low, high = (min(values), max(values)) if values else (None, None)
            rows.append(
                (
                    experiment,
                    task,
                    optimiser,
                    size,
                    rate,
                    len(values),
                    middle_value,
                    low,
                    high,
                    ended(results),
                )
            )
    header = (
        "experiment", "task", "optimiser", "batch size", "learning rate", "seeds", "geometric mean MSE",
        "lowest seed",
        "highest seed", "status",
    )  # fmt: skip
    return Table(
        "learning-rates",
        "Learning rates and optimisers",
        header,
        rows,
        "Test MSE after the last epoch.",
        folded=True,
    )


def losses(frame: Frame) -> Table:
    """Trained on MSE and on MAE, evaluated on both."""
    rows: list[Row] = []
    for (task, name), results in group(frame.results("loss"), lambda r: (r.run.task, r.run.loss)).items():
        finished = [result for result in results if result.final_mse is not None]
        errors_ = [result.test_mae[-1] for result in finished if result.test_mae]
        absolute = [value for value in errors_ if value is not None]
        if finished:
            mean = fmean(result.final_mse for result in finished if result.final_mse is not None)
            rows.append(
                (
                    task,
                    name.upper(),
                    len(finished),
                    mean,
                    fmean(absolute) if absolute else None,
                    ended(results),
                )
            )
    header = ("task", "trained on", "seeds", "mean test MSE", "mean test MAE", "status")
    return Table("losses", "Training on MSE and on MAE", header, rows, "After the last epoch.")


def labels(frame: Frame) -> Table:
    """The label distributions as recorded."""
    names = (
        "dataset", "task", "split", "count", "minimum", "lower_whisker", "lower_quartile", "median",
        "upper_quartile", "upper_whisker", "maximum", "mean", "outliers_below", "outliers_above",
    )  # fmt: skip
    rows = [tuple(getattr(label, name) for name in names) for label in frame.session.labels]
    return Table(
        "labels", "Label distributions", tuple(name.replace("_", " ") for name in names), rows, "Label units."
    )


def harness(frame: Frame) -> Table:
    """The harness's own benchmark."""
    rows: list[Row] = []
    for timing in frame.session.harness:
        middle = median(timing.seconds)
        speed = timing.gflop_per_epoch / middle if timing.gflop_per_epoch else None
        spread = (len(timing.seconds), middle, min(timing.seconds), max(timing.seconds))
        rows.append((timing.loop, timing.batch_size, timing.threads, *spread, speed, timing.peak_gflops))
    header = (
        "loop",
        "batch size",
        "threads",
        "rounds",
        "median s",
        "min s",
        "max s",
        "GFLOP/s",
        "peak GFLOP/s",
    )
    return Table("harness", "The harness itself", header, rows, "Seconds per training epoch.")


def troubles(frame: Frame) -> Table:
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
        for case in frame.session.cases
        if (result := case.result).status != "ok"
    ]
    header = ("status", *_IDENTITY, "experiments", "final MSE", "diverged at step", "message")
    note = "Those with a final MSE enter the statistics whatever their status; those without are left out."
    return Table("not-ok", "Runs that did not end well", header, rows, note, folded=len(rows) > 20)


_IDENTITY: Final = ("task", "batch size", "seed", "learning rate", "optimiser", "loss", "epochs")


def _identity(result: Result) -> Row:
    run = result.run
    return (run.task, run.batch_size, run.seed, run.learning_rate, run.optimiser, run.loss, run.epochs)


def runs(frame: Frame) -> Table:
    """Every planned case."""
    rows: list[Row] = [
        (*_identity(result), result.status.replace("_", " "), result.final_mse, result.normalised_mse,
         result.total_training_seconds or None, result.images_per_second, result.engine, result.threads,
         result.timing, "yes" if case.resumed else "no", ", ".join(case.cases), case.key)
        for case in frame.session.cases
        for result in [case.result]
    ]  # fmt: skip
    header = (
        *_IDENTITY, "status", "final MSE", "normalised MSE", "training s", "images per s", "engine",
        "threads", "timed", "resumed", "experiments", "key",
    )  # fmt: skip
    return Table("runs", "Every run", header, rows, folded=True)


def epochs(frame: Frame) -> Table:
    """Every epoch of every run; only as a file."""
    header = (*_IDENTITY, "epoch", "test MSE", "test MAE", "training loss", "training s", "evaluation s")
    return Table("epochs", "Every epoch", header, list(_epochs(frame)), on_page=False)


def _epochs(frame: Frame) -> Iterator[Row]:
    for result in frame.all_results:
        for epoch, mse in enumerate(result.test_mse):
            trained = epoch - 1 if epoch else len(result.training_seconds)
            yield (
                *_identity(result),
                epoch,
                mse,
                _at(result.test_mae, epoch),
                _at(result.training_loss, trained),
                _at(result.training_seconds, trained),
                _at(result.evaluation_seconds, epoch),
            )


def _at(values: Sequence[float | None], index: int) -> float | None:
    return values[index] if index < len(values) else None
