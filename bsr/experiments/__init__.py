"""Which Runs answer which question: every experiment and every preset by name, and what they plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from bsr.experiments import controlled, original, square
from bsr.experiments.grid import EXTENDED_BATCH_SIZES, MOST_BYTES, Experiment, Grid
from bsr.run import STUDY_MODEL, Run
from bsr.text import Refused

__all__ = [
    "DEFAULT_PRESET",
    "EXPERIMENTS",
    "PRESETS",
    "Experiment",
    "Grid",
    "PlanTooLargeError",
    "Preset",
    "plan",
]

_CONTROLLED: Final = ("learning_rate", "steps", "schedule")
_TUNED: Final = (*_CONTROLLED, "decay", "warmup", "beta2", "train_images")


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "batch-size": Experiment("Does the batch size change error, time and reliability?", original.batch_size),
    "std-at-0.01": Experiment(
        "Does std fluctuate more at the untuned rate?", original.std_at_001, ("learning_rate",)
    ),
    "learning-rate": Experiment(
        "Which learning rate is best per task?", original.learning_rate, ("learning_rate",)
    ),
    "optimiser": Experiment(
        "Does Adam beat SGD, each at its best rate?", original.optimiser, ("optimiser", "learning_rate")
    ),
    "loss": Experiment("Does training on MSE beat training on MAE?", original.loss, ("loss",)),
    "longer": Experiment("Does training beyond ten epochs overfit?", original.longer, ("epochs",)),
    "tune": Experiment(
        "Which rate is best per batch size, budget and schedule?",
        controlled.tune,
        _CONTROLLED,
    ),
    "study-rate": Experiment(
        "How large is the gap after the same images at the study's rate?", controlled.study_rate, _CONTROLLED
    ),
    "equal-epochs": Experiment(
        "How large is it at the rate tuned for each batch size?", controlled.equal_epochs, _CONTROLLED
    ),
    "equal-updates": Experiment(
        "How large is it after the same number of updates?", controlled.equal_updates, _CONTROLLED
    ),
    "rate-rules": Experiment(
        "Which rule of thumb should scale the rate with the batch size?", controlled.rate_rules, _CONTROLLED
    ),
    "adam-memory": Experiment(
        "Does Adam's memory matter to few updates?", controlled.adam_memory, (*_CONTROLLED, "beta2")
    ),
    "networks": Experiment("Does the answer hold for other networks?", controlled.networks, ("steps",)),
    "why-tune": Experiment(
        "Which rate and schedule are best per batch size and budget?", square.why_tune, _TUNED
    ),
    "square": Experiment(
        "Does the batch size matter after the same number of updates, at each budget?", square.square, _TUNED
    ),
    "travelling-rate": Experiment(
        "Does the rate of a small batch serve a large one?", square.travelling_rate, _TUNED
    ),
    "usual-rate": Experiment("And at a constant rate that nobody tuned for it?", square.usual_rate, _TUNED),
    "noise-scale": Experiment("Up to which batch size does the gradient's noise outweigh it?", None),
    "label-distribution": Experiment("How are the labels distributed?", None),
    "harness": Experiment("How much faster than the textbook loop are the engines?", None),
}
"""Every experiment by name. Adding one is an entry here and a short module in benchmarks/."""


_STUDY: Final = (
    "batch-size",
    "std-at-0.01",
    "learning-rate",
    "optimiser",
    "loss",
    "longer",
    "label-distribution",
)
"""The study's own."""


_WHY: Final = ("study-rate", "equal-epochs", "equal-updates", "rate-rules", "adam-memory", "noise-scale")
_CONTROLLED_GRID: Final = Grid(
    tasks=controlled.LEARNABLE, batch_sizes=controlled.BATCH_SIZES, train_images=controlled.IMAGES
)


