"""Exact retrieval: the best items of each user by inner product, a block of items at a time.

It knows vectors and indices only. Shapes: B users, I items, D dimensions, C candidates.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The best items of B users, best first."""

    items: Tensor
    """[B, C] int64 rows of the item matrix; where a score is −inf there was no further item."""
    logits: Tensor
    """[B, C] float32 inner products."""
    log_norm: Tensor
    """[B] log Σ exp over every item, excluded ones too: the denominator of P(item | user)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """(user, item) pairs that must not be retrieved, sorted by item so that a block finds its own."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    @classmethod
    def of(cls, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> "Excluded":
        """Pairs in any order; pairs with a negative item are ignored."""
        users, items = users[items >= 0], items[items >= 0]
        order = np.argsort(items, kind="stable")
        return cls(users=users[order], items=items[order])

    @classmethod
    def none(cls) -> "Excluded":
        """No pair at all."""
        return cls(users=np.empty(0, np.int64), items=np.empty(0, np.int64))


def retrieve(users: Tensor, items: Tensor, excluded: Excluded, num_candidates: int, block: int = 16_384) -> Retrieved:
    """Top C of B × I inner products without ever holding more than B × block of them.

    Args:
        users: [B, D] float32.
        items: [I, D] float32.
        excluded: Pairs to leave out.
        num_candidates: C; fewer come back where the catalog is smaller.
        block: Items scored at once.
    """
    best_logits = users.new_full((len(users), 0), 0.0)
    best_items = torch.zeros((len(users), 0), dtype=torch.int64, device=users.device)
    log_norm = users.new_full((len(users),), -torch.inf)
    for start in range(0, len(items), block):
        logits = users @ items[start : start + block].T
        log_norm = torch.logaddexp(log_norm, logits.logsumexp(dim=1))
        low, high = np.searchsorted(excluded.items, [start, start + logits.shape[1]])
        rows = torch.from_numpy(excluded.users[low:high]).to(users.device)
        columns = torch.from_numpy(excluded.items[low:high] - start).to(users.device)
        logits[rows, columns] = -torch.inf
        top = logits.topk(min(num_candidates, logits.shape[1]), dim=1)
        logits = torch.cat([best_logits, top.values], dim=1)
        candidates = torch.cat([best_items, top.indices + start], dim=1)
        best = logits.topk(min(num_candidates, logits.shape[1]), dim=1)
        best_logits, best_items = best.values, candidates.gather(1, best.indices)
    return Retrieved(items=best_items, logits=best_logits, log_norm=log_norm)
