"""Every figure of a comparison, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from reports.cells import Cells
from reports.chapters.chapter import Figure, FigureContent
from reports.compare import Comparison
from reports.compare.error_figures import errors
from reports.compare.speed_figures import speed, times

SECTION: Final = "Comparison"
_FIGURES: Final = (
    ("comparison-speed", "Which is faster, and where", speed),
    ("comparison-error", "Is the error the same?", errors),
    ("comparison-times", "Time per epoch, task by task", times),
)


def figures(comparison: Comparison | None) -> tuple[Figure, ...]:
    """A figure per entry; without a comparison, they have nothing to draw."""

    def drawn(draw: Callable[[Comparison], FigureContent | None]) -> Callable[[Cells], FigureContent | None]:
        return lambda _data: draw(comparison) if comparison else None

    return tuple(Figure(SECTION, name, title_, drawn(draw), "") for name, title_, draw in _FIGURES)
