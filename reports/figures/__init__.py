"""Every figure of the report, in the order of the page. Adding one is a function and an entry here."""

from __future__ import annotations

from typing import Final

from reports.figures import choices, convergence, effects, error, labels, published, speed
from reports.figures.spec import Drawing, Figure

ANSWER: Final = "The answer"
"""The section of the figures that stand with the answer itself."""
_SIZES: Final = "--bsr-experiments batch-size"
_SEEDS: Final = "--bsr-experiments batch-size --bsr-runs 10"

FIGURES: Final = (
    Figure("effects", "The answer in one look", effects.effect_sizes, _SIZES, "", ANSWER),
    Figure("normalised-mse", "All tasks on one axis", error.normalised, _SIZES, "", ANSWER),
    Figure("final-mse", "Final error per batch size", error.final_mse, _SIZES, "figures 7 and 8"),
    Figure("seeds", "Every seed", error.each_seed, _SEEDS),
    Figure("min-mean-max", "Minimum, mean and maximum over seeds", error.extremes, _SEEDS, "figure 9"),
    Figure("mse-and-time", "Error and time", error.error_and_time_bars, _SIZES, "figure 6"),
    Figure("convergence", "Convergence per epoch", convergence.convergence, _SIZES, "figure 5", "Convergence"),
    Figure("mse-against-steps", "Error against steps", convergence.against_steps, _SIZES, "", "Convergence"),
    Figure("mse-against-seconds", "Error against seconds", convergence.against_seconds, _SIZES, "", "Convergence"),
    Figure("time-to-converge", "Time to converge", convergence.to_target, "--bsr-preset paper", "", "Convergence"),
    Figure("longer", "Training for longer", convergence.longer, "--bsr-experiments longer", "", "Convergence"),
    Figure("speed", "Speed", speed.speed, _SIZES, "", "Time"),
    Figure("harness", "The harness itself", speed.harness, "", "", "Time"),
    Figure(
        "published", "Measured against published", published.against_published, "--bsr-preset paper", "figure 9",
        "Beside the published figures",
    ),
    Figure(
        "published-convergence", "Convergence beside the published curves", published.published_curves,
        "--bsr-preset paper", "figure 5", "Beside the published figures",
    ),
    Figure(
        "published-seconds", "Seconds per epoch beside the published", published.published_seconds,
        "--bsr-preset paper", "figure 6", "Beside the published figures",
    ),
    Figure(
        "learning-rate", "Learning rates per task", choices.learning_rate, "--bsr-experiments learning-rate", "figure 12",
        "The other choices",
    ),
    Figure("optimiser", "Adam against SGD", choices.optimiser, "--bsr-experiments optimiser", "", "The other choices"),
    Figure("loss", "MSE against MAE", choices.loss, "--bsr-experiments loss", "figure 4", "The other choices"),
    Figure(
        "std-at-0.01", "std at rate 0.01", choices.std_at_001, "--bsr-experiments std-at-0.01", "figure 5",
        "The other choices",
    ),
    Figure(
        "label-distribution", "The labels", labels.label_distributions, "--bsr-experiments label-distribution",
        "figures 10 and 11", "The labels",
    ),
)  # fmt: skip

__all__ = ["ANSWER", "FIGURES", "Drawing", "Figure"]
