"""The one order of lists, and scores that can be read back into it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.ranking.order import Floats, Ints, best_first, distinct_candidates, falling, is_best_first

INF = np.inf
shapes = st.tuples(st.integers(0, 5), st.integers(0, 8))


@st.composite
def candidates(draw: st.DrawFn) -> tuple[Ints, Floats]:
    """Few items and few scores, so that duplicates, ties and holes are common."""
    shape = draw(shapes)
    items = draw(arrays.arrays(np.int64, shape, elements=st.integers(-1, 6)))
    scores = draw(arrays.arrays(np.float32, shape, elements=st.sampled_from([-INF, -2.5, -1.0, 0.0, 3.0])))
    return items, scores


@given(candidates(), st.integers(0, 10))
def test_each_item_stays_once_with_its_best_score(found: tuple[Ints, Floats], width: int) -> None:
    items, scores, dropped = distinct_candidates(*found, width)
    assert items.shape == scores.shape == (len(found[0]), max(width, found[0].shape[1]))
    assert items.dtype == np.int64
    assert scores.dtype == np.float32
    total = 0
    for row, row_scores, kept, kept_scores in zip(*found, items, scores, strict=True):
        there = [(item, score) for item, score in zip(row, row_scores, strict=True) if item >= 0 and score > -INF]
        best: dict[int, float] = {}
        for item, score in there:
            best[item] = max(score, best.get(item, -INF))
        total += len(there) - len(best)
        assert dict(zip(kept[kept >= 0], kept_scores[kept >= 0], strict=True)) == best
        assert (kept >= 0).sum() == len(best)
        assert (kept_scores[kept < 0] == -INF).all()
    assert dropped == total


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_a_defect(score: float) -> None:
    with pytest.raises(AssertionError, match="infinite or not a number"):
        distinct_candidates(np.array([[1]]), np.array([[score]], dtype=np.float32))


@given(candidates())
def test_sorted_as_a_plain_sort_does(found: tuple[Ints, Floats]) -> None:
    items, scores = best_first(*found)
    for row in range(len(items)):
        expected = sorted(zip(-found[1][row], found[0][row], strict=True))
        real = [(-score, item) for score, item in zip(scores[row], items[row], strict=True) if score > -INF]
        assert real == [pair for pair in expected if pair[0] < INF]
    assert is_best_first(items, scores)
    again = best_first(items, scores)
    assert again[0] is items, "what is sorted is not sorted again"


@given(st.data())
def test_written_scores_read_back_into_the_order_of_the_list(data: st.DataObject) -> None:
    num = data.draw(st.integers(1, 8))
    row = data.draw(st.permutations(range(num)))
    scores = data.draw(arrays.arrays(np.float32, (1, num), elements=st.sampled_from([-3.0, -1.0, 0.0, 2.0])))
    items = np.array([row], dtype=np.int64)
    filled = data.draw(st.integers(0, num))
    items[:, filled:], scores[:, filled:] = -1, -INF

    written = falling(items, scores)

    assert written.dtype == np.float32
    assert (written <= scores).all()
    assert (written[:, filled:] == -INF).all()
    assert (written[:, :filled] > -INF).all()
    order = np.lexsort((items[0], -written[0]))[:filled]
    assert items[0, order].tolist() == row[:filled]
    np.testing.assert_array_equal(falling(items, written), written)


def test_scores_that_fall_are_written_as_they_are() -> None:
    items, scores = np.array([[4, 1, 2, -1]]), np.array([[0.0, -1.0, -1.0, -INF]], dtype=np.float32)
    np.testing.assert_array_equal(falling(items, scores), scores)


def test_of_equals_in_the_wrong_order_the_lower_gets_one_step_less() -> None:
    step = np.nextafter(np.float32(-1), np.float32(-2))
    written = falling(np.array([[7, 3, 5]]), np.full((1, 3), -1, dtype=np.float32))
    assert written.tolist() == [[-1.0, step, step]]
