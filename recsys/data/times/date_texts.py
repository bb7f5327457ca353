"""Read dates and times that people and programs write as text."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.times.date_evidence import DateEvidence, DateReading, merged_evidence
from recsys.data.times.epoch_numbers import read_floats, read_integers
from recsys.data.times.moments import (
    MICROS_PER_DAY,
    MICROS_PER_SECOND,
    Bools,
    Ints,
    Moments,
    days_of_calendar,
    micros_of_clock,
    values_and_known,
)

_LONGEST = 100
_BLANKS = r"[\s\p{Z}]+"
_CLOCK = (
    r"(?P<hour>\d{1,2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
    r"(?: ?(?P<half>[AaPp]\.? ?[Mm]\.?))?"
)
# An offset, and the name of its zone, which adds nothing: `+01:00[Europe/Paris]`, `GMT+0100 (Central European Time)`,
# `+0000 UTC`.
_ZONE = r"(?: ?(?P<offset>[Zz]|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT)(?: ?\([^()]*\)|\[[^\[\]]*\]| [A-Z]{3,5})?)?"
_TIME = rf"(?:(?:[Tt] ?|,? at |,? |:){_CLOCK}{_ZONE})?"
_WEEKDAY = r"(?:[A-Za-z]{3,9},? )?"
_ORDINAL = r"(?:st|nd|rd|th)?"
#: `one` and `two` are the day and the month, in an order that the text does not show.
_SPELLINGS = (
    rf"^(?P<year>\d{{4}})[-/.:](?P<month>\d{{1,2}})[-/.:](?P<day>\d{{1,2}}){_TIME}$",
    rf"^(?P<year>\d{{4}})(?P<month>\d{{2}})(?P<day>\d{{2}})(?:[Tt] ?| ){_CLOCK}{_ZONE}$",
    rf"^(?P<one>\d{{1,2}})[-/](?P<two>\d{{1,2}})[-/](?P<year>\d{{4}}){_TIME}$",
    rf"^(?P<day>\d{{1,2}})\. ?(?P<month>\d{{1,2}})\. ?(?P<year>\d{{4}}){_TIME}$",
    rf"^{_WEEKDAY}(?P<day>\d{{1,2}}){_ORDINAL}[-/. ]+(?P<name>[A-Za-z]{{3,9}})\.?,?[-/ ](?P<year>\d{{4}}){_TIME}$",
    rf"^{_WEEKDAY}(?P<name>[A-Za-z]{{3,9}})\.? (?P<day>\d{{1,2}}){_ORDINAL},? (?P<year>\d{{4}}){_TIME}$",
    rf"^{_WEEKDAY}(?P<name>[A-Za-z]{{3,9}}) (?P<day>\d{{1,2}}) {_CLOCK}{_ZONE} (?P<year>\d{{4}})$",
)
_INTEGER = r"^[+-]?(?:\d{1,18}|[1-8]\d{18})$"  # numbers that fit into 64 bits
_DECIMAL = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_ROUNDED_DIGITS = 6  # behind the point, at most, where a program has rounded a number
_DECIMAL_COMMA = r"^([+-]?\d{4,}),(\d+)$"  # with thousands separators, three digits would stand before the first comma
_MONTHS = [
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
]  # fmt: skip

#: Which texts [N] it can read; and the points in time and the evidence of these.
_Reader = Callable[[pa.Array, DateReading], tuple[Bools, Moments, DateEvidence]]


def read_texts(texts: pa.Array, reading: DateReading) -> tuple[Moments, DateEvidence]:
    """Points in time of different texts [N], unknown where no spelling fits, and the evidence of their dates."""
    texts = _tidy(texts)
    found = Moments(np.zeros(len(texts), np.int64), np.zeros(len(texts), bool), np.zeros(len(texts), bool))
    evidence: list[DateEvidence] = []
    left = np.flatnonzero(pc.is_valid(texts).to_numpy(zero_copy_only=False))
    first, *others = (functools.partial(_read_spelling, pattern) for pattern in _SPELLINGS)
    readers: list[_Reader] = [first, _read_integers, *others, _read_floats]
    for read in readers:  # the commonest first: each one costs time
        if not len(left):
            break
        fits, moments, shown = read(texts.take(pa.array(left)), reading)
        evidence.append(shown)
        places = left[fits]
        found.micros[places], found.known[places], found.local[places] = moments.micros, moments.known, moments.local
        left = left[~fits]
    return found, merged_evidence(evidence)


def _tidy(texts: pa.Array) -> pa.Array:
    """With one plain blank for each run of blanks: phones write a narrow one before AM. What is too long is null."""
    texts = pc.if_else(pc.less_equal(pc.binary_length(texts), _LONGEST), texts, pa.scalar(None, pa.string()))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, pattern=_BLANKS, replacement=" "))


def _read_spelling(pattern: str, texts: pa.Array, reading: DateReading) -> tuple[Bools, Moments, DateEvidence]:
    """Which texts [N] have a spelling; and the points in time and the evidence of these."""
    parts = pc.extract_regex(texts, pattern=pattern)
    fits = pc.is_valid(parts).to_numpy(zero_copy_only=False)
    parts = _Parts(parts.drop_null())
    evidence = DateEvidence()
    if parts.has("one"):
        month, day, evidence = _in_order(parts, texts.filter(pa.array(fits)), reading)
    else:
        month = _month_of(parts.text("name")) if parts.has("name") else parts.number("month")
        day = parts.number("day")
    moments = _civil(parts, month, day)
    return fits, moments, replace(evidence, date_text=_shortest(texts.filter(pa.array(fits)), moments.known))


class _Parts:
    """Named parts of texts [N]; a part that a text lacks is empty."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    def has(self, name: str) -> bool:
        return bool(self._parts.type.get_field_index(name) >= 0)

    def text(self, name: str) -> pa.Array:
        return pc.struct_field(self._parts, name)

    def number(self, name: str) -> Ints:
        return _number(self.text(name))


