"""Which rate is best per task, batch size, budget in updates and schedule, on validation images?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes

from bsr.experiments.controlled import RULES, SCALED_FROM, scaled_rate
from bsr.experiments.original import untuned
from bsr.experiments.rates import Arm, tuned_rate
from bsr.experiments.tried_rates import Rates, at_edge, best_rate, by_arm, centre, contenders
from reports.cells import Cells, span
from reports.chapters.chapter import Chapter, Figure, FigureContent, own_options
from reports.drawing import style
from reports.drawing.panel import Panel
from reports.drawing.rates import RatePanel
from reports.text import counted, listed, tick
from reports.text.table import Table
from reports.text.verdicts import Finding

MEASURE: Final = "validation MSE, squared label units (log)"
CLAIM: Final = "Each tuned rate lies inside the grid that was tried."


BEYOND: Final = (
    "Look beyond: pytest benchmarks --bsr-preset tune --bsr-refine {}{} --benchmark-json=beyond.json; then "
    "python -m reports merge both"
)


def arms(data: Cells) -> dict[Arm, Rates]:
    """Results by rate, for each arm with an error."""
    return by_arm(data.results("tune"))


def findings(data: Cells) -> list[Finding]:
    """Whether an optimum lies at the edge of its grid, so that it gets no verdict."""
    found = arms(data)
    if not found:
        return []
    edges = [arm for arm, rates in found.items() if at_edge(best_rate(rates), rates)]
    inside = len(found) - len(edges)
    sentence = f"{inside} of {counted(len(found), 'tuned rate')} lie inside the rates that were tried."
    if edges:
        sentence += f" At the edge, where a better one may lie beyond: {counted(len(edges), 'arm')}."
    lines = tuple(f"{arm}: {tick(best_rate(found[arm]))}, at the edge" for arm in edges)
    if edges:
        lines += (BEYOND.format(data.recording.path.name, own_options(data)),)
    return [
        Finding("tuned-rates", CLAIM, "not shown" if edges else "shown", sentence, lines, "tuning-linear")
    ]


def _rates(data: Cells, schedule: str) -> FigureContent | None:
    """Validation error against rate, a panel per task and budget, a curve per batch size."""
    found = {arm: rates for arm, rates in arms(data).items() if arm.schedule == schedule}
    if not found:
        return None
    panels: dict[tuple[str, int], dict[str, Rates]] = {}
    for arm, rates in found.items():
        panels.setdefault((arm.task, arm.steps), {})[str(arm.batch_size)] = rates
    sizes = [str(size) for size in sorted({arm.batch_size for arm in found})]
    counts = [len(alike) for rates in found.values() for alike in rates.values()]
    best = listed(f"{arm.task} {arm.batch_size}: {tick(best_rate(rates))}" for arm, rates in found.items())
    return FigureContent(
        [
            Panel(
                f"{task}, {steps:,} updates",
                partial(_draw, task=task, series=series, data=data, sizes=sizes),
                MEASURE,
            )
            for (task, steps), series in panels.items()
        ],
        f"Error on the validation images after so many updates, {schedule} schedule, a curve per batch "
        "size. Line: geometric mean over seeds; dots: seeds; the star is the lowest, a plus sign counts runs "
        f"without a final MSE.{_LINE if any(_study_s(data, task) for task in data.tasks) else ''}",
        f"Validation error against learning rate, {schedule} schedule. Lowest: {best}.",
        n=f"{span(counts, 'seed')} per rate",
        results=data.results("tune"),
    )


_LINE: Final = (
    " Upright line: the study's rate. Below, in a batch size's colour, the rates that rules of thumb scale "
    "from it: | by the square root of the batch size, x in proportion."
)


def _study_s(data: Cells, task: str) -> float | None:
    """The study's rate; None where it was tuned for other images or another network."""
    runs = data.results("tune", task)
    return None if not runs or untuned(runs[0].run) else tuned_rate(task, SCALED_FROM, epochs=10)


def _draw(axes: Axes, task: str, series: dict[str, Rates], data: Cells, sizes: Sequence[str]) -> None:
    """Curves, and where the study's rate and the rules of thumb lie."""
    RatePanel(series, data, among=sizes)(axes)
    if (rate := _study_s(data, task)) is None:
        return
    axes.axvline(rate, color=style.REFERENCE, linewidth=0.8, zorder=1)
    for size in map(int, series):
        if size > SCALED_FROM:
            for marker, power in (("|", RULES["square root"]), ("x", RULES["linear"])):
                axes.plot(
                    [scaled_rate(task, size, power)],
                    [0.03],
                    marker,
                    color=style.kind(sizes.index(str(size)))[0],
                    transform=axes.get_xaxis_transform(),
                )


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": arm.task,
            "updates": arm.steps,
            "schedule": arm.schedule,
            "batch size": arm.batch_size,
            "learning rate": (best := best_rate(rates)),
            "times the study's": best / rate if (rate := _study_s(data, arm.task)) else None,
            "validation MSE": centre(finals := contenders(rates)[best]),
            "seeds": len(finals),
            "lost": sum(result.final_mse is None for runs in rates.values() for result in runs),
            "at the edge": "edge" if at_edge(best, rates) else "",
        }
        for arm, rates in arms(data).items()
    ]
    note = (
        "The rate with the lowest geometric mean of the validation MSE; one that lost a run is no contender."
    )
    return Table.of("tuned-rates", "Tuned rates", rows, note)


CHAPTER: Final = Chapter(
    section="Why",
    options="--bsr-preset tune",
    figures=tuple(
        Figure(
            f"Error against rate, {schedule} schedule",
            partial(_rates, schedule=schedule),
            name=f"tuning-{schedule}",
            section=section,
        )
        for section, schedule in (("Why", "linear"), ("The other choices", "constant"))
    ),
    findings=findings,
    tables=lambda data: [_table(data)],
    experiments=("tune",),
)
