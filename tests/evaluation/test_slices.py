import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.measure import measure
from recsys.evaluation.slices import (
    COLD_ITEMS,
    COLD_USERS,
    HISTORY_LENGTHS,
    LONGTAIL_ITEMS,
    SLICES,
    Relevant,
    cut_slices,
)

NUM_ITEMS = 8

wanted_items = st.lists(st.integers(0, NUM_ITEMS - 1), unique=True, min_size=1, max_size=4)
masks = st.lists(st.booleans(), min_size=NUM_ITEMS, max_size=NUM_ITEMS).map(np.array)


@st.composite
def holdouts(draw):
    """What users want, how long their histories are, and their lists."""
    wanted = draw(st.lists(wanted_items, max_size=6))
    lengths = draw(st.lists(st.integers(1, 13), min_size=len(wanted), max_size=len(wanted)))
    lists = [draw(st.permutations(range(NUM_ITEMS)))[:5] for _ in wanted]
    return wanted, np.array(lengths, dtype=np.int64), np.array(lists, dtype=np.int64).reshape(-1, 5)


def relevant_of(wanted: list[list[int]]) -> Relevant:
    counts = np.array([len(items) for items in wanted], dtype=np.int64)
    return Relevant.of_all(counts, np.array([item for items in wanted for item in items], dtype=np.int64))


def as_dict(relevant: Relevant) -> dict[int, list[int]]:
    """User → wanted items."""
    bounds = zip(relevant.indptr[:-1], relevant.indptr[1:], strict=True)
    items = [relevant.indices[start:end].tolist() for start, end in bounds]
    return dict(zip(relevant.users.tolist(), items, strict=True))


@given(holdouts(), masks, masks)
def test_a_slice_holds_the_users_that_its_name_says(holdout, head, cold):
    wanted, lengths, _ = holdout
    cut = cut_slices(relevant_of(wanted), lengths, head, cold)
    assert {*cut, COLD_USERS} == set(SLICES)
    users = [user for name in HISTORY_LENGTHS for user in as_dict(cut[name])]
    assert sorted(users) == list(range(len(wanted)))  # the lengths part the users: each is in one slice
    for name, (fewest, most) in HISTORY_LENGTHS.items():
        inside = {user for user, length in enumerate(lengths) if fewest <= length <= (most or 1000)}
        assert as_dict(cut[name]) == {user: wanted[user] for user in sorted(inside)}
    for name, mask in ((LONGTAIL_ITEMS, ~head), (COLD_ITEMS, cold)):
        left = {user: [item for item in items if mask[item]] for user, items in enumerate(wanted)}
        assert as_dict(cut[name]) == {user: items for user, items in left.items() if items}


@given(holdouts(), masks)
def test_slices_can_be_cut_in_any_order(holdout, mask):
    wanted, lengths, _ = holdout
    of_items = relevant_of(wanted).among(mask)
    items_first = of_items.of_users(lengths[of_items.users] > 3)
    assert as_dict(items_first) == as_dict(relevant_of(wanted).of_users(lengths > 3).among(mask))


@given(holdouts())
def test_the_slices_of_users_are_parts_of_the_whole(holdout):
    wanted, lengths, lists = holdout
    whole = relevant_of(wanted)
    everything = np.ones(NUM_ITEMS, dtype=bool)
    names = ["ndcg@3", "recall@5"]
    values = whole.measure(lists, names)
    assert {name: part.tolist() for name, part in values.items()} == {
        name: part.tolist() for name, part in measure(lists, whole.indptr, whole.indices, names).items()
    }
    for part in cut_slices(whole, lengths, ~everything, everything).values():
        for name, measured in part.measure(lists, names).items():
            assert measured.tolist() == values[name][part.users].tolist()


def test_a_slice_of_items_has_its_own_best_list():
    wanted = relevant_of([[0, 6]])
    rare = wanted.among(np.arange(NUM_ITEMS) > 4)
    lists = np.array([[6, 1, 0]])
    assert rare.measure(lists, ["ndcg@3"])["ndcg@3"].tolist() == [1.0]
    assert wanted.measure(lists, ["ndcg@3"])["ndcg@3"][0] < 1


def test_a_cold_user_among_the_others_is_refused():
    nothing = np.zeros(NUM_ITEMS, dtype=bool)
    with pytest.raises(AssertionError, match="cold user"):
        cut_slices(relevant_of([[1], [2]]), np.array([3, 0]), nothing, nothing)


def test_the_number_of_targets_must_be_right():
    with pytest.raises(AssertionError, match="3 targets"):
        Relevant.of_all(np.array([1, 2]), np.array([4, 5]))
