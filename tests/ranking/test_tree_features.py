"""The best candidates of a user and what trees may ask of them: a user alone is as in any block.

Shapes: B users, C candidates, S numbers.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking import tree_features as module
from recsys.ranking.tree_features import best_candidates, feature_names, tree_features

NAMES = ("one", "two")


@given(st.lists(st.lists(st.integers(-2, 2), max_size=9), min_size=1, max_size=4), st.integers(1, 6), st.integers(0, 3))
def test_the_best_are_those_of_the_largest_scores(users: list[list[int]], most: int, spare: int) -> None:
    """Of equal ones the first; what is no candidate, to the left, is never one of them."""
    width = max(map(len, users)) + spare
    logits = np.full((len(users), width), -np.inf, dtype=np.float32)
    for row, scores in enumerate(users):
        logits[row, width - len(scores) :] = scores
    before, module.NUM_BEST = module.NUM_BEST, most
    try:
        found = best_candidates(logits)
    finally:
        module.NUM_BEST = before
    for row, scores in zip(found, users, strict=True):
        expected = sorted(sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:most])
        assert [column for column in row.tolist() if column >= 0] == [width - len(scores) + place for place in expected]


def test_a_rank_is_the_number_of_larger_ones_among_the_best() -> None:
    numbers = np.array([[[5.0, 0.0], [9.0, 9.0], [3.0, 0.0], [5.0, -1.0]]], dtype=np.float32)
    features = ("length", "rank:one", "two", "rank:two")
    found = tree_features(features, NAMES, numbers, np.array([[0, 2, 3, -1]]), np.array([7]))
    expected = [[7, 0, 0, 0], [7, 2, 0, 0], [7, 0, -1, 2], [0, 0, 0, 0]]
    assert found.tolist() == [expected]


def test_names_of_features_are_different() -> None:
    assert feature_names(NAMES) == ("one", "two", "rank:one", "rank:two", "length")


def test_a_score_that_is_no_number_is_never_one_of_the_best() -> None:
    """It is neither above nor below the least of the best, so that it must take no place of its own."""
    logits = np.zeros((2, 300), dtype=np.float32)
    logits[:, :30] = np.nan
    found = best_candidates(logits)
    assert (found >= 30).all()
    assert (best_candidates(np.full((1, 70), np.nan, dtype=np.float32)) == -1).all()
