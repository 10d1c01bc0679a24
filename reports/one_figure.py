"""`bsr.draw`: one figure of the report in an axis of the user's own."""

from __future__ import annotations

import os

from matplotlib import rc_context
from matplotlib.axes import Axes

from bsr.records.reading import Recording, read
from bsr.text import shortened
from reports.cells import Cells
from reports.chapters import figures
from reports.chapters.chapter import FigureContent, measure_command


def draw(recording: Recording | str | os.PathLike[str], figure: str, axes: Axes, panel: str = "") -> str:
    """Draw a panel of one of the report's figures on matplotlib `axes`; returns its caption, with n.

    `recording` is one that bsr.read gave, or its path. `figure` is a figure's name in the report's folder:
    `final-mse`, `seeds`, `speed`. `panel` is its title, as most figures have one per task; empty: the first.
    Title, measure, scales and legend are those of the page; fonts, grid and sizes stay the user's.

    Raises RefusedError for what is no recording, ValueError for a figure or panel that is not there,
    TypeError for an argument of another type, all in one line; ImportError outside of a checkout.
    """
    for name, given, kind in (("figure", figure, str), ("panel", panel, str), ("axes", axes, Axes)):
        if not isinstance(given, kind):
            raise TypeError(
                f"{name}: expected {kind.__name__}, got {type(given).__name__}; see help(bsr.draw)"
            )
    content = _content(recording if isinstance(recording, Recording) else read(recording), figure)
    titles = {one.title: one for one in content.panels}
    if panel and panel not in titles:
        raise ValueError(
            f"panel: expected one of {', '.join(titles)}, got {shortened(repr(panel), 80)} in {figure}"
        )
    chosen = titles[panel] if panel else content.panels[0]
    with rc_context({"text.parse_math": False}):  # a `$` in a name is a dollar sign
        chosen.draw(axes)
        axes.set_title(chosen.title)
        axes.set_ylabel(chosen.measure)
    return content.caption


def _content(recording: Recording, figure: str) -> FigureContent:
    named = {one.name: one for one in figures()}
    if figure not in named:
        raise ValueError(f"figure: expected one of {', '.join(named)}, got {shortened(repr(figure), 80)}")
    data = Cells(recording)
    content = named[figure].draw(data)
    if content is None or not content.panels:
        options = named[figure].options
        remedy = f"; measure it: {measure_command(data, options)}" if options else ""
        raise ValueError(
            f"figure {figure}: expected a recording of what it shows, got none in {recording.path}{remedy}"
        )
    return content
