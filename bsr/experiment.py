"""The vocabulary of bsr: what is trained (Run), what came out (Result), and which Runs answer a question.

Plain values only. Nothing here imports torch, so that a report is drawn on a machine without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Final, Literal

SCHEMA: Final = 1
"""Version of every record that holds a Run or a Result; raised when a field changes its meaning."""

Status = Literal[
    "ok",  # trained to the last epoch
    "diverged",  # a training loss was not finite
    "dead",  # the predictions are constant where the labels are not
    "failed",  # an exception, or an assertion after the measurement
    "out_of_memory",
    "timed_out",
    "interrupted",
    "not_run",  # planned; the session ended before its turn
]
FINISHED: Final[frozenset[Status]] = frozenset({"ok", "diverged", "dead"})
"""Statuses that are results of the training itself; a resumed session retries all others."""

STUDY_TASKS: Final = ("mean", "std", "var", "median")
"""The study's four statistics; the median, degenerate on MNIST, comes last."""
TUNED_LEARNING_RATE: Final = {"mean": 0.0015, "median": 0.1, "std": 0.001, "var": 0.0015}
"""The study's learning rate per task, tuned once at batch size 32 (Lamon et al. 2021, table 1)."""
DEFAULT_LEARNING_RATE: Final = 0.001
"""Adam's default in PyTorch: the rate of a task that nobody tuned yet."""
BATCH_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
EXTENDED_BATCH_SIZES: Final = (2, 4, 8, *BATCH_SIZES, 2048)
TUNING_BATCH_SIZE: Final = 32
LOG_GRID: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The learning rates that the study tried first."""
REFINEMENT: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
"""Its second look, as multiples of the best rate of the first."""
REFINED_AROUND: Final = {"mean": 0.001, "std": 0.001, "var": 0.001, "median": 0.1}
"""The rates around which it looked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training, fully specified: the same Run gives the same result wherever it is computed.

    Images are raw pixels 0..255; `train_images` and `test_images` count from the start of each split.
    """

    task: str
    batch_size: int
    seed: int
    learning_rate: float
    epochs: int = 10
    dataset: str = "MNIST"
    train_images: int = 60_000
    test_images: int = 10_000
    optimiser: Literal["adam", "sgd"] = "adam"
    loss: Literal["mse", "mae"] = "mse"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"

    @property
    def key(self) -> str:
        """16 hexadecimal digits: a digest of every field, the Run's identity in every record."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The Run's name for people: `mean-bs16-seed16`."""
        return f"{self.task}-bs{self.batch_size}-seed{self.seed}"

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch; the last, smaller batch counts."""
        return -(-self.train_images // self.batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How and where Runs are computed. Nothing here changes what is trained.

    `timeout_seconds` bounds one Run's wall time; `threads` is PyTorch's, None its own choice.
    """

    engine: str = "eager"
    device: str = "cpu"
    threads: int | None = None
    deterministic: bool = False
    data: str | None = None
    timeout_seconds: float | None = None
    save_models: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one Run. Sequences over epochs stop where the training stopped.

    A number that was not finite is None, and `status` says why.
    """

    run: Run
    status: Status
    message: str = ""
    engine: str = ""
    device: str = ""
    threads: int = 0
    environment: str = ""
    """Identity of the fingerprint of the machine that trained it (see bsr.machine)."""
    beside: int = 0
    """How many other Runs the session let train on this machine at the same time."""
    cohort: int = 1
    """Runs trained at once on one device; above 1, training seconds are the cohort's, shared out."""
    cohort_seconds: float | None = None
    test_mse: tuple[float | None, ...] = ()
    """[epochs + 1], the first before training; squared label units, accumulated in float64."""
    test_mae: tuple[float | None, ...] = ()
    """[epochs + 1], label units."""
    training_loss: tuple[float | None, ...] = ()
    """[epochs], the mean over the epoch's images of the loss that was trained on."""
    training_seconds: tuple[float, ...] = ()
    """[epochs], the devices synchronised before and after; no loading, evaluation or compilation."""
    evaluation_seconds: tuple[float, ...] = ()
    """[epochs + 1]."""
    setup_seconds: float = 0.0
    warmup_seconds: float = 0.0
    """Compilation, capture and warm-up steps; 0 where an engine has none."""
    wall_seconds: float = 0.0
    """Of the whole Run, set-up to last evaluation."""
    steps: int = 0
    diverged_at_step: int | None = None
    """The first step (from 1) whose loss was not finite."""
    baseline_mse: float | None = None
    """MSE of the best constant predictor: the population variance of the test labels."""
    prediction_spread: float | None = None
    """Standard deviation of the last predictions on the test set, label units."""
    order_digest: str = ""
    """SHA-256 over the order of every training batch, 16 hexadecimal digits."""
    peak_memory_bytes: int | None = None
    finished_at: str = ""
    """UTC, ISO 8601."""

    @property
    def final_mse(self) -> float | None:
        """Test MSE after the last epoch; None where the training did not get there."""
        return self.test_mse[-1] if len(self.test_mse) == self.run.epochs + 1 else None

    @property
    def degenerate(self) -> bool:
        """Whether the test labels do not vary, so that there is nothing to learn."""
        return self.baseline_mse == 0

    @property
    def normalised_mse(self) -> float | None:
        """Final MSE over the best constant predictor's (1 - R squared); None on degenerate labels."""
        if self.final_mse is None or not self.baseline_mse:
            return None
        return self.final_mse / self.baseline_mse

    @property
    def total_training_seconds(self) -> float:
        """Seconds over all epochs trained."""
        return sum(self.training_seconds)

    @property
    def images_per_second(self) -> float | None:
        """Training images per second of training time."""
        if not self.total_training_seconds:
            return None
        return self.run.train_images * len(self.training_seconds) / self.total_training_seconds

    @property
    def timing(self) -> str:
        """Under which circumstances it was timed; times of different modes never share a series."""
        if self.cohort > 1:
            return f"amortised over {self.cohort}"
        return f"beside {self.beside}" if self.beside else "alone"


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
    refine_around: tuple[tuple[str, float], ...] = ()
    """(task, best rate of a finished log grid); non-empty collects only the second look."""

    def seeds_at(self, batch_size: int) -> tuple[int, ...]:
        """The seeds of one cell."""
        return self.seeds or tuple(batch_size + index for index in range(self.runs))

    def cell(self, task: str, batch_size: int) -> Iterator[Run]:
        """One Run per seed at the task's tuned learning rate, Adam, MSE."""
        for seed in self.seeds_at(batch_size):
            yield Run(
                task=task,
                batch_size=batch_size,
                seed=seed,
                learning_rate=TUNED_LEARNING_RATE.get(task, DEFAULT_LEARNING_RATE),
                epochs=self.epochs,
                dataset=self.dataset,
                train_images=self.train_images,
                test_images=self.test_images,
                precision=self.precision,
            )


def batch_size(grid: Grid) -> Iterator[Run]:
    """Every task at every batch size: convergence, time, sensitivity and spread."""
    for task in grid.tasks:
        for size in grid.batch_sizes:
            yield from grid.cell(task, size)


def std_at_001(grid: Grid) -> Iterator[Run]:
    """The std task at rate 0.01, the one behind the study's "difference of 1300"."""
    if "std" in grid.tasks:
        for size in grid.batch_sizes:
            for run in grid.cell("std", size):
                yield replace(run, learning_rate=0.01)


def learning_rate(grid: Grid) -> Iterator[Run]:
    """Per task at batch size 32: the log grid and the study's second look, or a second look of one's own."""
    around = dict(grid.refine_around)
    for task in grid.tasks:
        if around:
            rates: Iterable[float] = (
                [around[task] * factor for factor in REFINEMENT] if task in around else ()
            )
        else:
            centre = REFINED_AROUND.get(task, DEFAULT_LEARNING_RATE)
            rates = (*LOG_GRID, *(centre * factor for factor in REFINEMENT))
        for rate in sorted({float(f"{rate:.6g}") for rate in rates}):
            for run in grid.cell(task, TUNING_BATCH_SIZE):
                yield replace(run, learning_rate=rate)


def optimiser(grid: Grid) -> Iterator[Run]:
    """Adam and SGD without momentum on the mean task, over the log grid at batch size 32."""
    optimisers: tuple[Literal["adam", "sgd"], ...] = ("adam", "sgd")
    if "mean" in grid.tasks:
        for name in optimisers:
            for rate in LOG_GRID:
                for run in grid.cell("mean", TUNING_BATCH_SIZE):
                    yield replace(run, optimiser=name, learning_rate=rate)


def loss(grid: Grid) -> Iterator[Run]:
    """Training on MSE and on MAE at batch size 32; both are evaluated on both measures."""
    losses: tuple[Literal["mse", "mae"], ...] = ("mse", "mae")
    for task in ("mean", "std", "var"):
        if task in grid.tasks:
            for name in losses:
                for run in grid.cell(task, TUNING_BATCH_SIZE):
                    yield replace(run, loss=name)


def longer(grid: Grid) -> Iterator[Run]:
    """Three times the epochs for the non-degenerate tasks at a small, a middle and a large batch."""
    for task in ("mean", "std", "var"):
        if task in grid.tasks:
            for size in (16, 128, 1024):
                if size in grid.batch_sizes:
                    for run in grid.cell(task, size):
                        yield replace(run, epochs=3 * grid.epochs)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named product of axes that yields Runs, and the fields of Run (`varies`) that its case ids show."""

    question: str
    runs: Callable[[Grid], Iterator[Run]] | None
    """None where nothing is trained."""
    varies: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether its cases are Runs."""
        return self.runs is not None

    def case_id(self, run: Run) -> str:
        """The pytest id of a Run in this experiment: `mean-bs32-seed32-sgd-lr1e-05`."""
        varied = (_ID_PARTS.get(name, "{}").format(getattr(run, name)) for name in self.varies)
        return "-".join([run.label, *varied])


_ID_PARTS: Final = {"learning_rate": "lr{:g}", "epochs": "{}epochs"}


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "batch-size": Experiment("Does the batch size change error, time and reliability?", batch_size),
    "std-at-0.01": Experiment("Does std fluctuate more at the untuned rate?", std_at_001, ("learning_rate",)),
    "learning-rate": Experiment("Which learning rate is best per task?", learning_rate, ("learning_rate",)),
    "optimiser": Experiment(
        "Does Adam beat SGD, each at its best rate?", optimiser, ("optimiser", "learning_rate")
    ),
    "loss": Experiment("Does training on MSE beat training on MAE?", loss, ("loss",)),
    "longer": Experiment("Does training beyond ten epochs overfit?", longer, ("epochs",)),
    "label-distribution": Experiment("How are the labels distributed?", None),
    "harness": Experiment("How much faster than the textbook loop are the engines?", None),
}
"""Every experiment by name. Adding one is an entry here and a short module in benchmarks/."""


