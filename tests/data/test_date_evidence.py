import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.config import EventsInput
from recsys.data.times.date_evidence import DateEvidence, merged_evidence, order_formats, second_reading
from recsys.data.times.timestamps import read_timestamps
from recsys.errors import InputError

SPEC = EventsInput(path="unused")


def evidence_of(values: Any) -> DateEvidence:
    return read_timestamps(pa.chunked_array([values]), SPEC).evidence


def dates(values: Any) -> list[str]:
    """The dates of a column after its reading is settled."""
    column = pa.chunked_array([values])
    found = read_timestamps(column, SPEC)
    if reading := second_reading(found.evidence, "inputs.events", "when"):
        found = read_timestamps(column, SPEC, reading)
    return [time.date().isoformat() for time in found.utc.to_pylist()]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["12/1/2010", "12/31/2010"], ["2010-12-01", "2010-12-31"]),
        (["12/1/2010", "31/12/2010 8:26"], ["2010-01-12", "2010-12-31"]),
        (["12-1-2010", "31/12/2010"], ["2010-01-12", "2010-12-31"]),
        (["12/12/2010"], ["2010-12-12"]),  # both readings are the same
        (["31/12/2010", "12/31/2010"], ["2010-12-31", "2010-12-31"]),  # each has only one reading
        (["12.1.2010"], ["2010-01-12"]),  # nobody writes points after the month first
        ([20101201, 1291191960], ["1970-08-21", "2010-12-01"]),  # one column counts in one way
        (["20101201", "1291191960.5"], ["1970-08-21", "2010-12-01"]),
        (["20101201", "1 Dec 2010"], ["2010-12-01", "2010-12-01"]),
        (["1291191960", "2010-12-01"], ["2010-12-01", "2010-12-01"]),  # neither has two readings
    ],
)
def test_one_value_settles_the_others(values: list[Any], read: list[str]) -> None:
    assert dates(values) == dates(values[::-1])[::-1] == read


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            ["12/1/2010 8:26", "2010-12-31"],
            "inputs.events: '12/1/2010 8:26' in the column 'when' can be read in two ways: with the month first it is "
            "2010-12-01, with the day first 2010-01-12, and no other date of the input settles which one is right. "
            "Set inputs.events.timestamp_format to '%m/%d/%Y %H:%M' (or month_first), or to "
            "'%d/%m/%Y %H:%M' (or day_first)",
        ),
        (["12/1/2010", "31/12/2010", "12/31/2010"], "has both orders: '31/12/2010' and '12/31/2010'"),
        (["1-2-2010 8:26:30 PM"], "'%m-%d-%Y %I:%M:%S %p' (or month_first), or to '%d-%m-%Y %I:%M:%S %p'"),
        (
            [20101201],
            "inputs.events: 20101201 in the column 'when' can be read in two ways: as the date 2010-12-01, or as ",
        ),
        (
            [20101201.0],
            "seconds since 1970, which is 1970-08-21 15:40:01. Set inputs.events.timestamp_format to '%Y%m%d'",
        ),
        (["20101201", "1291191960", "2010-12-01"], "20101201 in the column 'when' can be read in two ways"),
        (["20101201"], "to '%Y%m%d' for the date, or to epoch_s"),
        (["20101201.0", None, "x"], "to '%Y%m%d' for the date, or to epoch_s"),
        (["20101201082600"], "'%Y%m%d%H%M%S' for the date, or to epoch_ms"),
        ([201012010826], "as the date 2010-12-01 08:26:00, or as milliseconds since 1970, which is 1976"),
    ],
)
def test_two_readings_are_refused(values: list[Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        dates(values)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "form", "time"),
    [
        ("12/1/2010", "%m/%d/%Y", (2010, 12, 1)),
        ("12-1-2010 08:26", "%m-%d-%Y %H:%M", (2010, 12, 1, 8, 26)),
        ("12/1/2010, 8:26:05 PM", "%m/%d/%Y, %I:%M:%S %p", (2010, 12, 1, 20, 26, 5)),
        ("12/1/2010 8:26:05.25", "%m/%d/%Y %H:%M:%S.%f", (2010, 12, 1, 8, 26, 5, 250000)),
        ("12/1/2010 8:26 +01:00", "%m/%d/%Y %H:%M %z", (2010, 12, 1, 7, 26)),
        ("12/1/2010 8:26 PM +0100", "%m/%d/%Y %I:%M %p %z", (2010, 12, 1, 19, 26)),
        ("12/1/10", "%m/%d/%y", (2010, 12, 1)),
    ],
)
def test_the_formats_read_the_example(text: str, form: str, time: tuple[int, ...]) -> None:
    assert order_formats(text)[0] == form
    spec = EventsInput(path="unused", timestamp_format=form)
    assert read_timestamps(pa.chunked_array([[text]]), spec).utc.to_pylist() == [
        dt.datetime(*time, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]
    ]


@given(
    st.lists(st.sampled_from(["1/2/2010", "13/1/2010", "1/13/2010", "20101201", "1291191960", "x", None])),
    st.integers(0, 9),
)
def test_the_evidence_does_not_depend_on_the_division_into_chunks(values: list[str | None], cut: int) -> None:
    parts = [evidence_of(pa.array(part, pa.string())) for part in (values[cut:], values[:cut])]

    assert merged_evidence(parts) == evidence_of(pa.array(values, pa.string()))
