"""The long-tail dial: how much an item's own popularity counts; it knows counts and scores, no users.

Shapes: B users, C candidates, I items, K list length.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.model.features import index_items
from recsys.recommend.order import Floats, Ints, best_first, distinct_candidates


def item_popularity(counts: pa.Table, item_ids: pa.Array) -> Ints:
    """[I] int64 interactions of each item, 0 where `counts` has none.

    Args:
        counts: ITEM_COUNTS; items that the catalog does not know are passed over.
        item_ids: [I] sorted ids of the catalog.
    """
    popularity = np.zeros(len(item_ids), dtype=np.int64)
    rows = index_items(counts["item_id"], item_ids)
    popularity[rows[rows >= 0]] = counts["num"].to_numpy()[rows >= 0]
    return popularity


def log_popularity(popularity: npt.NDArray[np.integer]) -> Floats:
    """[I] float32 log(1 + n): up to a constant, the logarithm of an item's smoothed share of all interactions."""
    assert not len(popularity) or popularity.min() >= 0, "a count is negative"
    return np.log1p(popularity.astype(np.float64)).astype(np.float32)


def discounted(items: Ints, scores: Floats, log_popularity: Floats, tail: float) -> Floats:
    """Scores [B, C] less what popularity alone explains: score − tail · log(1 + n).

    A score is log P(item | user), and log(1 + n) is log P(item) but for one constant. So both have the unit nat on any
    data set, and at `tail` = 1 the order is that of the lift P(item | user) / P(item), pointwise mutual information:
    an item's popularity no longer helps it. Beyond 1 it hurts. This is the logQ correction of sampled softmax (Yi et
    al., RecSys 2019), applied where lists are made, and a smooth form of the re-ranking for the long tail of
    Abdollahpouri, Burke & Mobasher (FLAIRS 2019). For each user, a larger `tail` never raises the mean of log(1 + n)
    over the best K. The discounted score is never above the score.

    Args:
        items: [B, C] int64, −1 where there is none.
        scores: [B, C] float32, −inf where there is none.
        log_popularity: [I] as `log_popularity` gives.
        tail: ≥ 0; 0 gives the scores back as they are.
    """
    if not tail or not len(log_popularity):
        return scores
    penalty = np.where(items >= 0, log_popularity[np.maximum(items, 0)], np.float32(0))
    return (scores - tail * penalty.astype(np.float64)).astype(np.float32)


def tail_frontier(
    items: Ints, scores: Floats, log_popularity: Floats, tails: Sequence[float], top_k: int
) -> dict[float, Ints]:
    """The lists that each value of the dial would give: the points of an accuracy–coverage frontier.

    Only the candidates are ordered anew: what retrieval did not find is in no list, whatever the dial.

    Args:
        items: [B, C] int64 candidates in any order, −1 where there is none.
        scores: [B, C] float32 log P(item | user).
        log_popularity: [I] as `log_popularity` gives.
        tails: Values of the dial, each ≥ 0.
        top_k: K.

    Returns:
        For each value int64 [B, K], best first, −1 where a list is shorter, as `recsys.evaluation.metrics` takes them.
    """
    assert all(tail >= 0 for tail in tails), f"a dial below 0: {tails}"
    items, scores, _ = distinct_candidates(items, scores, top_k)
    return {
        tail: best_first(items, discounted(items, scores, log_popularity, tail))[0][:, :top_k].copy() for tail in tails
    }
