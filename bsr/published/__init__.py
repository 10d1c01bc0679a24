"""What the study published, figure by figure, with what each number is and what it may be compared with.

*Is the batch size affecting the performance of Regression CNNs?* Lamon, Kato, Turan, Viering, Wang, Loog and
Tax, Delft University of Technology, 2021. Numbers come from the authors' published result tables (the CSV
files of bsr/published), rounded to four significant digits. Plain values; nothing heavy is imported.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Final

CITATION: Final = (
    "Lamon, Kato, Turan, Viering, Wang, Loog and Tax (2021). Is the batch size affecting the performance of "
    "Regression CNNs? Delft University of Technology."
)
ADDRESS: Final = "https://repository.tudelft.nl/record/uuid:a23411aa-a8b8-4044-996f-6dabc16efdb7"
MACHINE: Final = "one RTX 2060, Windows 10, cuDNN disabled, PyTorch of 2021"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a set of published numbers stands, which runs it comes from, and what to compare it with."""

    figure: str
    runs: str
    compare: str


SPREAD: Final = Provenance(
    figure="figure 9",
    runs="ten runs per cell, each seeded with batch size + run index",
    compare="a measured run's test MSE at the same epoch (the text says 10 for every task); batch sizes 2, "
    "4, 8 and 2048 are the authors' later extension, only partly in the text",
)
CONVERGENCE: Final = Provenance(
    figure="figure 5",
    runs="one run per task, rate and batch size; seeded once (seed 1) for the whole script, the random "
    "stream going on from one batch size to the next",
    compare="as curves, not run by run; the std curves at rate 0.01 are those behind the text's "
    '"difference of 1300" and "bigger fluctuations", at the tuned rate 0.001 the fluctuations are small',
)
SECONDS: Final = Provenance(
    figure="figure 6",
    runs="one uncrowded session (a later table of the authors, 29 to 21 s, was taken while the machine was "
    "busy)",
    compare="median wall seconds per epoch, training and test together",
)
LEARNING_RATE: Final = Provenance(
    figure="figure 12",
    runs="one run per task and rate; seeded once (seed 1) per script",
    compare="as curves at the same batch size, 64 for mean and 32 for the others; the results of the "
    "logarithmic grid were not published in usable form",
)
LOSS: Final = Provenance(
    figure="figure 4",
    runs="one run per task and loss, seed 1, batch size 32; rate 0.0015 in the scripts, where the study says "
    "the tuned rate",
    compare="the test value of the loss that the run was trained on: the two losses differ in unit, so they "
    "never share an axis",
)
MINIMUM_OVER_EPOCHS: Final = (
    "The study's figures 7 and 8 draw the minimum over the epochs; its text says the last epoch."
)
LABELS: Final = "The study's figures 10 and 11 show training labels, whiskers at 1.5 interquartile ranges."

