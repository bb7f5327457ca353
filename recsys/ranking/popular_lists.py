"""The most popular items as lists: the baseline of the gate."""

import numpy as np
import pyarrow as pa
import torch

from recsys.model.features import index_items
from recsys.ranking.config import RecommendConfig
from recsys.ranking.lists import as_recommendations
from recsys.ranking.scoring import left_out
from recsys.signals.exact_search import ItemIndex, retrieve


def popular_batch(popularity: pa.Array, item_ids: pa.Array, histories: pa.Table, config: RecommendConfig) -> pa.Table:
    """The most popular items for each of B users.

    Args:
        popularity: Item ids, best first; items that are not in it come last.
        item_ids: [I] sorted ids of the items that may be recommended.
        histories: HISTORIES table of B users.
        config: Length of a list, what is left out.

    Returns:
        RECOMMENDATIONS table; the score is minus the item's place.
    """
    places = np.full(len(item_ids), len(item_ids), dtype=np.float32)
    known = index_items(popularity, item_ids)
    places[known[known >= 0]] = np.arange((known >= 0).sum())
    users = torch.ones(len(histories), 1)
    excluded = left_out(histories, item_ids, config)
    retrieved = retrieve(users, ItemIndex.of(-torch.from_numpy(places)[:, None]), excluded, config.top_k)
    scores = retrieved.logits.numpy()
    items = np.where(np.isfinite(scores), retrieved.items.numpy(), -1)
    return as_recommendations(
        histories["user_id"], item_ids, items, scores, source="popularity", reason="popular this week"
    )
