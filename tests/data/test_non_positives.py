"""Events of weight 0 or less: what histories keep of them, checked one event at a time."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.events.non_positives import (
    rejections,
    split_non_positives,
    with_equal_weights,
    with_rejections,
    with_seen,
)
from recsys.data.histories import build_histories, sort_interactions
from recsys.schema import INTERACTIONS

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

#: (user, item, day, weight).
Events = list[tuple[str, str, int, float]]
events = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 4), st.sampled_from([-1.0, 0.0, 1.0])),
    max_size=14,
)


def table_of(rows: Events) -> pa.Table:
    records: list[dict[str, Any]] = [
        {"user_id": user, "item_id": item, "timestamp": START + dt.timedelta(days=day), "event": "e", "weight": weight}
        for user, item, day, weight in rows
    ]
    return sort_interactions(pa.Table.from_pylist(records, INTERACTIONS))[0]


def by_hand(rows: Events) -> dict[tuple[str, str], int]:
    """Day of the newest event of each rejected item; at one time the negative event comes last."""
    newest = {}
    for user, item, day, weight in sorted(rows, key=lambda row: (row[2], -row[3])):
        if weight:
            newest[user, item] = (day, weight)
    return {pair: day for pair, (day, weight) in newest.items() if weight < 0}


@given(events)
def test_histories_keep_what_was_seen_and_what_was_rejected(rows: Events) -> None:
    positives, others = split_non_positives(table_of(rows))
    assert [*positives["weight"].to_pylist(), *others["weight"].to_pylist()] == [1.0] * len(positives) + [
        weight for weight in others["weight"].to_pylist() if weight <= 0
    ]
    histories = with_seen(build_histories(positives, 3), others)
    histories = with_rejections(histories, rejections(positives, others))
    expected = by_hand(rows)
    for row in histories.to_pylist():
        user = row["user_id"]
        assert row["seen_item_ids"] == sorted({item for owner, item, *_ in rows if owner == user})
        own = {item: START + dt.timedelta(days=day) for (owner, item), day in expected.items() if owner == user}
        assert dict(zip(row["rejected_item_ids"], row["rejected_timestamps"], strict=True)) == own
        assert row["rejected_item_ids"] == sorted(own)
        assert all(weight > 0 for weight in row["weights"])


def test_a_search_needs_no_weight() -> None:
    positives, others = split_non_positives(table_of([("a", "", 1, 0.0), ("a", "x", 2, 0.0)]))
    assert (positives["item_id"].to_pylist(), others["item_id"].to_pylist()) == ([""], ["x"])


def test_equal_weights_stand_in_for_none() -> None:
    table = with_equal_weights(table_of([("a", "x", 1, 0.0), ("a", "y", 2, -1.0)]))
    assert table["weight"].to_pylist() == [1.0, -1.0]
    assert table.schema == INTERACTIONS


@pytest.mark.parametrize("rows", [[], [("a", "x", 1, 1.0)]])
def test_without_non_positives_histories_stay_as_they_are(rows: Events) -> None:
    positives, others = split_non_positives(table_of(rows))
    histories = build_histories(positives, 3)
    assert positives.equals(table_of(rows))
    assert with_seen(histories, others).equals(histories)
    assert not rejections(positives, others).num_rows
