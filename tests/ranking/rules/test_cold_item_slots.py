"""Cold items get their share of the places, the best of them first, and the others keep their order.

Shapes: B users, C candidates.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.order import Floats, Ints, best_first
from recsys.ranking.rules.cold_item_slots import cold_share, slot_order

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


@given(candidates(), st.floats(0, 0.6), st.floats(0, 1, exclude_max=True))
def test_as_many_are_new_as_are_due_the_best_first_and_the_others_keep_their_order(
    found: tuple[Ints, Floats, np.ndarray], share: float, phase: float
) -> None:
    items, scores, is_cold = found
    order, written = slot_order(items, scores, is_cold, share, np.full(len(items), phase))
    lifted = np.take_along_axis(items, order, 1)
    for before, after, columns, score, own in zip(items, lifted, order, written, scores, strict=True):
        assert sorted(columns) == list(range(len(before)))
        new = [item for item in before if item >= 0 and is_cold[item]]
        assert [item for item in after if item in new] == new
        assert [item for item in after if item not in new] == [item for item in before if item not in new]
        num = 0
        for place, column in enumerate(columns):
            turns = np.floor((place + 1) * max(share, 0.1) + 0.6 + 1e-9) * min(share / 0.1, 1)
            due = min(int(np.floor(turns + phase)), len(new))
            best = min(set(range(len(before))) - set(columns[:place]))
            lifts = num < due and column != best
            assert before[column] in new if num < due else column == best
            above = score[place - 1] if place else own[0]
            assert score[place] == (max(own[column], above) if lifts else own[column])
            num += before[column] in new
            assert num >= due
        assert (score[1:] <= score[:-1]).all()


def shown_places(share: float, phases: np.ndarray, top_k: int = 20) -> np.ndarray:
    """[B, K] which places go to cold items whose scores are far below."""
    items = np.tile(np.arange(60), (len(phases), 1))
    order, written = slot_order(items, -items.astype(np.float32), np.arange(60) >= 40, share, phases)
    shown = order[:, :top_k] >= 40
    above = np.roll(written[:, :top_k], 1, axis=1)
    assert (written[:, :top_k] == above)[:, 1:][shown[:, 1:]].all()
    return shown


@pytest.mark.parametrize(("share", "places"), [(0.1, [3, 13]), (0.2, [1, 6, 11, 16]), (0.3, [1, 4, 7, 11, 14, 17])])
@pytest.mark.parametrize("phase", [0.0, 0.999])
def test_they_are_spread_over_the_list(share: float, places: list[int], phase: float) -> None:
    assert np.flatnonzero(shown_places(share, np.array([phase]))[0]).tolist() == places


@pytest.mark.parametrize("share", [0.005, 0.02, 0.07])
def test_less_than_a_place_in_ten_is_a_place_of_some_users(share: float) -> None:
    shown = shown_places(share, (np.arange(1000) + 0.5) / 1000)
    per_place = shown.mean(axis=0)
    np.testing.assert_allclose(per_place[[3, 13]], share * 10, atol=0.001)
    assert per_place.sum() == pytest.approx(share * 20, abs=0.002)
    assert np.ptp(shown.sum(axis=1)) <= 1


@given(st.floats(0.1, 1))
def test_the_places_get_about_their_share_of_what_is_looked_at(share: float) -> None:
    exposure = 1 / np.log2(np.arange(2, 22))
    got = (shown_places(share, np.zeros(1)) * exposure).sum()
    assert got == pytest.approx(share * exposure.sum(), rel=0.3)


def test_nothing_moves_where_the_share_stands_by_merit() -> None:
    items = np.arange(6)[None]
    scores = -np.arange(6, dtype=np.float32)[None]
    is_cold = np.array([False, True, False, False, False, True])
    order, written = slot_order(items, scores, is_cold, 0.2, np.array([0.4]))
    assert order.tolist() == items.tolist()
    assert written.tolist() == scores.tolist()


def test_the_share_is_that_of_the_catalog_and_bounded() -> None:
    is_cold = np.arange(10) < 4
    assert cold_share(is_cold, np.arange(10) >= 3, 1.0) == pytest.approx(1 / 7)
    assert cold_share(is_cold, np.ones(10, dtype=bool), 0.1) == pytest.approx(0.1)
    assert cold_share(is_cold, np.zeros(10, dtype=bool), 0.1) == 0
