"""Feedback that a night would put into quarantine is refused with the name of its field."""

import datetime as dt
import io
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys.data.config import EventColumns, EventsInput
from recsys.data.events.event_checks import RowRules
from recsys.data.events.feedback import feedback_source, read_feedback
from recsys.data.events.interactions import EventRules
from recsys.data.formats.jsonl import read_jsonl
from recsys.serving.contracts import FeedbackBatch, FeedbackEvent
from recsys.serving.error_replies import ApiError
from recsys.serving.feedback_checks import check_feedback
from recsys.serving.feedback_log import feedback_line

NOW = dt.datetime(2026, 11, 22, 9, tzinfo=dt.UTC)
RULES = RowRules(max_id_chars=12, earliest=dt.datetime(1990, 1, 1, tzinfo=dt.UTC))
GOOD: dict[str, Any] = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "timestamp": NOW}


def fault(**values: Any) -> tuple[str | None, str] | None:
    return fault_of(FeedbackEvent(**GOOD | values))


def fault_of(body: FeedbackEvent | FeedbackBatch) -> tuple[str | None, str] | None:
    """(field, message) of the error; None: the feedback is stored."""
    try:
        check_feedback(body, RULES, NOW)
    except ApiError as error:
        return error.detail.field, error.detail.message
    return None


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        *[("user_id", value, "missing value") for value in ("undefined", "null", " ", "\u200b", "\u00a0")],
        *[("item_id", value, "missing value") for value in (" ", "NaN")],
        ("event_id", "NULL", "missing value"),
        ("user_id", "a\u2028b", "line separators, got 'a\\u2028b'"),
        ("user_id", "1.23457E+11", "without its last digits"),
        ("user_id", "x" * 13, "at most 12 characters"),
        ("item_id", "\u0958" * 7, "at most 12 characters"),  # two characters each in the form NFC
        ("timestamp", 0, "is before 1990-01-01 (inputs.earliest_date), got '1970-01-01T00:00:00+00:00'"),
        ("timestamp", "0001-01-01T00:00:00+14:00", "is before 1990-01-01"),
        ("timestamp", "2050-01-01", "is in the future"),
        ("timestamp", "9999-12-31T23:59:59-14:00", "is in the future"),
        ("timestamp", NOW + dt.timedelta(days=2), "is in the future"),
    ],
)
def test_what_no_night_accepts_is_refused_with_its_field(field: str, value: Any, why: str) -> None:
    found = fault(**{field: value})
    assert found is not None
    assert found[0] == field
    assert found[1].startswith(f"{field}: ")
    assert why in found[1]


def test_a_search_needs_words_and_the_first_bad_event_is_named() -> None:
    assert fault(item_id=None, text="red lamp") is None
    assert fault(item_id=None, text="n/a") == (
        "text",
        "text: is empty, holds only punctuation, or is a word that stands for a missing value (inputs.missing_values), "
        "got 'n/a'",
    )
    assert (fault(item_id=None, text="?!") or ("",))[0] == "text"
    assert fault(text="?!") is None, "a review of an item, without a word"
    good = FeedbackEvent(**GOOD)
    late = FeedbackEvent(**GOOD | {"timestamp": "2050-01-01"})
    batch = FeedbackBatch(events=[good, late, FeedbackEvent(**GOOD | {"event_id": "null"})])
    assert (fault_of(batch) or ("",))[0] == "events.1.timestamp"
    assert fault_of(FeedbackBatch(events=[good])) is None


IDS = st.text(min_size=1, max_size=9) | st.sampled_from(["None", " u ", "\ufeffu", "1E+5", "7.0", "<br>", "2026-11-22"])
TIMES = st.datetimes(timezones=st.sampled_from([None, *(dt.timezone(dt.timedelta(hours=h)) for h in (-14, 0, 14))]))
EVENTS = st.fixed_dictionaries(
    {"event_id": IDS, "user_id": IDS},
    optional={
        "item_id": IDS,
        "timestamp": TIMES | st.integers(-3, 3).map(lambda days: NOW + dt.timedelta(days)),
        "event": st.text(max_size=9),
        "weight": st.floats(0, 1e6),
        "text": st.text(max_size=9) | st.sampled_from(["null", " nan ", "<b>", "\u200b", "?!"]),
    },
)


@given(EVENTS, st.booleans())
@example({"event_id": "e", "user_id": "u", "item_id": "null", "text": "lamp"}, True)
@example({"event_id": "e", "user_id": "u", "text": "#N/A"}, True)
def test_the_night_accepts_what_is_stored(values: dict[str, Any], reads_texts: bool) -> None:
    try:
        event = FeedbackEvent(**values)
    except ValueError:
        return
    if fault_of(event) is not None:
        return
    (chunk,) = read_jsonl(io.BytesIO(feedback_line(event, NOW)), "f.jsonl")
    assert json.loads(feedback_line(event, NOW))["event_id"]
    spec = feedback_source("f", EventsInput(path="x", columns=EventColumns(text="t" if reads_texts else None)))
    known = pa.array([event.item_id or ""])
    rules = EventRules(**vars(RULES), known_items=known, end=NOW + dt.timedelta(hours=15), now=NOW)
    found = read_feedback(chunk.table, "f.jsonl", spec, rules, 0)
    assert set(found.read.quarantined["reason"].to_pylist()) <= {"unknown_item"}
    assert all(found.events["event_id"].to_pylist())
