"""The command line: what can be asked for, and one line for what cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from bsr.experiments import (
    DEFAULT_PRESET,
    EXPERIMENTS,
    PRESETS,
    Grid,
    PlanTooLargeError,
    Preset,
    controlled,
    plan,
    rates,
    settings,
    square,
)
from bsr.experiments.grid import MOST_BATCH_SIZES, MOST_TASKS
from bsr.experiments.original import REFINED
from bsr.own.named import IMPORT_PATH, NamedError, is_import_path
from bsr.plugin import own_code
from bsr.plugin.checks import only_looks
from bsr.plugin.refinement import RefinementError, best_rates, beyond_edges, settings_tried, tuned_in
from bsr.records import durable, reading
from bsr.records.journal import journal_path
from bsr.run import (
    DEVICE,
    DEVICES,
    EVALUATED_ON,
    LARGEST_SEED,
    MOST_EPOCHS,
    MOST_STEPS,
    MOST_THREADS,
    PRECISIONS,
    Execution,
    Run,
)
from bsr.text import shortened

T = TypeVar("T", int, float)
REFINABLE: Final = (REFINED, "tune", "why-tune")
"""The experiments that --bsr-refine takes further."""
LONGEST_TIMEOUT: Final = 10_000_000
NUMBERS: Final[dict[type, str]] = {int: "[0-9]{1,19}", float: r"[0-9]{1,9}(\.[0-9]{0,9})?(e-?[0-9]{1,2})?"}
"""As options spell them: what Python reads besides (`1_6`, digits of other scripts) is a slip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Options:
    """A session's options, checked, with the preset's values where nothing was said."""

    preset: str
    experiments: tuple[str, ...]
    grid: Grid
    execution: Execution
    """Its device and engine may still be `auto`."""
    json: Path | None
    dask: str | None
    """Address of a Dask scheduler, or `local`."""
    dask_wait: float | None
    """Seconds to go without a worker; None leaves it to bsr.compute.cluster."""
    workers: int | None
    """None leaves it to the engine."""
    resume: bool
    elsewhere: bool
    strict: bool
    given: dict[str, Any]
    """The options that were given, by name."""
    plan: dict[str, dict[str, Run]]
    """Runs by experiment and case id."""


def add(parser: pytest.Parser) -> None:
    """Declare the options. Every default is None: what is not given falls through to the preset."""
    # shown under every usage error: pytest refuses --benchmark-json without a path before it reads a conftest
    parser.extra_info["to record a study"] = "pytest benchmarks --benchmark-json=benchmarks/results/mine.json"
    group = parser.getgroup("bsr", "batch-size study (bsr)")

    def option(name: str, metavar: str, text: str) -> None:
        group.addoption(f"--bsr-{name}", metavar=metavar, default=None, help=text)

    presets = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    option("preset", "NAME", f"which part of the study ({presets}). Default: {DEFAULT_PRESET}")
    option("experiments", "A,B", f"which experiments, of: {', '.join(EXPERIMENTS)}. Default: the preset's")
    option(
        "tasks",
        "A,B",
        f"which tasks, of bsr.TASKS: mean, std, var, median, or {IMPORT_PATH}, or targets of the data set. "
        "Default: its targets, if it has any",
    )
    option("models", "A,B", f"which networks, of bsr.MODELS: study, wide, deep, or {IMPORT_PATH}")
    option(
        "learning-rates",
        "RATE",
        "instead of the study's: one for every task, or per task: mean=0.001,std=0.002",
    )
    option("batch-sizes", "N,N", "which batch sizes")
    option("runs", "N", "seeds per cell by the study's rule: batch size + run index")
    option("seeds", "N,N", "the same seeds for every batch size, for paired comparisons")
    option("epochs", "N", "epochs per run")
    option(
        "run-images",
        "N",
        "with the presets of equal updates: on so many images a run of equal epochs trains. Default: on ten "
        "epochs' worth",
    )
    option("test-images", "N", "evaluate on the first so many test images. Default: the preset's number")
    option("dataset", "NAME", f"a data set: MNIST, FashionMNIST, KMNIST, Rotated, or {IMPORT_PATH}")
    option(
        "data",
        "DIR",
        "folder that holds the files, or NAME/raw/ with them (default: bundled MNIST, from the cache folder)",
    )
    option(
        "evaluate-on",
        "PART",
        f"with the experiment {REFINED}: test, as the study did, or validation, a part of the data set's own "
        "or the last images of the training part",
    )
    option("device", "NAME", f"one of {DEVICES}. Default: auto")
    option("threads", "N", "CPU threads per run. Default: PyTorch's choice")
    option("precision", "NAME", f"one of {', '.join(PRECISIONS)}")
    option(
        "engine",
        "NAME",
        "how to train: eager (plain PyTorch, the reference), native (C++, on the CPU), graph (CUDA), or "
        "auto, the fastest that was measured on the device. Default: auto",
    )
    option(
        "workers",
        "N",
        "local processes, one thread each; 0: this one. Default: on a CPU one per core, but 0 where eager "
        "was asked for by name",
    )
    option("dask", "ADDRESS", "train on the Dask cluster of that scheduler; local: start one on this machine")
    option(
        "dask-wait",
        "SECONDS",
        "with --bsr-dask: go on without a worker for so long, at first or later. Default: 300",
    )
    option("timeout", "SECONDS", "stop a run that takes longer; its status is timed_out")
    option(
        "refine",
        "RUN.json",
        "look again round the best rates in that file; with the preset tune: beyond those at an edge; with "
        "why-tune: what its tuning tries next, of that file or all of a pattern",
    )
    option(
        "rates",
        "FILE,FILE",
        "tuned settings for the presets why and why-data: the tuned-settings.csv of a tuning's report, or "
        "its recordings; for why-first its tuned-rates.csv, or its recordings",
    )
    option("save-models", "DIR", "keep each run's weights there (safetensors), named by key")
    group.addoption("--bsr-resume", action="store_true", help="go on from an unfinished journal")
    group.addoption(
        "--bsr-resume-elsewhere",
        action="store_true",
        help="with --bsr-resume: also on another device, driver or torch, recorded per result",
    )
    group.addoption("--bsr-strict", action="store_true", help="a diverged or dead run is a failed test")
    group.addoption(
        "--bsr-compiled",
        action="store_true",
        default=None,
        help="the experiment harness times torch.compile too: half a minute per network and batch size",
    )
    group.addoption("--bsr-deterministic", action="store_true", help="only deterministic cuDNN kernels")


