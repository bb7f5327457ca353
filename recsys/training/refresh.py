"""Encoding the catalog again with a text encoder that is being trained.

Shapes: I items, Q texts of users, R texts, S share of them that a worker encodes, T text dimensions, N workers.
"""

import torch
import torch.distributed as dist

from recsys.model.catalog_encoder import CatalogEncoder
from recsys.training.engine import RankerCall
from recsys.training.objective import TrainableRanker


def refresh_text_vectors(engine: RankerCall, ranker: TrainableRanker, user_texts: torch.Tensor | None = None) -> None:
    """Encode the whole catalog, without gradient, and store the vectors in the ranker of every worker.

    Args:
        engine: Of the ranker.
        ranker: Its encoder reads the catalog's texts and then the users' texts. If the encoder is frozen, this function
            does nothing.
        user_texts: [Q, T] vectors of the users' texts; they are overwritten.
    """
    if ranker.encoder is None:
        return
    encoded = encode_rows(engine, ranker.encoder)
    num_items = ranker.spec.num_items
    ranker.text_vectors.copy_(encoded[:num_items])
    if user_texts is not None:
        user_texts.copy_(encoded[num_items:])


def encode_rows(engine: RankerCall, encoder: CatalogEncoder, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Vectors of texts, without gradient, the same on every worker.

    Each worker encodes its share in the same number of batches, because sharded weights (ZeRO-3) are gathered in each.

    Args:
        engine: Around a module that returns the vectors of `rows`.
        encoder: Of the module.
        rows: [R] of the texts; None: all of them.

    Returns:
        [R, T] float32 of length 1.
    """
    several = dist.is_initialized()
    num_workers, rank = (dist.get_world_size(), dist.get_rank()) if several else (1, 0)
    rows = None if rows is None else rows.to(encoder.lengths.device)
    lengths = encoder.lengths if rows is None else encoder.lengths[rows]
    order = lengths.argsort(stable=True)  # texts of similar length together need little padding
    share = -(-len(order) // num_workers)
    own = order[(torch.arange(share) * num_workers + rank).clamp(max=len(order) - 1)]
    own = own if rows is None else rows[own]
    step = encoder.batch_size
    engine.eval()
    with torch.no_grad():
        vectors = torch.cat([engine(rows=part) for part in own.tensor_split(tuple(range(step, share, step)))])  # [S, T]
    shares = [vectors]
    if several:
        shares = [torch.empty_like(vectors) for _ in range(num_workers)]
        dist.all_gather(shares, vectors)
    encoded = vectors.new_empty(len(order), vectors.shape[1])
    encoded[order] = torch.stack(shares, dim=1).flatten(0, 1)[: len(order)]
    return encoded
