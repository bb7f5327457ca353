"""The stored text vectors of a catalog, made anew by an encoder in training; it knows no Ray and no files.

Shapes: I items, Q texts of users, S of both a worker, T text dimensions, N workers.
"""

import torch
import torch.distributed as dist

from recsys.training.loop import Engine
from recsys.training.objective import TrainableRanker


def refresh_text_vectors(engine: Engine, ranker: TrainableRanker, user_texts: torch.Tensor | None = None) -> None:
    """Encode the whole catalog, without gradient, and store its vectors in the ranker of every worker.

    Each worker reads its share, and all read as many batches: sharded weights (ZeRO-3) are gathered in each.

    Args:
        engine: Of the ranker.
        ranker: Its encoder learns, over the catalog's texts and then those of users. Where it is frozen, nothing is
            done.
        user_texts: [Q, T] of the users' texts, written anew in place.
    """
    if ranker.encoder is None:
        return
    num_workers, num_texts = dist.get_world_size(), len(ranker.encoder.lengths)
    order = ranker.encoder.lengths.argsort(stable=True)  # texts of like length together need little padding
    share = -(-num_texts // num_workers)
    own = order[(torch.arange(share) * num_workers + dist.get_rank()).clamp(max=num_texts - 1)]
    step = ranker.encoder.batch_size
    engine.eval()
    with torch.no_grad():
        vectors = torch.cat([engine(rows=rows) for rows in own.tensor_split(tuple(range(step, share, step)))])  # [S, T]
    shares = [torch.empty_like(vectors) for _ in range(num_workers)]
    dist.all_gather(shares, vectors)
    found = vectors.new_empty(num_texts, vectors.shape[1])
    found[order] = torch.stack(shares, dim=1).flatten(0, 1)[:num_texts]
    num_items = ranker.spec.num_items
    ranker.text_vectors.copy_(found[:num_items])
    if user_texts is not None:
        user_texts.copy_(found[num_items:])
