import datetime as dt
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.histories import (
    build_histories,
    empty_histories,
    hash_ids,
    newest_items,
    shard_of,
    sort_interactions,
    user_runs,
)
from recsys.schema import HISTORIES, INTERACTIONS, TEXTS

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
EVENTS = st.tuples(
    st.sampled_from(["a", "b", "ü", "c c"]),
    st.sampled_from(["i1", "i2", "i3", "i4", "I5"]),
    st.integers(0, 3).map(lambda hour: START + dt.timedelta(hours=hour)),
    st.sampled_from(["view", "buy"]),
    st.sampled_from([1.0, 2.5]),
)


def table(rows):
    return pa.Table.from_pylist([dict(zip(INTERACTIONS.names, row, strict=True)) for row in rows], INTERACTIONS)


def tuples(interactions):
    return [tuple(row.values()) for row in interactions.to_pylist()]


def test_shard_of_is_the_same_for_ever():
    # Golden: other values here mean that every stored shard holds the wrong users.
    ids = pa.array(["u00042", "a", "é", "12345", ""])
    assert shard_of(ids, 16).tolist() == [15, 9, 7, 2, 14]
    assert shard_of(pa.chunked_array([ids[:2], ids[2:]]), 10_000).tolist() == [3231, 169, 8519, 4610, 6014]
    assert shard_of(ids, 16).dtype == np.int32


def test_shard_of_spreads_users_evenly():
    sizes = np.bincount(shard_of(pa.array(range(16_000)).cast(pa.string()), 16), minlength=16)
    assert sizes.min() > 850
    assert sizes.max() < 1150


@given(st.lists(st.text(), max_size=20), st.integers(1, 50))
def test_a_shard_depends_on_nothing_but_the_id(ids, num_shards):
    shards = shard_of(pa.array(ids, pa.string()), num_shards)
    assert [shard_of(pa.array([user]), num_shards)[0] for user in ids] == shards.tolist()
    assert all(0 <= shard < num_shards for shard in shards)


def test_hashes_under_other_keys_are_unrelated():
    ids = pa.array(range(4000)).cast(pa.string())
    equal = hash_ids(ids, "a" * 16) % 2 == hash_ids(ids, "b" * 16) % 2
    assert 0.45 < equal.mean() < 0.55


def test_a_missing_id_is_refused():
    with pytest.raises(AssertionError, match="1 nulls"):
        shard_of(pa.array(["a", None]), 4)


@given(st.lists(EVENTS, max_size=30), st.randoms())
def test_sorting_keeps_each_distinct_event_once_whatever_the_order(rows, random):
    ordered, removed = sort_interactions(table(rows))
    random.shuffle(rows)
    assert sort_interactions(table(rows)) == (ordered, removed)
    assert ordered.schema == INTERACTIONS
    assert sorted(tuples(ordered)) == sorted(set(rows))
    assert removed == len(rows) - len(set(rows))
    keys = [(row["user_id"].encode(), row["timestamp"]) for row in ordered.to_pylist()]
    assert keys == sorted(keys)
    assert sort_interactions(ordered) == (ordered, 0)


def test_items_of_one_time_have_an_order_of_their_own_for_each_user():
    rows = [(f"u{user}", f"i{item}", START, "buy", 1.0) for user in range(300) for item in range(4)]
    ordered, _ = sort_interactions(table(rows))
    invoices = np.array(ordered["item_id"].to_pylist()).reshape(300, 4)
    orders, counts = np.unique(invoices, axis=0, return_counts=True)
    assert len(orders) == 24, "some order of four items never occurs"
    assert counts.max() < 40
    alone, _ = sort_interactions(table([row for row in rows if row[0] == "u7"]))
    assert alone["item_id"].to_pylist() == invoices[sorted(f"u{user}" for user in range(300)).index("u7")].tolist()


def test_user_runs_refuses_rows_that_are_not_grouped():
    with pytest.raises(AssertionError, match="sort_interactions"):
        user_runs(table([("a", "i", START, "x", 1.0), ("b", "i", START, "x", 1.0), ("a", "j", START, "x", 1.0)]))


