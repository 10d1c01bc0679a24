"""From panels to files: each panel is drawn once as pixels and once as SVG; figures are made of them.

A figure on the page is its panels, each an SVG of its own, so that a phone can stack them; the files hold
them side by side.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.image import imsave
from numpy.typing import NDArray

from reports.drawing import style
from reports.text import printable

WIDTH, HEIGHT = style.PANEL_SIZE
DPI: Final = 150
LONGEST: Final = 4000
"""Characters of a text alternative."""
_SVG: Final = "http://www.w3.org/2000/svg"
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\b")
_FONT: Final = re.compile(r"(font: [^;']*?[\d.]+px) '[^;]*")
ET.register_namespace("", _SVG)
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes and what is drawn on it."""

    title: str
    draw: Callable[[Axes], None]
    measure: str
    """What the vertical axis shows, with its unit."""
    rows: int = 1
    """Axes one below the other that share the horizontal axis; `draw` gets the first."""


@dataclass(frozen=True, slots=True)
class RenderedPanel:
    """A drawn panel."""

    svg: ET.Element
    pixels: NDArray[np.uint8]
    """[height, width, 4]."""


def rendered(panel: Panel, identity: str) -> RenderedPanel:
    """Draw a panel. `identity` makes the SVG's ids unique within a page."""
    with mpl.rc_context(style.PARAMETERS):  # type: ignore[arg-type]  # a plain dict, from 3.9 on
        figure = style.PanelFigure(figsize=(WIDTH, HEIGHT), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes(style.axes_place())
        panel.draw(axes)
        style.head(figure, 0.06, style.name(panel.title, 90), 11.5, weight="bold")
        style.head(figure, 0.3, style.name(panel.measure, 120), style.SMALL, color=style.MUTED)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba()).copy()
        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    return RenderedPanel(_tidied(text.getvalue(), identity), pixels)


def _tidied(text: str, identity: str) -> ET.Element:
    """Matplotlib's SVG without style sheet, metadata and idle ids; the other ids unique by `identity`."""
    root = ET.fromstring(text)  # noqa: S314 - matplotlib wrote it a moment ago
    for parent in root.iter():
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name == "id":
                del element.attrib["id"]
                if value in used:
                    element.set("id", f"{identity}-{value}")
            elif name == _HREF:
                element.set(name, value.replace("#", f"#{identity}-", 1))
            elif "url(#" in value:
                element.set(name, value.replace("url(#", f"url(#{identity}-"))
    root.set("stroke-linejoin", "round")
    root.set("stroke-linecap", "butt")
    return root


def inline(picture: RenderedPanel, alternative: str) -> str:
    """The SVG for the page: colours and font are CSS variables, and a screen reader hears `alternative`."""
    colours = {light: f"var({variable})" for light, (variable, _, _) in style.variables().items()}
    root = deepcopy(picture.svg)
    for element in root.iter():
        if "style" in element.attrib:
            coloured = _COLOUR.sub(lambda found: colours.get(found[0], found[0]), element.attrib["style"])
            element.set("style", _FONT.sub(r"\1 var(--font)", coloured))
    for size in ("width", "height"):
        del root.attrib[size]
    root.set("role", "img")
    root.set("aria-label", printable(alternative, LONGEST))
    return ET.tostring(root, encoding="unicode")


def columns(count: int) -> int:
    """Panels side by side in a figure's file."""
    return count if count <= 3 else 2 if count in {4, 8} else 3


def as_png(pictures: list[RenderedPanel]) -> bytes:
    """The panels side by side, PNG."""
    height, width, _ = pictures[0].pixels.shape
    across = columns(len(pictures))
    down = math.ceil(len(pictures) / across)
    canvas = np.full((height * down, width * across, 4), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = picture.pixels
    file = io.BytesIO()
    imsave(file, canvas[..., :3], format="png", dpi=DPI, pil_kwargs={"compress_level": 2})
    return file.getvalue()


def as_svg(pictures: list[RenderedPanel], title: str, alternative: str) -> bytes:
    """The panels side by side, one SVG document on white paper."""
    across = columns(len(pictures))
    down = math.ceil(len(pictures) / across)
    width, height = WIDTH * 72, HEIGHT * 72
    size = {"width": f"{width * across:g}pt", "height": f"{height * down:g}pt"}
    box = f"0 0 {width * across:g} {height * down:g}"
    root = ET.Element(f"{{{_SVG}}}svg", {**size, "viewBox": box, "role": "img"})
    ET.SubElement(root, f"{{{_SVG}}}title").text = title
    ET.SubElement(root, f"{{{_SVG}}}desc").text = printable(alternative, LONGEST)
    ET.SubElement(root, f"{{{_SVG}}}rect", {"width": "100%", "height": "100%", "fill": style.PAPER})
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        place = {"x": f"{column * width:g}", "y": f"{row * height:g}"}
        copy = ET.SubElement(root, f"{{{_SVG}}}svg", {**picture.svg.attrib, **place})
        copy.set("width", f"{width:g}")
        copy.set("height", f"{height:g}")
        copy.extend(list(picture.svg))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
