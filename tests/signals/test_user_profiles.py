"""Profiles equal the sums one would write by hand, and rows sum to 1 wherever there is a history.

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

from recsys.schema import HISTORIES
from recsys.signals import user_profiles as module
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.user_profiles import PROFILE_EVENTS, REPEAT_HALF_LIFE_DAYS, WHOLE_HALF_LIFE_DAYS, Profiles

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


def build(users: list[Events], again: bool = True) -> Profiles:
    return Profiles.build(as_histories(users), pa.array(IDS), np.full(len(users), NOW.timestamp() * 1e6), again)


def by_hand(rows: Events) -> dict[str, npt.NDArray[np.float64]]:
    """The three rows of one user, one event at a time."""
    known = [(IDS.index(item), days) for item, days in rows if item in IDS]
    newest, whole, repeats = np.zeros(len(IDS)), np.zeros(len(IDS)), np.zeros(len(IDS))
    for place, (item, days) in enumerate(reversed(known[-PROFILE_EVENTS:])):
        newest[item] += 1 / (1 + place)
        whole[item] += 0.5 ** ((days - known[-1][1]) / WHOLE_HALF_LIFE_DAYS)
    for item, days in set(known):
        repeats[item] += 0.5 ** (max(days, 0.0) / REPEAT_HALF_LIFE_DAYS)
    if known:
        newest, whole = newest / newest.sum(), whole / whole.sum()
    return {"newest": newest, "whole": whole, "repeats": repeats}


@given(st.lists(events, max_size=5))
def test_profiles_equal_those_made_by_hand(users: list[Events]) -> None:
    profiles = build(users)
    for name in ("newest", "whole", "repeats"):
        matrix = dense(getattr(profiles, name))
        assert matrix.dtype == np.float32
        expected = np.array([by_hand(rows)[name] for rows in users]).reshape(len(users), len(IDS))
        np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-7)


@given(st.lists(events, max_size=5))
def test_a_visit_is_what_goes_on_within_half_an_hour(users: list[Events]) -> None:
    minute = 1 / (24 * 60)
    later = [[*rows, ("gone", 30 * minute)] for rows in users]
    over = [[(item, max(days, 31 * minute)) for item, days in rows] for rows in users]
    assert build(later).visiting.all()
    assert not build(over).visiting.any()
    assert build(users).visiting.tolist() == [
        min([days for _, days in rows], default=1.0) <= 30 * minute for rows in users
    ]


def test_a_visit_after_the_night_is_over_half_an_hour_before_one_asks() -> None:
    """What was known to the night is of its own moment: who does nothing gets the list that is published."""
    hour = 1 / 24
    users: list[Events] = [[("i1", -hour)], [("i1", 0.25 * hour)], [("i1", hour)], []]
    now = np.full(len(users), NOW.timestamp() * 1e6)

    def visiting(hours_later: float) -> list[bool]:
        asked = now + hours_later * 3600e6
        found = Profiles.build(as_histories(users), pa.array(IDS), now, again=True, asked=asked)
        return list(found.visiting.tolist())

    assert visiting(1.4) == [True, True, False, False]
    assert visiting(1.6) == [False, True, False, False]


@given(st.lists(events, min_size=1, max_size=5))
def test_rows_sum_to_one_and_those_of_an_empty_history_to_nothing(users: list[Events]) -> None:
    profiles = build(users)
    known = np.array([any(item in IDS for item, _ in rows) for rows in users])
    for matrix in (profiles.newest, profiles.whole):
        np.testing.assert_allclose(dense(matrix).sum(axis=1), known.astype(float), rtol=1e-5)
        np.testing.assert_array_equal(matrix.lengths > 0, known)


def test_a_moment_counts_an_item_once() -> None:
    """Two lines of one invoice are one purchase; the next day is another one."""
    now = build([[("i1", 0.0), ("i1", 0.0), ("i2", 0.0)], [("i1", REPEAT_HALF_LIFE_DAYS), ("i1", 0.0)]])
    assert dense(now.repeats).tolist() == [[0, 1, 1, 0, 0], [0, 1.5, 0, 0, 0]]


def test_what_is_not_taken_again_has_no_repeats() -> None:
    users = [[("i1", 1.0)], [("i2", 2.0), ("i2", 1.0)]]
    found = build(users, again=False)
    assert not dense(found.repeats).any()
    np.testing.assert_array_equal(dense(found.newest), dense(build(users).newest))


def test_each_user_has_a_moment_to_look_from() -> None:
    users: list[Events] = [[("i1", 240.0)], [("i1", 240.0)]]
    now = np.array([NOW.timestamp(), (NOW - dt.timedelta(days=120)).timestamp()]) * 1e6
    found = Profiles.build(as_histories(users), pa.array(IDS), now, again=True)
    assert dense(found.repeats)[:, 1].tolist() == pytest.approx([0.25, 0.5])


def test_what_lies_too_far_back_is_read_for_repeats_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROFILE_EVENTS", 2)
    found = build([[("i0", 3.0), ("i1", 2.0), ("i2", 1.0)]])
    for matrix in (found.newest, found.whole):
        assert matrix.items.tolist() == [1, 2]
    assert dense(found.newest)[0, 1:3].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert (dense(found.repeats) > 0).tolist() == [[True, True, True, False, False]]


@given(st.lists(events, min_size=1, max_size=5), st.data())
def test_some_of_the_users_are_rows_of_all(users: list[Events], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(users)))
    stop = data.draw(st.integers(start, len(users)))
    part, alone = build(users).rows(np.arange(start, stop)), build(users[start:stop])
    for name in ("newest", "whole", "repeats"):
        np.testing.assert_allclose(dense(getattr(part, name)), dense(getattr(alone, name)), rtol=1e-6)


def test_tables_in_slices_and_chunks_are_no_different() -> None:
    histories = as_histories([[("i0", 9.0)], [("i1", 8.0), ("gone", 7.0)], [], [("i3", 2.0), ("i1", 1.0)]])
    now = np.full(4, NOW.timestamp() * 1e6)
    whole = Profiles.build(histories, pa.array(IDS), now, again=True)
    chunked = pa.concat_tables([histories.slice(0, 1), histories.slice(1, 2), histories.slice(3)])
    cut = Profiles.build(histories.slice(1), pa.array(IDS), now[1:], again=True)
    for name in ("newest", "whole", "repeats"):
        expected = dense(getattr(whole, name))
        np.testing.assert_array_equal(
            dense(getattr(Profiles.build(chunked, pa.array(IDS), now, again=True), name)), expected
        )
        np.testing.assert_array_equal(dense(getattr(cut, name)), expected[1:])
