"""What others found of the batch size, and what these data say of the same statement on these tasks."""

from __future__ import annotations

import math
from typing import Final

from bsr import stats
from bsr.experiments.controlled import BUDGETS, LARGEST, RULES, SCALED_FROM, SMALLEST, TEN_EPOCHS_AT
from bsr.experiments.rates import Arm, tuned_rate
from reports.analysis import decomposition as gap
from reports.analysis.arms import Arms, Training, arms_of, geometric, over_tasks
from reports.analysis.noise import cooled_range, noise
from reports.analysis.targets import MIDDLE, critical
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import listed, number
from reports.text.table import Table

NOT_TESTED: Final = "not tested here"
SOURCES: Final = {
    "Shallue et al. 2019 (JMLR 20)": (
        "At a tuned rate and a budget in updates larger batches do not end worse.",
        "Steps to a target fall as 1/B, bend, then stay.",
        "The best rate follows no rule of thumb.",
    ),
    "McCandlish et al. 2018 (arXiv:1812.06162)": (
        "The noise scale grows as the loss falls.",
        "It predicts the critical batch size.",
    ),
    "Masters and Luschi 2018 (arXiv:1804.07612)": (
        "At equal epochs the best batch sizes are 2 to 32.",
        "The range of usable rates shrinks with the batch.",
    ),
    "Keskar et al. 2017 (ICLR)": ("Large batches generalise worse at the same training error.",),
    "Malladi et al. 2022 (NeurIPS)": (
        "With Adam the rate scales with the square root of the batch.",
        "Its moments scale too.",
    ),
}
"""Source -> statements, in short."""


def _table(data: Cells) -> Table:
    """One row per statement; empty without the controlled experiments."""
    arms = arms_of(data)
    says = {
        SOURCES["Shallue et al. 2019 (JMLR 20)"][0]: _equal_updates(data),
        SOURCES["Shallue et al. 2019 (JMLR 20)"][1]: _critical(data),
        SOURCES["Shallue et al. 2019 (JMLR 20)"][2]: _best_rates(arms),
        SOURCES["McCandlish et al. 2018 (arXiv:1812.06162)"][0]: _noise(data),
        SOURCES["McCandlish et al. 2018 (arXiv:1812.06162)"][1]: _predicted(data),
        SOURCES["Masters and Luschi 2018 (arXiv:1804.07612)"][0]: _best_sizes(arms),
        SOURCES["Keskar et al. 2017 (ICLR)"][0]: _generalisation(arms),
        SOURCES["Malladi et al. 2022 (NeurIPS)"][0]: _best_rates(arms),
    }
    rows = [
        {"source": source, "statement": statement, "these data": says.get(statement) or NOT_TESTED}
        for source, statements in SOURCES.items()
        for statement in statements
    ]
    note = (
        "The others trained classifiers and language models; these are regressions on MNIST by a small CNN. "
        f"{NOT_TESTED.capitalize()}: what needs other data, scaled moments, or a measure of sharpness."
    )
    return Table.of("literature", "Against the literature", rows if arms.trainings else [], note)


def _equal_updates(data: Cells) -> str:
    said = []
    for steps in BUDGETS:
        found = gap.decomposition(data, steps, "linear")
        if found is not None:
            said.append(f"{gap.factor(found.parts['batch size'])} after {steps:,} updates")
    return f"{LARGEST} against {SMALLEST}: {listed(said)}" if said else ""


def _critical(data: Cells) -> str:
    fits = {task: fit for task in arms_of(data).tasks if (fit := critical(data, task))}
    said = listed(f"{task} {_size(fit)}" for task, fit in fits.items())
    return f"critical batch size at {MIDDLE:.0%}: {said}" if fits else ""


def _predicted(data: Cells) -> str:
    """What the noise says of the critical batch size, and what was measured."""
    ranges = {task: found for task in arms_of(data).tasks if (found := cooled_range(data, task))}
    said = listed(f"{task} {number(low, 2)} to {number(high, 2)}" for task, (low, high) in ranges.items())
    return f"predicted: {said}; {_critical(data)}" if ranges and _critical(data) else ""


def _size(fit: stats.Critical) -> str:
    if fit.open_below:
        return f"below {number(fit.interval.high, 2)}"
    return f"{number(fit.interval.low, 2)} to {number(fit.interval.high, 2)}"


def _best_rates(arms: Arms) -> str:
    """Tuned rates at ten epochs, as multiples of the study's, beside what rules of thumb give."""
    said = []
    for size in (256, LARGEST):
        steps = TEN_EPOCHS_AT[size]
        rates = {
            task: rate / tuned_rate(task, SCALED_FROM, epochs=10)
            for task in arms.tasks
            if (rate := arms.rate(Arm(task, steps, "linear", size), "tuned"))
        }
        if rates:
            rules = listed(
                f"{number((size / SCALED_FROM) ** power, 2)} {name}" for name, power in RULES.items()
            )
            found = listed(f"{number(times, 2)} {task}" for task, times in rates.items())
            said.append(f"at {size} the best rate is {found} times the study's (rules: {rules})")
    return "; ".join(said)


def _noise(data: Cells) -> str:
    cooled = [one for one in noise(data) if one.cooled and one.scale and one.batch_size == SMALLEST]
    said = []
    for task in dict.fromkeys(one.task for one in cooled):
        row = [one for one in cooled if one.task == task]
        said.append(f"{task} {number(row[0].scale, 2)} to {number(row[-1].scale, 2)} images")
    return f"after cooling, first to last: {listed(said)}" if said else ""


def _best_sizes(arms: Arms) -> str:
    said = []
    for task in arms.tasks:
        errors = {
            size: part.factor
            for size, steps in TEN_EPOCHS_AT.items()
            if (part := geometric(arms.errors_at(Arm(task, steps, "linear", size), "tuned")))
        }
        if len(errors) > 1:
            said.append(f"{task} {min(errors, key=lambda size: errors[size])}")
    return f"lowest of {listed(TEN_EPOCHS_AT)}, tuned: {listed(said)}" if said else ""


def _generalisation(arms: Arms) -> str:
    """Test over training error at the end of decayed, tuned training, large over small."""
    found = over_tasks((_excess(arms, task, SMALLEST), _excess(arms, task, LARGEST)) for task in arms.tasks)
    if found is None:
        return ""
    return (
        f"test error over the training loss on the way, {LARGEST} over {SMALLEST} at tuned rates: "
        f"{gap.factor(found)}; not at equal training error"
    )


def _excess(arms: Arms, task: str, size: int) -> dict[int, float]:
    """Seed -> log of test over training error, the latter over the images since the evaluation before."""
    arm = Arm(task, TEN_EPOCHS_AT[size], "linear", size)
    results = arms.trainings.get(Training(arm, arms.rate(arm, "tuned")), {})
    return {
        seed: math.log(result.final_mse / result.training_loss[-1])
        for seed, result in results.items()
        if result.final_mse and result.training_loss and result.training_loss[-1]
    }


CHAPTER: Final = Chapter(tables=lambda data: [_table(data)])
