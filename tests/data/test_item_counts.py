import collections
import datetime as dt
import doctest
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.data import item_counts as item_counts
from recsys.data.item_counts import count_items, head_items, merge_counts, recent_popularity
from recsys.schema import INTERACTIONS, ITEM_COUNTS

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
ROWS = st.lists(st.tuples(st.sampled_from(["i1", "i10", "i2", "i3"]), st.integers(0, 5)), max_size=30)


def interactions(rows):
    records = [
        {"user_id": "u", "item_id": item, "timestamp": START + dt.timedelta(days=day), "event": "view", "weight": 1.0}
        for item, day in rows
    ]
    return pa.Table.from_pylist(records, INTERACTIONS)


def best_first(items):
    return sorted(collections.Counter(items).items(), key=lambda pair: (-pair[1], pair[0]))


def pairs(counts):
    return list(zip(counts["item_id"].to_pylist(), counts["num"].to_pylist(), strict=True))


@given(ROWS, st.integers(0, 6))
def test_items_are_counted_since_a_time(rows, day):
    counts = count_items(interactions(rows), START + dt.timedelta(days=day))
    assert counts.schema == ITEM_COUNTS
    assert pairs(counts) == best_first(item for item, when in rows if when >= day)
    assert pairs(count_items(interactions(rows), None)) == best_first(item for item, _ in rows)


@given(ROWS, st.lists(st.integers(0, 30), max_size=4))
def test_shards_sum_up_to_the_whole(rows, cuts):
    cuts = sorted({0, *cuts, len(rows)})
    parts = [count_items(interactions(rows[a:b])) for a, b in itertools.pairwise(cuts)]
    assert merge_counts(parts) == count_items(interactions(rows))
    assert merge_counts(parts[::-1]) == merge_counts(parts)


@given(ROWS)
def test_every_item_with_interactions_has_one_place(rows):
    table = interactions(rows)
    recent = count_items(table, START + dt.timedelta(days=3))
    ranked = recent_popularity(recent, count_items(table)).to_pylist()
    assert sorted(ranked) == sorted({item for item, _ in rows})
    assert ranked[: len(recent)] == recent["item_id"].to_pylist()


def test_the_recent_week_comes_before_all_time():
    table = interactions([("old", 0)] * 5 + [("older", 0)] * 6 + [("b", 5), ("a", 5), ("c", 5), ("c", 4)])
    ranked = recent_popularity(count_items(table, START + dt.timedelta(days=4)), count_items(table))
    assert ranked.to_pylist() == ["c", "a", "b", "older", "old"]


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(AssertionError, match="no time zone"):
        count_items(interactions([]), START.replace(tzinfo=None))


def test_the_examples_in_the_docstrings_hold():
    examples = doctest.testmod(item_counts)
    assert examples.failed == 0
    assert examples.attempted == 1


@given(arrays.arrays(np.int64, 11, elements=st.integers(0, 9)))
def test_the_head_is_the_most_popular_fifth(counts):
    head = head_items(counts)
    assert head.sum() == min(3, np.count_nonzero(counts))  # 20 % of 11, rounded up
    if head.any() and not head.all():
        assert counts[head].min() >= counts[~head].max()


def test_of_equal_counts_the_lower_index_is_in_the_head():
    assert head_items(np.array([1, 5, 5, 5, 5, 5])).tolist() == [False, True, True, False, False, False]


def test_a_negative_count_is_a_defect():
    with pytest.raises(AssertionError, match="negative"):
        head_items(np.array([3, -1]))
