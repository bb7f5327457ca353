"""Popularity: the prior in every score, and lists as the gate's baseline; it knows counts, no models."""

import numpy as np
import pyarrow as pa
import torch

from recsys.model.features import index_items
from recsys.recommend.pipeline import as_recommendations, seen_items
from recsys.recommend.retrieve import Excluded, retrieve


def popularity_prior(counts: pa.Table, item_ids: pa.Array, weight: float) -> torch.Tensor:
    """[I] float32 logits weight · log(1 + n) of items with n recent interactions.

    Args:
        counts: ITEM_COUNTS of the days before the moment of scoring.
        item_ids: [I] sorted ids of the catalog.
        weight: 0 for none; 1 makes an item's probability grow in proportion to its count.
    """
    prior = np.zeros(len(item_ids), dtype=np.float32)
    rows = index_items(counts["item_id"], item_ids)
    prior[rows[rows >= 0]] = np.log1p(counts["num"].to_numpy()[rows >= 0])
    return torch.from_numpy(weight * prior)


def popular_batch(
    popularity: pa.Array, item_ids: pa.Array, histories: pa.Table, top_k: int, exclude_seen: bool
) -> pa.Table:
    """The most popular items for each of B users.

    Args:
        popularity: Item ids, best first; items that are not in it come last.
        item_ids: [I] sorted ids of the items that may be recommended.
        histories: HISTORIES table of B users.
        top_k: Length of a list.
        exclude_seen: Leave out what the user already touched.

    Returns:
        RECOMMENDATIONS table; the score is minus the item's place.
    """
    places = np.full(len(item_ids), len(item_ids), dtype=np.float32)
    known = index_items(popularity, item_ids)
    places[known[known >= 0]] = np.arange((known >= 0).sum())
    users = torch.ones(len(histories), 1)
    rows = np.arange(len(item_ids))
    excluded = seen_items(histories, item_ids, rows) if exclude_seen else Excluded.none()
    retrieved = retrieve(users, -torch.from_numpy(places)[:, None], excluded, top_k)
    return as_recommendations(
        histories["user_id"],
        item_ids,
        retrieved.items.numpy(),
        retrieved.logits.numpy(),
        top_k,
        source="popularity",
        reason="popular this week",
    )
