"""Read columns of timestamps in all common spellings, and convert them to UTC."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.config import TableInput
from recsys.data.times.date_evidence import FIRST_READING, DateEvidence, DateReading
from recsys.data.times.date_texts import read_texts, text_numbers
from recsys.data.times.epoch_numbers import read_floats, read_in_unit, read_integers
from recsys.data.times.moments import (
    MAX_MICROS,
    MICROS_PER_DAY,
    MICROS_PER_SECOND,
    MIN_MICROS,
    Bools,
    Ints,
    Moments,
    absolute,
    as_timestamps,
    check_timezone,
    local,
    values_and_known,
)
from recsys.data.times.timestamp_formats import DAY_FIRST, NUMBER_FORMATS, ORDER_FORMATS
from recsys.data.values.cells import as_text, is_number, is_text, one_chunk
from recsys.errors import ConfigError
from recsys.schema import TIMESTAMP

_MICROS_PER_UNIT = {"s": MICROS_PER_SECOND, "ms": 1_000, "us": 1}


@dataclass(frozen=True, slots=True)
class Timestamps:
    """The timestamps of a column."""

    utc: pa.Array
    """TIMESTAMP [N]; null if unreadable or outside of the years 1 to 9999."""
    evidence: DateEvidence
    """What its values prove about dates with two readings; nothing where `timestamp_format` settles them."""


def read_timestamps(column: pa.ChunkedArray, spec: TableInput, reading: DateReading = FIRST_READING) -> Timestamps:
    """Timestamps of a column of text, numbers, dates or times; see `docs/your-data.md` for what is read.

    A timestamp without an offset is local to `spec.timezone`. If the clock skipped that time, the end of the gap is
    taken; if the clock showed it twice, the earlier time is taken. `spec.timestamp_format` holds for texts and numbers.

    Args:
        column: The values [N].
        spec: The input, for its time zone and format.
        reading: How dates with two readings are read. A text with only one reading is read in that one.

    Raises:
        ConfigError: the time zone or the format is unknown.
    """
    check_timezone(spec.timezone)
    values = one_chunk(column)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind, form = values.type, spec.timestamp_format
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return Timestamps(as_timestamps(_typed(values), spec.timezone), DateEvidence())
    if form in ORDER_FORMATS:
        reading = replace(reading, day_first=form == DAY_FIRST, one_order=True)
        moments, evidence = _untyped(values, reading)
        evidence = replace(evidence, either_order="", day_first="", month_first="")
    elif form is None:
        moments, evidence = _untyped(values, reading)
    else:
        moments, evidence = _in_format(values, form), DateEvidence()
    return Timestamps(as_timestamps(moments, spec.timezone), evidence)


def _typed(values: pa.Array) -> Moments:
    """Points in time of a date or timestamp column."""
    kind = values.type
    if pa.types.is_date(kind):
        micros_per_unit = MICROS_PER_DAY if kind == pa.date32() else 1_000
        return local(*_scaled(values, micros_per_unit))
    micros, known = _scaled(values, _MICROS_PER_UNIT.get(kind.unit))
    return absolute(micros, known) if kind.tz else local(micros, known)


def _scaled(values: pa.Array, micros_per_unit: int | None) -> tuple[Ints, Bools]:
    """Values of a date or timestamp column in microseconds; `micros_per_unit` None stands for nanoseconds."""
    integers = values.cast(pa.int32()).cast(pa.int64()) if values.type == pa.date32() else values.cast(pa.int64())
    numbers, known = values_and_known(integers)
    if micros_per_unit is None:
        return numbers // 1_000, known
    fits = (numbers >= MIN_MICROS // micros_per_unit) & (numbers <= MAX_MICROS // micros_per_unit)
    return np.where(fits, numbers, 0) * micros_per_unit, known & fits


def _untyped(values: pa.Array, reading: DateReading) -> tuple[Moments, DateEvidence]:
    """Points in time of texts and numbers in any spelling."""
    kind = values.type
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return read_integers(*values_and_known(values.cast(pa.int64())), reading)
    if is_number(kind):
        return read_floats(*values_and_known(pc.cast(values, pa.float64(), safe=False), 0.0), reading)
    if not (is_text(kind) or pa.types.is_binary(kind)):
        return _unknown(len(values)), DateEvidence()
    encoded = as_text(values).dictionary_encode()  # many events share a minute or a day: each text is read once
    moments, evidence = read_texts(encoded.dictionary, reading)
    return _spread(moments, encoded.indices), evidence


def _in_format(values: pa.Array, form: str) -> Moments:
    """Points in time of texts and numbers in the only format that is allowed."""
    kind = values.type
    if form in NUMBER_FORMATS and is_number(kind):
        return read_in_unit(*values_and_known(pc.cast(values, pa.float64(), safe=False), 0.0), form)
    if not (is_text(kind) or pa.types.is_binary(kind) or is_number(kind)):
        return _unknown(len(values))
    encoded = pc.utf8_trim_whitespace(as_text(values)).dictionary_encode()  # the number 20101201.0 is "20101201"
    texts = encoded.dictionary
    if form not in NUMBER_FORMATS:
        return _spread(_strptime(texts, form), encoded.indices)
    fits, numbers = text_numbers(texts)
    moments = _unknown(len(texts))
    found = read_in_unit(*values_and_known(numbers, 0.0), form)
    moments.micros[fits], moments.known[fits], moments.local[fits] = found.micros, found.known, found.local
    return _spread(moments, encoded.indices)


def _strptime(texts: pa.Array, form: str) -> Moments:
    words = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["now", "today"]))
    texts = pc.if_else(words, pa.scalar(None, pa.string()), texts)  # pandas would replace these by the current time
    if "." not in form:  # pandas writes whole numbers as 20101201.0 where some are missing
        texts = pc.replace_substring_regex(texts, pattern=r"^(\d+)\.0+$", replacement=r"\1")
    try:
        series = pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object)
        parsed = pd.to_datetime(series, format=form, errors="coerce", utc=True)
    except ValueError as error:
        raise ConfigError(f"timestamp_format {form!r} is not a strptime format: {error}") from error
    micros, known = values_and_known(pa.array(parsed.dt.as_unit("us"), TIMESTAMP).cast(pa.int64()))
    return absolute(micros, known) if "%z" in form or "%Z" in form else local(micros, known)


def _spread(moments: Moments, indices: pa.Array) -> Moments:
    """The point in time of each row, from those of the different values."""
    places, known = values_and_known(indices)
    if not len(moments.micros):
        return _unknown(len(places))
    return Moments(moments.micros[places], moments.known[places] & known, moments.local[places])


def _unknown(num: int) -> Moments:
    return local(np.zeros(num, np.int64), np.zeros(num, bool))
