import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.histories import shard_of, sort_interactions
from recsys.data.splits import (
    active_since,
    cutoff_for,
    held_out_baskets,
    hold_out_last_basket,
    known_lengths,
    show_first,
    split_by_time,
    split_last_event,
    targets,
    unlearned,
    unseen_last_basket,
    validation_users,
)
from recsys.schema import HELD_OUT_BASKETS, INTERACTIONS, TARGETS

START = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(["i1", "i2", "i3", "i4"]), st.integers(0, 9)), max_size=40
)


def interactions(rows):
    records = [
        {"user_id": u, "item_id": i, "timestamp": START + dt.timedelta(hours=h), "event": "view", "weight": 1.0}
        for u, i, h in rows
    ]
    return sort_interactions(pa.Table.from_pylist(records, INTERACTIONS))[0]


def by_user(table):
    users = {}
    for row in table.to_pylist():
        users.setdefault(row["user_id"], []).append(row)
    return users


def as_dict(wanted):
    return {row["user_id"]: row["item_ids"] for row in wanted.to_pylist()}


def test_cutoff_counts_whole_days_back_from_the_end_of_the_night():
    assert cutoff_for(dt.date(2026, 11, 22), 7) == dt.datetime(2026, 11, 16, tzinfo=dt.UTC)
    assert cutoff_for(dt.date(2026, 12, 31), 1) == dt.datetime(2026, 12, 31, tzinfo=dt.UTC)


def test_the_cutoff_itself_is_held_out_and_unknown_users_are_not():
    table = interactions([("a", "i1", 1), ("a", "i2", 5), ("a", "i3", 6), ("b", "i1", 5), ("c", "i1", 4)])
    train, holdout = split_by_time(table, START + dt.timedelta(hours=5))
    assert [(row["user_id"], row["item_id"]) for row in train.to_pylist()] == [("a", "i1"), ("c", "i1")]
    assert [(row["user_id"], row["item_id"]) for row in holdout.to_pylist()] == [("a", "i2"), ("a", "i3")]


def test_a_cutoff_in_another_zone_means_the_same_time():
    table = interactions([("a", "i1", 1), ("a", "i2", 5)])
    cutoff = START + dt.timedelta(hours=5)
    assert split_by_time(table, cutoff.astimezone(dt.timezone(dt.timedelta(hours=9)))) == split_by_time(table, cutoff)
    with pytest.raises(AssertionError, match="no time zone"):
        split_by_time(table, cutoff.replace(tzinfo=None))


@given(ROWS, st.integers(-1, 11))
def test_a_time_split_never_looks_ahead(rows, hour):
    table, cutoff = interactions(rows), START + dt.timedelta(hours=hour)
    train, holdout = split_by_time(table, cutoff)
    known = set(train["user_id"].to_pylist())
    every = table.to_pylist()
    assert train.to_pylist() == [row for row in every if row["timestamp"] < cutoff]
    assert holdout.to_pylist() == [row for row in every if row["timestamp"] >= cutoff and row["user_id"] in known]


@given(ROWS)
def test_leave_one_out_takes_the_last_event_of_users_with_two(rows):
    table = interactions(rows)
    train, holdout = split_last_event(table)
    assert holdout.to_pylist() == [events[-1] for events in by_user(table).values() if len(events) > 1]
    kept = [events[:-1] if len(events) > 1 else events for events in by_user(table).values()]
    assert train.to_pylist() == [row for events in kept for row in events]


def test_validation_users_are_an_even_sample_in_each_shard():
    ids = pa.array(range(20_000)).cast(pa.string())
    mask, shard = validation_users(ids, 0.25, seed=0), shard_of(ids, 4)
    rates = np.bincount(shard, weights=mask) / np.bincount(shard)
    assert np.abs(rates - 0.25).max() < 0.03
    other = validation_users(ids, 0.25, seed=1)
    assert abs((mask & other).mean() - 0.0625) < 0.01


