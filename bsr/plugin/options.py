"""The command line: what can be asked for, and one line for what cannot."""

from __future__ import annotations

import math
import os
import shlex
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from bsr.experiments import DEFAULT_PRESET, EXPERIMENTS, PRESETS, REFINED, Grid, plan
from bsr.refinement import RefinementError, best_rates
from bsr.run import Execution, Run

T = TypeVar("T", int, float)
DEVICES: Final = "auto, cpu, cuda, cuda:N, mps"
PRECISIONS: Final = ("float32", "tf32", "bfloat16")
MOST_THREADS: Final = 1024
"""And workers: more than any machine has, few enough not to bring one down by a slip of the finger."""
LARGEST_SEED: Final = 2**63 - 1
HOST_DEFAULTS: Final = {"columns": ["mean"], "sort": "name", "time_unit": "s"}
"""What of pytest-benchmark's table means something with one round."""


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
    parser.extra_info["to record a study"] = "pytest benchmarks --benchmark-json=reports/runs/mine.json"
    group = parser.getgroup("bsr", "batch-size study (bsr)")

    def option(name: str, metavar: str, text: str) -> None:
        group.addoption(f"--bsr-{name}", metavar=metavar, default=None, help=text)

    presets = "; ".join(f"{name}: {preset.summary}" for name, preset in PRESETS.items())
    option("preset", "NAME", f"which part of the study ({presets}). Default: {DEFAULT_PRESET}")
    option("experiments", "A,B", f"which experiments, of: {', '.join(EXPERIMENTS)}. Default: the preset's")
    option("tasks", "A,B", "which tasks, of bsr.TASKS: mean, std, var, median")
    option("batch-sizes", "N,N", "which batch sizes")
    option("runs", "N", "seeds per cell by the study's rule: batch size + run index")
    option("seeds", "N,N", "the same seeds for every batch size, for paired comparisons")
    option("epochs", "N", "epochs per run")
    option("dataset", "NAME", "a data set of bsr.data.MD5: MNIST, FashionMNIST, KMNIST")
    option("data", "DIR", "folder that holds NAME/raw/ (default: bundled MNIST, from the cache folder)")
    option("device", "NAME", f"one of {DEVICES}. Default: auto")
    option("threads", "N", "CPU threads per run. Default: PyTorch's choice")
    option("precision", "NAME", f"one of {', '.join(PRECISIONS)}")
    option("engine", "NAME", "how to train: eager (reference, default), or a faster one, or auto")
    option(
        "workers",
        "N",
        "local processes, one thread each; 0: this one. Default: 0, with --bsr-engine native one per core",
    )
    option("dask", "ADDRESS", "train on the Dask cluster of that scheduler; local: start one on this machine")
    option("timeout", "SECONDS", "stop a run that takes longer; its status is timed_out")
    option(
        "refine",
        "RUN.json",
        "with the learning-rate experiment: look again round the best rates in that file",
    )
    option("save-models", "DIR", "keep each run's weights there (safetensors), named by key")
    group.addoption("--bsr-resume", action="store_true", help="go on from an unfinished journal")
    group.addoption(
        "--bsr-resume-elsewhere",
        action="store_true",
        help="with --bsr-resume: also on another device, driver or torch, recorded per result",
    )
    group.addoption("--bsr-strict", action="store_true", help="a diverged or dead run is a failed test")
    group.addoption("--bsr-deterministic", action="store_true", help="only deterministic cuDNN kernels")


def read(config: pytest.Config) -> Options:
    """The options of this session. Raises pytest.UsageError, one line, for the first that is wrong."""
    preset_name = _choice(config, "preset", tuple(PRESETS)) or DEFAULT_PRESET
    preset = PRESETS[preset_name]
    grid = _grid(config, preset.grid)
    usual = (REFINED,) if grid.refine_around else preset.experiments
    experiments = _choices(config, "experiments", tuple(EXPERIMENTS)) or usual
    _combinations(config, experiments)
    return Options(
        preset=preset_name,
        experiments=experiments,
        grid=grid,
        execution=_execution(config),
        json=getattr(config.option, "benchmark_json", None),
        dask=_value(config, "dask"),
        workers=_number(config, "workers", int, at_least=0, at_most=MOST_THREADS),
        resume=config.getoption("bsr_resume"),
        elsewhere=config.getoption("bsr_resume_elsewhere"),
        strict=config.getoption("bsr_strict"),
        given={
            name: value for name, value in vars(config.option).items() if name.startswith("bsr_") and value
        },
        plan=plan(experiments, grid),
    )


def _combinations(config: pytest.Config, experiments: tuple[str, ...]) -> None:
    """Options that mean nothing together."""
    if config.getoption("bsr_resume_elsewhere") and not config.getoption("bsr_resume"):
        raise refuse("resume-elsewhere", "it alone", "--bsr-resume beside it")
    if _value(config, "refine") and REFINED not in experiments:
        raise refuse("refine", _value(config, "refine"), f"the experiment {REFINED} beside it")
    if _value(config, "runs") and _value(config, "seeds"):
        raise refuse("seeds", _value(config, "seeds"), "one of --bsr-runs and --bsr-seeds, not both")
    if _value(config, "dask") and _value(config, "workers"):
        raise refuse("workers", _value(config, "workers"), "one of --bsr-dask and --bsr-workers, not both")
    if _value(config, "dask") and _value(config, "engine") == "auto":
        raise refuse("engine", "auto", "an engine by name with --bsr-dask, since the machines are others")