def read(config: pytest.Config) -> Options:
    """The options of this session. Raises pytest.UsageError, one line, for the first that is wrong."""
    preset_name = _choice(config, "preset", tuple(PRESETS)) or DEFAULT_PRESET
    preset = PRESETS[preset_name]
    experiments = _choices(config, "experiments", tuple(EXPERIMENTS)) or _usual(config, preset)
    grid = _grid(config, preset.grid, experiments)
    _combinations(config, experiments)
    try:
        controlled.rates_of(experiments, grid)
        planned = plan(experiments, grid)
    except (PlanTooLargeError, rates.RatesError) as error:
        raise pytest.UsageError(f"bsr: {error}") from error
    if _value(config, "refine") is not None and grid.tried and not any(planned.values()):
        raise refuse(
            "refine",
            _value(config, "refine"),
            "a tuning that has not ended (draw this one, and give its tuned-settings.csv by --bsr-rates)",
        )
    return Options(
        preset=preset_name,
        experiments=experiments,
        grid=grid,
        execution=_execution(config),
        json=getattr(config.option, "benchmark_json", None),
        dask=_value(config, "dask"),
        dask_wait=_number(config, "dask-wait", float, at_least=1, at_most=LONGEST_TIMEOUT),
        workers=_number(config, "workers", int, at_least=0, at_most=MOST_THREADS),
        resume=config.getoption("bsr_resume"),
        elsewhere=config.getoption("bsr_resume_elsewhere"),
        strict=config.getoption("bsr_strict"),
        given={
            name: value for name, value in vars(config.option).items() if name.startswith("bsr_") and value
        },
        plan=planned,
    )


def _usual(config: pytest.Config, preset: Preset) -> tuple[str, ...]:
    """The preset's experiments; of --bsr-refine the one that looks again."""
    if _value(config, "refine") is None:
        return preset.experiments
    return tuple(set(REFINABLE) & set(preset.experiments)) or (REFINED,)


