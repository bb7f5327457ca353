"""UserProfiles equal the sums one would write by hand, and rows sum to 1 wherever there is a history.

Shapes: B users, I items.
"""

import datetime as dt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.model.features import UserTexts
from recsys.schema import HISTORIES
from recsys.signals import user_profiles as module
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import HISTORY_HALF_LIFE_DAYS, PROFILE_EVENTS, REPEAT_HALF_LIFE_DAYS, UserProfiles

IDS = [f"i{number}" for number in range(5)]
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

#: (item, days before `NOW`), oldest first.
Events = list[tuple[str, float]]

events = st.lists(st.tuples(st.sampled_from([*IDS, "gone"]), st.integers(-3, 400)), max_size=12).map(
    lambda rows: sorted(((item, float(days)) for item, days in rows), key=lambda row: -row[1])
)


def dense(rows: SparseRows) -> npt.NDArray[np.float32]:
    """[B, I]."""
    values, items, starts = rows.values, rows.items, rows.starts
    return np.asarray(sp.csr_array((values, items, starts), shape=(len(starts) - 1, len(IDS))).toarray())


def as_histories(users: list[Events]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "user_id": f"u{number}",
                "item_ids": [item for item, _ in rows],
                "timestamps": [NOW - dt.timedelta(days=days) for _, days in rows],
                "events": ["view"] * len(rows),
                "weights": [1.0] * len(rows),
                "seen_item_ids": sorted({item for item, _ in rows}),
            }
            for number, rows in enumerate(users)
        ],
        schema=HISTORIES,
    )


def build(users: list[Events], repeats: bool = True) -> UserProfiles:
    return UserProfiles.build(as_histories(users), pa.array(IDS), np.full(len(users), NOW.timestamp() * 1e6), repeats)


def by_hand(rows: Events) -> dict[str, npt.NDArray[np.float64]]:
    """The three rows of one user, one event at a time."""
    known = [(IDS.index(item), days) for item, days in rows if item in IDS]
    last, history, repeats = np.zeros(len(IDS)), np.zeros(len(IDS)), np.zeros(len(IDS))
    for place, (item, days) in enumerate(reversed(known[-PROFILE_EVENTS:])):
        last[item] += 1 / (1 + place)
        history[item] += 0.5 ** ((days - known[-1][1]) / HISTORY_HALF_LIFE_DAYS)
    for item, days in set(known):
        repeats[item] += 0.5 ** (max(days, 0.0) / REPEAT_HALF_LIFE_DAYS)
    if known:
        last, history = last / last.sum(), history / history.sum()
    return {"last": last, "history": history, "repeats": repeats}


@given(st.lists(events, max_size=5))
def test_profiles_equal_those_made_by_hand(users: list[Events]) -> None:
    profiles = build(users)
    for name in ("last", "history", "repeats"):
        matrix = dense(getattr(profiles, name))
        assert matrix.dtype == np.float32
        expected = np.array([by_hand(rows)[name] for rows in users]).reshape(len(users), len(IDS))
        np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-7)


@given(st.lists(events, max_size=5))
def test_a_session_lasts_while_events_are_half_an_hour_apart(users: list[Events]) -> None:
    minute = 1 / (24 * 60)
    later = [[*rows, ("gone", 30 * minute)] for rows in users]
    over = [[(item, max(days, 31 * minute)) for item, days in rows] for rows in users]
    assert build(later).in_session.all()
    assert not build(over).in_session.any()
    assert build(users).in_session.tolist() == [
        min([days for _, days in rows], default=1.0) <= 30 * minute for rows in users
    ]


def test_a_session_after_the_night_ends_half_an_hour_after_its_last_event() -> None:
    """A user who did nothing since the night gets the published list."""
    hour = 1 / 24
    users: list[Events] = [[("i1", -hour)], [("i1", 0.25 * hour)], [("i1", hour)], []]
    now = np.full(len(users), NOW.timestamp() * 1e6)

    def in_session(hours_later: float) -> list[bool]:
        asked = now + hours_later * 3600e6
        found = UserProfiles.build(as_histories(users), pa.array(IDS), now, repeats=True, asked=asked)
        return list(found.in_session.tolist())

    assert in_session(1.4) == [True, True, False, False]
    assert in_session(1.6) == [False, True, False, False]


