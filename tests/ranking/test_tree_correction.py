"""Trees share out the probability of the best candidates, and the parts of a score add up to it.

Shapes: B users, C candidates, S numbers.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking import tree_features
from recsys.ranking.explanations import contributions
from recsys.ranking.log_softmax import log_softmax
from recsys.ranking.tree_correction import TreeCorrection, has_trees
from tests.ranking.random_trees import random_trees

NAMES = ("one", "two", "three")
WEIGHTS = np.array([1.0, -0.5, 0.2], dtype=np.float32)


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 20))
def test_the_parts_of_a_score_add_up_to_it(seed: int, num_users: int, num_candidates: int) -> None:
    random, trees = np.random.default_rng(seed), random_trees(NAMES, seed)
    numbers = random.normal(size=(num_users, num_candidates, 3)).astype(np.float32)
    valid = random.random((num_users, num_candidates)) < 0.8
    before = log_softmax(np.where(valid, numbers @ WEIGHTS, -np.inf))
    lengths = random.integers(1, 9, num_users)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_features, "NUM_BEST", 6)
        correction = TreeCorrection.of(trees, numbers, before, lengths)
    after = correction.correct(before)
    columns = np.tile(np.arange(num_candidates), (num_users, 1))
    weights = np.tile(WEIGHTS, (num_users, 1))
    parts = contributions(numbers, valid, columns, weights) + correction.contributions(columns)
    for user in range(num_users):
        best = correction.best[user][correction.best[user] >= 0]
        others = np.setdiff1d(np.arange(num_candidates), best)
        np.testing.assert_array_equal(after[user, others], before[user, others])
        np.testing.assert_allclose(np.exp(after[user]).sum(), float(valid[user].any()), atol=1e-5)
        if len(best):
            np.testing.assert_allclose(np.exp(after[user, best]).sum(), np.exp(before[user, best]).sum(), rtol=1e-5)
            difference = after[user, best] - parts[user, best].sum(axis=1)
            np.testing.assert_allclose(difference, difference[0], atol=1e-4)
        np.testing.assert_array_equal(correction.contributions(columns)[user, others], 0)


def test_a_user_alone_has_the_same_scores() -> None:
    """The live service scores one user, the night a block of them."""
    random, trees = np.random.default_rng(0), random_trees(NAMES)
    numbers = random.normal(size=(4, 90, 3)).astype(np.float32)
    numbers[:, :, 1] = numbers[:, :, 1].round()
    valid = np.arange(90) >= np.array([0, 20, 60, 89])[:, None]
    before, lengths = log_softmax(np.where(valid, numbers @ WEIGHTS, -np.inf)), np.array([1, 2, 5, 9])
    together = TreeCorrection.of(trees, numbers, before, lengths).correct(before)
    assert (together != before)[:3].any(axis=1).all()
    for user, start in enumerate((0, 20, 60, 89)):
        alone = (numbers[[user], start:], before[[user], start:], lengths[[user]])
        found = TreeCorrection.of(trees, *alone).correct(alone[1])
        np.testing.assert_array_equal(found[0], together[user, start:])


def test_trees_are_for_histories_outside_of_sessions() -> None:
    found = has_trees(np.array([0, 1, 9, 9]), np.array([False, False, False, True]))
    assert found.tolist() == [False, True, True, False]
