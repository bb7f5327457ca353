"""Read columns of timestamps in all common spellings, and convert them to UTC."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import ConfigError
from recsys.schema import TIMESTAMP

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Microseconds from the epoch of 0001-01-01 and 9999-12-31T23:59:59.999999: what Python's datetime can hold.
_MIN, _MAX = -62_135_596_800_000_000, 253_402_300_799_999_999
_PER_SECOND = 1_000_000
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_CLOCK = r"(?P<hour>\d{1,2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
_ISO = (
    r"^(?P<year>\d{4})-?(?P<month>\d{2})-?(?P<day>\d{2})"
    rf"(?:[Tt ]\s*{_CLOCK}\s?(?P<offset>[Zz]|UTC|GMT|[+-]\d{{2}}(?::?\d{{2}})?)?)?(?P<half>)$"
)
_MONTH_FIRST = (
    r"^(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})"
    rf"(?:[Tt ]\s*{_CLOCK}\s?(?P<half>[AaPp][Mm])?)?(?P<offset>)$"
)
_INTEGER = r"^-?(?:\d{1,18}|[1-8]\d{18})$"  # numbers that fit into 64 bits
_DECIMAL = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"


def to_utc(column: pa.Array | pa.ChunkedArray, timezone: str, timestamp_format: str | None) -> pa.Array:
    """Timestamps of a column as `timestamp[us, UTC]`; null if unreadable or outside of the years 1 to 9999.

    Text may be ISO 8601 (`2010-12-01`, `2010-12-01T08:26:00.5+02:00`, `20101201`), month/day/year
    (`12/1/2010 8:26`) or an epoch number, and one column may mix them. With a `timestamp_format`, all text must have
    that format. Epoch numbers are seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else
    nanoseconds. A timestamp without an offset is local to `timezone`. If the clock skipped that time, the end of the
    gap is taken; if the clock showed it twice, the earlier time is taken.

    Raises:
        ConfigError: the time zone or the format is unknown.
    """
    _check_timezone(timezone)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind):
        return _distinct_texts(column, timezone, timestamp_format)
    if pa.types.is_integer(kind):
        if timestamp_format is not None:  # a date written as the number 20101201
            return _distinct_texts(pc.cast(column, pa.string()), timezone, timestamp_format)
        if kind != pa.uint64():
            return _timestamps(*_from_epoch_integers(column))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _timestamps(*_from_epoch_floats(pc.cast(column, pa.float64(), safe=False)))
    if pa.types.is_date(kind):
        return _localised(*_scaled(column, 86_400 * _PER_SECOND if kind == pa.date32() else 1_000), timezone)
    if pa.types.is_timestamp(kind):
        micros, known = _scaled(column, _UNITS.get(kind.unit))
        return _timestamps(micros, known) if kind.tz else _localised(micros, known, timezone)
    return pa.nulls(len(column), TIMESTAMP)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
    )


def _check_timezone(timezone: str) -> None:
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), timezone)
    except (pa.ArrowInvalid, pa.ArrowKeyError, ValueError) as error:
        raise ConfigError(f"timezone {timezone!r} is unknown; use a name such as UTC or Europe/London") from error


def _numpy(column: pa.Array, fill: Any = 0) -> tuple[Any, Bools]:
    known = pc.is_valid(column).to_numpy(zero_copy_only=False)
    return pc.fill_null(column, fill).to_numpy(zero_copy_only=False), known


def _scaled(column: pa.Array, micros_per_unit: int | None) -> tuple[Ints, Bools]:
    """Values of a date or timestamp column in microseconds; `micros_per_unit` None stands for nanoseconds."""
    integers = column.cast(pa.int32()).cast(pa.int64()) if column.type == pa.date32() else column.cast(pa.int64())
    values, known = _numpy(integers)
    if micros_per_unit is None:
        return values // 1_000, known
    fits = (values >= _MIN // micros_per_unit) & (values <= _MAX // micros_per_unit)
    return np.where(fits, values, 0) * micros_per_unit, known & fits


def _from_epoch_integers(column: pa.Array) -> tuple[Ints, Bools]:
    values, known = _numpy(column.cast(pa.int64()))
    size = np.abs(values.astype(np.float64))  # the smallest int64 has no absolute value in int64
    seconds, millis, nanos = size < 1e11, size < 1e14, size >= 1e17
    scale = np.where(seconds, _PER_SECOND, np.where(millis, 1_000, 1)).astype(np.int64)
    return np.where(nanos, values // 1_000, np.where(nanos, 0, values) * scale), known


def _from_epoch_floats(column: pa.Array) -> tuple[Ints, Bools]:
    values, known = _numpy(column, 0.0)
    known &= np.isfinite(values) & (np.abs(values) < 1e21)
    values = np.where(known, values, 0.0)
    size = np.abs(values)
    scale = np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, np.where(size < 1e17, 1.0, 1e-3)))
    micros = np.rint(values * scale)
    known &= (micros >= _MIN) & (micros <= _MAX)
    return np.where(known, micros, 0.0).astype(np.int64), known


def _distinct_texts(column: pa.Array, timezone: str, timestamp_format: str | None) -> pa.Array:
    """Read each different text once, because many events share a minute or a day."""
    try:
        column = pc.cast(column, pa.string())
    except pa.ArrowInvalid:  # binary that is not UTF-8
        return pa.nulls(len(column), TIMESTAMP)
    encoded = pc.utf8_trim_whitespace(column).dictionary_encode()
    texts = encoded.dictionary
    found = _formatted(texts, timezone, timestamp_format) if timestamp_format else _spelled(texts, timezone)
    return found.take(encoded.indices)


def _spelled(texts: pa.Array, timezone: str) -> pa.Array:
    return pc.coalesce(
        _civil(texts, _ISO, timezone),
        _civil(texts, _MONTH_FIRST, timezone),
        _timestamps(*_from_epoch_integers(_matching(texts, _INTEGER).cast(pa.int64()))),
        _timestamps(*_from_epoch_floats(_matching(texts, _DECIMAL).cast(pa.float64()))),
    )


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern=pattern), texts, pa.scalar(None, pa.string()))


def _formatted(texts: pa.Array, timezone: str, timestamp_format: str) -> pa.Array:
    words = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["now", "today"]))
    texts = pc.if_else(words, pa.scalar(None, pa.string()), texts)  # pandas would replace these by the current time
    try:
        parsed = pd.to_datetime(
            pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object),
            format=timestamp_format,
            errors="coerce",
            utc=True,
        )
    except ValueError as error:
        raise ConfigError(f"timestamp_format {timestamp_format!r} is not a strptime format: {error}") from error
    micros = pa.array(parsed.dt.as_unit("us"), TIMESTAMP)
    if "%z" in timestamp_format or "%Z" in timestamp_format or "%s" in timestamp_format:
        return micros
    return _localised(*_numpy(micros.cast(pa.int64())), timezone)


def _civil(texts: pa.Array, pattern: str, timezone: str) -> pa.Array:
    """Timestamps of the texts that match a pattern with named calendar parts; null for the others."""
    parts = pc.extract_regex(texts, pattern=pattern)
    known = pc.is_valid(parts).to_numpy(zero_copy_only=False)

    def text(name: str) -> pa.Array:
        return pc.fill_null(pc.struct_field(parts, name), "")

    def number(strings: pa.Array) -> Ints:
        digits = pc.if_else(pc.equal(strings, ""), "0", strings)
        numbers: Ints = digits.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return numbers

    year, month, day = number(text("year")), number(text("month")), number(text("day"))
    hour, minute, second = number(text("hour")), number(text("minute")), number(text("second"))
    fraction = number(pc.utf8_slice_codeunits(pc.utf8_rpad(text("fraction"), 6, "0"), 0, 6))
    half = pc.utf8_lower(text("half")).to_numpy(zero_copy_only=False)
    known &= (half == "") | ((hour >= 1) & (hour <= 12))
    hour = np.where(half == "", hour, hour % 12 + np.where(half == "pm", 12, 0))

    known &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(known, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(known, day - 1, 0)
    known &= days.astype("datetime64[M]") == months  # no 31 June
    clock = ((hour * 60 + minute) * 60 + second) * _PER_SECOND + fraction
    local = days.astype("datetime64[us]").astype(np.int64) + clock

    offset = text("offset")
    digits = pc.replace_substring(pc.utf8_replace_slice(offset, 0, 1, ""), ":", "")
    has_sign = pc.match_substring_regex(offset, pattern=r"^[+-]").to_numpy(zero_copy_only=False)
    digits = pc.if_else(pa.array(has_sign), pc.utf8_rpad(digits, 4, "0"), "0")
    packed = number(digits)
    away = (packed // 100 * 60 + packed % 100) * 60 * _PER_SECOND
    away = np.where(pc.starts_with(offset, "-").to_numpy(zero_copy_only=False), -away, away)
    known &= (packed % 100 < 60) & (packed // 100 < 24)
    absolute = pc.not_equal(offset, "").to_numpy(zero_copy_only=False)
    return pc.if_else(
        pa.array(absolute), _timestamps(local - away, known & absolute), _localised(local, known & ~absolute, timezone)
    )


def _timestamps(micros: Ints, known: Bools) -> pa.Array:
    """UTC microseconds as a column; null where unknown or out of range."""
    good = known & (micros >= _MIN) & (micros <= _MAX)
    return pa.array(np.where(good, micros, 0), pa.int64(), mask=~good).cast(TIMESTAMP)


def _localised(micros: Ints, known: Bools, timezone: str) -> pa.Array:
    """Local microseconds as UTC timestamps."""
    local = _timestamps(micros, known).cast(pa.int64()).cast(pa.timestamp("us"))
    parsed = pc.assume_timezone(local, timezone, ambiguous="earliest", nonexistent="latest")
    return _timestamps(*_numpy(parsed.cast(pa.int64())))