RANGE_OF_TEN: Final = 3.078
"""Expected range of ten standard normal values (Tippett 1925, Biometrika 17, 364-387)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSpread:
    """Final test MSE of one cell over its ten seeds (SPREAD), squared label units."""

    task: str
    batch_size: int
    learning_rate: float
    epoch: int
    """After which it was taken; compare a measured run's `test_mse[epoch]`."""
    runs: int
    min_mse: float
    mean_mse: float
    max_mse: float

    @property
    def log_spread(self) -> float | None:
        """Standard deviation of log MSE between seeds, from the range of ten; None where the minimum is 0."""
        return math.log(self.max_mse / self.min_mse) / RANGE_OF_TEN if self.min_mse else None

    def overlaps(self, low: float, high: float) -> bool:
        """Whether a measured range has a value in common with the published one."""
        return low <= self.max_mse and self.min_mse <= high


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCurve:
    """Test MSE of one run after each epoch (CONVERGENCE, LEARNING_RATE), squared label units."""

    task: str
    batch_size: int
    learning_rate: float
    test_mse: tuple[float, ...]
    """[epochs], the first after epoch 1: the untrained network was not published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSeconds:
    """Wall seconds per epoch of one cell, training and test together (SECONDS)."""

    task: str
    batch_size: int
    median_seconds_per_epoch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLoss:
    """Test value, after each epoch, of the loss a run was trained on (LOSS)."""

    task: str
    loss: str
    """`mse` (values in squared label units) or `mae` (label units)."""
    test_value: tuple[float, ...]
    """[epochs], the first after epoch 1: 9 epochs for mean, 10 for std and var."""
    batch_size: int = 32
    learning_rate: float = 0.0015


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("bsr.published").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


@cache
def final_mse() -> tuple[PublishedSpread, ...]:
    """Figure 9: 44 cells, four tasks at eleven batch sizes. See SPREAD."""
    return tuple(
        PublishedSpread(
            task=row["task"],
            batch_size=int(row["batch_size"]),
            learning_rate=float(row["learning_rate"]),
            epoch=int(row["epochs"]),
            runs=int(row["runs"]),
            min_mse=float(row["min_mse"]),
            mean_mse=float(row["mean_mse"]),
            max_mse=float(row["max_mse"]),
        )
        for row in _rows("final_mse")
    )


@cache
def convergence() -> tuple[PublishedCurve, ...]:
    """Figure 5: 36 curves of ten epochs, std at the rates 0.001 and 0.01. See CONVERGENCE."""
    return _curves("convergence")


@cache
def learning_rates() -> tuple[PublishedCurve, ...]:
    """Figure 12: seven rates around the best of each task, ten epochs each. See LEARNING_RATE."""
    return _curves("learning_rate")


def _curves(name: str) -> tuple[PublishedCurve, ...]:
    """Rows of one curve stand together, in the order of their epochs."""
    grouped = groupby(_rows(name), lambda row: (row["task"], row["batch_size"], row["learning_rate"]))
    return tuple(
        PublishedCurve(
            task=task,
            batch_size=int(batch_size),
            learning_rate=float(rate),
            test_mse=tuple(float(row["test_mse"]) for row in rows),
        )
        for (task, batch_size, rate), rows in grouped
    )


@cache
def seconds_per_epoch() -> tuple[PublishedSeconds, ...]:
    """Figure 6: mean, median and std at seven batch sizes; var was not published. See SECONDS."""
    return tuple(
        PublishedSeconds(
            task=row["task"],
            batch_size=int(row["batch_size"]),
            median_seconds_per_epoch=float(row["median_seconds_per_epoch"]),
        )
        for row in _rows("seconds")
    )


@cache
def loss() -> tuple[PublishedLoss, ...]:
    """Figure 4: MSE and MAE on mean, std and var. See LOSS."""
    grouped = groupby(_rows("loss"), lambda row: (row["task"], row["loss"]))
    return tuple(
        PublishedLoss(task=task, loss=name, test_value=tuple(float(row["test_value"]) for row in rows))
        for (task, name), rows in grouped
    )


CLAIMS: Final[dict[str, str]] = {
    "higher-error": "A larger batch size leads to a higher MSE (abstract).",
    "best-batch-size": "The best batch sizes are 8 to 32, slightly different per task (abstract).",
    "exponential": "The error grows exponentially with the batch size, except for the median.",
    "less-time": "A larger batch size needs less time to train.",
    "slower-convergence": "A larger batch size leads to slower convergence (abstract).",
    "std-fluctuates": 'The std task fluctuates more at larger batch sizes, with a "difference of 1300".',
    "asymmetry": "Over the seeds, maximum minus mean exceeds mean minus minimum.",
    "median-not-zero": "Some median models do not reach an MSE of 0.",
    "adam": "Adam performs better than SGD (announced, never reported).",
    "mse-loss": "Training on MSE performs better than training on MAE.",
    "overfitting": "Training for more than 10 epochs overfits.",
}
"""The study's conclusions in short, reworded, by the name of the finding that tests each."""