def test_validation_users_are_the_same_for_ever():
    ids = pa.array(["u00042", "a", "é", "12345", ""])
    assert validation_users(ids, 0.5, 0).tolist() == [True, False, True, False, False]


@given(st.lists(st.text(max_size=5)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_a_larger_share_keeps_the_smaller_one(ids, one, other, seed):
    ids = pa.array(ids, pa.string())
    small, large = (validation_users(ids, share, seed) for share in sorted([one, other]))
    assert not (small & ~large).any()
    assert validation_users(ids, 1.0, seed).all()
    assert not validation_users(ids, 0.0, seed).any()


@given(ROWS, st.integers(0, 10), st.booleans())
def test_targets_are_the_held_out_items(rows, hour, exclude_seen):
    train, holdout = split_by_time(interactions(rows), START + dt.timedelta(hours=hour))
    seen = {(row["user_id"], row["item_id"]) for row in train.to_pylist()} if exclude_seen else set()
    expected = {}
    for row in holdout.to_pylist():
        if (row["user_id"], row["item_id"]) not in seen:
            expected.setdefault(row["user_id"], set()).add(row["item_id"])
    wanted = targets(holdout, train, exclude_seen)
    assert wanted.schema == TARGETS
    assert as_dict(wanted) == {user: sorted(items) for user, items in expected.items()}
    assert wanted["user_id"].to_pylist() == sorted(expected)


def test_a_user_who_only_repeated_items_has_no_targets():
    train = interactions([("a", "i1", 0), ("b", "i2", 0)])
    holdout = interactions([("a", "i1", 5), ("b", "i1", 5), ("b", "i2", 6)])
    assert as_dict(targets(holdout, train, exclude_seen=True)) == {"b": ["i1"]}
    assert as_dict(targets(holdout, train, exclude_seen=False)) == {"a": ["i1"], "b": ["i1", "i2"]}


def test_hold_out_last_basket_takes_the_whole_invoice_of_the_chosen_users():
    invoices = [("a", "i1", 1), ("a", "i2", 2), ("a", "i3", 2), ("b", "i1", 5), ("b", "i2", 5)]
    table = interactions([*invoices, ("c", "i1", 1), ("c", "i2", 9)])
    chosen = np.array([user != "c" for user in table["user_id"].to_pylist()])
    train, holdout = hold_out_last_basket(table, chosen)
    # b has one timestamp only, and nothing would be left to read
    assert {(row["user_id"], row["item_id"]) for row in holdout.to_pylist()} == {("a", "i2"), ("a", "i3")}
    assert len(train) + len(holdout) == len(table)


@given(ROWS)
def test_what_is_held_out_is_later_than_what_is_learned(rows):
    table = interactions(rows)
    train, holdout = by_user_of(hold_out_last_basket(table, np.ones(len(table), dtype=bool)))
    for user, kept in holdout.items():
        assert max(row["timestamp"] for row in train[user]) < min(row["timestamp"] for row in kept)


def by_user_of(split):
    return by_user(split.train), by_user(split.holdout)


@given(ROWS)
def test_known_lengths_are_what_is_left_before_the_last_basket(rows):
    table = interactions(rows)
    found = known_lengths(table)
    assert found.dtype == np.int64
    times = [[row["timestamp"] for row in events] for events in by_user(table).values()]
    assert found.tolist() == [sum(time < max(own) for time in own) for own in times]
    held_out = by_user(hold_out_last_basket(table, np.ones(len(table), dtype=bool)).holdout)
    assert (found > 0).sum() == len(held_out)


@given(ROWS, st.integers(-1, 11))
def test_active_users_are_marked_in_all_their_rows(rows, hour):
    table, since = interactions(rows), START + dt.timedelta(hours=hour)
    mask = active_since(table, since)
    assert mask.dtype == np.bool_
    active = {user for user, events in by_user(table).items() if events[-1]["timestamp"] >= since}
    assert mask.tolist() == [row["user_id"] in active for row in table.to_pylist()]


@given(ROWS, st.integers(1, 3), st.booleans())
def test_one_target_stays_hidden_when_the_first_are_shown(rows, num, exclude_seen):
    table = interactions(rows)
    learned, kept = hold_out_last_basket(table, np.ones(len(table), dtype=bool))
    wanted = targets(kept, learned, exclude_seen)
    kept = kept.filter(pc.is_in(kept["user_id"], value_set=wanted["user_id"].combine_chunks()))
    shown, rest = show_first(kept, wanted, num)
    assert sorted(map(str, shown.to_pylist() + rest.to_pylist())) == sorted(map(str, kept.to_pylist()))
    first = by_user(shown)
    for user, to_find in as_dict(wanted).items():
        items = list(dict.fromkeys(row["item_id"] for row in by_user(kept)[user] if row["item_id"] in to_find))
        expected = items[: min(num, len(items) - 1)]
        assert list(dict.fromkeys(row["item_id"] for row in first.get(user, []))) == expected
    left = as_dict(targets(rest, pa.concat_tables([learned, shown]), exclude_seen))
    assert left.keys() == as_dict(wanted).keys()
    assert all(set(items) < set(as_dict(wanted)[user]) or user not in first for user, items in left.items())


def test_a_model_has_not_seen_newer_baskets_and_those_that_it_kept_out():
    """Trained until hour 5. It kept out the last basket of `kept`, of `more` and of `less`."""
    before = interactions([(user, "i1", 1) for user in ("kept", "more", "less", "learned")] + [("less", "i2", 2)])
    last = [("kept", "i3", 3), ("kept", "i4", 3), ("more", "i3", 3), ("less", "i3", 3), ("learned", "i3", 3)]
    then = interactions([(row["user_id"], row["item_id"], row["timestamp"].hour) for row in before.to_pylist()] + last)
    chosen = np.isin(then["user_id"].to_pylist(), ["kept", "more", "less"])
    model = held_out_baskets(hold_out_last_basket(then, chosen).holdout)
    assert (model.schema, len(model)) == (HELD_OUT_BASKETS, 3)

    # since then: a new basket, and a basket that was taken back
    rows = [(row["user_id"], row["item_id"], row["timestamp"].hour) for row in then.to_pylist()]
    now = interactions([row for row in rows if row != ("less", "i3", 3)] + [("more", "i5", 6), ("new", "i1", 5)])
    mask = unseen_last_basket(now, START + dt.timedelta(hours=5), model)
    seen = dict(zip(now["user_id"].to_pylist(), (~mask).tolist(), strict=True))
    assert seen == {"kept": False, "more": False, "new": False, "less": True, "learned": True}
    assert unseen_last_basket(now.slice(0, 0), START, model).tolist() == []


@given(ROWS, st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(0, 10))
def test_validation_never_asks_for_what_the_continued_model_learned(rows, first_share, share, hour):
    table, until = interactions(rows), START + dt.timedelta(hours=hour)
    past = table.filter(pc.less(table["timestamp"], pa.scalar(until)))
    learned, kept = hold_out_last_basket(past, validation_users(past["user_id"], first_share, seed=1))
    unseen = unseen_last_basket(table, until, held_out_baskets(kept))
    asked = hold_out_last_basket(table, unseen & validation_users(table["user_id"], share, seed=1)).holdout
    pairs = {(row["user_id"], row["timestamp"]) for row in learned.to_pylist()}
    assert not pairs & {(row["user_id"], row["timestamp"]) for row in asked.to_pylist()}


@given(ROWS, st.floats(0.0, 1.0), st.integers(0, 10))
def test_what_a_model_did_not_learn_is_all_the_rest(rows, share, hour):
    table, until = interactions(rows), START + dt.timedelta(hours=hour)
    past = table.filter(pc.less(table["timestamp"], pa.scalar(until)))
    learned, kept = hold_out_last_basket(past, validation_users(past["user_id"], share, seed=1))
    rest = table.filter(pa.array(unlearned(table, until, held_out_baskets(kept)), pa.bool_()))
    assert sorted(map(str, [*learned.to_pylist(), *rest.to_pylist()])) == sorted(map(str, table.to_pylist()))
