import datetime as dt
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.data.config import EventsInput
from recsys.data.times.timestamps import read_timestamps
from recsys.schema import TIMESTAMP


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


def read(values: Any, timezone: str = "UTC", timestamp_format: str | None = None) -> list[dt.datetime | None]:
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    spec = EventsInput(path="unused", timezone=timezone, timestamp_format=timestamp_format)
    timestamps = read_timestamps(column, spec).utc
    assert timestamps.type == TIMESTAMP
    assert isinstance(timestamps, pa.Array)
    return timestamps.to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2010-12-01 08:26:00", utc(2010, 12, 1, 8, 26)),
        ("2010-12-01T08:26", utc(2010, 12, 1, 8, 26)),
        ("2010-12-01T08:26:00.1234567Z", utc(2010, 12, 1, 8, 26, 0, 123456)),
        ("2010-12-01T08:26:00.5+02:00", utc(2010, 12, 1, 6, 26, 0, 500000)),
        ("2010-12-01 08:26:00-0530", utc(2010, 12, 1, 13, 56)),
        ("2010-12-01 08:26:00+01", utc(2010, 12, 1, 7, 26)),
        ("2010-12-01 08:26:00 UTC", utc(2010, 12, 1, 8, 26)),
        ("2010-12-01 08:26:00.5 +0000 UTC", utc(2010, 12, 1, 8, 26, 0, 500000)),
        ("2010-12-01 08:26:00 +0100 CET", utc(2010, 12, 1, 7, 26)),
        ("2010-12-01 08:26:00 EST", None),
        ("2010-12-01", utc(2010, 12, 1)),
        ("20101201", utc(2010, 12, 1)),
        ("20101201T082600Z", utc(2010, 12, 1, 8, 26)),
        ("12/1/2010 8:26", utc(2010, 12, 1, 8, 26)),
        ("12/01/2010 08:26:05", utc(2010, 12, 1, 8, 26, 5)),
        ("12/1/2010 12:26 AM", utc(2010, 12, 1, 0, 26)),
        ("12/1/2010", utc(2010, 12, 1)),
        ("881250949", utc(1997, 12, 4, 15, 55, 49)),
        ("881250949.5", utc(1997, 12, 4, 15, 55, 49, 500000)),
        ("881250949000", utc(1997, 12, 4, 15, 55, 49)),
        ("1700000000000000", utc(2023, 11, 14, 22, 13, 20)),
        ("1700000000000000000", utc(2023, 11, 14, 22, 13, 20)),
        ("-1", utc(1969, 12, 31, 23, 59, 59)),
        ("  0 ", utc(1970, 1, 1)),
        ("0001-01-01", utc(1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", utc(9999, 12, 31, 23, 59, 59, 999999)),
        ("0001-01-01T00:00+01:00", None),
        ("99999-01-01", None),
        ("2011-02-29", None),
        ("2010-12-01 24:00", utc(2010, 12, 2)),
        ("2010-12-01 24:01", None),
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("2016-12-31T23:58:60Z", None),
        ("31/12/2010", utc(2010, 12, 31)),
        ("31-12-2010 8:26", utc(2010, 12, 31, 8, 26)),
        ("31/02/2010", None),
        ("01.12.2010", utc(2010, 12, 1)),
        ("1. 12. 2010, 08:26", utc(2010, 12, 1, 8, 26)),
        ("12.31.2010", None),
        ("2010/12/1 8:26 PM", utc(2010, 12, 1, 20, 26)),
        ("2010:12:01 08:26:00", utc(2010, 12, 1, 8, 26)),
        ("12/1/2010, 8:26:00\u202fAM", utc(2010, 12, 1, 8, 26)),
        ("Dec 1, 2010", utc(2010, 12, 1)),
        ("December 1st, 2010 at 8:26 p.m.", utc(2010, 12, 1, 20, 26)),
        ("1 Dec 2010 8:26 AM", utc(2010, 12, 1, 8, 26)),
        ("01-DEC-2010", utc(2010, 12, 1)),
        ("01/Dec/2010:08:26:00 +0100", utc(2010, 12, 1, 7, 26)),
        ("Wed, 01 Dec 2010 08:26:00 GMT", utc(2010, 12, 1, 8, 26)),
        ("Wed Dec  1 08:26:00 2010", utc(2010, 12, 1, 8, 26)),
        ("Wed Dec 01 08:26:00 +0000 2010", utc(2010, 12, 1, 8, 26)),
        ("Wed Dec 01 2010 08:26:00 GMT+0100 (Central European Standard Time)", utc(2010, 12, 1, 7, 26)),
        ("2010-12-01T08:26:00+01:00[Europe/Paris]", utc(2010, 12, 1, 7, 26)),
        ("1 Dez 2010", None),
        ("12/1/10", None),
        ("2010-W48-3", None),
        ("2010-12-01 08:26 EST", None),
        ("0000-00-00 00:00:00", None),
        ("881250949,5", utc(1997, 12, 4, 15, 55, 49, 500000)),
        ("881,250,949", None),
        ("+881250949", utc(1997, 12, 4, 15, 55, 49)),
        ("20101201082600", utc(2010, 12, 1, 8, 26)),
        ("201012010826", utc(2010, 12, 1, 8, 26)),
        ("20101301", utc(1970, 8, 21, 15, 41, 41)),
        ("12/1/2010 13:00 PM", None),
        ("now", None),
        ("nan", None),
        ("1e400", None),
        ("1.79E+12", None),
        ("1.791235e+09", None),
        ("1.79123456E9", utc(2026, 10, 5, 21, 9, 20)),
        ("1.791234567e+18", utc(2026, 10, 5, 21, 9, 27)),
        ("1.291191960E+9", utc(2010, 12, 1, 8, 26)),
        ("99999999999999999999999", None),
        ("", None),
        ("soon", None),
    ],
)
def test_spellings(text: str, timestamp: dt.datetime | None) -> None:
    assert read([text, None, "2000-01-01", text]) == [timestamp, None, utc(2000, 1, 1), timestamp]


