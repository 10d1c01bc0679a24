"""The numbers behind the figures, as rows: for CSV files and for the page's sortable tables."""

from __future__ import annotations

from statistics import fmean, median

from bsr import stats
from reports.figures.target import TARGET, middle, target_times
from reports.frame import Frame, group
from reports.published import beside
from reports.records import ended, epochs, harness, labels, losses, rates, runs, troubles
from reports.table import Row, Table

__all__ = ["Row", "Table", "tables"]


def tables(frame: Frame) -> list[Table]:
    """Every table, in the order of the page; some have no rows."""
    return [
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
    ]


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
                    ended(cell.results),
                )
            )
    header = (
        "task", "batch size", "seeds", "mean MSE", "95% from", "95% to", "lowest seed", "highest seed",
        "mean of minima over epochs", "normalised MSE", "status",
    )  # fmt: skip
    note = "Test MSE after the last epoch, squared label units. Interval: bootstrap of the mean over seeds."
    return Table("errors", "Error per task and batch size", header, rows, note)


def times(frame: Frame) -> Table:
    """Training time of every cell, by the circumstances of timing."""
    rows: list[Row] = []
    whole = [result for result in frame.results() if result.final_mse is not None]
    for timing, timed in frame.timings(whole).items():
        cells = group(timed, lambda result: (result.run.task, result.run.batch_size))
        for (task, size), results in sorted(
            cells.items(), key=lambda item: (frame.tasks.index(item[0][0]), item[0][1])
        ):
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
    note = (
        "Training alone: no loading, evaluation or compilation. Median over epochs and runs; otherwise means."
    )
    return Table("times", "Time per task and batch size", header, rows, note)


def convergence(frame: Frame) -> Table:
    """Epochs, steps and seconds to the stated normalised MSE."""
    rows: list[Row] = []
    for timing in frame.timings(frame.results()):
        for task, cells in frame.timed(timing).items():
            for cell in cells if task not in frame.degenerate else ():
                in_epochs, missed = target_times(cell.finished, "epochs")
                in_steps, _ = target_times(cell.finished, "steps")
                seconds, _ = target_times(cell.finished, "seconds")
                middles = [middle(moments, missed) for moments in (in_epochs, in_steps, seconds)]
                rows.append(
                    (task, cell.batch_size, frame.timing_label(timing), len(cell.finished), missed, *middles)
                )
    header = ("task", "batch size", "timed", "runs", "never", "epochs", "steps", "training s")
    note = f"Until the test MSE is at most {TARGET:g} of the best constant's: median, where half got there."
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
