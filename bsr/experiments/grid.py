"""The axes from which experiments take their Runs, and what an experiment is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from bsr.experiments.rates import Arm, Schedule, TunedRate, tuned_rate
from bsr.experiments.settings import Problem, TunedSetting
from bsr.experiments.tuning import Tried
from bsr.run import FIRST_EVALUATION, MOST_STEPS, STUDY_MODEL, Run

STUDY_TASKS: Final = ("mean", "std", "var", "median")
"""The study's four statistics; the median, degenerate on MNIST, comes last."""
BATCH_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
EXTENDED_BATCH_SIZES: Final = (2, 4, 8, *BATCH_SIZES, 2048)
LOOP_SIZES: Final = (16, 64, 256, 1024)
"""Batch sizes of the harness's loops."""
MOST_TASKS: Final = 24
MOST_BATCH_SIZES: Final = 48
MOST_BYTES: Final = 128 * 2**20
"""Of one recording, uncompressed: twenty times the whole study. A report reads no more, so no session plans
more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The axes from which experiments take their Runs; a preset names values, options replace them."""

    tasks: tuple[str, ...] = STUDY_TASKS
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    runs: int = 10
    """Seeds per cell by the study's rule: batch size + run index."""
    seeds: tuple[int, ...] | None = None
    """The same seeds for every batch size, for paired comparisons; replaces `runs`."""
    epochs: int = 10
    dataset: str = "MNIST"
    train_images: int = 60_000
    test_images: int = 10_000
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    part_images: int = 60_000
    """In the data set's training part."""
    validation_images: int = 0
    """Of a validation part of its own, as many as are evaluated on; 0 where it has none."""
    evaluate_on: Literal["test", "validation"] = "test"
    """On which images rates are compared."""
    loop_images: int = 60_000
    """Of an epoch of the harness's own loops, at most."""
    loop_sizes: tuple[int, ...] = LOOP_SIZES
    """Their batch sizes."""
    loop_rounds: int = 5
    """How often the harness times each of its loops."""
    loop_compiled: bool = False
    """Whether it times torch.compile too, which takes some 20 s per network and batch size to compile."""
    most_steps: int = MOST_STEPS
    """Of a Run whose steps decide how long it trains; a smoke session cuts them short."""
    refine_around: tuple[tuple[str, float], ...] = ()
    """(task, best rate of a finished log grid); non-empty collects only the second look."""
    budgets: int = 2
    """At how many numbers of updates the controlled experiments compare batch sizes."""
    run_images: int | None = None
    """On so many images their Runs of equal epochs train; None: on ten epochs' worth."""
    schedules: tuple[Schedule, ...] = ("constant", "linear")
    """Of their learning rates."""
    rate_stride: int = 1
    """Of the five rates that a tuning would try, every so-many-th is: 2 leaves three."""
    first_evaluation: int = FIRST_EVALUATION
    """Updates before it, where those of the controlled experiments decide."""
    rates: tuple[TunedRate, ...] | None = None
    """Tuned per batch size, for the controlled experiments; None: those that come with the package."""
    beyond: tuple[tuple[Arm, float], ...] = ()
    """What was tuned, and a rate beyond the edge of its tuning; non-empty collects only these."""
    parts: tuple[tuple[int, int], ...] = ()
    """(training images, updates at most) of each part that is trained on alone; empty: all there are."""
    few_points: bool = False
    """Whether each problem is tuned by as few points as long trainings are, and reported by `runs` seeds."""
    tried: tuple[tuple[Problem, Tried], ...] = ()
    """What the tuning of each problem has tried; it goes on from there, and `settings` may rest on it."""
    settings: tuple[TunedSetting, ...] | None = None
    """Tuned per problem; None: those that come with the package."""
    models: tuple[str, ...] = (STUDY_MODEL,)
    """The networks with which every Run of an experiment is trained."""
    learning_rates: tuple[tuple[str, float], ...] = ()
    """(task, rate) of a user's own tuning, instead of the study's."""

    def seeds_at(self, batch_size: int) -> tuple[int, ...]:
        """The seeds of one cell."""
        return self.seeds or tuple(batch_size + index for index in range(self.runs))

    @property
    def example(self) -> Run:
        """A Run of this grid, where one is asked before any is planned."""
        return replace(next(self.cell(self.tasks[0], self.batch_sizes[0])), model=self.models[0])

    @property
    def held_out(self) -> int:
        """Validation images: of a part of their own, else the last of the training part, at most a sixth."""
        return self.validation_images or max(1, min(self.test_images, self.part_images // 6))

    @property
    def beside_validation(self) -> int:
        """Training images where no validation image may be among them."""
        most = self.part_images if self.validation_images else max(1, self.part_images - self.held_out)
        return min(self.train_images, most)

    def validated(self, run: Run) -> Run:
        """The Run as it is evaluated on validation images: those of the data set, or the last to train on."""
        return replace(
            run,
            evaluate_on="validation",
            train_images=min(run.train_images, self.beside_validation),
            test_images=self.held_out,
        )

    def rate(self, task: str, batch_size: int) -> float:
        """The learning rate of a Run whose experiment does not vary it."""
        return dict(self.learning_rates).get(task) or tuned_rate(task, batch_size, self.epochs, self.dataset)

    def cell(self, task: str, batch_size: int) -> Iterator[Run]:
        """One Run per seed at the task's tuned learning rate, Adam, MSE."""
        for seed in self.seeds_at(batch_size):
            yield Run(
                task=task,
                batch_size=batch_size,
                seed=seed,
                learning_rate=self.rate(task, batch_size),
                epochs=self.epochs,
                dataset=self.dataset,
                train_images=self.train_images,
                test_images=self.test_images,
                precision=self.precision,
            )


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named product of axes that yields Runs, and the fields of Run (`varies`) that its case ids show."""

    question: str
    runs: Callable[[Grid], Iterator[Run]] | None
    """None where nothing is trained."""
    varies: tuple[str, ...] = ()

    @property
    def tries_rates(self) -> bool:
        """Whether it has learning rates of its own, so that none is looked up for it."""
        return "learning_rate" in self.varies

    @property
    def takes_a_rate(self) -> bool:
        """Whether a rate per task means something to it: for its Runs, or to begin with."""
        return not self.tries_rates or "steps" in self.varies

    @property
    def trains(self) -> bool:
        """Whether its cases are Runs."""
        return self.runs is not None

    def planned(self, grid: Grid) -> Iterator[Run]:
        """Its Runs over a grid, with every network of it."""
        for model in grid.models if self.runs is not None else ():
            for run in self.runs(replace(grid, models=(model,))) if self.runs is not None else ():
                yield run if run.model == model else replace(run, model=model)

    def axes(self, runs: Iterable[Run]) -> tuple[str, ...]:
        """The fields by which its cases are told apart; the network where one is not the study's."""
        networks = ("model",) if any(run.model != STUDY_MODEL for run in runs) else ()
        return ("task", "batch_size", "seed", *networks, *self.varies)

    def case_id(self, run: Run) -> str:
        """The pytest id of a Run in this experiment: `mean-bs32-seed32-sgd-lr1e-05`."""
        return "-".join([run.label, *self.setting(run)])

    def setting(self, run: Run) -> tuple[str, ...]:
        """What this experiment varies, of one Run: `lr1e-05`, `586steps`."""
        given = ((name, getattr(run, name)) for name in self.varies)
        return tuple(_ID_PARTS.get(name, "{}").format(value) for name, value in given if value is not None)


_ID_PARTS: Final = {
    "learning_rate": "lr{:g}",
    "epochs": "{}epochs",
    "steps": "{}steps",
    "beta2": "beta2-{:g}",
    "decay": "decay{:g}",
    "warmup": "warmup{:g}",
    "train_images": "{}images",
}
