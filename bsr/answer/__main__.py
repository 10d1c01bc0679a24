"""`python -m bsr.answer`: which batch size reaches an error soonest on this machine, in so many minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from bsr.answer import sessions
from bsr.experiments.fitting import Costs, FittedPlan, PlanError, fitted, grid_of
from bsr.experiments.tried_rates import beyond_edge
from bsr.records.durable import replace_file
from bsr.records.reading import Recording, RefusedError

MINUTES: Final = 30.0
PROBE_IMAGES: Final = 2_048
"""On which each batch size is trained to see what it costs."""
NAMES: Final = ("dataset", "tasks", "models", "batch_sizes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked for, as it was spelt."""

    dataset: str | None = None
    tasks: str | None = None
    models: str | None = None
    batch_sizes: str | None = None
    minutes: float = MINUTES

    def options(self, *, sizes: bool = True) -> list[str]:
        """As pytest is told."""
        said = {name: getattr(self, name) for name in NAMES if sizes or name != "batch_sizes"}
        return [f"--bsr-{name.replace('_', '-')}={value}" for name, value in said.items() if value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The plan as it lies beside its recordings, so that the same command goes on with the same one."""

    asked: Question
    plan: FittedPlan


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer; 0, or 1 where something was refused or ended before its time."""
    options = vars(_parser().parse_args(arguments))
    folder: Path = options.pop("output")
    try:
        sessions.checkout()
        _answer(Question(**options), folder)
    except (PlanError, RefusedError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bsr.answer",
        description="Which batch size reaches an error soonest: tunes, trains and draws the page, in so many "
        "minutes. The same command goes on where it was ended.",
    )
    parser.add_argument("--dataset", metavar="NAME", help="a data set, or package.module:function (MNIST)")
    parser.add_argument("--tasks", metavar="A,B", help="default: the data set's targets, else mean,std,var")
    parser.add_argument("--models", metavar="NAME", help="a network, or package.module:class (study)")
    parser.add_argument("--batch-sizes", metavar="N,N", help="default: 16,64,256,1024")
    parser.add_argument("--minutes", type=_minutes, default=MINUTES, metavar="N", help="default: 30")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("answer"),
        metavar="DIR",
        help="plan, recordings and page (answer)",
    )
    return parser


def _minutes(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"expected minutes from 1 to 100000, got {text[:20]!r}")
    return number


def _answer(asked: Question, folder: Path) -> None:
    if "," in (asked.models or ""):
        apart = "ask about each apart, with an --output of its own"
        raise PlanError(f"--models: expected one network, got {asked.models}; {apart}")
    folder.mkdir(parents=True, exist_ok=True)
    plan = _plan(asked, folder)
    options = _planned_options(asked, plan)
    tune, edges, answer = (folder / f"{name}.json" for name in ("tune", "edges", "answer"))
    found = [tune]
    tuning = _recorded(tune, plan, [*options, "--bsr-experiments=tune", f"--bsr-runs={plan.tuning_seeds}"])
    if any(beyond_edge(tuning.results)):
        beyond = ["--bsr-experiments=tune", f"--bsr-runs={plan.tuning_seeds}", f"--bsr-refine={tune}"]
        _recorded(edges, plan, [*options, *beyond])
        found.append(edges)
    rates = ",".join(map(str, found))
    _recorded(answer, plan, [*options, f"--bsr-runs={plan.seeds}", f"--bsr-rates={rates}"])
    sessions.report([*found, answer], folder / "page")


def _plan(asked: Question, folder: Path) -> FittedPlan:
    """The one that lies there, else a new one from what trainings cost here."""
    path = folder / "plan.json"
    if path.exists():
        kept = _kept(path)
        if kept.asked != asked:
            raise PlanError(
                f"{path}: expected the plan of this command, got one for {_spelt(kept.asked)}; give that, or "
                "another --output"
            )
        _say("goes on with", kept.plan)
        return kept.plan
    print("bsr.answer: what a training costs here", flush=True)
    trained = sessions.session(
        folder / "costs.json",
        [*asked.options(), "--bsr-experiments=networks", f"--bsr-run-images={PROBE_IMAGES}", "--bsr-runs=3"],
    )
    costs, grid = Costs.measured(trained.results), grid_of(trained.results)
    if len(grid.batch_sizes) < 2:
        raise PlanError(
            f"--batch-sizes: expected two or more to compare, got {grid.batch_sizes[0]}; name others"
        )
    plan = fitted(grid, costs, asked.minutes)
    replace_file(path, msgspec.json.format(msgspec.json.encode(Kept(asked=asked, plan=plan)), indent=1))
    for line in _costs_told(costs, trained, grid.train_images):
        print(f"bsr.answer: {line}")
    _say("plans", plan)
    return plan


def _kept(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (msgspec.DecodeError, OSError) as error:
        raise PlanError(f"{path}: expected the plan of an answer, got {error}; remove it") from error


def _planned_options(asked: Question, plan: FittedPlan) -> list[str]:
    sizes = ",".join(map(str, plan.batch_sizes))
    return [
        *asked.options(sizes=False),
        f"--bsr-batch-sizes={sizes}",
        f"--bsr-run-images={plan.run_images}",
        f"--bsr-test-images={plan.test_images}",
    ]


def _recorded(path: Path, plan: FittedPlan, options: Sequence[str]) -> Recording:
    """A session of the plan, and what it took of what was planned for it."""
    print(f"bsr.answer: {path.stem}, planned for {_minutes_text(plan.seconds[path.stem])}", flush=True)
    recording = sessions.session(path, options)
    at_once = 1 + max((result.beside for result in recording.results), default=0)
    took = sum(result.wall_seconds for result in recording.results) / at_once
    print(f"bsr.answer: the runs of {path.stem} took {_minutes_text(took)}", flush=True)
    return recording


def _costs_told(costs: Costs, trained: Recording, images: int) -> Iterator[str]:
    engine = next((result.engine for result in trained.results), "")
    each = ", ".join(f"{1e3 * seconds:.3g} ms at {size}" for size, seconds in costs.update.items())
    yield f"an update takes {each} ({engine}, {costs.workers} at once); {images:,} images train"


def _say(does: str, plan: FittedPlan) -> None:
    largest, sizes = plan.batch_sizes[-1], ", ".join(map(str, plan.batch_sizes))
    print(
        f"bsr.answer {does}: batch sizes {sizes}; {plan.run_images:,} images a run, "
        f"which are {plan.run_images // largest:,} updates at {largest}; three rates, "
        f"{plan.tuning_seeds} seed{'s' * (plan.tuning_seeds > 1)} to tune and {plan.seeds} to report"
    )
    for name, seconds in plan.seconds.items():
        print(f"  {name:<7} {_minutes_text(seconds)}{', at most' * (name == 'edges')}")
    print(f"  {'in all':<7} {_minutes_text(plan.total)}, and what it takes to start and to draw")
    for line in plan.left_out:
        print(f"  left out: {line}")
    sys.stdout.flush()


def _minutes_text(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def _spelt(asked: Question) -> str:
    said = {name: value for name, value in asdict(asked).items() if value is not None}
    said["minutes"] = f"{asked.minutes:g}"
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in said.items())


if __name__ == "__main__":
    sys.exit(main())
