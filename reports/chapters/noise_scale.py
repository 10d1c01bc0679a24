"""Does the noise of the gradient predict the critical batch size?"""

from __future__ import annotations

from typing import Final

from bsr import stats
from bsr.stats.basis import FEWEST_FOR_AN_INTERVAL
from reports.analysis.noise import cooled_range, noise
from reports.analysis.targets import MIDDLE, critical
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import counted, number
from reports.text.table import Table
from reports.text.verdicts import Finding, Verdict

CLAIM: Final = "The noise scale of the gradient predicts the critical batch size (McCandlish et al. 2018)."
NEAR: Final = 3.0
"""Times apart, within which a prediction counts as one."""


def finding(data: Cells) -> list[Finding]:
    """Predicted and measured, per task."""
    tasks = [task for task in data.tasks if cooled_range(data, task)]
    if not tasks:
        return []
    verdicts, lines = [], []
    for task in tasks:
        low, high = cooled_range(data, task) or (0.0, 0.0)
        fit = critical(data, task)
        seeds = min(one.seeds for one in noise(data) if one.task == task and one.cooled)
        verdicts.append(_agrees(fit, low, high) if seeds >= FEWEST_FOR_AN_INTERVAL else "cannot tell")
        measured = "not measured" if fit is None else number(fit.batch_size, 2)
        lines.append(
            f"{task}: noise scale after cooling {number(low, 2)} to {number(high, 2)} images along the "
            f"training ({counted(seeds, 'seed')}); critical batch size at {MIDDLE:.0%}: {measured}"
        )
    verdict: Verdict = "cannot tell"
    if "cannot tell" not in verdicts:
        verdict = "shown" if set(verdicts) == {"shown"} else "not shown"
    sentence = f"{'. '.join(lines)}."
    return [Finding("noise-scale", CLAIM, verdict, sentence, tuple(lines))]


def _agrees(fit: stats.Critical | None, low: float, high: float) -> Verdict:
    """Whether the measured interval and the predicted range are at most NEAR apart."""
    if fit is None:
        return "cannot tell"
    near = low / NEAR <= fit.interval.high and fit.interval.low <= high * NEAR
    return "shown" if near else "not shown"


def _table(data: Cells) -> Table:
    rows = [
        {
            "task": one.task,
            "batch size": one.batch_size,
            "updates": one.step,
            "cooled": "cooled" if one.cooled else "",
            "noise scale": one.scale,
            "from two batch sizes": one.two_batches,
            "in Adam's metric": one.adam,
            "seeds": one.seeds,
        }
        for one in noise(data)
    ]
    note = (
        "tr(S) / |G|^2, images, sums over seeds before dividing. Cooled: after 100 more updates at batch "
        "size 256 and a rate that falls to zero. On the trajectory |G|^2 swings, so one moment says little."
    )
    return Table.of("noise-scale", "The noise of the gradient", rows, note, folded=True)


CHAPTER: Final = Chapter(experiments=("noise-scale",), findings=finding, tables=lambda data: [_table(data)])
