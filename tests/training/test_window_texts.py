"""Windows with texts: they read like the histories that lists are made of, and each item is predicted once.

Shapes: L history length.
"""

import datetime as dt

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.histories import build_histories
from recsys.data.profile_table import with_profiles
from recsys.model.features import TextKind, encode_histories
from recsys.schema import INTERACTIONS_WITH_TEXT, PROFILES
from recsys.training.augment import augment
from recsys.training.examples import WindowTexts, build_windows, windows_schema, with_weight
from recsys.training.window_batch import WindowBatch, num_targets

ITEMS = pa.array([f"i{number}" for number in range(4)])
TEXT_ROWS = pa.array(["cook", "pan", "pot"])
KINDS = pa.array(["view"])
EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CPU = torch.device("cpu")

#: Item (−1 is a search), row of the text.
Event = tuple[int, int]
#: Events, the last of which has an item; whether it is known what the user is.
User = tuple[list[Event], bool]
users = st.lists(
    st.tuples(
        st.tuples(
            st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 2)), max_size=9),
            st.tuples(st.integers(0, 3), st.integers(1, 2)),
        ).map(lambda parts: [*parts[0], parts[1]]),
        st.booleans(),
    ),
    max_size=4,
)


def as_table(rows: list[User]) -> pa.Table:
    found = [
        {
            "user_id": f"u{number}",
            "item_id": f"i{item}" if item >= 0 else "",
            "timestamp": EPOCH + dt.timedelta(minutes=place),
            "event": "view",
            "weight": 1.0,
            "text": TEXT_ROWS[text].as_py() if text == 1 or item < 0 else "",
        }
        for number, (events, _) in enumerate(rows)
        for place, (item, text) in enumerate(events)
    ]
    return pa.Table.from_pylist(found, INTERACTIONS_WITH_TEXT)


def texts_of(rows: list[User]) -> WindowTexts:
    known = [f"u{number}" for number, (_, told) in enumerate(rows) if told]
    return WindowTexts(texts=TEXT_ROWS, profiles=pa.table([known, ["cook"] * len(known)], schema=PROFILES))


@given(users, st.integers(1, 4), st.integers(2, 9))
def test_each_item_is_predicted_once_and_no_search_is(rows: list[User], length: int, max_events: int) -> None:
    windows = build_windows(as_table(rows), ITEMS, KINDS, length, max_events, texts=texts_of(rows))
    assert windows.schema == windows_schema(length, with_texts=True)
    predicted = []
    for window in windows.to_pylist():
        predicted += [item for item, weight in zip(window["items"][1:], window["weights"], strict=True) if weight]
    expected = []
    for events, told in rows:
        newest = events[-max_events:]
        first = 0 if told and len(events) < max_events else 1
        expected += [item for item, _ in newest[first:] if item >= 0]
    assert sorted(predicted) == sorted(expected)


@given(users, st.integers(1, 4))
def test_a_newest_window_is_the_history_it_is_asked_with(rows: list[User], length: int) -> None:
    rows = [row for row in rows if len(row[0]) > 1]
    if not rows:
        return
    texts = texts_of(rows)
    windows = build_windows(as_table(rows), ITEMS, KINDS, length, length + 1, texts=texts)
    assert len(windows) == len(rows), "one window a user"
    histories = with_profiles(
        build_histories(as_table([(row[:-1], told) for row, told in rows]), length), texts.profiles
    )
    batch = encode_histories(histories, ITEMS, KINDS, length, TEXT_ROWS)
    read = WindowBatch.of(windows, len(ITEMS), CPU, torch.zeros(3, 2))
    assert read.texts is not None
    last = num_targets(read.targets).squeeze(1).tolist()
    for row, (events, _) in enumerate(rows):
        known = batch.lengths[row]
        assert last[row] == known
        assert read.targets[row, known - 1] == events[-1][0]
        pairs = [
            (read.items, batch.items),
            (read.gaps, batch.gaps),
            (read.events, batch.events),
            (read.texts.kinds, batch.text_kinds),
        ]
        for grid, expected in pairs:
            assert grid[row, :known].tolist() == expected[row, :known].tolist()
        there = batch.text_kinds[row, :known] > TextKind.NONE
        assert read.texts.rows[row, :known][there].tolist() == batch.texts[row, :known][there].tolist()
        assert (read.items[row, known:] == len(ITEMS)).all()
        assert not read.texts.kinds[row, known:].any()


@given(users, st.integers(0, 99))
def test_changed_windows_take_their_texts_along(rows: list[User], seed: int) -> None:
    windows = with_weight(build_windows(as_table(rows), ITEMS, KINDS, 4, 99, texts=texts_of(rows)))
    if not len(windows):
        return
    before = WindowBatch.of(windows, len(ITEMS), CPU, torch.zeros(3, 2))
    generator = torch.Generator().manual_seed(seed)
    after = augment(before, len(ITEMS), ("crop", "reorder"), 1.0, 0.5, generator)
    assert before.texts is not None
    assert after.texts is not None
    assert (after.targets >= 0).any(dim=1).all(), "something is left to learn"

    def tokens(batch: WindowBatch, row: int) -> list[tuple[int, int, int]]:
        assert batch.texts is not None
        grids = (batch.items, batch.texts.rows, batch.texts.kinds)
        size = int(num_targets(batch.targets)[row])
        return list(zip(*(grid[row, :size].tolist() for grid in grids), strict=True))

    for row in range(len(windows)):
        own, changed = tokens(before, row), tokens(after, row)
        assert not [token for token in changed if changed.count(token) > own.count(token)]
        assert not after.texts.kinds[row, len(changed) :].any() or len(own) > len(changed)


def test_without_texts_windows_are_what_they_were() -> None:
    rows: list[User] = [([(0, 0), (1, 0), (2, 0)], False)]
    plain = build_windows(as_table(rows).drop_columns(["text"]), ITEMS, KINDS, 3, 9)
    with_none = build_windows(as_table(rows), ITEMS, KINDS, 3, 9, texts=texts_of(rows))
    assert plain.schema == windows_schema(3)
    for name in plain.column_names:
        narrow, wide = (np.array(table[name].to_pylist()) for table in (plain, with_none))
        assert narrow.tolist() == wide[:, : narrow.shape[1]].tolist()
