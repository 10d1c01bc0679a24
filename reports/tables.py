"""The numbers behind the figures, as rows: for CSV files and for the page's sortable tables."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from bsr import stats
from bsr.experiment import Result
from reports.figures.choices import rate_finals
from reports.figures.convergence import TARGET, middle, target_times, timed_cells
from reports.frame import Frame, group
from reports.published import beside
from reports.text import spreadsheet_cell

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Named rows. Cells are plain values: numbers, text, or None where there is none."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: Sequence[Row]
    note: str = ""
    folded: bool = False
    """Whether the page shows it only when asked to."""
    on_page: bool = True

    def csv(self) -> bytes:
        """UTF-8 with a byte order mark, as spreadsheets expect; text that looks like a formula is disarmed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([spreadsheet_cell(cell) for cell in row] for row in self.rows)
        return text.getvalue().encode("utf-8-sig")


def tables(frame: Frame) -> list[Table]:
    """Every table that has a row."""
    made = (
        errors(frame),
        times(frame),
        convergence(frame),
        published(frame),
        rates(frame),
        losses(frame),
        labels(frame),
        harness(frame),
        troubles(frame),
        runs(frame),
        epochs(frame),
    )
    return [table for table in made if table.rows]


def errors(frame: Frame) -> Table:
    """Final MSE of every cell of the batch-size experiment."""
    rows: list[Row] = []
    for task in frame.tasks_of():
        for cell in frame.cells(task):
            interval = stats.mean_interval(cell.finals)
            rows.append(
                (
                    task,
                    cell.batch_size,
                    len(cell.finals),
                    fmean(cell.finals),
                    interval and interval.low,
                    interval and interval.high,
                    min(cell.finals),
                    max(cell.finals),
                    fmean(cell.minima),
                    fmean(cell.normalised) if cell.normalised else None,
                    _statuses(cell.results),
                )
            )
    header = (
        "task", "batch size", "seeds", "mean MSE", "95% from", "95% to", "lowest seed", "highest seed",
        "mean of minima over epochs", "normalised MSE", "status",
    )  # fmt: skip
    note = "Test MSE after the last epoch, squared label units. The interval is a bootstrap of the mean over seeds."
    return Table("errors", "Error per task and batch size", header, rows, note)


def _statuses(results: Sequence[Result]) -> str:
    """`ok`, or how many ended how."""
    counts = Counter(result.status for result in results)
    if set(counts) == {"ok"}:
        return "ok"
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(counts.items()))


def times(frame: Frame) -> Table:
    """Training time of every cell, by the circumstances of timing."""
    rows: list[Row] = []
    for timing, timed in frame.timings(frame.results()).items():
        cells = group(timed, lambda result: (result.run.task, result.run.batch_size))
        for (task, size), results in sorted(cells.items(), key=lambda item: (frame.tasks.index(item[0][0]), item[0][1])):
            per_epoch = median(seconds for result in results for seconds in result.training_seconds)
            rows.append(
                (
                    task,
                    size,
                    timing.engine,
                    timing.threads,
                    timing.mode,
                    frame.machine_name(timing.environment),
                    len(results),
                    per_epoch,
                    fmean(result.total_training_seconds for result in results),
                    results[0].run.train_images / per_epoch if per_epoch else None,
                    fmean(sum(result.evaluation_seconds) for result in results),
                    fmean(result.setup_seconds + result.warmup_seconds for result in results),
                )
            )
    header = (
        "task", "batch size", "engine", "threads", "timed", "machine", "runs", "s per epoch", "training s",
        "images per s", "evaluation s", "set-up s",
    )  # fmt: skip
    note = "Training alone: no loading, evaluation or compilation. Median over epochs and runs; otherwise means."
    return Table("times", "Time per task and batch size", header, rows, note)


def convergence(frame: Frame) -> Table:
    """Epochs, steps and seconds to the stated normalised MSE."""
    rows: list[Row] = []
    for timing in frame.timings(frame.results()):
        for task in frame.learnable():
            for cell in timed_cells(frame, task, timing):
                found = {unit: target_times(cell.finished, unit) for unit in ("epochs", "steps", "seconds")}
                missed = found["epochs"][1]
                middles = [middle(*found[unit]) for unit in found]
                rows.append((task, cell.batch_size, frame.timing_label(timing), len(cell.finished), missed, *middles))
    header = ("task", "batch size", "timed", "runs", "never", "epochs", "steps", "training s")
    note = f"Until the test MSE is first at most {TARGET:g} of the best constant's: median over runs, where half got there."
    return Table("convergence", "Time to converge", header, rows, note)


