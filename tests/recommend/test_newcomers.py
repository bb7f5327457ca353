"""New items get their share of places, the best of them, and the others keep their order.

Shapes: B users, C candidates, K list length.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.recommend.newcomers import deal_anew, lift_new, new_share, places_of
from recsys.recommend.order import Floats, Ints, best_first

NUM_ITEMS = 30


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Ints, Floats, np.ndarray]:
    """Sorted candidates, some of them none, and which items are new."""
    random = np.random.default_rng(draw(st.integers(0, 99_999)))
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 25))
    items = np.stack([random.permutation(NUM_ITEMS)[: shape[1]] for _ in range(shape[0])])
    scores = random.normal(size=shape).round(draw(st.sampled_from([0, 6]))).astype(np.float32)
    none = random.random(shape) < draw(st.sampled_from([0.0, 0.3]))
    items[none], scores[none] = -1, -np.inf
    return *best_first(items, scores), random.random(NUM_ITEMS) < draw(st.sampled_from([0.0, 0.2, 0.6]))


@given(candidates(), st.integers(1, 4), st.integers(4, 12))
def test_the_share_is_filled_with_the_best_and_the_others_keep_their_order(
    found: tuple[Ints, Floats, np.ndarray], num: int, top_k: int
) -> None:
    items, scores, is_new = found
    lifted, written, moved = lift_new(items, scores, is_new, num, top_k)
    gained = 0
    for before, after, score, own in zip(items, lifted, written, scores, strict=True):
        assert sorted(after) == sorted(before)
        new = [item for item in before if item >= 0 and is_new[item]]
        there = [item for item in after[:top_k] if item >= 0 and is_new[item]]
        natural = sum(item in new for item in before[:top_k])
        assert len(there) == max(natural, min(num, len(new)))
        assert there == new[: len(there)], "the best of them, best first"
        old = [item for item in before if item not in new]
        assert [item for item in after if item not in new] == old
        gained += len(there) - natural
        known = dict(zip(before.tolist(), own.tolist(), strict=True))
        for item, value in zip(after.tolist(), score.tolist(), strict=True):
            assert value == known[item] or (item in there and value > known[item])
        head = score[:top_k][after[:top_k] >= 0]
        assert (np.diff(head) <= 0).all()
    assert moved == gained


@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 12))
def test_new_items_change_scores_among_each_other_by_merit(seed: int, users: int, width: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(users, width)).astype(np.float32)
    new = random.random((users, width)) < 0.5
    merits = random.integers(0, 4, int(new.sum())).astype(np.float32)
    dealt = deal_anew(scores, new, merits)
    assert (dealt[~new] == scores[~new]).all(), "known items keep theirs"
    grid = np.full(new.shape, np.nan, dtype=np.float32)
    grid[new] = merits
    for user in range(users):
        own = new[user]
        order = np.argsort(-grid[user, own], kind="stable")
        assert dealt[user, own][order].tolist() == sorted(scores[user, own], reverse=True)


@pytest.mark.parametrize(("num", "places"), [(1, [3]), (2, [1, 7]), (3, [1, 5, 8])])
def test_they_are_spread_over_the_list(num: int, places: list[int]) -> None:
    items = np.arange(20)[None]
    scores = -np.arange(20, dtype=np.float32)[None]
    lifted, written, _ = lift_new(items, scores, np.arange(20) >= 15, num, 10)
    assert np.flatnonzero(lifted[0, :10] >= 15).tolist() == places
    assert written[0, places[0]] == written[0, places[0] - 1]


@given(st.integers(4, 40), st.data())
def test_the_places_get_about_their_share_of_what_is_looked_at(top_k: int, data: st.DataObject) -> None:
    num = data.draw(st.integers(1, top_k))
    places = places_of(num, top_k)
    assert (np.diff(places) > 0).all()
    assert 0 <= places[0] <= places[-1] < top_k
    exposure = 1 / np.log2(np.arange(2, top_k + 2))
    assert exposure[places].sum() == pytest.approx(num / top_k * exposure.sum(), rel=0.2)


def test_nothing_is_done_where_the_share_stands_by_merit() -> None:
    items = np.arange(6)[None]
    scores = -np.arange(6, dtype=np.float32)[None]
    is_new = np.array([False, True, False, False, False, True])
    assert lift_new(items, scores, is_new, 1, 3)[0] is items


def test_the_share_is_that_of_the_catalog_and_bounded() -> None:
    is_new = np.arange(10) < 4
    assert new_share(is_new, np.arange(10) >= 3, 1.0) == pytest.approx(1 / 7)
    assert new_share(is_new, np.ones(10, dtype=bool), 0.1) == pytest.approx(0.1)
    assert new_share(is_new, np.zeros(10, dtype=bool), 0.1) == 0