@pytest.mark.parametrize(
    ("column", "timestamps"),
    [
        (
            pa.array([881250949, None, 881250949000, 2**63 - 1, -(2**63)]),
            [utc(1997, 12, 4, 15, 55, 49), None] + [...] * 3,
        ),
        (pa.array([1.5, float("nan"), float("inf"), -1e300]), [utc(1970, 1, 1, 0, 0, 1, 500000), None, None, None]),
        (pa.array([2**64 - 1], pa.uint64()), [...]),
        (pa.array([0, None], pa.date32()), [utc(1970, 1, 1), None]),
        (pa.array([10**9, -(10**9)], pa.date32()), [None, None]),
        (pa.array([86_400_000], pa.date64()), [utc(1970, 1, 2)]),
        (pa.array([2**62, 60], pa.timestamp("s")), [None, utc(1970, 1, 1, 0, 1)]),
        (pa.array([1_999], pa.timestamp("ns", "Asia/Tokyo")), [utc(1970, 1, 1, 0, 0, 0, 1)]),
        (pa.array([None, None], pa.null()), [None, None]),
        (pa.array([True]), [None]),
        (pa.array([[1]]), [None]),
        (pa.array(["1970-01-02", "x"]).dictionary_encode(), [utc(1970, 1, 2), None]),
        (pa.chunked_array([["1970-01-02"], ["0"]]), [utc(1970, 1, 2), utc(1970, 1, 1)]),
        (pa.chunked_array([], pa.string()), []),
    ],
)
def test_types(column: Any, timestamps: list[Any]) -> None:
    assert [a if b is ... else b for a, b in zip(read(column), timestamps, strict=True)] == read(column)


def test_moments_without_an_offset_are_local() -> None:
    clock = ["2011-07-01 12:00", "2011-07-01 12:00Z", "7/1/2011 12:00", "1309521600"]

    assert read(clock, "Europe/London") == [
        utc(2011, 7, 1, 11),
        utc(2011, 7, 1, 12),
        utc(2011, 7, 1, 11),
        utc(2011, 7, 1, 12),
    ]
    naive = pa.array([dt.datetime(2011, 7, 1, 12)], pa.timestamp("ms"))  # noqa: DTZ001 - naive is the point
    assert read(naive, "Europe/London") == [utc(2011, 7, 1, 11)]
    assert read([dt.date(2011, 7, 1)], "Europe/London") == [utc(2011, 6, 30, 23)]


def test_skipped_times_move_on_and_repeated_times_are_the_earlier() -> None:
    assert read(["2011-03-27 01:30", "2011-10-30 01:30"], "Europe/London") == [
        utc(2011, 3, 27, 1),
        utc(2011, 10, 30, 0, 30),
    ]


def test_a_format_is_the_only_spelling_allowed() -> None:
    texts = ["01/12/2010 8:26", "31/12/2010 8:26", "2010-12-01 08:26", "today", None]

    assert read(texts, "Europe/Paris", "%d/%m/%Y %H:%M") == [
        utc(2010, 12, 1, 7, 26),
        utc(2010, 12, 31, 7, 26),
        None,
        None,
        None,
    ]
    assert read([20101201], "UTC", "%Y%m%d") == [utc(2010, 12, 1)]
    assert read(["01.12.2010 08:26 +0100"], "Asia/Tokyo", "%d.%m.%Y %H:%M %z") == [utc(2010, 12, 1, 7, 26)]


