"""Which Runs answer which question: the study's grids, the experiments and the presets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from bsr import controlled
from bsr.rates import DEFAULT_LEARNING_RATE, TUNED_LEARNING_RATE, Arm, TunedRate, tuned_rate
from bsr.run import MOST_STEPS, STUDY_MODEL, Run

STUDY_TASKS: Final = ("mean", "std", "var", "median")
"""The study's four statistics; the median, degenerate on MNIST, comes last."""
BATCH_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
EXTENDED_BATCH_SIZES: Final = (2, 4, 8, *BATCH_SIZES, 2048)
VARIED_BY_THE_STUDY: Final = frozenset(
    ("task", "batch_size", "seed", "learning_rate", "epochs", "optimiser", "loss")
)
"""Fields of a Run; in all others its Runs have the default."""
TUNING_BATCH_SIZE: Final = 32
LOG_GRID: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The learning rates that the study tried first."""
BELOW_THE_LOG_GRID: Final = (1e-9, 1e-8, 1e-7)
REFINEMENT: Final = (0.25, 0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
"""Its second look, as multiples of the best rate of the first."""
REFINED: Final = "learning-rate"
"""The experiment that takes a second look."""
REFINED_AROUND: Final = {"mean": 0.001, "std": 0.001, "var": 0.001, "median": 0.1}
"""The rates around which it looked again."""


MOST_TASKS: Final = 24
MOST_BATCH_SIZES: Final = 48
MOST_BYTES: Final = 48 * 2**20
"""Of one recording: eight times the whole study. A report reads no more, so no session plans more."""


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
    loop_images: int = 60_000
    """Of an epoch of the harness's own loops, at most."""
    loop_rounds: int = 5
    """How often the harness times each of its loops."""
    most_steps: int = MOST_STEPS
    """Of a Run whose steps decide how long it trains; a smoke session cuts them short."""
    refine_around: tuple[tuple[str, float], ...] = ()
    """(task, best rate of a finished log grid); non-empty collects only the second look."""
    budgets: tuple[int, ...] = controlled.BUDGETS
    """Updates at which the controlled experiments compare batch sizes."""
    rates: tuple[TunedRate, ...] | None = None
    """Tuned per batch size, for the controlled experiments; None: those that come with the package."""
    beyond: tuple[tuple[Arm, float], ...] = ()
    """What was tuned, and a rate beyond the edge of its tuning; non-empty collects only these."""
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

    def rate(self, task: str, batch_size: int) -> float:
        """The learning rate of a Run whose experiment does not vary it."""
        return dict(self.learning_rates).get(task) or tuned_rate(task, batch_size, self.epochs)

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
    for task in grid.tasks:
        first = () if grid.refine_around else LOG_GRID
        for rate in sorted({*first, *second_look(grid, task)}):
            for run in grid.cell(task, TUNING_BATCH_SIZE):
                yield replace(run, learning_rate=rate)


def second_look(grid: Grid, task: str) -> frozenset[float]:
    """The rates round the best one of the log grid: the study's, or of a log grid of one's own."""
    around = dict(grid.refine_around) or {task: REFINED_AROUND.get(task, DEFAULT_LEARNING_RATE)}
    return frozenset(float(f"{around[task] * factor:.6g}") for factor in REFINEMENT if task in around)


def optimiser(grid: Grid) -> Iterator[Run]:
    """Adam and SGD without momentum on the mean task, over the log grid at batch size 32.

    SGD's best rate is the lowest of that grid, so three lower ones are tried too: the study did not.
    """
    rates: dict[Literal["adam", "sgd"], tuple[float, ...]] = {
        "adam": LOG_GRID,
        "sgd": (*BELOW_THE_LOG_GRID, *LOG_GRID),
    }
    if "mean" in grid.tasks:
        for name, tried in rates.items():
            for rate in tried:
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
    def tries_rates(self) -> bool:
        """Whether it has learning rates of its own, so that none is looked up for it."""
        return "learning_rate" in self.varies

    @property
    def trains(self) -> bool:
        """Whether its cases are Runs."""
        return self.runs is not None

    def planned(self, grid: Grid) -> Iterator[Run]:
        """Its Runs over a grid, with every network of it."""
        for model in grid.models if self.runs is not None else ():
            for run in self.runs(grid) if self.runs is not None else ():
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
        return tuple(_ID_PARTS.get(name, "{}").format(getattr(run, name)) for name in self.varies)


_ID_PARTS: Final = {
    "learning_rate": "lr{:g}",
    "epochs": "{}epochs",
    "steps": "{}steps",
    "beta2": "beta2-{:g}",
}
_CONTROLLED: Final = ("learning_rate", "steps", "schedule")


EXPERIMENTS: Final[dict[str, Experiment]] = {
    "batch-size": Experiment("Does the batch size change error, time and reliability?", batch_size),
    "std-at-0.01": Experiment("Does std fluctuate more at the untuned rate?", std_at_001, ("learning_rate",)),
    "learning-rate": Experiment("Which learning rate is best per task?", learning_rate, ("learning_rate",)),
    "optimiser": Experiment(
        "Does Adam beat SGD, each at its best rate?", optimiser, ("optimiser", "learning_rate")
    ),
    "loss": Experiment("Does training on MSE beat training on MAE?", loss, ("loss",)),
    "longer": Experiment("Does training beyond ten epochs overfit?", longer, ("epochs",)),
    "tune": Experiment(
        "Which rate is best per batch size, budget and schedule?",
        controlled.tune,
        _CONTROLLED,
    ),
    "study-rate": Experiment(
        "How large is the gap after ten epochs at the study's rate?", controlled.study_rate, _CONTROLLED
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
    "tune": Preset(
        "rates per batch size for equal updates, on validation images: half an hour on two AVX-512 cores",
        replace(_CONTROLLED_GRID, runs=3),
        ("tune",),
    ),
    "why": Preset(
        "updates, rate or batch size: equal epochs and equal updates at tuned rates, 40 minutes on them",
        _CONTROLLED_GRID,
        _WHY,
    ),
    "why-quick": Preset(
        "the same for two batch sizes, 586 updates and three seeds, five minutes",
        replace(_CONTROLLED_GRID, batch_sizes=(16, 1024), runs=3, budgets=(586,)),
        _WHY[:3],
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


def untuned(run: Run) -> str:
    """For what the study's rate of this Run was never tuned: `std on FashionMNIST`; empty where it was."""
    on = f" on {run.dataset}" if run.dataset != "MNIST" else ""
    network = f" with the network {run.model}" if run.model != STUDY_MODEL else ""
    return f"{run.task}{on}{network}" if on or network or run.task not in TUNED_LEARNING_RATE else ""


def follows_the_study(run: Run) -> bool:
    """Whether a Run is one of the study's but for what the study itself varied."""
    return all(
        getattr(run, field.name) == field.default
        for field in fields(run)
        if field.name not in VARIED_BY_THE_STUDY
    )


class PlanTooLargeError(Exception):
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
    """Of a Run in a benchmark JSON, at most: what it is and its GPU twice, and what each epoch measured."""
    return 8_400 + 300 * run.evaluations