@given(st.lists(events, min_size=1, max_size=5))
def test_rows_sum_to_one_and_those_of_an_empty_history_to_nothing(users: list[Events]) -> None:
    profiles = build(users)
    known = np.array([any(item in IDS for item, _ in rows) for rows in users])
    for matrix in (profiles.last, profiles.history):
        np.testing.assert_allclose(dense(matrix).sum(axis=1), known.astype(float), rtol=1e-5)
        np.testing.assert_array_equal(matrix.lengths > 0, known)


def test_a_basket_counts_an_item_once() -> None:
    """Two lines of one invoice are one purchase; the next day is another one."""
    now = build([[("i1", 0.0), ("i1", 0.0), ("i2", 0.0)], [("i1", REPEAT_HALF_LIFE_DAYS), ("i1", 0.0)]])
    assert dense(now.repeats).tolist() == [[0, 1, 1, 0, 0], [0, 1.5, 0, 0, 0]]


def test_without_repeats_there_are_none() -> None:
    users = [[("i1", 1.0)], [("i2", 2.0), ("i2", 1.0)]]
    found = build(users, repeats=False)
    assert not dense(found.repeats).any()
    np.testing.assert_array_equal(dense(found.last), dense(build(users).last))


def test_each_user_is_scored_at_a_time_of_their_own() -> None:
    users: list[Events] = [[("i1", 240.0)], [("i1", 240.0)]]
    now = np.array([NOW.timestamp(), (NOW - dt.timedelta(days=120)).timestamp()]) * 1e6
    found = UserProfiles.build(as_histories(users), pa.array(IDS), now, repeats=True)
    assert dense(found.repeats)[:, 1].tolist() == pytest.approx([0.25, 0.5])


def test_old_events_count_for_repeats_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROFILE_EVENTS", 2)
    found = build([[("i0", 3.0), ("i1", 2.0), ("i2", 1.0)]])
    for matrix in (found.last, found.history):
        assert matrix.items.tolist() == [1, 2]
    assert dense(found.last)[0, 1:3].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert (dense(found.repeats) > 0).tolist() == [[True, True, True, False, False]]


@given(st.lists(events, min_size=1, max_size=5), st.data())
def test_some_of_the_users_are_rows_of_all(users: list[Events], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(users)))
    stop = data.draw(st.integers(start, len(users)))
    part, alone = build(users).rows(np.arange(start, stop)), build(users[start:stop])
    for name in ("last", "history", "repeats"):
        np.testing.assert_allclose(dense(getattr(part, name)), dense(getattr(alone, name)), rtol=1e-6)


def test_tables_in_slices_and_chunks_are_no_different() -> None:
    histories = as_histories([[("i0", 9.0)], [("i1", 8.0), ("gone", 7.0)], [], [("i3", 2.0), ("i1", 1.0)]])
    now = np.full(4, NOW.timestamp() * 1e6)
    whole = UserProfiles.build(histories, pa.array(IDS), now, repeats=True)
    chunked = pa.concat_tables([histories.slice(0, 1), histories.slice(1, 2), histories.slice(3)])
    cut = UserProfiles.build(histories.slice(1), pa.array(IDS), now[1:], repeats=True)
    for name in ("last", "history", "repeats"):
        expected = dense(getattr(whole, name))
        np.testing.assert_array_equal(
            dense(getattr(UserProfiles.build(chunked, pa.array(IDS), now, repeats=True), name)), expected
        )
        np.testing.assert_array_equal(dense(getattr(cut, name)), expected[1:])


def test_a_description_counts_as_a_search_where_nothing_else_is_known() -> None:
    """The second user took an item, the third said nothing."""
    histories = as_histories([[("gone", 1.0)], [("i0", 1.0)], []])
    texts = UserTexts(texts=pa.array(["a", "b"]), vectors=np.array([[3, 4], [0, 2]], dtype=np.float32))
    now, descriptions = np.full(3, NOW.timestamp() * 1e6), np.array([1, 0, -1])
    profiles = UserProfiles.build(histories, pa.array(IDS), now, False, texts, descriptions=descriptions)
    assert profiles.by_description.tolist() == [True, False, False]
    assert profiles.searched.tolist() == [True, False, False]
    assert profiles.searches.tolist() == [[0, 1], [0, 0], [0, 0]]
    left_to_ranker = UserProfiles.build(histories, pa.array(IDS), now, False, texts)
    assert not left_to_ranker.searched.any()