_STUDY: Final = tuple(name for name in EXPERIMENTS if name != "harness")


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values for the axes, and the experiments it collects."""

    summary: str
    grid: Grid
    experiments: tuple[str, ...] = ("batch-size",)


PRESETS: Final[dict[str, Preset]] = {
    "smoke": Preset(
        "seconds: the first images of each split, to see that everything works",
        Grid(batch_sizes=(32, 256), runs=1, epochs=2, train_images=1024, test_images=512),
    ),
    "quick": Preset("minutes: every task and batch size once, two epochs", Grid(runs=1, epochs=2)),
    "paper": Preset("the study's main experiment: 280 runs of 10 epochs", Grid()),
    "extended": Preset(
        "batch sizes 2 to 2048, as the authors later added", Grid(batch_sizes=EXTENDED_BATCH_SIZES)
    ),
    "study": Preset("every experiment of the study", Grid(), _STUDY),
}
DEFAULT_PRESET: Final = "quick"

RUN_FIELDS: Final = tuple(field.name for field in fields(Run))


def plan(experiments: Iterable[str], grid: Grid) -> dict[str, dict[str, Run]]:
    """Runs by experiment and case id. Two experiments that need the same Run name the same key."""
    found: dict[str, dict[str, Run]] = {}
    for name in experiments:
        experiment = EXPERIMENTS[name]
        runs = experiment.runs(grid) if experiment.runs is not None else ()
        found[name] = {experiment.case_id(run): run for run in runs}
    return found
