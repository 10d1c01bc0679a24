"""Every figure of a comparison, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reports.cells import Cells
from reports.chapters.chapter import Figure, FigureContent
from reports.compare import Comparison
from reports.compare.error_figures import comparison_error
from reports.compare.speed_figures import comparison_speed, comparison_times

COMPARISON: Final = "Comparison"
"""The part of the page where they stand."""
_FIGURES: Final = {
    "Which is faster, and where": comparison_speed,
    "Is the error the same?": comparison_error,
    "Time per epoch, task by task": comparison_times,
}


def figures(comparison: Comparison | None) -> tuple[Figure, ...]:
    """A figure per entry; without a comparison, they have nothing to draw."""

    def drawn(draw: Callable[[Comparison], FigureContent | None]) -> Callable[[Cells], FigureContent | None]:
        return lambda _data: draw(comparison) if comparison else None

    return tuple(
        Figure(title, drawn(draw), name=draw.__name__.replace("_", "-"), section=COMPARISON)
        for title, draw in _FIGURES.items()
    )
