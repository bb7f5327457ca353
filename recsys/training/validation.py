"""How well a ranker in training ranks the targets that were kept out of training.

Shapes: B windows, b of them at a time, L history length, C candidates, I items.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from recsys.training.engine import RankerCall
from recsys.training.hard_candidates import hardest, without_items
from recsys.training.window_batch import WindowBatch, num_targets

#: Users whose scores for all items are in memory at once.
USER_BLOCK = 64


def validate(
    engine: RankerCall, batches: Iterable[WindowBatch], num_items: int, exclude_history: bool, k: int = 10
) -> float:
    """NDCG@k of each window's last target among all items, averaged over windows; NaN without any window.

    Args:
        engine: The ranker.
        batches: One window a user; its last target is the item to find.
        num_items: I.
        exclude_history: Rank the items of the window last, as lists leave out seen items. None of them is a target.
        k: Length of the list.
    """
    ranks = [
        _ranks(without_items(logits, history), wanted).cpu()
        for _, logits, wanted, history in _last_targets(engine, batches, num_items, exclude_history)
    ]
    return _ndcg(ranks, k)


def validate_candidate_pass(
    engine: RankerCall,
    batches: Iterable[WindowBatch],
    num_items: int,
    exclude_history: bool,
    num_candidates: int,
    k: int = 10,
) -> tuple[float, float]:
    """NDCG@k of retrieval, as `validate` returns it, and of its best candidates in the order of the candidate pass.

    Args:
        engine: The ranker.
        batches: As in `validate`.
        num_items: I.
        exclude_history: As in `validate`.
        num_candidates: C; a target that is not among them counts 0.
        k: Length of the list.
    """
    retrieved, scored = [], []
    for batch, logits, wanted, history in _last_targets(engine, batches, num_items, exclude_history):
        retrieved.append(_ranks(without_items(logits, history), wanted).cpu())
        candidates = hardest(logits, history, num_candidates).sort(dim=1).values
        with torch.no_grad():
            scores = engine(batch.items, batch.gaps, batch.events, candidates, texts=batch.texts)
        columns = (candidates == wanted[:, None]).int().argmax(dim=1)
        there = (candidates == wanted[:, None]).any(dim=1)
        scored.append(torch.where(there, _ranks(scores, columns), num_items + 1).cpu())
    return _ndcg(retrieved, k), _ndcg(scored, k)


def _last_targets(
    engine: RankerCall, batches: Iterable[WindowBatch], num_items: int, exclude_history: bool
) -> Iterator[tuple[WindowBatch, Tensor, Tensor, Tensor]]:
    """(windows, logits [b, I], wanted [b], history [b, L] padded with I), a few users at a time.

    The engine stays in evaluation mode.
    """
    engine.eval()
    for batch in batches:
        with torch.no_grad():
            users, item_vectors = engine(batch.items, batch.gaps, batch.events, texts=batch.texts)
        for start in range(0, len(users), USER_BLOCK):
            block = batch.at(slice(start, start + USER_BLOCK))
            last = num_targets(block.targets) - 1
            wanted = block.targets.gather(1, last).squeeze(1)
            history = block.items if exclude_history else torch.full_like(block.items, num_items)
            yield block, users[start : start + USER_BLOCK].float() @ item_vectors.float().T, wanted, history


def _ranks(logits: Tensor, wanted: Tensor) -> Tensor:
    """[B] rank (1 = best) of the column ``wanted`` [B] among the logits [B, I] of each row.

    Equal logits rank by index, as in lists. NaN ranks last: a diverged model must not look good.
    """
    own = logits.gather(1, wanted[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < wanted[:, None]
    return (~(logits <= own) | ((logits == own) & before)).sum(dim=1) + 1


def _ndcg(ranks: list[Tensor], k: int) -> float:
    """Mean of 1 / log₂(1 + rank) for ranks up to k, and 0 for others; NaN without any rank."""
    if not ranks:
        return float("nan")
    rank = torch.cat(ranks)
    return float(torch.where(rank <= k, 1 / torch.log2(rank + 1.0), 0.0).mean())
