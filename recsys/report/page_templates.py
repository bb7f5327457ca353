"""The templates of the pages. Every value is escaped, and a missing one is a dash."""

from functools import cache

from jinja2 import ChainableUndefined, Environment, PackageLoader, Template

from recsys.report.recorded import DASH, duration, figure, percent, signed

#: Name of the file with the looks of all pages.
STYLE = "style.css"


class _Missing(ChainableUndefined):
    """A value that no stage recorded, and every value inside it."""

    def __str__(self) -> str:
        return DASH


@cache
def _environment() -> Environment:
    pages = Environment(
        loader=PackageLoader("recsys.report", "pages"),
        autoescape=True,
        undefined=_Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"figure": figure, "signed": signed, "percent": percent, "duration": duration}
    pages.globals["css"] = style_sheet
    return pages


def template(name: str) -> Template:
    """The template of a page."""
    return _environment().get_template(name)


@cache
def style_sheet() -> str:
    """The looks of all pages, as CSS."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), STYLE)[0]
