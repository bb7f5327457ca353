"""Searches stand beside interactions: where they are merged in, and which of them may be read."""

import datetime as dt

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.events.searches import followed_searches, merge_searches, searches_before, split_searches
from recsys.data.histories import build_histories, sort_interactions
from recsys.schema import HISTORIES, INTERACTIONS_WITH_TEXT, TEXTS

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
#: User, item ("" is a search), hour.
Event = tuple[str, str, int]
events = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ü"]), st.sampled_from(["", "i1", "i2"]), st.integers(0, 6)), max_size=20
)


def table(rows: list[Event]) -> pa.Table:
    found = [
        {"user_id": user, "item_id": item, "timestamp": START + dt.timedelta(hours=hour), "event": "view"}
        | {"weight": 1.0, "text": "" if item else f"query at {hour}"}
        for user, item, hour in rows
    ]
    return sort_interactions(pa.Table.from_pylist(found, INTERACTIONS_WITH_TEXT))[0]


def keys(found: pa.Table) -> list[Event]:
    rows = found.select(["user_id", "item_id", "timestamp"]).to_pylist()
    return [(row["user_id"], row["item_id"], (row["timestamp"] - START) // dt.timedelta(hours=1)) for row in rows]


@given(events)
def test_a_search_comes_before_interactions_of_the_same_time(rows: list[Event]) -> None:
    interactions, searches = split_searches(table(rows))
    assert all(item for _, item, _ in keys(interactions))
    assert not any(item for _, item, _ in keys(searches))
    merged = keys(merge_searches(interactions, searches))
    assert sorted(merged) == sorted(set(rows))
    assert merged == sorted(merged, key=lambda row: (row[0].encode(), row[2], row[1] != ""))
    assert [row for row in merged if row[1]] == keys(interactions), "items keep their order within a timestamp"


@given(events, st.integers(0, 6))
def test_no_search_after_a_held_out_interaction_is_read(rows: list[Event], hour: int) -> None:
    interactions, searches = split_searches(table(rows))
    cutoff = START + dt.timedelta(hours=hour)
    assert keys(searches_before(searches, interactions.slice(0, 0), cutoff)) == [
        row for row in keys(searches) if row[2] < hour
    ]
    first: dict[str, int] = {}
    for user, _, at in keys(interactions):
        first.setdefault(user, at)
    assert keys(searches_before(searches, interactions, cutoff)) == [
        row for row in keys(searches) if row[2] < hour and row[2] <= first.get(row[0], 9)
    ]


@given(events)
def test_training_reads_searches_that_an_interaction_follows(rows: list[Event]) -> None:
    interactions, searches = split_searches(table(rows))
    last = {user: at for user, _, at in keys(interactions)}
    assert keys(followed_searches(searches, interactions)) == [
        row for row in keys(searches) if row[2] <= last.get(row[0], -1)
    ]


@given(events, st.integers(1, 5))
def test_histories_with_searches(rows: list[Event], length: int) -> None:
    merged = merge_searches(*split_searches(table(rows)))
    histories = build_histories(merged, length)
    assert histories.schema == HISTORIES.append(TEXTS)
    for user in histories.to_pylist():
        own = [row for row in keys(merged) if row[0] == user["user_id"]]
        assert user["item_ids"] == [item for _, item, _ in own[-length:]]
        assert user["texts"] == ["" if item else f"query at {hour}" for _, item, hour in own[-length:]]
        assert user["seen_item_ids"] == sorted({item for _, item, _ in own} - {""}), "a search has no item"