@pytest.mark.parametrize(
    ("form", "values", "timestamp"),
    [
        ("%Y%m%d", [20101201], utc(2010, 12, 1)),
        ("%Y%m%d", [20101201.0], utc(2010, 12, 1)),
        ("%Y%m%d", ["20101201.0"], utc(2010, 12, 1)),
        ("%Y%m%d", pa.array([20101201]).cast(pa.decimal128(24, 2)), utc(2010, 12, 1)),
        ("epoch_s", [20101201], utc(1970, 8, 21, 15, 40, 1)),
        ("epoch_s", ["20101201.5"], utc(1970, 8, 21, 15, 40, 1, 500000)),
        ("epoch_ms", [1291191960000.0], utc(2010, 12, 1, 8, 26)),
        ("epoch_ns", pa.array([1291191960 * 10**9], pa.uint64()), utc(2010, 12, 1, 8, 26)),
        ("epoch_s", ["2010-12-01"], None),
        ("excel", [40513.3513888889], utc(2010, 12, 1, 8, 26)),
        ("excel", ["40513,3513888889"], utc(2010, 12, 1, 8, 26)),
        ("excel", ["40513"], utc(2010, 12, 1)),
        ("day_first", ["12/1/2010"], utc(2010, 1, 12)),
        ("day_first", ["12/31/2010"], None),
        ("month_first", ["12/1/2010 8:26"], utc(2010, 12, 1, 8, 26)),
        ("month_first", ["31/12/2010"], None),
        ("%Y%m%d", [True], None),
        ("epoch_s", [[1]], None),
    ],
)
def test_a_format_holds_for_texts_and_numbers(form: str, values: Any, timestamp: dt.datetime | None) -> None:
    assert read(values, timestamp_format=form) == [timestamp]


@pytest.mark.parametrize(
    "values", [[638396640000000000], ["638396640000000000"], [6.38396640e17], [-638396640000000000]]
)
def test_ticks_of_dotnet_are_no_nanoseconds_of_1990(values: Any) -> None:
    assert read(values) == [None]
    assert read(values, timestamp_format="epoch_ns")[0] is not None


def test_dates_of_a_spreadsheet_are_local() -> None:
    assert read([40513.5], "Asia/Tokyo", "excel") == [utc(2010, 12, 1, 3)]
    assert read([20101201, "20101201"][:1], "Asia/Tokyo") == read(["20101201"], "Asia/Tokyo") == [utc(2010, 11, 30, 15)]


@pytest.mark.parametrize("form", ["%Q", "soon", "epoch"])
def test_unknown_formats(form: str) -> None:
    with pytest.raises(
        ValidationError, match=r"strptime format such as '%d/%m/%Y %H:%M', or one of month_first, day_f"
    ):
        EventsInput(path="unused", timestamp_format=form)


@pytest.mark.parametrize(
    ("timezone", "hint"),
    [
        ("Mars/Olympus", "use a name such as"),
        ("utc+25", "use a name such as"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("Europe/Pariss", "did you mean Europe/Paris"),
    ],
)
def test_unknown_zones(timezone: str, hint: str) -> None:
    with pytest.raises(ValidationError, match=rf"{re.escape(timezone)}.*{hint}"):
        EventsInput(path="unused", timezone=timezone)


@given(st.lists(st.datetimes(timezones=st.just(dt.UTC)), max_size=5))
def test_iso_text_and_epoch_numbers_round_trip(timestamps: list[dt.datetime]) -> None:
    assert read(pa.array([timestamp.isoformat() for timestamp in timestamps], pa.string()), "Asia/Tokyo") == timestamps
    seconds = [timestamp.replace(microsecond=0) for timestamp in timestamps if abs(timestamp.timestamp()) < 1e11]
    assert read(pa.array([int(timestamp.timestamp()) for timestamp in seconds], pa.int64())) == seconds


@given(
    st.lists(
        st.one_of(st.none(), st.text(max_size=12), st.from_regex(r"[-+]?[0-9./:T -]{1,25}", fullmatch=True)), max_size=5
    ),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"]),
)
def test_no_text_raises(texts: list[str | None], timezone: str) -> None:
    assert len(read(pa.array(texts, pa.string()), timezone)) == len(texts)


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats()), max_size=5))
def test_no_number_raises(numbers: list[Any]) -> None:
    assert len(read(pa.array([float(number) for number in numbers], pa.float64()))) == len(numbers)
    whole = [number for number in numbers if isinstance(number, int)]
    assert len(read(pa.array(whole, pa.int64()), "Europe/London")) == len(whole)
    for unit in ("s", "ms", "us", "ns"):
        read(pa.array(whole, pa.timestamp(unit)), "Europe/London")
