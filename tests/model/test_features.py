"""Histories as arrays: what is known, what is kept, and where it lies."""

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.model.features import (
    NUM_GAP_BUCKETS,
    HistoryBatch,
    encode_histories,
    gap_buckets,
    index_events,
    index_items,
    seconds_between,
)
from recsys.schema import HISTORIES, TIMESTAMP

ITEMS = pa.array(["a", "b", "c", "d"])
KINDS = pa.array(["view", "buy"])
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

Event = tuple[str, float, str]
"""Item, seconds since the event before, kind."""

events = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "gone", ""]),
    st.sampled_from([0.0, 1e-6, 1.0, 2.5, 3600.0, 9e6]),
    st.sampled_from(["view", "buy", "?"]),
)
histories = st.lists(st.lists(events, max_size=9), max_size=5)


def as_table(users: list[list[Event]]) -> pa.Table:
    rows = []
    for number, user in enumerate(users):
        moments = np.cumsum([gap for _, gap, _ in user])
        rows.append(
            {
                "user_id": f"u{number}",
                "item_ids": [item for item, _, _ in user],
                "timestamps": [EPOCH + dt.timedelta(seconds=float(moment)) for moment in moments],
                "events": [kind for _, _, kind in user],
                "weights": [1.0] * len(user),
                "seen_item_ids": [],
            }
        )
    return pa.Table.from_pylist(rows, schema=HISTORIES)


def reference(users: list[list[Event]], max_length: int) -> dict[str, list[Any]]:
    """The same in plain Python: drop what is unknown, keep the newest, measure the gaps of what was kept."""
    items, kinds = ITEMS.to_pylist(), ["?", *KINDS.to_pylist()]
    found: dict[str, list[Any]] = {"items": [], "gaps": [], "events": [], "lengths": []}
    for user in users:
        moments = [round(float(moment) * 1e6) for moment in np.cumsum([gap for _, gap, _ in user])]
        kept = [(item, at, kind) for (item, _, kind), at in zip(user, moments, strict=True) if item in items]
        kept = kept[-max_length:]
        gaps = [0] * len(kept)
        for place in range(1, len(kept)):
            seconds = (kept[place][1] - kept[place - 1][1]) / 1e6
            gaps[place] = min(1 + math.floor(math.log2(1 + seconds)), NUM_GAP_BUCKETS - 1)
        padding = max_length - len(kept)
        found["items"].append([items.index(item) for item, _, _ in kept] + [len(items)] * padding)
        found["gaps"].append(gaps + [0] * padding)
        found["events"].append([kinds.index(kind) for _, _, kind in kept] + [0] * padding)
        found["lengths"].append(len(kept))
    return found


def as_lists(batch: HistoryBatch) -> dict[str, list[Any]]:
    return {name: getattr(batch, name).tolist() for name in ("items", "gaps", "events", "lengths")}


def test_what_is_not_there_has_no_index() -> None:
    assert index_items(pa.array(["c", "z", "a", None]), ITEMS).tolist() == [2, -1, 0, -1]
    assert index_events(pa.chunked_array([["buy"], ["?", "view"]]), KINDS).tolist() == [2, 0, 1]
    assert index_items(pa.array([], pa.string()), ITEMS).tolist() == []
    assert index_items(pa.array(["a"]), pa.array([], pa.string())).tolist() == [-1]


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-5.0, 1), (0.0, 1), (0.999, 1), (1.0, 2), (2.999, 2), (3.0, 3), (86_400.0, 17), (2.0**30, 31), (1e18, 31)],
)
def test_gaps_fall_into_powers_of_two(seconds: float, bucket: int) -> None:
    assert gap_buckets(np.array([seconds, seconds]), np.array([False, True])).tolist() == [bucket, 0]


def test_seconds_are_those_since_the_row_before() -> None:
    stamps = pa.chunked_array([pa.array([5_000_000, 5_000_001], TIMESTAMP), pa.array([9_500_001], TIMESTAMP)])
    assert seconds_between(stamps).tolist() == [0.0, 1e-6, 4.5]
    assert seconds_between(pa.array([], TIMESTAMP)).tolist() == []


@given(histories, st.integers(1, 6))
def test_histories_equal_the_plain_way(users: list[list[Event]], max_length: int) -> None:
    batch = encode_histories(as_table(users), ITEMS, KINDS, max_length)
    expected = reference(users, max_length)
    assert as_lists(batch) == expected
    assert batch.items.shape == (len(users), max_length)
    assert {array.dtype for array in (batch.items, batch.gaps, batch.events, batch.lengths)} == {np.dtype(np.int64)}


@given(histories, st.integers(0, 5), st.integers(0, 5), st.integers(1, 4))
def test_slices_and_chunks_are_no_different(users: list[list[Event]], start: int, stop: int, max_length: int) -> None:
    table = as_table(users)
    part = encode_histories(table.slice(start, stop), ITEMS, KINDS, max_length)
    assert as_lists(part) == reference(users[start : start + stop], max_length)
    chunked = pa.concat_tables([table.slice(start), table.slice(0, start)])
    chunks = encode_histories(chunked, ITEMS, KINDS, max_length)
    assert as_lists(chunks) == reference(users[start:] + users[:start], max_length)


def test_padding_is_on_the_right() -> None:
    users = [[("a", 0.0, "view"), ("b", 1.0, "buy")], []]
    batch = encode_histories(as_table(users), ITEMS, KINDS, 4)
    assert batch.items.tolist() == [[0, 1, 4, 4], [4, 4, 4, 4]]
    assert batch.gaps.tolist() == [[0, 2, 0, 0], [0] * 4]
    assert batch.events.tolist() == [[1, 2, 0, 0], [0] * 4]
    assert batch.lengths.tolist() == [2, 0]


def test_an_event_that_is_left_out_leaves_no_trace() -> None:
    """What the night would have made of the history without it is what the service makes of the history with it."""
    with_unknown = [("a", 0.0, "view"), ("gone", 100.0, "view"), ("b", 1.0, "buy"), ("c", 7.0, "buy")]
    without = [("a", 0.0, "view"), ("b", 101.0, "buy"), ("c", 7.0, "buy")]
    for length in (2, 3, 4):
        shorter = without[-length:]
        batches = [encode_histories(as_table([user]), ITEMS, KINDS, length) for user in (with_unknown, shorter)]
        assert as_lists(batches[0]) == as_lists(batches[1])
