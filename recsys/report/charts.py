"""Charts as SVG for the pages of the site: drawn by Matplotlib, coloured by the page's own CSS.

Matplotlib is kept by a large community, needs neither a browser nor the network, and writes SVG. Its colours are
replaced by CSS variables, so that one picture serves light and dark screens and print. Inline styles become attributes,
because the live service allows no inline styles. What is not needed is removed: a chart takes about 5 kB.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Colours that are drawn, and the CSS variables that take their place.
INK, SOFT, GRID = "#010101", "#020202", "#030303"
SERIES = ("#040404", "#050505", "#060606", "#070707")
_VARIABLES = {INK: "ink", SOFT: "soft", GRID: "line"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, start=1)
}
#: Dashes of the series, so that colour is not the only difference.
DASHES = ("-", "--", ":", "-.")

#: Size in CSS pixels: as wide as a phone, so that text has its size there. A wider page shows several in a row.
WIDTH, HEIGHT = 360, 210
#: Margin below a chart, for the labels of its axis.
_BOTTOM = 28
_PIXELS_PER_INCH = 72
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 11,
    "grid.color": GRID,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a `$` of the data is a `$`
    "xtick.color": SOFT,
    "xtick.major.pad": 7,
    "xtick.major.size": 0,
    "ytick.color": SOFT,
    "ytick.major.size": 0,
}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
#: Styles that every element inherits, or that the page sets.
_DROPPED = ("font-family", "stroke-linejoin", "stroke-linecap", "-inkscape-font-specification")
ElementTree.register_namespace("", _SVG)  # no prefix before the names of elements
_DECIMALS = re.compile(r"(\d+\.\d)\d+")


@contextmanager
def drawing() -> Iterator[None]:
    """The style of the charts. Matplotlib's own settings are as before afterwards."""
    with mpl.rc_context(_STYLE):
        yield


def new_chart(height: float = HEIGHT, left: float = 52, top: float = 12) -> tuple[Figure, Axes]:
    """An empty chart; call it in `drawing`. Margins are in CSS pixels."""
    chart = Figure(figsize=(WIDTH / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH))
    chart.patch.set_visible(False)
    box = (left / WIDTH, _BOTTOM / height, 1 - (left + 12) / WIDTH, 1 - (_BOTTOM + top) / height)
    axes = chart.add_axes(box)
    axes.patch.set_visible(False)
    return chart, axes


def as_svg(chart: Figure, name: str, words: str) -> Markup:
    """The chart as an element of a page.

    Args:
        chart: What was drawn.
        name: Unique on the page.
        words: What the chart shows, for people who do not see it.
    """
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing", UserWarning)  # the browser has fonts of its own
        chart.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 (Matplotlib wrote it)
    used = _used_ids(root)
    _simplify(root, used, name)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib |= {"class": "chart", "role": "img", "aria-label": words}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 (ElementTree escapes all texts)


def _used_ids(root: ElementTree.Element) -> set[str]:
    links = {element.get(_LINK, "").removeprefix("#") for element in root.iter()}
    clips = {element.get("clip-path", "").removeprefix("url(#").removesuffix(")") for element in root.iter()}
    return (links | clips) - {""}


def _simplify(element: ElementTree.Element, used: set[str], name: str) -> None:
    """Remove what a page does not need from an element and from those below it."""
    kept: list[ElementTree.Element] = []
    for child in element:
        tag = child.tag.removeprefix(f"{{{_SVG}}}")
        if tag in ("metadata", "style"):
            continue
        _simplify(child, used, name)
        child.tail = None
        _restyle(child, used, name)
        if tag in ("g", "defs") and not (len(child) and (child.attrib or tag == "defs")):
            kept += list(child)  # a group that says nothing
        else:
            kept.append(child)
    element[:] = kept
    if element.text and not element.text.strip():
        element.text = None


def _restyle(element: ElementTree.Element, used: set[str], name: str) -> None:
    attributes = element.attrib
    own = attributes.pop("id", None)
    if own in used:
        attributes["id"] = f"{name}-{own}"
    if link := attributes.pop(_LINK, ""):
        attributes["href"] = f"#{name}-{link.removeprefix('#')}"
    if clip := attributes.get("clip-path"):
        attributes["clip-path"] = clip.replace("url(#", f"url(#{name}-")
    for declaration in filter(None, attributes.pop("style", "").split(";")):
        key, _, value = (word.strip() for word in declaration.partition(":"))
        if key not in _DROPPED:
            attributes[key] = f"var(--{_VARIABLES[value]})" if value in _VARIABLES else value
    for key in ("d", "x", "y", "transform"):
        if key in attributes:
            attributes[key] = _DECIMALS.sub(r"\1", " ".join(attributes[key].split()))
