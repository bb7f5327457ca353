"""From histories to ranked lists: the one path that the night and the live service share.

It knows loaded models and Arrow tables, no files, no shards and no Ray. Shapes: B users, I items, K list length.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from recsys.config import RecommendConfig
from recsys.model.features import encode_histories, index_items
from recsys.model.ranker import Ranker
from recsys.recommend.retrieve import Excluded, retrieve
from recsys.schema import RECOMMENDATIONS


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A ranker over one night's catalog, ready to score."""

    ranker: Ranker
    item_ids: pa.Array
    """[I] sorted."""
    event_kinds: pa.Array
    max_length: int
    item_vectors: Tensor
    """[I, D] what histories are made of."""
    available: Tensor
    """[A] int64 catalog index of the items that may be recommended."""
    candidate_vectors: Tensor
    """[A, D + 1] their vectors, and their prior: a user's vector gets a 1 there."""

    @classmethod
    def build(
        cls,
        ranker: Ranker,
        item_ids: pa.Array,
        available: pa.Array,
        event_kinds: list[str],
        max_length: int,
        prior: Tensor | None = None,
    ) -> "Snapshot":
        """Compute the item vectors once.

        Args:
            ranker: In evaluation mode, over ``item_ids``.
            item_ids: [I] sorted.
            available: [I] bool.
            event_kinds: Kinds the ranker was trained on.
            max_length: Events of a history that are read.
            prior: [I] float32 added to the logits, as `popularity_prior` gives; None: zeros.
        """
        rows = torch.from_numpy(np.flatnonzero(available.to_numpy(zero_copy_only=False)))
        with torch.inference_mode():
            vectors = ranker.item_vectors()
            priors = vectors.new_zeros(len(vectors)) if prior is None else prior.to(vectors.device)
            scored = torch.cat([vectors.float(), priors[:, None].float()], dim=1)
        return cls(
            ranker=ranker,
            item_ids=item_ids,
            event_kinds=pa.array(event_kinds, pa.string()),
            max_length=max_length,
            item_vectors=vectors,
            available=rows,
            candidate_vectors=scored[rows.to(vectors.device)],
        )


def recommend_batch(snapshot: Snapshot, histories: pa.Table, config: RecommendConfig) -> pa.Table:
    """The lists of B users.

    The score is log P(item | user), where P ∝ exp(user · item + prior) over every item that may be recommended; ties
    break by item_id.

    Args:
        snapshot: What scores.
        histories: HISTORIES table of B users.
        config: List length, candidates, what is left out.

    Returns:
        RECOMMENDATIONS table, by user in the given order, then by rank; at most K rows a user.
    """
    if not len(histories):
        return RECOMMENDATIONS.empty_table()
    device = snapshot.item_vectors.device
    batch = encode_histories(histories, snapshot.item_ids, snapshot.event_kinds, snapshot.max_length)
    available = snapshot.available.numpy()
    row_of = np.full(len(snapshot.item_ids), -1, dtype=np.int64)
    row_of[available] = np.arange(len(available))
    with torch.inference_mode():
        users = snapshot.ranker.user_vectors(
            snapshot.item_vectors,
            torch.from_numpy(batch.items).to(device),
            torch.from_numpy(batch.gaps).to(device),
            torch.from_numpy(batch.events).to(device),
        )
        excluded = seen_items(histories, snapshot.item_ids, row_of) if config.exclude_seen else Excluded.none()
        queries = torch.cat([users.float(), users.new_ones(len(users), 1, dtype=torch.float32)], dim=1)
        retrieved = retrieve(queries, snapshot.candidate_vectors, excluded, config.candidates)
        log_probability = retrieved.logits - retrieved.log_norm[:, None]
    return as_recommendations(
        histories["user_id"],
        snapshot.item_ids,
        available[retrieved.items.cpu().numpy()],
        log_probability.cpu().numpy(),
        config.top_k,
        source="ranker",
        reason="in line with your history",
    )


def seen_items(histories: pa.Table, item_ids: pa.Array, row_of: npt.NDArray[np.int64]) -> Excluded:
    """Every (user, item) of ``seen_item_ids``, as rows of the batch and rows of an item matrix.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog.
        row_of: [I] row of each item in the matrix, −1 where it has none.
    """
    lists = histories["seen_item_ids"].combine_chunks()
    users = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    items = index_items(lists.flatten(), item_ids)
    return Excluded.of(users[items >= 0], row_of[items[items >= 0]])


def as_recommendations(
    user_ids: pa.ChunkedArray,
    item_ids: pa.Array,
    items: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    top_k: int,
    source: str,
    reason: str,
) -> pa.Table:
    """Scored candidates as ranked lists; a candidate with the score −inf is none.

    Args:
        user_ids: [B].
        item_ids: [I] sorted, so that a tie that breaks by index breaks by id.
        items: [B, C] indices of candidates.
        scores: [B, C] float32, the very numbers that are written: they decide the order.
        top_k: Most items a user.
        source: What found them.
        reason: Why they are shown.
    """
    order = np.lexsort((items, -scores), axis=1)[:, :top_k]
    scores, items = np.take_along_axis(scores, order, 1), np.take_along_axis(items, order, 1)
    users, places = np.nonzero(np.isfinite(scores))
    zeros = pa.array(np.zeros(len(users), dtype=np.int8))
    return pa.Table.from_arrays(
        [
            user_ids.combine_chunks().take(pa.array(users)),
            pa.array((places + 1).astype(np.int16)),
            item_ids.take(pa.array(items[users, places])),
            pa.array(scores[users, places]),
            _constant(source, zeros),
            _constant(reason, zeros),
            _constant("default", zeros),
        ],
        schema=RECOMMENDATIONS,
    )


def _constant(text: str, zeros: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(zeros, pa.array([text])).cast(pa.string())