_SQUARE_GRID: Final = replace(_CONTROLLED_GRID, batch_sizes=square.BATCH_SIZES, runs=square.SEEDS)
_LITTLE_DATA_GRID: Final = replace(
    _SQUARE_GRID, dataset="Rotated", tasks=("angle",), parts=square.LITTLE_DATA
)
_NETWORKS_GRID: Final = replace(
    _SQUARE_GRID, batch_sizes=(16, 1024), models=("wide", "deep"), few_points=True
)


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values for the axes, and the experiments it collects."""

    summary: str
    grid: Grid
    experiments: tuple[str, ...] = ("batch-size",)


PRESETS: Final[dict[str, Preset]] = {
    "smoke": Preset(
        "seconds: the first images of each split, to see that everything works",
        Grid(batch_sizes=(32, 256), runs=1, epochs=2, train_images=1024, test_images=512, most_steps=8),
    ),
    "quick": Preset(
        "minutes: every task and batch size once, ten epochs; the labels; the training loops timed",
        Grid(runs=1, loop_images=15_000, loop_rounds=1),
        ("batch-size", "label-distribution", "harness"),
    ),
    "paper": Preset("the study's main experiment: 280 runs of 10 epochs", Grid()),
    "extended": Preset(
        "batch sizes 2 to 2048, as the authors later added", Grid(batch_sizes=EXTENDED_BATCH_SIZES)
    ),
    "study": Preset("every experiment of the study", Grid(), _STUDY),
    "why-tune": Preset(
        "rate and schedule per batch size and budget, look after look (--bsr-refine): hours",
        _SQUARE_GRID,
        ("why-tune",),
    ),
    "why": Preset(
        "every batch size after every number of updates, at the settings tuned for it: hours",
        _SQUARE_GRID,
        ("square", "travelling-rate", "usual-rate"),
    ),
    "why-data-tune": Preset(
        "rate and schedule per batch size and budget where 1,000, 10,000 or 50,000 images train",
        _LITTLE_DATA_GRID,
        ("why-tune",),
    ),
    "why-data": Preset(
        "does the batch size matter where there are few images: 1,000, 10,000, 50,000 digits, rotated",
        _LITTLE_DATA_GRID,
        ("square",),
    ),
    "why-networks-tune": Preset(
        "rate and schedule of a wider and a deeper network at 16 and 1024: an hour on two AVX-512 cores",
        _NETWORKS_GRID,
        ("why-tune",),
    ),
    "why-networks": Preset(
        "does it hold for them: equal epochs, equal updates, each at the settings tuned for it",
        _NETWORKS_GRID,
        ("square",),
    ),
    "tune": Preset(
        "the first protocol's rates per batch size: half an hour on two AVX-512 cores",
        replace(_CONTROLLED_GRID, runs=3),
        ("tune",),
    ),
    "why-first": Preset(
        "the first protocol: equal epochs and equal updates at tuned rates alone, 40 minutes on them",
        _CONTROLLED_GRID,
        _WHY,
    ),
    "why-quick": Preset(
        "the same for two batch sizes, 586 updates and three seeds, five minutes",
        replace(_CONTROLLED_GRID, batch_sizes=(16, 1024), runs=3, budgets=1),
        _WHY[:3],
    ),
    "answer": Preset(
        "what python -m bsr.answer asks for: falling rates, one number of updates, the training loops timed",
        replace(
            _CONTROLLED_GRID,
            batch_sizes=(16, 64, 256, 1024),
            runs=3,
            budgets=1,
            schedules=("linear",),
            rate_stride=2,
            first_evaluation=8,
            loop_images=2_048,
            loop_rounds=1,
        ),
        (*_WHY[:3], "harness"),
    ),
    "networks": Preset(
        "does it hold for a wider and a deeper network: equal epochs, equal updates, an hour on them",
        replace(
            _CONTROLLED_GRID, batch_sizes=(16, 64, 256, 1024), runs=3, models=(STUDY_MODEL, "wide", "deep")
        ),
        ("networks",),
    ),
}
DEFAULT_PRESET: Final = "quick"


class PlanTooLargeError(Refused):
    """A plan that no report could read; the message says expected, got, remedy."""


def plan(experiments: Iterable[str], grid: Grid) -> dict[str, dict[str, Run]]:
    """Runs by experiment and case id. Two experiments that need the same Run name the same key.

    Raises PlanTooLargeError before there are more than one recording holds.
    """
    found: dict[str, dict[str, Run]] = {}
    size = 0
    for name in experiments:
        experiment = EXPERIMENTS[name]
        found[name] = {}
        for run in experiment.planned(grid):
            size += _bytes_of(run)
            if size > MOST_BYTES:
                raise PlanTooLargeError(
                    f"expected a plan that one recording of {MOST_BYTES // 2**20} MiB holds, some "
                    f"{MOST_BYTES // _bytes_of(run):,} such runs, got more; split it"
                )
            case = experiment.case_id(run)
            if found[name].setdefault(case, run) != run:
                raise PlanTooLargeError(
                    f"experiment {name}: expected one run per case, got two called {case}; name in `varies` "
                    "the field by which they differ"
                )
    return found


def _bytes_of(run: Run) -> int:
    """Of a Run in a benchmark JSON, at most: what it is, its GPU, and what each epoch measured."""
    return 4_500 + (200 if run.steps else 150) * run.evaluations
