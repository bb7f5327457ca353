"""The long-tail dial: what an item of the long tail counts for; it knows counts and scores, no users.

Shapes: B users, C candidates, I items, K list length.
"""

import numpy as np
import pyarrow as pa

from recsys.model.features import index_items
from recsys.ranking.order import Bools, Floats, Ints


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


def discounted(items: Ints, scores: Floats, head: Bools, tail: float) -> Floats:
    """Scores [B, C] less `tail` for the items of the short head; those of the long tail keep theirs.

    A score is log P(item | user), so a hit in the long tail counts for e^`tail` hits in the head: the best K maximise
    the expected hits, Σ P(item | user), plus (e^`tail` − 1) times those in the long tail. By Lagrange, no other lists
    with as many expected hits in the tail have more of them in all. A penalty that grows with popularity, such as
    tail · log(1 + n), pays more for as much, since it also orders the head and the tail anew. The goal is that of
    Abdollahpouri, Burke & Mobasher (FLAIRS 2019).

    For each user, a larger `tail` never lowers how many of the best K are of the long tail.

    Args:
        items: [B, C] int64, −1 where there is none.
        scores: [B, C] float32, −inf where there is none.
        head: [I] as `recsys.data.item_counts.head_items` gives.
        tail: ≥ 0; 0 gives the scores back as they are.
    """
    if not tail or not len(head):
        return scores
    return np.where(head[np.maximum(items, 0)] & (items >= 0), scores - np.float32(tail), scores)