@given(st.lists(EVENTS, max_size=40), st.integers(1, 6))
def test_histories_are_the_newest_events_of_each_user(rows, max_length):
    ordered, _ = sort_interactions(table(rows))
    expected = {}
    for row in ordered.to_pylist():
        expected.setdefault(row["user_id"], []).append(row)
    histories = build_histories(ordered, max_length)
    assert histories.schema == HISTORIES
    assert histories["user_id"].to_pylist() == list(expected)
    for history in histories.to_pylist():
        events = expected[history["user_id"]]
        newest = events[-max_length:]
        assert history["item_ids"] == [event["item_id"] for event in newest]
        assert history["timestamps"] == [event["timestamp"] for event in newest]
        assert history["events"] == [event["event"] for event in newest]
        assert history["weights"] == [event["weight"] for event in newest]
        assert history["seen_item_ids"] == sorted({event["item_id"] for event in events})


@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=12), max_size=4), st.integers(1, 4))
def test_newest_items_is_the_longest_end_with_few_enough_items(histories, num):
    """An empty item is a search, which counts for none."""
    rows = [
        {
            "user_id": f"u{user}",
            "item_ids": items,
            "timestamps": [START + dt.timedelta(hours=hour) for hour in range(len(items))],
            "events": [f"e{place}" for place in range(len(items))],
            "weights": [float(place) for place in range(len(items))],
            "seen_item_ids": ["a", "z"],
            "texts": [f"t{place}" for place in range(len(items))],
        }
        for user, items in enumerate(histories)
    ]
    schema = HISTORIES.append(TEXTS)
    cut = newest_items(pa.Table.from_pylist(rows, schema), num)
    assert cut.schema == schema
    for before, after in zip(rows, cut.to_pylist(), strict=True):
        items = before["item_ids"]
        start = min(place for place in range(len(items) + 1) if len({*items[place:]} - {""}) <= num)
        assert after == before | {
            name: before[name][start:] for name in ("item_ids", "timestamps", "events", "weights", "texts")
        }


def test_histories_do_not_depend_on_chunks():
    ordered, _ = sort_interactions(table([(u, i, START, "x", 1.0) for u in "abc" for i in "ijk"]))
    chunked = pa.concat_tables([ordered[:2], ordered[2:4], ordered[4:]])
    assert build_histories(chunked, 2) == build_histories(ordered, 2)


def test_one_user_with_a_million_events_takes_seconds():
    num, num_items = 1_000_000, 50_000
    timestamp = np.random.default_rng(0).permutation(num)
    item = timestamp % num_items
    names = pa.array(np.arange(num_items)).cast(pa.string())
    interactions = pa.table(
        [
            pa.repeat("whale", num),
            names.take(pa.array(item)),
            pa.array(timestamp).cast(INTERACTIONS.field("timestamp").type),
            pa.repeat("view", num),
            pa.repeat(pa.scalar(1.0, pa.float32()), num),
        ],
        schema=INTERACTIONS,
    )
    before, allocated = time.monotonic(), pa.total_allocated_bytes()
    ordered, removed = sort_interactions(interactions)
    history = build_histories(ordered, 50)
    took_s = time.monotonic() - before
    assert removed == 0
    assert history["item_ids"][0].as_py() == [str(m % num_items) for m in range(num - 50, num)]
    assert history["seen_item_ids"][0].as_py() == sorted(names.to_pylist())
    assert pc.all(pc.equal(ordered["timestamp"].cast(pa.int64()), pa.array(np.arange(num)))).as_py()
    assert took_s < 20
    assert history.nbytes < 2_000_000
    assert pa.total_allocated_bytes() - allocated < 200_000_000


@pytest.mark.parametrize("ids", [[], ["u1"], ["u2", "u1"]])
def test_a_user_without_events_has_an_empty_history(ids: list[str]) -> None:
    histories = empty_histories(pa.array(ids, pa.string()))
    histories.validate(full=True)
    assert histories.schema.equals(HISTORIES)
    assert histories.to_pylist() == [
        {"user_id": user, **{name: [] for name in HISTORIES.names if name != "user_id"}} for user in ids
    ]
