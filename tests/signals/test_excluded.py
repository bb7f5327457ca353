"""Excluded items: pairs in any order, without items that are none; parts of them are numbered from 0."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.signals.excluded import ExcludedItems

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), max_size=20)


def excluding(rows: list[tuple[int, int]]) -> ExcludedItems:
    users, items = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return ExcludedItems.of([(users, items)])


def as_set(excluded: ExcludedItems) -> set[tuple[int, int]]:
    return set(zip(excluded.users.tolist(), excluded.items.tolist(), strict=True))


def test_pairs_without_an_item_are_left_out() -> None:
    excluded = ExcludedItems.of([(np.array([2, 0, 1]), np.array([5, -1, 0])), (np.array([0]), np.array([5]))])
    assert excluded.users.tolist() == [0, 1, 2]
    assert excluded.items.tolist() == [5, 0, 5]
    assert excluded.starts(4).tolist() == [0, 1, 2, 3, 3]
    assert len(ExcludedItems.none().items) == 0


@given(pairs, st.integers(0, 5), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_a_window_holds_its_pairs(rows: list[tuple[int, int]], user: int, users: int, item: int, items: int) -> None:
    found = excluding(rows).within(range(user, user + users), range(item, item + items))
    expected = {
        (one - user, other - item)
        for one, other in rows
        if other >= 0 and user <= one < user + users and item <= other < item + items
    }
    assert as_set(found) == expected


@given(pairs, st.permutations(range(6)), st.integers(0, 6))
def test_some_users_are_numbered_in_their_order(rows: list[tuple[int, int]], order: list[int], num: int) -> None:
    chosen = order[:num]
    found = excluding(rows).of_users(np.array(chosen, dtype=np.int64))
    assert as_set(found) == {(chosen.index(user), item) for user, item in rows if item >= 0 and user in chosen}
    assert found.users.tolist() == sorted(found.users.tolist())


@given(pairs)
def test_items_get_other_numbers(rows: list[tuple[int, int]]) -> None:
    places = np.array([3, -1, 0, 1, -1, 2, 4])
    found = excluding(rows).renumbered(places)
    assert as_set(found) == {(user, int(places[item])) for user, item in rows if item >= 0 and places[item] >= 0}
