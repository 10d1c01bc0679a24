"""Plausible benchmark documents without any training: what a session would record, from a seeded stream.

The sizes of the errors, their spread over seeds and the shape over the batch size follow the published
tables; every number is a function of the Run alone: two documents agree in the Runs that they share.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from bsr.experiments import EXPERIMENTS, PRESETS, Grid, plan, square
from bsr.experiments.controlled import SCALED_FROM, tune
from bsr.experiments.rates import TUNED_LEARNING_RATE, Schedule, TunedRate
from bsr.experiments.settings import AMONG, Problem, Setting, TunedSetting
from bsr.experiments.tuning import tried_settings
from bsr.records.schema import Case, HarnessTiming, LabelDistribution, SessionRecord
from bsr.result import FINISHED, Result, Status
from bsr.run import Run

BASELINE_MSE: Final = {"mean": 124.442, "std": 148.080, "var": 3_511_116.35, "median": 0.0}
UNTRAINED_MSE: Final = {"mean": 1266.3, "std": 6151.7, "var": 41_354_326.0, "median": 0.4}
_SIZES: Final = (2, 16, 32, 64, 128, 256, 512, 1024, 2048)
_FINAL_MSE: Final = {
    "mean": (0.65, 0.25, 0.30, 0.27, 0.33, 0.45, 0.58, 0.87, 1.35),
    "std": (1.27, 0.52, 0.61, 0.97, 1.33, 1.28, 1.82, 2.97, 4.63),
    "var": (11400, 10100, 15300, 16500, 18400, 23500, 27800, 39300, 89400),
}
CONTROLLED = (*(name for name, one in EXPERIMENTS.items() if "steps" in one.varies), "noise-scale")
EPOCH_BASED = tuple(name for name in EXPERIMENTS if name not in CONTROLLED)
"""Experiments that share a recording: controlled Runs have recordings of their own."""
_MACHINE: Final = "0123456789ab"
_STARTED: Final = "2026-01-02T03:04:05.000+00:00"


def settings_for(grid: Grid) -> tuple[TunedSetting, ...]:
    """A setting of each kind for every problem of a grid."""
    of_kind = tuple(zip(AMONG, (Setting(0.001, 0.5), Setting(0.002), Setting(0.001, 0.0)), strict=True))
    return tuple(
        TunedSetting.of(problem, among, setting, error=1.0, seeds=5, at_edge=False)
        for model in grid.models
        for problem in square.problems(replace(grid, models=(model,)), (*grid.batch_sizes, SCALED_FROM))
        for among, setting in of_kind
    )


def _arms(grid: Grid) -> dict[tuple[str, int, int, Schedule], list[Run]]:
    found: dict[tuple[str, int, int, Schedule], list[Run]] = {}
    for run in tune(grid):
        found.setdefault((run.task, run.batch_size, run.steps, run.schedule), []).append(run)
    return found


def tuned_rates(grid: Grid) -> tuple[TunedRate, ...]:
    """A table of tuned rates: for each arm the one in the middle of its grid."""
    return tuple(
        TunedRate(
            task=task,
            batch_size=size,
            steps=steps,
            schedule=schedule,
            learning_rate=max(run.learning_rate for run in runs) / 4,
            validation_mse=1.0,
            seeds=3,
            at_edge=False,
        )
        for (task, size, steps, schedule), runs in _arms(grid).items()
    )


RATES: Final = tuned_rates(PRESETS["tune"].grid)
Disturb = Callable[[Run], Status]
"""Says how a Run ended; the default is what its learning rate and optimiser make of it."""


def usual_status(run: Run) -> Status:
    """SGD on raw pixels diverges from rate 1e-4 on; Adam's predictions die at the largest rates."""
    if run.optimiser == "sgd" and run.learning_rate > 1e-5:
        return "diverged"
    return "dead" if run.learning_rate >= 0.1 and run.task != "median" else "ok"


