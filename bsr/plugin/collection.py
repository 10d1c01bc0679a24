"""From the grid to pytest's cases: which modules take part, one case per Run, its parameters plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bsr.experiments import EXPERIMENTS
from bsr.plugin.clock import CLOCK
from bsr.plugin.state import RUN, state
from bsr.run import Run


def experiment_of(item: pytest.Item) -> str | None:
    """The name in its `experiment` marker."""
    marker = item.get_closest_marker("experiment")
    return marker.args[0] if marker is not None else None


def is_unselected(config: pytest.Config, function: object) -> bool:
    """Whether a test function is of an experiment that was not chosen, or that has no Run in this grid."""
    known = state(config)
    for mark in getattr(function, "pytestmark", ()):
        if mark.name == "experiment":
            name = _known(mark.args[0])
            chosen = name in known.options.experiments
            if not chosen:
                known.unselected.add(name)
            return not chosen or (EXPERIMENTS[name].trains and not known.options.plan[name])
    return False


def _known(name: str) -> str:
    if name not in EXPERIMENTS:
        raise pytest.UsageError(
            f"marker experiment: expected one of {', '.join(EXPERIMENTS)}, got {name!r}; "
            "add it to bsr.experiments.EXPERIMENTS"
        )
    return name


def parametrise(metafunc: pytest.Metafunc) -> None:
    """One case per Run, or per task where nothing is trained."""
    name = experiment_of(metafunc.definition)
    if name is None:
        return
    state(metafunc.config).collected.add(name)
    options = state(metafunc.config).options
    if EXPERIMENTS[name].trains:
        runs = options.plan[name]
        axes = EXPERIMENTS[name].axes(runs.values())
        metafunc.fixturenames.extend(axis for axis in axes if axis not in metafunc.fixturenames)
        metafunc.parametrize(axes, [_values(run, axes) for run in runs.values()], ids=list(runs))
    elif "task" in metafunc.fixturenames:
        metafunc.parametrize("task", options.grid.tasks)


def without_cases(config: pytest.Config, items: list[pytest.Item]) -> Iterator[str]:
    """Why experiments that were asked for have no case, a line each.

    Of those that only a preset names, where a part of the modules was asked for, nothing is said.
    """
    known = state(config)
    options, grid = known.options, known.options.grid
    by_name = "bsr_experiments" in options.given
    for name in options.experiments if by_name or ("bsr_preset" in options.given and not items) else ():
        if EXPERIMENTS[name].trains and not options.plan[name]:
            tasks, sizes = (", ".join(map(str, axis)) for axis in (grid.tasks, grid.batch_sizes))
            yield (
                f"{name}: expected runs with tasks {tasks} and batch sizes {sizes}, got none; choose others "
                "with --bsr-tasks or --bsr-batch-sizes"
            )
        elif name not in known.collected:
            yield (
                f"{name}: expected a test marked pytest.mark.experiment({name!r}), got none among those "
                "read; see docs/adding.md"
            )


def without_runs(config: pytest.Config) -> Iterator[str]:
    """Values that an option names and of which no experiment that was asked for has a Run, a line each."""
    options = state(config).options
    trained = {name: runs.values() for name, runs in options.plan.items() if runs}
    runs = [run for planned in trained.values() for run in planned]
    for option, axis, field in (
        ("tasks", options.grid.tasks, "task"),
        ("batch-sizes", options.grid.batch_sizes, "batch_size"),
    ):
        there = dict.fromkeys(str(getattr(run, field)) for run in runs)
        lost = [value for value in map(str, axis) if value not in there]
        if runs and lost and f"bsr_{option.replace('-', '_')}" in options.given:
            yield (
                f"--bsr-{option}: expected runs of {', '.join(lost)}, got none, since {', '.join(trained)} "
                f"{'have' if len(trained) > 1 else 'has'} those of {', '.join(there)} alone"
            )


def _values(run: Run, axes: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(run, axis) for axis in axes)


def assign_runs(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every case its Run, and the training clock to be timed by."""
    plan = state(config).options.plan
    timed = config.pluginmanager.hasplugin("pytest-benchmark")  # without it the session is refused later
    axes = {name: EXPERIMENTS[name].axes(runs.values()) for name, runs in plan.items()}
    runs = {name: {_values(run, axes[name]): run for run in plan[name].values()} for name in plan}
    for item in items:
        name = experiment_of(item)
        if name is None:
            continue
        if EXPERIMENTS[name].trains:
            parameters = item.callspec.params  # type: ignore[attr-defined]
            item.stash[RUN] = runs[name][tuple(parameters[axis] for axis in axes[name])]
        if timed:
            item.add_marker(pytest.mark.benchmark(timer=CLOCK))


def planned(items: list[pytest.Item]) -> tuple[tuple[Run, ...], dict[str, dict[str, str]]]:
    """Distinct Runs in the order of their cases, and for each key the pytest id by experiment."""
    runs: dict[str, Run] = {}
    cases: dict[str, dict[str, str]] = {}
    for item in items:
        if RUN in item.stash:
            run = item.stash[RUN]
            runs.setdefault(run.key, run)
            cases.setdefault(run.key, {})[experiment_of(item) or ""] = case_id(item)
    return tuple(runs.values()), cases


def among_cases(config: pytest.Config, node_ids: list[str]) -> bool:
    """Whether any of these is a case that trains, told by the part in brackets."""
    cases = {case for runs in state(config).options.plan.values() for case in runs}
    return any(node_id.partition("[")[2].removesuffix("]") in cases for node_id in node_ids)


def case_id(item: pytest.Item) -> str:
    """The part of the pytest id in brackets: `mean-bs16-seed16`."""
    found: str = item.callspec.id  # type: ignore[attr-defined]
    return found
