"""Which strptime formats fit texts that could not be read as timestamps."""

import datetime as dt
from collections.abc import Sequence
from itertools import product

_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%m/%d/%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%m/%d/%y", "%y-%m-%d"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%Y-%b-%d"),
    "%G-W%V-%u",
    *("%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y"),
)
_BETWEEN = (" ", "T", ", ", ":", "-", "_", " - ")
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H.%M", "%H.%M.%S", "%Hh%M", "%H%M%S", "%I:%M %p", "%I:%M:%S %p")
_ZONES = ("", "%z", " %z", " %Z")
_WHOLE = ("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Z %Y")


def fitting_formats(texts: Sequence[str]) -> list[str]:
    """The strptime formats that fit every text, the commonest format first.

    >>> fitting_formats(["31.12.2020 08:15"])
    ['%d.%m.%Y %H:%M']
    >>> fitting_formats(["03-04-2020"])
    ['%d-%m-%Y', '%m-%d-%Y']
    """
    if not texts:
        return []
    days = [day for day in _DAYS if all(_fits(text, day) for text in texts)]
    if days:
        return days
    started = [day for day in _DAYS if all(_fits(text, day, or_start=True) for text in texts)]
    timed = ("".join(parts) for parts in product(started, _BETWEEN, _CLOCKS, _ZONES))
    return [form for form in (*_WHOLE, *timed) if all(_fits(text, form) for text in texts)]


def _fits(text: str, form: str, *, or_start: bool = False) -> bool:
    """Whether a format fits a text; with `or_start` also whether it fits the start of the text."""
    try:
        dt.datetime.strptime(text.strip(), form)  # noqa: DTZ007 (only whether it fits)
    except ValueError as error:
        return or_start and str(error).startswith("unconverted data remains")
    return True