def _number(strings: pa.Array) -> Ints:
    numbers: Ints = pc.if_else(pc.equal(strings, ""), "0", strings).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers


def _month_of(names: pa.Array) -> Ints:
    """1 to 12 for the English name of a month, whole or in three letters; 0 for other words."""
    names = pc.replace_substring_regex(pc.utf8_lower(names), pattern="^sept$", replacement="sep")
    known = pa.array(_MONTHS + [name[:3] for name in _MONTHS])
    places = pc.fill_null(pc.index_in(names, value_set=known, skip_nulls=True), -1).to_numpy()
    return np.where(places < 0, 0, places % 12 + 1).astype(np.int64)


def _in_order(parts: _Parts, texts: pa.Array, reading: DateReading) -> tuple[Ints, Ints, DateEvidence]:
    """Months and days of dates such as `12/1/2010`, and their evidence."""
    year, one, two = parts.number("year"), parts.number("one"), parts.number("two")
    month_first, day_first = days_of_calendar(year, one, two)[1], days_of_calendar(year, two, one)[1]
    both = month_first & day_first
    by_day = np.where(both | reading.one_order, reading.day_first, day_first)
    evidence = DateEvidence(
        either_order=_shortest(texts, both & (one != two)),
        day_first=_shortest(texts, day_first & ~month_first),
        month_first=_shortest(texts, month_first & ~day_first),
    )
    return np.where(by_day, two, one), np.where(by_day, one, two), evidence


def _shortest(texts: pa.Array, where: Bools) -> str:
    if not where.any():
        return ""
    chosen = texts.filter(pa.array(where))
    lengths = pc.binary_length(chosen)
    return str(pc.min(chosen.filter(pc.equal(lengths, pc.min(lengths)))).as_py())