def _combinations(config: pytest.Config, experiments: tuple[str, ...]) -> None:
    """Options that mean nothing together."""
    if config.getoption("bsr_resume_elsewhere") and not config.getoption("bsr_resume"):
        raise refuse("resume-elsewhere", "it alone", "--bsr-resume beside it")
    if _value(config, "refine") and not {*REFINABLE} & {*experiments}:
        raise refuse(
            "refine", _value(config, "refine"), f"the experiment {REFINED}, tune or why-tune beside it"
        )
    if _value(config, "evaluate-on") == "validation" and experiments != (REFINED,):
        raise refuse("evaluate-on", "validation", f"--bsr-experiments {REFINED} beside it, and no other")
    if _value(config, "runs") and _value(config, "seeds"):
        raise refuse("seeds", _value(config, "seeds"), "one of --bsr-runs and --bsr-seeds, not both")
    trained = [EXPERIMENTS[name] for name in experiments if EXPERIMENTS[name].trains]
    if _value(config, "learning-rates") and not any(experiment.takes_a_rate for experiment in trained):
        raise refuse(
            "learning-rates",
            _value(config, "learning-rates"),
            "an experiment beside it that does not try rates of its own",
        )
    if _value(config, "run-images") and not any("steps" in experiment.varies for experiment in trained):
        raise refuse(
            "run-images",
            _value(config, "run-images"),
            "an experiment beside it that trains for so many updates, such as equal-epochs",
        )
    if _value(config, "dask") and _value(config, "workers"):
        raise refuse("workers", _value(config, "workers"), "one of --bsr-dask and --bsr-workers, not both")
    if _value(config, "dask-wait") and not _value(config, "dask"):
        raise refuse("dask-wait", _value(config, "dask-wait"), "--bsr-dask beside it")
    if _value(config, "dask") and _value(config, "engine") == "auto":
        raise refuse("engine", "auto", "an engine by name with --bsr-dask, since the machines are others")


def refuse(option: str, got: object, expected: str) -> pytest.UsageError:
    """The one line for a bad value."""
    return pytest.UsageError(f"--bsr-{option}: expected {expected}, got {shortened(repr(got), 200)}")


def _grid(config: pytest.Config, grid: Grid, experiments: tuple[str, ...]) -> Grid:
    if _value(config, "data") and is_import_path(_value(config, "dataset") or ""):
        raise refuse("data", _value(config, "data"), "it left out, since --bsr-dataset names a function")
    if not only_looks(config):
        own_code.try_apart({name: _listed(config, name) or () for name in own_code.KINDS})
    dataset = _dataset(config)
    tested = _number(config, "test-images", int, at_least=1, at_most=grid.test_images)
    grid = own_code.sized(replace(grid, test_images=tested or grid.test_images), dataset)
    sizes = _numbers(config, "batch-sizes", 1, grid.train_images, count=MOST_BATCH_SIZES)
    tasks = _named(config, "tasks", "task", own_code.targets(dataset))
    if (count := len(tasks or grid.tasks)) > MOST_TASKS:
        raise refuse("tasks", f"{count}", f"at most {MOST_TASKS} tasks, so some of them by name")
    said: dict[str, Any] = {
        "tasks": tasks,
        "models": _named(config, "models", "network"),
        "learning_rates": _learning_rates(config, tasks or grid.tasks),
        "batch_sizes": sizes,
        "loop_sizes": sizes,
        "runs": _number(config, "runs", int, at_least=1, at_most=rates.MOST_SEEDS),
        "seeds": _numbers(config, "seeds", 0, LARGEST_SEED, count=rates.MOST_SEEDS),
        "epochs": _number(config, "epochs", int, at_least=1, at_most=MOST_EPOCHS),
        "run_images": _number(config, "run-images", int, at_least=1, at_most=MOST_STEPS),
        "dataset": dataset,
        "precision": _choice(config, "precision", PRECISIONS),
        "loop_compiled": config.getoption("bsr_compiled"),
        "evaluate_on": _choice(config, "evaluate-on", EVALUATED_ON),
    }
    said |= _from_files(config, experiments)
    return replace(grid, **{name: value for name, value in said.items() if value is not None})


def _from_files(config: pytest.Config, experiments: tuple[str, ...]) -> dict[str, Any]:
    """What an earlier tuning found."""
    said: dict[str, Any] = {}
    refined = _value(config, "refine")
    if refined is not None:
        try:
            if "why-tune" in experiments:
                own = getattr(config.option, "benchmark_json", None)
                said["tried"] = settings_tried(Path(refined), (own, journal_path(own)) if own else ())
            elif "tune" in experiments:
                said["beyond"] = beyond_edges(Path(refined))
            else:
                said["refine_around"] = best_rates(Path(refined))
        except RefinementError as error:
            raise pytest.UsageError(f"--bsr-refine: {error}") from error
    if _value(config, "rates") is not None:
        said = _tuned(config, experiments) | said  # a tuning that goes on does so from what it refines
    return said


def _tuned(config: pytest.Config, experiments: tuple[str, ...]) -> dict[str, Any]:
    """Of a table, else of the recordings of a tuning."""
    paths = [Path(name) for name in _listed(config, "rates") or ()]
    recorded = durable.is_json(paths[0]) or durable.is_journal(paths[0]) or reading.is_pattern(paths[0])
    try:
        if square.TUNED_ALIKE & {*experiments}:
            if len(paths) > 1:
                raise refuse("rates", _value(config, "rates"), "one table, or one pattern: 'tune-*.json'")
            if recorded:
                tried = settings_tried(paths[0])
                return {"settings": tuple(square.tuned(dict(tried))), "tried": tried}
            return {"settings": settings.read(paths[0])}
        return {"rates": tuned_in(paths) if recorded else rates.read(paths[0])}
    except (rates.RatesError, RefinementError) as error:
        raise pytest.UsageError(f"--bsr-rates: {error}") from error


