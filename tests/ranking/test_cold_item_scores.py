"""Cold items exchange scores among each other only."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.cold_item_scores import deal_cold_scores


@given(st.integers(0, 9999), st.integers(1, 4), st.integers(1, 12))
def test_cold_items_exchange_scores_by_merit(seed: int, users: int, width: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(users, width)).astype(np.float32)
    new = random.random((users, width)) < 0.5
    merits = random.integers(0, 4, int(new.sum())).astype(np.float32)
    dealt = deal_cold_scores(scores, new, merits)
    assert (dealt[~new] == scores[~new]).all(), "known items keep their scores"
    grid = np.full(new.shape, np.nan, dtype=np.float32)
    grid[new] = merits
    for user in range(users):
        own = new[user]
        order = np.argsort(-grid[user, own], kind="stable")
        assert dealt[user, own][order].tolist() == sorted(scores[user, own], reverse=True)
