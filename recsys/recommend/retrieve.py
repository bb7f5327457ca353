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
    """Top C of B × I inner products without ever holding more than B × block of them; equals come by index.

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
        top = _largest(logits, num_candidates)
        logits = torch.cat([best_logits, logits.gather(1, top)], dim=1)
        candidates = torch.cat([best_items, top + start], dim=1)
        best = _largest(logits, num_candidates)
        best_logits, best_items = logits.gather(1, best), candidates.gather(1, best)
    order = best_logits.sort(dim=1, descending=True, stable=True).indices
    return Retrieved(items=best_items.gather(1, order), logits=best_logits.gather(1, order), log_norm=log_norm)


def _largest(logits: Tensor, num: int) -> Tensor:
    """[B, num] columns of the largest values of each row, ascending; the first columns where equals meet the cut.

    `topk` alone keeps any of them, so that a list would hang on the size of the batch and of the blocks.
    """
    if num >= logits.shape[1]:
        return torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    top = logits.topk(num + 1, dim=1)
    columns = top.indices[:, :num]
    tied = (top.values[:, num - 1] == top.values[:, num]) & top.values[:, num].isfinite()
    if tied.any():
        columns = columns.clone()
        columns[tied] = logits[tied].sort(dim=1, descending=True, stable=True).indices[:, :num]
    return columns.sort(dim=1).values