def result(run: Run, status: Status = "ok", **circumstances: Any) -> Result:
    """What a Run might have given; `circumstances` are further fields of Result (engine, beside, ...)."""
    stream = np.random.default_rng(int(run.key, 16))
    empty = Result(
        run=run,
        status=status,
        engine="eager",
        device="cpu",
        threads=2,
        environment=_MACHINE,
        baseline_mse=BASELINE_MSE.get(run.task, 100.0),
        message="" if status == "ok" else f"a synthetic {status} case",
    )
    if status in {"not_run", "failed", "out_of_memory"}:
        return replace(empty, baseline_mse=None, **circumstances)
    epochs = run.evaluations if status in {"ok", "dead"} else max(1, run.evaluations // 3)
    mse = [UNTRAINED_MSE.get(run.task, 1000.0), *_test_mse(run, status, epochs, stream)]
    seconds = (
        (4.0 + 0.0012 * run.steps_per_epoch) * run.train_images / 60_000 * stream.lognormal(0, 0.02, epochs)
    )
    loss: list[float | None] = [value * (0.9 if run.loss == "mse" else 1.0) for value in mse[1:]]
    test_mse: list[float | None] = [*mse]
    if status == "diverged":
        loss[-1] = test_mse[-1] = None
    done = replace(
        empty,
        test_mse=tuple(test_mse),
        test_mae=tuple(None if value is None else math.sqrt(value) * 0.8 for value in test_mse),
        training_loss=tuple(loss),
        training_seconds=tuple(map(float, seconds)),
        evaluation_seconds=(0.4,) * (epochs + 1),
        setup_seconds=0.05,
        wall_seconds=float(seconds.sum()) + 0.4 * (epochs + 1) + 0.05,
        steps=run.evaluation_steps[epochs - 1],
        diverged_at_step=run.evaluation_steps[epochs - 1] - 2 if status == "diverged" else None,
        prediction_spread=0.0 if status == "dead" else 11.0,
        order_digest=run.key,
        peak_memory_bytes=400_000_000,
    )
    return replace(done, **circumstances)


def _test_mse(run: Run, status: Status, epochs: int, stream: np.random.Generator) -> list[float]:
    """[epochs], after each; falls towards a final value that depends on batch size, rate and seed."""
    epoch = np.arange(1, epochs + 1)
    if run.task == "median":
        collapsed = stream.random() > math.log2(run.batch_size) / 14
        tiny = 10.0 ** -stream.uniform(6, 15, epochs) * (stream.random(epochs) > 0.4)
        return [
            float(value) for value in (tiny if collapsed else 0.35 * np.exp(-0.03 * epoch) * stream.random())
        ]
    if status == "dead":
        return [BASELINE_MSE.get(run.task, 100.0) * 1.001] * epochs
    sizes = np.log2(_SIZES)
    final = np.exp(
        np.interp(math.log2(run.batch_size), sizes, np.log(_FINAL_MSE.get(run.task, _FINAL_MSE["mean"])))
    )
    off = math.log10(run.learning_rate / TUNED_LEARNING_RATE.get(run.task, 0.001))
    rate = 10 ** min(0.7 * off * off, 3.0) * (1.5 if run.optimiser == "sgd" else 1.0)
    early = 1 + 0.04 * run.batch_size * np.exp(-0.75 * (epoch - 1)) + 2 / epoch
    worse = 1.15 if run.loss == "mae" else 1.0
    noise = stream.lognormal(0, 0.28, epochs) * stream.lognormal(0, 0.12)
    return [float(value) for value in final * rate * early * worse * noise]


def labels(tasks: Iterable[str], dataset: str = "MNIST") -> tuple[LabelDistribution, ...]:
    """MNIST's training labels, rounded; the median's are all 0."""
    # minimum, whisker, quartiles, whisker, maximum, mean
    known = {
        "mean": (6.5, 6.5, 25.3, 32.5, 40.3, 62.6, 101.4, 33.3),
        "std": (31.9, 43.4, 68.6, 77.3, 85.4, 110.7, 119.2, 76.9),
        "var": (1016, 1016, 4706, 5971, 7297, 11184, 14217, 6059),
        "median": (0,) * 8,
    }
    return tuple(
        LabelDistribution(
            dataset=dataset,
            task=task,
            split="train",
            count=60_000,
            minimum=low,
            lower_whisker=whisker,
            lower_quartile=first,
            median=middle,
            upper_quartile=third,
            upper_whisker=upper,
            maximum=high,
            mean=mean,
            outliers_below=0 if low == whisker else 12,
            outliers_above=0 if high == upper else 345,
        )
        for task in tasks
        for low, whisker, first, middle, third, upper, high, mean in [known[task]]
    )


def harness(batch_sizes: Iterable[int]) -> tuple[HarnessTiming, ...]:
    """Four loops at every batch size, three rounds each."""
    slowness = {
        "textbook": (2, 2.4),
        "eager": (2, 1.0),
        "native, one core": (1, 0.8),
        "native, all cores": (2, 0.45),
    }
    return tuple(
        HarnessTiming(
            loop=loop,
            batch_size=size,
            threads=threads,
            seconds=tuple((4 + 70 / size) * factor * extra for extra in (1.0, 1.03, 1.01)),
            gflop_per_epoch=95.0,
            peak_gflops=45.0 * threads,
        )
        for size in batch_sizes
        for loop, (threads, factor) in slowness.items()
    )


def session(
    experiments: Iterable[str] = ("batch-size",),
    grid: Grid | None = None,
    disturb: Disturb = usual_status,
    circumstances: Mapping[str, Any] | Callable[[Run], Mapping[str, Any]] | None = None,
    **fields: Any,
) -> SessionRecord:
    """A finished session over `grid`; `fields` replace fields of Study.

    `circumstances` are fields of Result for all Runs, or a function that gives them for each.
    """
    grid, experiments = grid or Grid(runs=3), tuple(experiments)
    planned = plan(experiments, grid)
    runs: dict[str, Run] = {}
    names: dict[str, dict[str, str]] = {}
    for name, named in planned.items():
        for case, run in named.items():
            key = run.key
            runs[key] = run
            names.setdefault(key, {})[name] = case
    about = circumstances if callable(circumstances) else lambda _run: circumstances or {}
    cases = tuple(
        Case(
            key=key,
            cases=names[key],
            result=result(run, disturb(run), **about(run)),
        )
        for key, run in runs.items()
    )
    usual: dict[str, Any] = {
        "preset": "paper",
        "experiments": experiments,
        "command": "pytest benchmarks --benchmark-json=run.json --bsr-preset paper",
        "options": {"--bsr-runs": grid.runs},
        "dataset_digest": "0123456789abcdef",
        "started_at": _STARTED,
        "finished_at": "2026-01-02T04:05:06.000+00:00",
        "wall_seconds": 3661.0,
        "planned": len(cases),
        "finished": sum(case.result.status in FINISHED for case in cases),
        "environments": {_MACHINE: fingerprint()},
        "cases": cases,
        "labels": labels(grid.tasks) if "label-distribution" in experiments else (),
    }
    return SessionRecord(**usual | fields)


def fingerprint() -> dict[str, Any]:
    """A machine that might have trained it."""
    return {
        "id": _MACHINE,
        "device": "cpu",
        "device_name": "Synthetic CPU @ 2.00GHz",
        "memory_bytes": 16 * 2**30,
        "torch": "2.9.0",
        "python": "3.11.9",
        "system": "Linux 6.1",
        "cpu_cores": 2,
        "threads": 2,
        "engine": "eager",
        "deterministic": False,
    }


def document(recorded: SessionRecord) -> dict[str, Any]:
    """The whole benchmark document around a study, plain values only."""
    return {
        "machine_info": {"bsr": fingerprint()},
        "commit_info": {},
        "benchmarks": [],
        "datetime": _STARTED,
        "version": "5.3.1",
        "bsr": msgspec.to_builtins(recorded),
    }


def write(path: Path, recorded: SessionRecord) -> Path:
    """Write the document to `path` as strict JSON; returns the path."""
    path.write_text(json.dumps(document(recorded), allow_nan=False), encoding="utf-8")
    return path


@cache
def why_session(
    *,
    updates: float = 1.0,
    rate: float = 1.0,
    batch_size: float = 1.0,
    spread: float = 0.1,
    preset: str = "why-first",
    tasks: tuple[str, ...] = ("mean", "std", "var"),
    experiments: tuple[str, ...] = (),
    rates: tuple[TunedRate, ...] = RATES,
    **axes: Any,
) -> SessionRecord:
    """A session of the controlled experiments in which 1024 has so many times the error of 16, by cause.

    `updates` is what 64 times as many of them gain; `rate` what an untuned one costs at 1024; `batch_size`
    what is left at equal updates and tuned rates. `spread` is the seeds' standard deviation of the log error;
    `axes` are others of the grid.
    """
    chosen = PRESETS[preset]
    grid = replace(chosen.grid, rates=rates, tasks=tasks, **axes)
    tuned = {(one.task, one.batch_size, one.steps, one.schedule): one.learning_rate for one in rates}

    def planted(run: Run) -> dict[str, Any]:
        if not run.steps:
            return {}
        stream = np.random.default_rng(int(run.key, 16))
        steps = np.array((1, *run.evaluation_steps))
        level = math.log(batch_size) * math.log2(run.batch_size / 16) / 6
        arm = (run.task, run.batch_size, run.steps, run.schedule)
        if run.learning_rate != tuned.get(arm):
            level += math.log(rate) * (run.batch_size == 1024)
        gained = -math.log(updates) * np.log2(steps / 586) / 6
        logs = math.log(0.01) + level + gained + stream.normal(0, spread)
        errors = BASELINE_MSE[run.task] * np.exp(logs)
        return {"test_mse": tuple(map(float, errors)), "test_mae": tuple(map(float, np.sqrt(errors)))}

    names = experiments or tuple(name for name in chosen.experiments if name != "noise-scale")
    return session(names, grid, circumstances=planted, rates=rates, preset=preset)


def square_session(
    *,
    preset: str = "why",
    batch_size: float = 1.0,
    overfits: float = 1.0,
    spread: float = 0.1,
    travels: float = 1.0,
    alike: tuple[str, ...] = (),
    few_seeds: tuple[int, ...] = (),
    tuning: bool = False,
    **axes: Any,
) -> SessionRecord:
    """A session of the second protocol; the largest batch has `batch_size` times the smallest's error.

    `overfits` is the test error over the training error after the most updates; without updates it is 1.
    `travels` is what the largest batch gains by a setting that was tuned for another, but of the tasks
    `alike`, which have one for all. `few_seeds` are the batch sizes that were tuned on two.
    """
    chosen = PRESETS[preset]
    grid = replace(chosen.grid, **axes)
    settings = tuple(
        replace(row, seeds=2) if row.batch_size in few_seeds else row for row in settings_for(grid)
    )
    if travels != 1:
        of_another = (row.batch_size == SCALED_FROM and row.task not in alike for row in settings)
        settings = tuple(
            replace(row, learning_rate=0.003) if other else row
            for row, other in zip(settings, of_another, strict=True)
        )
    span = math.log2(max(grid.batch_sizes) / min(grid.batch_sizes))
    own = {(row.problem, row.setting) for row in settings}

    def planted(run: Run) -> dict[str, Any]:
        stream = np.random.default_rng(int(run.key, 16))
        steps = np.array((1, *run.evaluation_steps))
        level = math.log(batch_size) * math.log2(run.batch_size / min(grid.batch_sizes)) / span
        if run.batch_size == max(grid.batch_sizes) and (Problem.of(run), Setting.of(run)) not in own:
            level += math.log(travels)
        logs = math.log(0.01) + level - 0.4 * np.log(steps / 586) + stream.normal(0, spread)
        errors = BASELINE_MSE.get(run.task, 600.0) * np.exp(logs)
        away = 0.0 if run.evaluate_on == "test" else abs(math.log2(run.learning_rate / 0.001))
        errors *= math.exp(0.1 * away)
        training = errors * overfits ** -(np.log(steps) / math.log(37_500))
        return {
            "test_mse": tuple(map(float, errors)),
            "test_mae": tuple(map(float, np.sqrt(errors))),
            "training_mse": tuple(map(float, training)),
            "validation_mse": () if run.evaluate_on == "validation" else tuple(map(float, 1.01 * errors)),
        }

    names = chosen.experiments
    if tuning:
        names = ("why-tune", *names)
        looked = session(names[:1], grid, circumstances=planted)
        tried = tried_settings(case.result for case in looked.cases if case.result)
        settings = tuple(replace(row, at_the_edge="", seeds=5) for row in square.tuned(tried))
    return session(
        names, replace(grid, settings=settings), circumstances=planted, settings=settings, preset=preset
    )