def reduce_table(config: pytest.Config) -> None:
    """Give pytest-benchmark's table other defaults, where the user did not choose."""
    said = [
        *(str(argument) for argument in config.invocation_params.args),
        *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")),
        *config.getini("addopts"),
    ]
    for name, value in HOST_DEFAULTS.items():
        option = f"--benchmark-{name.replace('_', '-')}"
        if not any(argument.split("=")[0] == option for argument in said):
            setattr(config.option, f"benchmark_{name}", value)


def let_the_host_warn(config: pytest.Config) -> None:
    """A warning of pytest-benchmark's must not end a study, as filterwarnings = error would have it."""
    with suppress(ImportError):
        from pytest_benchmark.logger import PytestBenchmarkWarning  # noqa: PLC0415 - may be switched off

        warnings.filterwarnings("default", category=PytestBenchmarkWarning)  # until the end of configuration
        name = f"{PytestBenchmarkWarning.__module__}.{PytestBenchmarkWarning.__name__}"
        config.addinivalue_line("filterwarnings", f"default::{name}")  # and from then on


def refuse(option: str, got: object, expected: str) -> pytest.UsageError:
    """The one line for a bad value."""
    return pytest.UsageError(f"--bsr-{option}: expected {expected}, got {got!r}")


def _grid(config: pytest.Config, grid: Grid) -> Grid:
    said: dict[str, Any] = {
        "tasks": _choices(config, "tasks", _task_names(config)),
        "batch_sizes": _numbers(config, "batch-sizes", at_least=1, at_most=grid.train_images),
        "runs": _number(config, "runs", int, at_least=1),
        "seeds": _numbers(config, "seeds", at_least=0, at_most=LARGEST_SEED),
        "epochs": _number(config, "epochs", int, at_least=1),
        "dataset": _choice(config, "dataset", _dataset_names(config)),
        "precision": _choice(config, "precision", PRECISIONS),
    }
    refined = _value(config, "refine")
    if refined is not None:
        try:
            said["refine_around"] = best_rates(Path(refined))
        except RefinementError as error:
            raise pytest.UsageError(f"--bsr-refine: {error}") from error
    return replace(grid, **{name: value for name, value in said.items() if value is not None})


def _execution(config: pytest.Config) -> Execution:
    device = _value(config, "device") or "auto"
    kind, _, index = device.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (
        ":" in device and (kind != "cuda" or not index.isdigit())
    ):
        raise refuse("device", device, f"one of {DEVICES}")
    return Execution(
        engine=_choice(config, "engine", _engine_names(config)) or "eager",
        device=device,
        threads=_number(config, "threads", int, at_least=1, at_most=MOST_THREADS),
        deterministic=config.getoption("bsr_deterministic"),
        data=_value(config, "data"),
        timeout_seconds=_number(config, "timeout", float, at_least=0.001),
        save_models=_value(config, "save-models"),
    )


def _task_names(config: pytest.Config) -> tuple[str, ...]:
    """Of the tasks there are; asked only when tasks were named, since it loads torch."""
    if _value(config, "tasks") is None:
        return ()
    from bsr.tasks import TASKS  # noqa: PLC0415

    return tuple(TASKS)


def _dataset_names(config: pytest.Config) -> tuple[str, ...]:
    if _value(config, "dataset") is None:
        return ()
    from bsr.data import MD5  # noqa: PLC0415

    return tuple(MD5)


def _engine_names(config: pytest.Config) -> tuple[str, ...]:
    if _value(config, "engine") is None:
        return ()
    from bsr.engines import ENGINES  # noqa: PLC0415

    return (*ENGINES, "auto")


def _value(config: pytest.Config, name: str) -> str | None:
    value: str | None = config.getoption(f"bsr_{name.replace('-', '_')}")
    return value


def _choice(config: pytest.Config, name: str, choices: tuple[str, ...]) -> str | None:
    value = _value(config, name)
    if value is not None and value not in choices:
        raise refuse(name, value, f"one of {', '.join(choices)}")
    return value


def _choices(config: pytest.Config, name: str, choices: tuple[str, ...]) -> tuple[str, ...] | None:
    value = _value(config, name)
    if value is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    for part in names:
        if part not in choices:
            raise refuse(name, part, f"one or more of {', '.join(choices)}, separated by commas")
    return names


def _number(
    config: pytest.Config, name: str, kind: type[T], at_least: float, at_most: float = math.inf
) -> T | None:
    value = _value(config, name)
    if value is None:
        return None
    expected = f"a {'whole ' if kind is int else ''}number of at least {at_least:g}"
    if at_most < math.inf:
        expected += f" and at most {at_most:g}"
    try:
        number = kind(value)
    except ValueError:
        raise refuse(name, value, expected) from None
    if not (at_least <= number <= at_most and number < math.inf):
        raise refuse(name, value, expected)
    return number


def _numbers(config: pytest.Config, name: str, at_least: int, at_most: int) -> tuple[int, ...] | None:
    value = _value(config, name)
    if value is None:
        return None
    expected = f"whole numbers from {at_least} to {at_most}, separated by commas"
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError:
        raise refuse(name, value, expected) from None
    if not all(at_least <= number <= at_most for number in numbers):
        raise refuse(name, value, expected)
    return numbers
