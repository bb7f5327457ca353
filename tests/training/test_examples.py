"""Training windows: every event is predicted once, and a window reads like a history."""

import datetime as dt
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.histories import build_histories
from recsys.model.features import encode_histories, gap_buckets
from recsys.schema import INTERACTIONS
from recsys.training.config import TrainConfig
from recsys.training.examples import (
    build_windows,
    only_since,
    target_weights,
    windows_schema,
    with_first_target,
    with_replay,
    with_weight,
)

ITEMS = pa.array([f"i{number}" for number in range(6)])
KINDS = pa.array(["view", "buy"])
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

Event = tuple[int, int, str]
"""Item, seconds since the event before, kind."""

events = st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 90, 100_000]), st.sampled_from(["view", "buy", "?"]))
shops = st.lists(st.lists(events, min_size=1, max_size=14), max_size=5)


def as_table(users: list[list[Event]]) -> pa.Table:
    rows = []
    for number, user in enumerate(users):
        moments = np.cumsum([gap for _, gap, _ in user])
        for (item, _, kind), moment in zip(user, moments, strict=True):
            at = EPOCH + dt.timedelta(days=number % 2, seconds=int(moment))
            rows.append({"user_id": f"u{number}", "item_id": f"i{item}", "timestamp": at, "event": kind, "weight": 1.0})
    return pa.Table.from_pylist(rows, schema=INTERACTIONS)


def reference(users: list[list[Event]], length: int, max_events: int) -> list[dict[str, list[int]]]:
    """The same in plain Python, window by window."""
    kinds, windows = ["?", *KINDS.to_pylist()], []
    for user in users:
        end = len(user)
        first = max(0, end - max_events)
        while end - 1 > first:
            start = max(first, end - 1 - length)
            window = user[start:end]
            padding = length + 1 - len(window)
            gaps = [0, *(int(gap_buckets(np.array([gap]), np.array([False]))[0]) for _, gap, _ in window[1:-1])]
            windows.append(
                {
                    "items": [item for item, _, _ in window] + [-1] * padding,
                    "gaps": gaps + [0] * padding,
                    "events": [kinds.index(kind) for _, _, kind in window[:-1]] + [0] * padding,
                    "weights": [1.0 + gap % 7 for _, gap, _ in window[1:]] + [0.0] * padding,
                }
            )
            end = start + 1
    return windows


@given(shops, st.integers(1, 5), st.integers(1, 12))
def test_windows_equal_the_plain_way(users: list[list[Event]], length: int, max_events: int) -> None:
    weights = np.array([1.0 + gap % 7 for user in users for _, gap, _ in user], dtype=np.float32)
    windows = build_windows(as_table(users), ITEMS, KINDS, length, max_events, weights)
    assert windows.schema == windows_schema(length)
    assert windows.to_pylist() == reference(users, length, max_events)
    even = build_windows(as_table(users), ITEMS, KINDS, length, max_events)
    assert even.drop_columns("weights").equals(windows.drop_columns("weights"))
    targets = [[float(item >= 0) for item in row[1:]] for row in even["items"].to_pylist()]
    assert even["weights"].to_pylist() == targets


@given(shops, st.integers(1, 5), st.integers(1, 12))
def test_every_event_but_the_first_is_predicted_once(users: list[list[Event]], length: int, max_events: int) -> None:
    """Items have unique ids here, so that an item identifies its event."""
    ids = pa.array([f"i{number:03}" for number in range(sum(map(len, users)))], pa.string())
    table = as_table(users).set_column(1, INTERACTIONS.field("item_id"), ids)
    rows = build_windows(table, ids, KINDS, length, max_events)["items"].to_pylist()
    predicted = [item for row in rows for item in row[1:] if item >= 0]
    starts = np.cumsum([0, *map(len, users)]).tolist()
    newest = [range(max(start, end - max_events), end) for start, end in itertools.pairwise(starts)]
    assert sorted(predicted) == [item for user in newest for item in user[1:]]
    for row in rows:
        filled = [item for item in row if item >= 0]
        assert len(filled) >= 2
        assert filled == list(range(filled[0], filled[0] + len(filled)))
        assert row[: len(filled)] == filled


def test_the_newest_window_is_full_and_the_oldest_short() -> None:
    user = [(number % 6, 1, "view") for number in range(6)]
    windows = build_windows(as_table([user]), ITEMS, KINDS, 3, 100)
    assert windows["items"].to_pylist() == [[2, 3, 4, 5], [0, 1, 2, -1]]
    assert windows["gaps"].to_pylist() == [[0, 2, 2], [0, 2, 0]]


@pytest.mark.parametrize("users", [[], [[(0, 0, "view")]], [[(0, 0, "view")], [(1, 0, "buy")]]])
def test_users_with_one_event_give_no_window(users: list[list[Event]]) -> None:
    windows = build_windows(as_table(users), ITEMS, KINDS, 3, 100)
    assert windows.schema == windows_schema(3)
    assert len(windows) == 0


@given(shops, st.integers(1, 5), st.integers(2, 12), st.integers(0, 60))
def test_chunks_and_slices_are_no_different(users: list[list[Event]], length: int, max_events: int, cut: int) -> None:
    table = as_table(users)
    expected = build_windows(table, ITEMS, KINDS, length, max_events)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    assert build_windows(chunked, ITEMS, KINDS, length, max_events).equals(expected)


