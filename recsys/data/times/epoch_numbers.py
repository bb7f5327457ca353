"""Read numbers as points in time: since 1970, or as the digits of a date such as 20101201."""

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.data.times.date_evidence import DateEvidence, DateReading
from recsys.data.times.moments import (
    MAX_MICROS,
    MICROS_PER_DAY,
    MICROS_PER_SECOND,
    MIN_MICROS,
    Bools,
    Ints,
    Moments,
    absolute,
    days_of_calendar,
    local,
    micros_of_clock,
)

#: Microseconds of one unit, for numbers whose unit is named.
EPOCH_UNITS = {"epoch_s": 1e6, "epoch_ms": 1e3, "epoch_us": 1.0, "epoch_ns": 1e-3}
#: Spreadsheets count days. Day 0 is 1899-12-30 there, because they take 1900 for a leap year.
_SPREADSHEET_DAY_0 = -25_569
#: Numbers with 8, 12 and 14 digits that begin with a year: the first, the last, and the power of ten after the day.
_DATE_NUMBERS = (
    (1900_01_01, 2100_12_31, 1),
    (1900_01_01_00_00, 2100_12_31_23_59, 10_000),
    (1900_01_01_00_00_00, 2100_12_31_23_59_59, 1_000_000),
)
#: .NET counts 100 ns from the year 1: its ticks of the years 1997 to 2060 would be nanoseconds of 1990.
_TICKS = (6.3e17, 6.5e17)
#: A number proves that a column counts from 1970 if it is a time of the years 1990 to 2100.
_PROOF = (631_152_000 * MICROS_PER_SECOND, 4_102_444_800 * MICROS_PER_SECOND)


def read_integers(values: Ints, known: Bools, reading: DateReading) -> tuple[Moments, DateEvidence]:
    """Points in time of whole numbers.

    A number since 1970 is in seconds below 1e11, in milliseconds below 1e14, in microseconds below 1e17, else in
    nanoseconds. The ticks of .NET are unknown.
    """
    size = np.abs(values.astype(np.float64))  # the smallest int64 has no absolute value in int64
    known = known & ~_are_ticks(size)
    seconds, millis, nanos = size < 1e11, size < 1e14, size >= 1e17
    scale = np.where(seconds, MICROS_PER_SECOND, np.where(millis, 1_000, 1)).astype(np.int64)
    micros = np.where(nanos, values // 1_000, np.where(nanos, 0, values) * scale)
    return _with_date_numbers(values, micros, known, reading)


def read_floats(values: npt.NDArray[np.float64], known: Bools, reading: DateReading) -> tuple[Moments, DateEvidence]:
    """Points in time of numbers, in the units of `read_integers`."""
    known = known & np.isfinite(values) & (np.abs(values) < 1e21)
    values = np.where(known, values, 0.0)
    size = np.abs(values)
    known = known & ~_are_ticks(size)
    scale = np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, np.where(size < 1e17, 1.0, 1e-3)))
    micros, readable = _rounded(values * scale)
    whole = np.where(np.trunc(values) == values, values, 0.0)
    whole = np.where(size < 1e15, whole, 0.0).astype(np.int64)
    return _with_date_numbers(whole, micros, known & readable, reading)


def read_in_unit(values: npt.NDArray[np.float64], known: Bools, unit: str) -> Moments:
    """Points in time of numbers in one unit: one of EPOCH_UNITS, or `excel` for the days of a spreadsheet (local)."""
    known = known & np.isfinite(values) & (np.abs(values) < 1e21)
    values = np.where(known, values, 0.0)
    if unit == "excel":
        # A double holds a day's part to about a microsecond; spreadsheets show milliseconds.
        micros, readable = _rounded(np.rint(values * 86_400_000) * 1_000 + _SPREADSHEET_DAY_0 * MICROS_PER_DAY)
        return local(micros, known & readable)
    micros, readable = _rounded(values * EPOCH_UNITS[unit])
    return absolute(micros, known & readable)


def _are_ticks(size: npt.NDArray[np.float64]) -> Bools:
    first, last = _TICKS
    return np.asarray((size >= first) & (size < last))


def _rounded(micros: Any) -> tuple[Ints, Bools]:
    micros = np.rint(micros)
    readable = (micros >= MIN_MICROS) & (micros <= MAX_MICROS)
    return np.where(readable, micros, 0.0).astype(np.int64), readable


def _with_date_numbers(numbers: Ints, micros: Ints, known: Bools, reading: DateReading) -> tuple[Moments, DateEvidence]:
    """The points in time since 1970, and those of the numbers that are dates, where `reading` says so."""
    is_date = np.zeros(len(numbers), bool)
    least, greatest = (numbers.min(), numbers.max()) if len(numbers) else (0, 0)
    for first, last, scale in _DATE_NUMBERS:
        if greatest < first or least > last:
            continue  # the usual case, in which nothing else is worth its time
        places = np.flatnonzero((numbers >= first) & (numbers <= last) & known)
        if len(places):
            found, good = _digits_as_micros(numbers[places], scale)
            is_date[places] = good
            if reading.date_numbers:
                micros[places[good]] = found[good]
    evidence = DateEvidence(date_number=_least(numbers[is_date]), epoch_number=_proof(micros, known & ~is_date))
    return Moments(micros, known, is_date & reading.date_numbers), evidence


def _digits_as_micros(numbers: Ints, scale: int) -> tuple[Ints, Bools]:
    date, clock = numbers // scale, numbers % scale
    days, known = days_of_calendar(date // 10_000, date // 100 % 100, date % 100)
    seconds = clock % 100 if scale == 1_000_000 else np.zeros_like(clock)
    minutes = clock // (scale // 10_000) if scale > 1 else clock  # hour and minute, four digits
    micros, readable = micros_of_clock(minutes // 100, minutes % 100, seconds)
    return days * MICROS_PER_DAY + micros, known & readable


def _proof(micros: Ints, known: Bools) -> str:
    """The first time that only a number since 1970 can be."""
    first, last = _PROOF
    if len(micros) and first <= micros.min() <= last and known.all():
        return str(micros.min())
    return _least(micros[known & (micros >= first) & (micros <= last)])


def _least(values: Ints) -> str:
    return str(values.min()) if len(values) else ""
