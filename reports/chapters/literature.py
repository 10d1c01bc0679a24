"""What others found of the batch size, and what these data say of the same statement on these tasks."""

from __future__ import annotations

from typing import Final

from bsr import stats
from bsr.experiments.controlled import (
    RULES,
    SCALED_FROM,
    SCHEDULES,
)
from bsr.experiments.rates import Arm
from bsr.experiments.settings import Among
from bsr.experiments.tried_rates import by_rate, centre, contenders
from reports.analysis import decomposition as gap
from reports.analysis.arms import Arms, arms_of, geometric
from reports.analysis.equal_epochs import gaps_of
from reports.analysis.noise import cooled_range, noise
from reports.analysis.square import (
    WORDS,
    Place,
    Square,
    over_training_error,
    over_updates,
    square_of,
)
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
    "Hoffer et al. 2017 (NeurIPS)": ("Trained for as many updates, large batches generalise as well.",),
    "Smith, Elsen and De 2020 (ICML)": (
        "After the same number of updates very large batches end worse on test images.",
    ),
    "Malladi et al. 2022 (NeurIPS)": (
        "With Adam the rate scales with the square root of the batch.",
        "Its moments scale too.",
    ),
}
"""Source -> statements, in short."""


def _table(data: Cells) -> Table:
    """One row per statement; empty with neither of the protocols."""
    arms, square = arms_of(data), square_of(data)
    few = square.little_data
    updates = _little_data(square, *few) if few else _tuned_alike(square) or _equal_updates(data)
    says = {
        SOURCES["Shallue et al. 2019 (JMLR 20)"][0]: updates,
        SOURCES["Shallue et al. 2019 (JMLR 20)"][1]: _critical(data),
        SOURCES["Shallue et al. 2019 (JMLR 20)"][2]: _best_rates(data),
        SOURCES["McCandlish et al. 2018 (arXiv:1812.06162)"][0]: _noise(data),
        SOURCES["McCandlish et al. 2018 (arXiv:1812.06162)"][1]: _predicted(data),
        SOURCES["Masters and Luschi 2018 (arXiv:1804.07612)"][0]: _same_images(data) or _best_sizes(arms),
        SOURCES["Masters and Luschi 2018 (arXiv:1804.07612)"][1]: _usable(data),
        SOURCES["Keskar et al. 2017 (ICLR)"][0]: _at_training_error(square, *few) if few else "",
        SOURCES["Hoffer et al. 2017 (NeurIPS)"][0]: updates,
        SOURCES["Smith, Elsen and De 2020 (ICML)"][0]: updates,
        SOURCES["Malladi et al. 2022 (NeurIPS)"][0]: _best_rates(data),
    }
    rows = [
        {"source": source, "statement": statement, "these data": says.get(statement) or NOT_TESTED}
        for source, statements in SOURCES.items()
        for statement in statements
    ]
    note = (
        "The others trained classifiers and language models; "
        f"{'these are your own' if arms.compared.own else 'these are regressions on MNIST by a small CNN'}. "
        f"{NOT_TESTED.capitalize()}: what these experiments cannot answer; the training error of the last "
        "weights, which Keskar's statement is about, is recorded with little data."
    )
    return Table.of("literature", "Against the literature", rows if arms.trainings or updates else [], note)


def _little_data(found: Square, place: Place, smallest: int) -> str:
    """Of the last weights."""
    said = found.over_smallest(place, "all")
    ends = f"{place.batch_size} over {smallest}"
    after = f"{place.steps:,} updates on {place.images:,} images"
    return f"test error as tuned, {ends}: {gap.factor(said)} after {after}" if said else ""


def _tuned_alike(found: Square) -> str:
    """Of the square, at both schedules: the largest batch over the smallest at each budget."""
    if len(found.parts) != 1 or found.of_little_data or len(sizes := found.sizes(found.parts[0])) < 2:
        return ""
    schedules: tuple[Among, ...] = ("falling", "constant")
    said = [
        f"{gap.factor(ratio)} after {steps:,} updates, {WORDS[among]}"
        for among in schedules
        for steps, ratio in over_updates(found, found.parts[0], among)
        .get(f"batch size {sizes[-1]}", {})
        .items()
    ]
    ends = f"{sizes[-1]} over {sizes[0]}"
    return f"test error, everything tuned, {ends}: {listed(said)}" if said else ""


