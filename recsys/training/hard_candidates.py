"""Candidates for the listwise loss of the candidate pass: the hardest items of each user, and a few random ones.

Shapes: B windows, C candidates, D item dimensions, R items that a step looks at, X excluded items of a window.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: One of so many listwise candidates is drawn at random; the others are the hardest.
RANDOM_SHARE = 5


@torch.no_grad()
def draw_candidates(
    users: Tensor, item_vectors: Tensor, excluded: Tensor, num: int, log_q: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Candidates [B, C] of each window besides its target, padded with R, and the correction of their logits [B, C].

    The random candidates stand for all items that are not among the hardest, as in a sampled softmax. Without them such
    an item would appear almost only as a target, and the candidate pass would learn to rank it first.

    Args:
        users: [B, D] states after the history.
        item_vectors: [R, D].
        excluded: [B, X] items that are no candidates, padded with R: the target is among them.
        num: Candidates of a window.
        log_q: [R] logQ correction of a sampled softmax, with its strength; None: R are all items.
    """
    num_items = len(item_vectors)
    num_random = max(num // RANDOM_SHARE, 1)
    hard = hardest(users.float() @ item_vectors.float().T, excluded, num - num_random)
    random = torch.randint(num_items, (len(users), num_random), device=users.device)
    # a random item may be among the hardest, or excluded
    candidates = without_repeats(torch.cat([excluded, hard, random], dim=1), num_items)[:, excluded.shape[1] :]
    correction = torch.zeros(candidates.shape, device=users.device)
    correction[:, -num_random:] = math.log(num_items / num_random)
    if log_q is not None:
        correction -= F.pad(log_q, (0, 1))[candidates]
    return candidates, correction


def hardest(logits: Tensor, excluded: Tensor, num: int) -> Tensor:
    """[B, ≤ num] columns of the largest logits [B, R] without those in ``excluded`` [B, X]; R if too few are left."""
    num_items = logits.shape[1]
    best = without_items(logits, excluded).topk(min(num, num_items), dim=1)
    return best.indices.masked_fill(best.values == -torch.inf, num_items)


def without_items(logits: Tensor, excluded: Tensor) -> Tensor:
    """Logits [B, R] with −inf for some items [B, X], padded with R."""
    return F.pad(logits, (0, 1)).scatter_(1, excluded, -torch.inf)[:, :-1]  # column R takes the padding


def without_repeats(candidates: Tensor, padding: int) -> Tensor:
    """[B, C] candidates, where every repeat of an item further left is replaced by ``padding``."""
    repeated = (candidates[:, :, None] == candidates[:, None, :]).tril(-1).any(dim=2)
    return candidates.masked_fill(repeated, padding)
