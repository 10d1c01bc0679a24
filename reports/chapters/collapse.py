"""Where every label is the same: how many networks do not collapse to it?"""

from __future__ import annotations

from typing import Final

from bsr import published
from reports.analysis.study import COLLAPSED
from reports.cells import Cells
from reports.chapters.chapter import Chapter
from reports.text import counted
from reports.text.verdicts import (
    Finding,
    Short,
    Verdict,
)


def collapse(data: Cells) -> list[Finding]:
    """Degenerate tasks: how many models do not collapse to the one label there is."""
    found: list[Finding] = []
    for task in sorted(data.degenerate):
        finals = [r.final_mse for r in data.results("batch-size", task) if r.final_mse is not None]
        if not finals:
            continue
        above = sum(value > COLLAPSED for value in finals)
        how_many = f"{above} of {counted(len(finals), 'model')} stay above an MSE of {COLLAPSED:g}"
        verdict: Verdict = "shown" if above else "not shown"
        sentence = (
            f"{task}: every test label is the same, so there is nothing to learn, and its MSE says only how "
            f"far the network collapses to that label. {how_many}."
        )
        cells = data.cells(task)
        sizes = (
            f"batch size {cell.batch_size}: {sum(value > COLLAPSED for value in cell.finals)} of "
            f"{len(cell.finals)}"
            for cell in cells
        )
        lines = (f"{task}: {how_many}", *sizes)
        short = Short(f"{above} of {counted(len(finals), 'model')}")
        claim = (
            published.CLAIMS["median-not-zero"]
            if task == "median"
            else f"Some {task} models do not reach an MSE of 0."
        )
        found.append(
            Finding(f"collapse-{len(found)}", claim, verdict, sentence, lines, "final-mse", short=short)
        )
    return found


CHAPTER: Final = Chapter(
    findings=collapse,
)
