"""Reading stored records of which anything may be missing, and numbers as people read them.

An older version may have written a record, or the night may have ended early. What is missing is a dash on the page.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: What a page shows for a value that no stage recorded.
DASH = "–"

Recorded = Mapping[str, Any]


def part(record: Any, *keys: str) -> Recorded:
    """A mapping inside a record; an empty one where it is missing.

    >>> part({"fuse": {"gains": None}}, "fuse", "gains")
    {}
    """
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def entries(record: Any, *keys: str) -> list[Recorded]:
    """The mappings of a list inside a record; none where it is missing."""
    found = part(record, *keys[:-1]).get(keys[-1])
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def number(record: Any, *keys: str) -> float | None:
    """A finite number inside a record; None where it is missing."""
    return finite(part(record, *keys[:-1]).get(keys[-1]))


def numbers(record: Any, *keys: str) -> dict[str, float]:
    """The finite numbers of a mapping inside a record."""
    found = {str(name): finite(value) for name, value in part(record, *keys).items()}
    return {name: value for name, value in found.items() if value is not None}


def text(record: Any, *keys: str) -> str:
    """A text inside a record; empty where it is missing.

    >>> text({"gate": {"reason": None}}, "gate", "reason")
    ''
    """
    found = part(record, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, str) else ""


def finite(value: Any) -> float | None:
    """The value if it is a finite number."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if known else None


def figure(value: Any, digits: int = 0) -> str:
    """A number with thousands separators.

    >>> figure(1234.56), figure(0.12345, 3), figure(-0.00001, 4), figure(None)
    ('1,235', '0.123', '0.0000', '–')
    """
    known = finite(value)
    return DASH if known is None else f"{known:z,.{digits}f}"


def signed(value: Any, digits: int = 1) -> str:
    """A number with its sign.

    >>> signed(-0.25), signed(-0.01), signed(None)
    ('-0.2', '+0.0', '–')
    """
    known = finite(value)
    return DASH if known is None else f"{known:+z,.{digits}f}"


def percent(value: Any, digits: int = 1) -> str:
    """A share as percent.

    >>> percent(0.0123), percent(None)
    ('1.2 %', '–')
    """
    known = finite(value)
    return DASH if known is None else f"{100 * known:z,.{digits}f} %"


def duration(seconds: Any) -> str:
    """Seconds as people say them.

    >>> duration(4.21), duration(59.97), duration(90), duration(5400), duration(None)
    ('4.2 s', '1 min 0 s', '1 min 30 s', '1 h 30 min', '–')
    """
    known = finite(seconds)
    if known is None:
        return DASH
    if round(known, 1) < 60:
        return f"{known:.1f} s"
    minutes, rest = divmod(round(known), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def total(values: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
