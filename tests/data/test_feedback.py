import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.config import EventColumns, EventsInput
from recsys.data.events.feedback import (
    FEEDBACK_COLUMNS,
    Feedback,
    bucket_of,
    drop_repeats,
    feedback_schema,
    feedback_source,
    read_feedback,
)
from recsys.data.events.interactions import EventRules, interactions_schema
from recsys.data.formats.jsonl import read_jsonl
from recsys.errors import InputError

EVENTS = EventsInput(path="x", columns=EventColumns(user_id="their user"), where="a > 1", timezone="Europe/London")
TALKING = EventsInput(path="x", columns=EventColumns(text="said"), max_text_chars=5)
RULES = EventRules(
    known_items=pa.array(["i1", "i2"]),
    max_id_chars=5,
    earliest=dt.datetime(1990, 1, 1, tzinfo=dt.UTC),
    end=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
    now=dt.datetime(2026, 11, 24, 9, tzinfo=dt.UTC),
)
GOOD = {
    "event_id": "e1",
    "user_id": "u1",
    "item_id": "i1",
    "timestamp": "2026-11-22T10:00:00+00:00",
    "event": "view",
    "weight": 1.0,
    "text": "",
}


def read(*rows: dict[str, Any], events: EventsInput = EVENTS) -> Feedback:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (chunk,) = read_jsonl(io.BytesIO(content), "f.jsonl")
    spec = feedback_source("feedback", events)
    found = read_feedback(chunk.table, "f.jsonl", spec, RULES, 100)
    assert found.events.schema == feedback_schema(spec)
    found.events.validate(full=True)
    return found


def test_feedback_takes_only_the_text_options_from_the_events() -> None:
    spec = feedback_source("feedback", EVENTS)
    assert (spec.where, spec.timezone, spec.columns.user_id, spec.columns.text) == (None, "UTC", "user_id", None)
    assert interactions_schema(spec) == interactions_schema(EVENTS)
    spec = feedback_source("feedback", TALKING)
    assert (spec.columns.text, spec.max_text_chars) == ("text", 5)
    assert interactions_schema(spec) == interactions_schema(TALKING)


def test_a_row_is_an_interaction_with_its_id_and_place() -> None:
    bad = GOOD | {"item_id": "never heard of"}
    found = read(bad, GOOD, GOOD | {"event_id": "", "event": "", "timestamp": "2026-11-22T09:00:00+00:00"})
    assert found.events.to_pylist() == [
        {
            "user_id": "u1",
            "item_id": "i1",
            "timestamp": dt.datetime(2026, 11, 22, hour, tzinfo=dt.UTC),
            "event": kind,
            "weight": 1.0,
            "event_id": event_id,
            "place": place,
        }
        for hour, kind, event_id, place in ((10, "view", "e1", 101), (9, "interaction", None, 102))
    ]
    assert found.read.quarantined["reason"].to_pylist() == ["id_too_long"]


def test_searches_are_read_with_the_texts_or_left_out() -> None:
    search = GOOD | {"item_id": "", "text": "red lamp", "event": "search"}
    found = read(search, GOOD | {"text": "nice"})
    assert (found.num_searches, found.events["item_id"].to_pylist()) == (1, ["i1"])
    assert found.events["place"].to_pylist() == [101]
    found = read(search, GOOD | {"text": "nice"}, events=TALKING)
    assert (found.num_searches, found.events["item_id"].to_pylist()) == (0, ["", "i1"])
    assert found.events["text"].to_pylist() == ["red l", "nice"]


def test_only_searches_and_no_rows() -> None:
    assert len(read(GOOD | {"item_id": "", "text": "x"}).events) == 0
    found = read_feedback(pa.table({}), "f.jsonl", feedback_source("feedback", EVENTS), RULES, 0)
    assert len(found.events) == found.num_searches == 0


@pytest.mark.parametrize("column", FEEDBACK_COLUMNS)
def test_a_column_that_is_missing_is_named(column: str) -> None:
    row = {name: value for name, value in GOOD.items() if name != column}
    with pytest.raises(InputError, match=f"inputs.feedback: column '{column}' is not in f.jsonl"):
        read(row)


DRAWN = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.integers(0, 3)), max_size=30)


def table_of(drawn: list[tuple[str | None, int]]) -> pa.Table:
    """Places stand in no order, as where parts were gathered."""
    places = np.random.default_rng(0).permutation(len(drawn))
    rows = [
        {"event_id": event_id, "timestamp": dt.datetime(2026, 11, 22, hour, tzinfo=dt.UTC), "place": place}
        for (event_id, hour), place in zip(drawn, places.tolist(), strict=True)
    ]
    schema = feedback_schema(feedback_source("feedback", EVENTS))
    return pa.Table.from_pylist(rows, pa.schema([schema.field(name) for name in ("event_id", "timestamp", "place")]))


@given(DRAWN)
def test_of_events_with_one_id_the_earliest_is_kept(drawn: list[tuple[str | None, int]]) -> None:
    table = table_of(drawn)
    rows = table.to_pylist()
    first: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: (row["timestamp"], row["place"])):
        first.setdefault(row["event_id"], row)
    expected = [row for row in rows if row["event_id"] is None or first[row["event_id"]] is row]
    assert drop_repeats(table).to_pylist() == expected


@given(DRAWN, st.integers(1, 5))
def test_repeats_may_be_dropped_bucket_by_bucket(drawn: list[tuple[str | None, int]], num_buckets: int) -> None:
    table = table_of(drawn)
    buckets = bucket_of(table, num_buckets)
    parts = [drop_repeats(table.filter(pa.array(buckets == bucket))).to_pylist() for bucket in range(num_buckets)]
    kept = sorted((row for part in parts for row in part), key=lambda row: row["place"])
    assert kept == sorted(drop_repeats(table).to_pylist(), key=lambda row: row["place"])
