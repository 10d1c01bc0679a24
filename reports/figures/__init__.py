"""Every figure of the report, in the order of the page. Adding one is a function and an entry here."""

from __future__ import annotations

from typing import Final

from reports.figures import (
    convergence,
    effects,
    error,
    fluctuation,
    harness,
    labels,
    longer,
    losses,
    published,
    published_curves,
    rates,
    speed,
    target,
)
from reports.figures.spec import Drawing, Figure

ANSWER: Final = "The answer"
"""The section of the figures that stand with the answer itself."""
_SIZE, _EPOCHS, _CHOICES = "The batch size", "Convergence", "The other choices"
_BESIDE: Final = "Beside the published figures"
_PAPER: Final = "--bsr-preset paper"
_SIZES: Final = "--bsr-experiments batch-size"
_SEEDS: Final = "--bsr-experiments batch-size --bsr-runs 10"


FIGURES: Final = (
    Figure(ANSWER, "effects", "The answer in one look", effects.effect_sizes, _SIZES),
    Figure(ANSWER, "normalised-mse", "All tasks on one axis", error.normalised, _SIZES),
    Figure(_SIZE, "final-mse", "Final error per batch size", error.final_mse, _SIZES, "figures 7 and 8"),
    Figure(_SIZE, "seeds", "Every seed", error.each_seed, _SEEDS),
    Figure(_SIZE, "min-mean-max", "Minimum, mean and maximum over seeds", error.extremes, _SEEDS, "figure 9"),
    Figure(_SIZE, "mse-and-time", "Error and time", error.error_and_time_bars, _SIZES, "figure 6"),
    Figure(_EPOCHS, "convergence", "Convergence per epoch", convergence.convergence, _SIZES, "figure 5"),
    Figure(_EPOCHS, "mse-against-steps", "Error against steps", convergence.against_steps, _SIZES),
    Figure(_EPOCHS, "mse-against-seconds", "Error against seconds", convergence.against_seconds, _SIZES),
    Figure(_EPOCHS, "time-to-converge", "Time to converge", target.to_target, _PAPER),
    Figure(_EPOCHS, "longer", "Training for longer", longer.longer, "--bsr-experiments longer"),
    Figure("Time", "speed", "Speed", speed.speed, _SIZES),
    Figure("Time", "harness", "The harness itself", harness.harness, "--bsr-experiments harness"),
    Figure(_BESIDE, "published", "Final error", published.against_published, _PAPER, "figure 9"),
    Figure(
        _BESIDE, "published-convergence", "Convergence", published_curves.published_curves, _PAPER, "figure 5"
    ),
    Figure(
        _BESIDE,
        "published-seconds",
        "Seconds per epoch",
        published_curves.published_seconds,
        _PAPER,
        "figure 6",
    ),
    Figure(
        _CHOICES,
        "learning-rate",
        "Learning rates per task",
        rates.learning_rate,
        "--bsr-experiments learning-rate",
        "figure 12",
    ),
    Figure(_CHOICES, "optimiser", "Adam against SGD", rates.optimiser, "--bsr-experiments optimiser"),
    Figure(_CHOICES, "loss", "MSE against MAE", losses.loss, "--bsr-experiments loss", "figure 4"),
    Figure(
        _CHOICES,
        "std-at-0.01",
        "std at rate 0.01",
        fluctuation.std_at_001,
        "--bsr-experiments std-at-0.01",
        "figure 5",
    ),
    Figure(
        "The labels",
        "label-distribution",
        "How the labels are distributed",
        labels.label_distributions,
        "--bsr-experiments label-distribution",
        "figures 10 and 11",
    ),
)

__all__ = ["ANSWER", "FIGURES", "Drawing", "Figure"]
