"""Dates with two readings: what the values of an input prove, and the refusal where they prove nothing.

`12/1/2010` is in December or in January, and `20101201` is a date or a number of seconds. One value with only one
reading, such as `31/12/2010`, settles it for the whole input. The workers gather examples of both kinds, and the stage
decides: the result does not depend on how the rows are divided.
"""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from recsys.errors import InputError

#: strptime format of a number that is a date, by the number of its digits.
DATE_NUMBER_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class DateReading:
    """How values with two readings are read."""

    day_first: bool = False
    """`12/1/2010` is 12 January."""
    date_numbers: bool = True
    """The number 20101201 is a date, not seconds since 1970."""
    one_order: bool = False
    """Dates that fit only the other order are unreadable."""


#: The reading that is tried first. `second_reading` says whether the input proves another one.
FIRST_READING = DateReading()


@dataclass(frozen=True, slots=True, kw_only=True)
class DateEvidence:
    """One example of each kind of value that an input holds; "" where it holds none."""

    either_order: str = ""
    """The day or the month may come first: `12/1/2010`."""
    day_first: str = ""
    """Only the day can come first: `31/12/2010`."""
    month_first: str = ""
    """Only the month can come first: `12/31/2010`."""
    date_number: str = ""
    """A date or a number of seconds: `20101201`."""
    epoch_number: str = ""
    """Only a time since 1970, because no calendar has such a date: `1291191960`."""
    date_text: str = ""
    """A date that is no number: `2010-12-01`."""


def merged_evidence(parts: Iterable[DateEvidence]) -> DateEvidence:
    """The evidence of several parts; the shortest example of each kind stays, so that their order does not matter."""
    examples = list(parts)
    found: dict[str, str] = {}
    for field in fields(DateEvidence):
        values = [value for part in examples if (value := getattr(part, field.name))]
        found[field.name] = min(values, key=lambda value: (len(value), value), default="")
    return DateEvidence(**found)


def second_reading(evidence: DateEvidence, key: str, column: str | None) -> DateReading | None:
    """The reading with which an input must be read again, after `FIRST_READING`; None: it was read as it should be.

    Args:
        evidence: What all parts of the input hold.
        key: Config key of the input, such as `inputs.events`.
        column: Name of the column.

    Raises:
        InputError: some value has two readings, and no other value settles which one is right.
    """
    number = evidence.date_number
    if number and bool(evidence.epoch_number) == bool(evidence.date_text):
        form, unit = DATE_NUMBER_FORMATS[len(number)], "s" if len(number) < _MILLIS_DIGITS else "ms"
        date, epoch = dt.datetime.strptime(number, form), _since_1970(int(number), unit)  # noqa: DTZ007
        raise InputError(
            f"{key}: {number} in the column {column!r} can be read in two ways: as the date {_shown(date)}, or as "
            f"{_UNIT_NAMES[unit]} since 1970, which is {_shown(epoch)}. Set {key}.timestamp_format to '{form}' for the "
            f"date, or to epoch_{unit}"
        )
    if evidence.either_order and bool(evidence.day_first) == bool(evidence.month_first):
        raise InputError(_either_order(evidence, key, column))
    reading = DateReading(day_first=bool(evidence.day_first), date_numbers=bool(evidence.date_text))
    other_order = bool(evidence.either_order) and reading.day_first != FIRST_READING.day_first
    other_numbers = bool(evidence.date_number) and reading.date_numbers != FIRST_READING.date_numbers
    return reading if other_order or other_numbers else None


def order_formats(text: str) -> tuple[str, str]:
    """Strptime formats of a numeric date such as `12/1/2010 8:26`: month first, and day first."""
    parts = re.match(r"\d+(\D+)\d+(\D+)(\d+)(.*)$", text)
    assert parts is not None, f"{text!r} is not a numeric date"
    left, right, year, clock = parts.groups()
    half = re.search(_HALF, clock)
    for pattern, directive in _CLOCK_DIRECTIVES:
        clock = re.sub(pattern, directive, clock, count=1)
    rest = f"{right}{'%Y' if len(year) == 4 else '%y'}{clock.replace('%H', '%I') if half else clock}"
    return f"%m{left}%d{rest}", f"%d{left}%m{rest}"


_HALF = r"(?<![A-Za-z])[AaPp]\.?[Mm](?![A-Za-z])\.?"
#: Parts of a clock time, and what strptime calls them. The first that fits a part is right.
_CLOCK_DIRECTIVES = (
    (_HALF, "%p"),
    (r"(?:[+-]\d\d:?\d\d|Z|UTC|GMT)$", "%z"),
    (r"\d+:\d+:\d+\.\d+", "%H:%M:%S.%f"),
    (r"\d+:\d+:\d+", "%H:%M:%S"),
    (r"\d+:\d+", "%H:%M"),
)
_MILLIS_DIGITS = 12
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds"}


def _either_order(evidence: DateEvidence, key: str, column: str | None) -> str:
    text = evidence.either_order
    first, second, year = (int(digits) for digits in re.findall(r"\d+", text)[:3])
    month_form, day_form = order_formats(text)
    why = "no other date of the input settles which one is right"
    if evidence.day_first:
        why = f"the input has both orders: {evidence.day_first!r} and {evidence.month_first!r}"
    return (
        f"{key}: {text!r} in the column {column!r} can be read in two ways: with the month first it is "
        f"{dt.date(year, first, second)}, with the day first {dt.date(year, second, first)}, and {why}. Set "
        f"{key}.timestamp_format to '{month_form}' (or month_first), or to '{day_form}' (or day_first)"
    )


def _since_1970(number: int, unit: str) -> dt.datetime:
    return dt.datetime(1970, 1, 1) + dt.timedelta(seconds=number if unit == "s" else number / 1000)  # noqa: DTZ001


def _shown(time: dt.datetime) -> str:
    return time.date().isoformat() if time.time() == dt.time() else time.isoformat(" ", "seconds")