def _same_images(data: Cells) -> str:
    """Of the square, at rates that fall to zero."""
    gaps = gaps_of(data).get("falling", {})
    said = listed(f"{gap.factor(one.parts['whole'].ratio)} at {size}" for size, one in gaps.items())
    smallest = {one.small.batch_size for one in gaps.values()}
    return f"tuned, falling, over the error at {listed(smallest)}: {said}" if gaps else ""


def _at_training_error(found: Square, place: Place, smallest: int) -> str:
    """From a high training error to a low one."""
    ratios = over_training_error(found, place.images).get(f"batch size {place.batch_size}", {})
    said = listed(f"{gap.factor(one)} at {100 * level:.3g}%" for level, one in ratios.items())
    what = f"test error at equal training error, {place.batch_size} over {smallest}"
    return f"{what}: {said} of the best constant's" if said else ""


def _equal_updates(data: Cells) -> str:
    """At both schedules, and that test images alone are asked."""
    compared = arms_of(data).compared
    said = [
        f"{gap.factor(found.parts['batch size'])} after {steps:,} updates, {schedule}"
        for steps in compared.budgets
        for schedule in reversed(SCHEDULES)
        if (found := gap.decomposition(data, steps, schedule))
    ]
    ends = f"{compared.largest} over {compared.smallest}"
    return f"test error at tuned rates, {ends}: {listed(said)}" if said else ""


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


def _best_rates(data: Cells) -> str:
    """Tuned rates for the same images, as multiples of the study's, beside what rules of thumb give."""
    arms, said = arms_of(data), []
    for size in arms.compared.scaled:
        rates = {
            task: rate / usual
            for task in arms.tasks
            for arm in [Arm(task, arms.compared.ten_epochs[size], "linear", size)]
            if (rate := arms.rate(arm, "tuned")) and (usual := arms.rate(arm, "study"))
        }
        if rates:
            rules = listed(
                f"{number((size / SCALED_FROM) ** power, 2)} {name}" for name, power in RULES.items()
            )
            found = listed(f"{number(times, 2)} {task}" for task, times in rates.items())
            usual_rate = "the usual one" if arms.compared.own else "the study's"
            said.append(f"at {size} {found} times {usual_rate} (rules: {rules})")
    source = "" if data.results("tune") else ", by the table of rates that was taken, tuned elsewhere"
    return f"the best rate{source}: {'; '.join(said)}" if said else ""


def _usable(data: Cells) -> str:
    """How far the rates reach that end within twice the best's error, at the smaller budget."""
    said, compared = [], arms_of(data).compared
    for size in compared.sizes:
        reach = []
        for task in arms_of(data).tasks:
            arm = Arm(task, compared.budgets[0], "linear", size)
            runs = [result for result in data.results("tune", task) if Arm.of(result.run) == arm]
            middles = {rate: centre(finals) for rate, finals in contenders(by_rate(runs)).items()}
            near = [rate for rate, middle in middles.items() if middle <= 2 * min(middles.values())]
            reach += [f"{number(max(near) / min(near), 2)} {task}"] if near else []
        said += [f"{size}: {listed(reach)}"] if reach else []
    what = "times from the lowest to the highest rate within twice the best's error"
    return f"{what}, {compared.budgets[0]:,} updates: {'; '.join(said)}" if said else ""


def _noise(data: Cells) -> str:
    smallest = arms_of(data).compared.smallest
    cooled = [one for one in noise(data) if one.cooled and one.scale and one.batch_size == smallest]
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
            for size, steps in arms.compared.ten_epochs.items()
            if (part := geometric(arms.errors_at(Arm(task, steps, "linear", size), "tuned")))
        }
        if len(errors) > 1:
            said.append(f"{task} {min(errors, key=lambda size: errors[size])}")
    return f"lowest of {listed(arms.compared.ten_epochs)}, tuned: {listed(said)}" if said else ""


CHAPTER: Final = Chapter(tables=lambda data: [_table(data)])