@given(shops, st.integers(1, 5))
def test_a_newest_window_is_the_history_it_is_asked_with(users: list[list[Event]], length: int) -> None:
    """Training and scoring read the same events as the same numbers at the same slots."""
    users = [user for user in users if len(user) > 1]
    if not users:
        return
    windows = build_windows(as_table(users), ITEMS, KINDS, length, 1000)
    full = [reference([user], length, 1000) for user in users]
    newest = windows.take(pa.array(np.cumsum([0, *map(len, full)])[:-1]))
    histories = build_histories(as_table([user[:-1] for user in users]), length)
    batch = encode_histories(histories, ITEMS, KINDS, length)
    for row, window in enumerate(newest.to_pylist()):
        known = batch.lengths[row]
        assert window["items"][:known] == batch.items[row, :known].tolist()
        assert window["items"][known] == users[row][-1][0]
        assert (batch.items[row, known:] == len(ITEMS)).all()
        assert window["gaps"] == batch.gaps[row].tolist()
        assert window["events"] == batch.events[row].tolist()


def weigh(rows: list[tuple[str, float, float]], **train: object) -> list[float]:
    """Weights of events of these kinds, days before the cutoff and own weights."""
    until = EPOCH + dt.timedelta(days=100)
    records = [
        {"user_id": "u", "item_id": "i0", "timestamp": until - dt.timedelta(days=age), "event": kind, "weight": own}
        for kind, age, own in rows
    ]
    table = pa.Table.from_pylist(records, schema=INTERACTIONS)
    weights = target_weights(table, TrainConfig(**train), until)  # type: ignore[arg-type]
    assert weights.dtype == np.float32
    return [float(weight) for weight in weights]


def test_a_target_weighs_what_its_event_and_its_age_say() -> None:
    rows = [("view", 0.0, 1.0), ("buy", 10.0, 1.0), ("buy", 20.0, 3.0), ("?", 5.0, 0.0), ("return", 1.0, 2.0)]
    assert weigh(rows) == [1, 1, 3, 0, 2]
    assert weigh(rows, recency_half_life_days=10.0) == pytest.approx([1, 0.5, 0.75, 0, 2 * 0.5**0.1])
    assert weigh([], recency_half_life_days=10.0) == []


def test_an_item_outside_the_catalog_is_a_defect() -> None:
    table = as_table([[(0, 0, "view"), (1, 0, "view")]])
    with pytest.raises(AssertionError, match="outside the catalog"):
        build_windows(table, ITEMS.filter(pc.not_equal(ITEMS, "i1")), KINDS, 3, 100)


def touches(*rows: tuple[str, str, int]) -> pa.Table:
    """INTERACTIONS of (user, item, hour)."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    records = [
        {"user_id": u, "item_id": i, "timestamp": start + dt.timedelta(hours=h), "event": "view", "weight": 1.0}
        for u, i, h in rows
    ]
    return pa.Table.from_pylist(records, schema=INTERACTIONS)


def test_validation_reads_what_is_learned_and_looks_for_the_first_kept_event() -> None:
    learned = touches(("a", "i1", 1), ("a", "i2", 2), ("b", "i3", 1), ("c", "i1", 1))
    kept = touches(("a", "i4", 5), ("a", "i3", 5), ("c", "i2", 7))
    events = with_first_target(learned, kept)
    assert list(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True)) == [
        ("a", "i1"),
        ("a", "i2"),
        ("a", "i4"),
        ("c", "i1"),
        ("c", "i2"),
    ]
    assert len(with_first_target(learned, kept.slice(0, 0))) == 0


def test_an_item_that_the_user_had_is_no_target_where_lists_leave_out_seen_items() -> None:
    learned = touches(("a", "i1", 1), ("a", "i2", 2), ("a", "i1", 3), ("b", "i1", 1), ("c", "i2", 4))
    kept = touches(("a", "i2", 5), ("a", "i3", 5), ("b", "i1", 7))
    events = with_first_target(learned, kept, exclude_seen=True)
    assert events["item_id"].to_pylist() == ["i1", "i2", "i1", "i3"], "b took nothing new"


@given(shops, st.integers(1, 5), st.integers(0, 200_000))
def test_old_targets_are_read_and_not_learned(users: list[list[Event]], length: int, seconds: int) -> None:
    table, since = as_table(users), EPOCH + dt.timedelta(seconds=seconds)
    weights = only_since(np.ones(len(table), dtype=np.float32), table, since)
    assert (weights > 0).tolist() == [moment >= since for moment in table["timestamp"].to_pylist()]
    windows = build_windows(table, ITEMS, KINDS, length, 12, weights)
    learned = with_weight(windows)
    assert learned.to_pylist() == [window for window in windows.to_pylist() if any(window["weights"])]


def test_older_windows_are_drawn_without_repeats_and_the_same_again() -> None:
    windows = build_windows(as_table([[(number % 6, 1, "view") for number in range(61)]]), ITEMS, KINDS, 3, 100)
    numbered = windows.append_column("number", pa.array(range(len(windows))))
    new, older = numbered.slice(0, 2), numbered.slice(2)
    drawn = [with_replay(new, older, 5, [0, seed])["number"].to_pylist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert (drawn[0][:2], len(set(drawn[0]))) == ([0, 1], 7)
    assert with_replay(new, older, 1000, [0]).equals(numbered)