def _civil(parts: _Parts, month: Ints, day: Ints) -> Moments:
    days, known = days_of_calendar(parts.number("year"), month, day)
    hour = parts.number("hour")
    half = pc.utf8_lower(pc.utf8_slice_codeunits(parts.text("half"), 0, 1)).to_numpy(zero_copy_only=False)
    known &= (half == "") | ((hour >= 1) & (hour <= 12))
    hour = np.where(half == "", hour, hour % 12 + np.where(half == "p", 12, 0))
    clock, readable = micros_of_clock(hour, parts.number("minute"), parts.number("second"))
    fraction = _number(pc.utf8_slice_codeunits(pc.utf8_rpad(parts.text("fraction"), 6, "0"), 0, 6))
    away, sound, is_local = _offsets(parts.text("offset"))
    micros = days * MICROS_PER_DAY + clock + fraction - away
    return Moments(micros, known & readable & sound, is_local)


def _offsets(offsets: pa.Array) -> tuple[Ints, Bools, Bools]:
    """Microseconds [N] of offsets such as `+0530`, which of them are possible, and which are missing."""
    missing = pc.equal(offsets, "").to_numpy(zero_copy_only=False)
    if missing.all():
        return np.zeros(len(missing), np.int64), np.ones(len(missing), bool), missing
    digits = pc.replace_substring_regex(offsets, pattern="[^0-9]", replacement="")
    packed = _number(pc.if_else(pc.equal(digits, ""), "", pc.utf8_rpad(digits, 4, "0")))
    micros = (packed // 100 * 60 + packed % 100) * 60 * MICROS_PER_SECOND
    west = pc.match_substring(offsets, "-").to_numpy(zero_copy_only=False)
    return np.where(west, -micros, micros), (packed % 100 < 60) & (packed // 100 < 24), missing


def _read_integers(texts: pa.Array, reading: DateReading) -> tuple[Bools, Moments, DateEvidence]:
    fits = pc.match_substring_regex(texts, pattern=_INTEGER).to_numpy(zero_copy_only=False)
    numbers = pc.replace_substring_regex(texts.filter(pa.array(fits)), pattern=r"^\+", replacement="").cast(pa.int64())
    return fits, *read_integers(*values_and_known(numbers), reading)


def _read_floats(texts: pa.Array, reading: DateReading) -> tuple[Bools, Moments, DateEvidence]:
    fits, numbers = text_numbers(texts)
    return fits, *read_floats(*values_and_known(numbers), reading)


def text_numbers(texts: pa.Array) -> tuple[Bools, pa.Array]:
    """Which texts [N] are decimal numbers, with a point or a comma; and the numbers (float64) of these.

    A number such as `1.79E+12` does not fit: it has fewer digits than the number that a program has rounded.
    """
    points = pc.replace_substring_regex(texts, pattern=_DECIMAL_COMMA, replacement=r"\1.\2")
    fits = pc.fill_null(pc.match_substring_regex(points, pattern=_DECIMAL), False)
    if pc.any(pc.match_substring(points.filter(fits), "e", ignore_case=True)).as_py():
        exact = [fit and _has_all_digits(text) for text, fit in zip(points.to_pylist(), fits.to_pylist(), strict=True)]
        fits = pa.array(exact, pa.bool_())
    chosen = pc.replace_substring_regex(points.filter(fits), pattern=r"^\+", replacement="")
    return fits.to_numpy(zero_copy_only=False), chosen.cast(pa.float64())


def _has_all_digits(text: str) -> bool:
    """Whether a number has enough digits that no program has rounded it.

    Spreadsheets and C write `E+12` after at most 6 digits behind the point. Java writes `E12`, and leaves out zeros at
    the end only.

    >>> _has_all_digits("1.791234567E+09"), _has_all_digits("1.79E9"), _has_all_digits("1.79E+12")
    (True, True, False)
    """
    mantissa, _, exponent = text.lower().partition("e")
    digits = mantissa.partition(".")[2]
    return "+" not in exponent or len(digits) >= min(int(exponent), _ROUNDED_DIGITS + 1)