def published(frame: Frame) -> Table:
    """Measured beside published, cell by cell."""
    rows: list[Row] = [
        (
            task,
            cell.published.batch_size,
            cell.published.epoch,
            len(cell.measured),
            min(cell.measured),
            cell.mean,
            max(cell.measured),
            cell.published.min_mse,
            cell.published.mean_mse,
            cell.published.max_mse,
            cell.ratio,
            "yes" if cell.overlap else "no",
        )
        for task in frame.tasks_of()
        for cell in beside(frame, task)
    ]
    header = (
        "task", "batch size", "after epoch", "seeds", "min", "mean", "max", "published min", "published mean",
        "published max", "ratio of means", "ranges overlap",
    )  # fmt: skip
    note = "Test MSE at the epoch at which the published ten seeds were taken."
    return Table("published", "Measured against published", header, rows, note)


def rates(frame: Frame) -> Table:
    """Final MSE by learning rate and optimiser."""
    rows: list[Row] = []
    for experiment in ("learning-rate", "optimiser", "std-at-0.01"):
        named = group(
            frame.results(experiment), lambda r: (r.run.task, r.run.optimiser, r.run.batch_size, r.run.learning_rate)
        )
        for (task, optimiser, size, rate), results in sorted(named.items()):
            values = rate_finals({rate: results}).get(rate, [])
            middle_value = stats.geometric_mean(values) if values else None
            low, high = (min(values), max(values)) if values else (None, None)
            rows.append(
                (experiment, task, optimiser, size, rate, len(values), middle_value, low, high, _statuses(results))
            )
    header = (
        "experiment", "task", "optimiser", "batch size", "learning rate", "seeds", "geometric mean MSE", "lowest seed",
        "highest seed", "status",
    )  # fmt: skip
    return Table("learning-rates", "Learning rates and optimisers", header, rows, "Test MSE after the last epoch.", folded=True)


def losses(frame: Frame) -> Table:
    """Trained on MSE and on MAE, evaluated on both."""
    rows: list[Row] = []
    for (task, name), results in group(frame.results("loss"), lambda r: (r.run.task, r.run.loss)).items():
        finished = [result for result in results if result.final_mse is not None]
        errors_ = [result.test_mae[-1] for result in finished if result.test_mae]
        absolute = [value for value in errors_ if value is not None]
        if finished:
            mean = fmean(result.final_mse for result in finished if result.final_mse is not None)
            rows.append((task, name.upper(), len(finished), mean, fmean(absolute) if absolute else None, _statuses(results)))
    header = ("task", "trained on", "seeds", "mean test MSE", "mean test MAE", "status")
    return Table("losses", "Training on MSE and on MAE", header, rows, "After the last epoch.")


def labels(frame: Frame) -> Table:
    """The label distributions as recorded."""
    names = (
        "dataset", "task", "split", "count", "minimum", "lower_whisker", "lower_quartile", "median", "upper_quartile",
        "upper_whisker", "maximum", "mean", "outliers_below", "outliers_above",
    )  # fmt: skip
    rows = [tuple(getattr(label, name) for name in names) for label in frame.study.labels]
    return Table("labels", "Label distributions", tuple(name.replace("_", " ") for name in names), rows, "Label units.")


def harness(frame: Frame) -> Table:
    """The harness's own benchmark."""
    rows = [
        (timing.loop, timing.batch_size, timing.threads, len(timing.seconds), median(timing.seconds), min(timing.seconds),
         max(timing.seconds), timing.gflop_per_epoch / median(timing.seconds), timing.peak_gflops)
        for timing in frame.study.harness
    ]  # fmt: skip
    header = ("loop", "batch size", "threads", "rounds", "median s", "min s", "max s", "GFLOP/s", "peak GFLOP/s")
    return Table("harness", "The harness itself", header, rows, "Seconds per training epoch.")


def troubles(frame: Frame) -> Table:
    """Every case that did not end well."""
    rows: list[Row] = [
        (result.status.replace("_", " "), *_identity(result), ", ".join(case.cases), result.final_mse, result.diverged_at_step, result.message)
        for case in frame.study.cases
        if (result := case.result).status != "ok"
    ]
    header = ("status", *_IDENTITY, "experiments", "final MSE", "diverged at step", "message")
    note = "Runs with a final MSE enter the statistics whatever their status; those without are left out and listed here."
    return Table("not-ok", "Runs that did not end well", header, rows, note, folded=len(rows) > 20)


_IDENTITY: Final = ("task", "batch size", "seed", "learning rate", "optimiser", "loss", "epochs")


def _identity(result: Result) -> Row:
    run = result.run
    return (run.task, run.batch_size, run.seed, run.learning_rate, run.optimiser, run.loss, run.epochs)


def runs(frame: Frame) -> Table:
    """Every planned case."""
    rows: list[Row] = [
        (*_identity(result), result.status.replace("_", " "), result.final_mse, result.normalised_mse,
         result.total_training_seconds or None, result.images_per_second, result.engine, result.threads, result.timing,
         "yes" if case.resumed else "no", ", ".join(case.cases), case.key)
        for case in frame.study.cases
        for result in [case.result]
    ]  # fmt: skip
    header = (
        *_IDENTITY, "status", "final MSE", "normalised MSE", "training s", "images per s", "engine", "threads", "timed",
        "resumed", "experiments", "key",
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