def _execution(config: pytest.Config) -> Execution:
    device = _value(config, "device") or "auto"
    if not re.fullmatch(DEVICE, device):
        raise refuse("device", device, f"one of {DEVICES}")
    return Execution(
        engine=_choice(config, "engine", _engine_names(config))
        or ("eager" if _value(config, "dask") else "auto"),
        device=device,
        threads=_number(config, "threads", int, at_least=1, at_most=MOST_THREADS),
        deterministic=config.getoption("bsr_deterministic"),
        data=_value(config, "data"),
        timeout_seconds=_number(config, "timeout", float, at_least=0.001, at_most=LONGEST_TIMEOUT),
        save_models=_value(config, "save-models"),
    )


def _named(config: pytest.Config, name: str, kind: str, also: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Names of bsr's own, or import paths that can be imported here; what there is costs loading torch.

    `also` are those of the data set.
    """
    names = _listed(config, name)
    for part in names or ():
        if part not in also:
            _check_named(name, kind, part, "one or more of", ", separated by commas", also)
    return names


def _dataset(config: pytest.Config) -> str | None:
    name = _value(config, "dataset")
    if name is not None:
        _check_named("dataset", "data set", name, "one of")
    return name


def _check_named(
    option: str, kind: str, name: str, expected: str, among: str = "", also: tuple[str, ...] = ()
) -> None:
    known = (*also, *own_code.known(kind))
    if name not in known and not is_import_path(name):
        raise refuse(option, name, f"{expected} {', '.join(known)}, or {IMPORT_PATH}{among}")
    try:
        own_code.check_import(kind, name)
    except NamedError as error:
        raise pytest.UsageError(f"--bsr-{option}: {error}") from error


def _learning_rates(config: pytest.Config, tasks: tuple[str, ...]) -> tuple[tuple[str, float], ...] | None:
    text = _value(config, "learning-rates")
    try:
        return own_code.rates_by_task(text, tasks) if text is not None else None
    except ValueError as error:
        raise refuse("learning-rates", text, str(error)) from error


def _engine_names(config: pytest.Config) -> tuple[str, ...]:
    if _value(config, "engine") is None:
        return ()
    from bsr.engines import ENGINES  # noqa: PLC0415

    return (*ENGINES, "auto")


def _value(config: pytest.Config, name: str) -> str | None:
    value: str | None = config.getoption(f"bsr_{name.replace('-', '_')}")
    if value is not None and not value.strip():
        raise refuse(name, value, "a value, or the option left out")
    return value


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str | None:
    value = _value(config, name)
    if value is not None and value not in choices:
        raise refuse(name, value, f"one of {', '.join(choices)}")
    return value


def _choices(config: pytest.Config, name: str, choices: tuple[str, ...]) -> tuple[str, ...] | None:
    names = _listed(config, name)
    for part in names or ():
        if part not in choices:
            raise refuse(name, part, f"one or more of {', '.join(choices)}, separated by commas")
    return names


def _listed(config: pytest.Config, name: str) -> tuple[str, ...] | None:
    """The values between commas, each once."""
    value = _value(config, name)
    if value is None:
        return None
    parts = tuple(part.strip() for part in value.split(","))
    if repeated := next((part for part in parts if parts.count(part) > 1), None):
        raise refuse(name, f"{repeated} twice", "each value once")
    return parts


def _number(config: pytest.Config, name: str, kind: type[T], at_least: float, at_most: float) -> T | None:
    value = _value(config, name)
    if value is None:
        return None
    whole = "whole " if kind is int else ""
    expected = f"a {whole}number of at least {at_least:g} and at most {at_most:g}"
    if not re.fullmatch(NUMBERS[kind], value):
        raise refuse(name, value, expected)
    number = kind(value)
    if not at_least <= number <= at_most:
        raise refuse(name, value, expected)
    return number


def _numbers(
    config: pytest.Config, name: str, at_least: int, at_most: int, count: int
) -> tuple[int, ...] | None:
    parts = _listed(config, name)
    if parts is None:
        return None
    expected = f"whole numbers from {at_least} to {at_most}, separated by commas, at most {count}"
    if len(parts) > count or not all(re.fullmatch(NUMBERS[int], part) for part in parts):
        raise refuse(name, _value(config, name), expected)
    numbers = tuple(int(part) for part in parts)
    if len(set(numbers)) < len(numbers) or not all(at_least <= number <= at_most for number in numbers):
        raise refuse(name, _value(config, name), expected)
    return numbers
