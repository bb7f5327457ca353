"""The loss with which a text encoder learns from baskets.

Each item of a basket is guessed from the others: their mean vector should be nearer to it than to the other items of
the step. This is the softmax of in-batch negatives (Henderson et al., "Efficient Natural Language Response Suggestion",
2017) over baskets. docs/model.md compares it with the loss of a linear autoencoder (beeFormer, arXiv:2409.10309).

Shapes: B users, R items of a step, T text dimensions, N items of all baskets.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

#: Divides cosines, as is usual for vectors of sentences.
TEMPERATURE = 0.05


def left_out_item_loss(vectors: Tensor, baskets: Tensor) -> Tensor:
    """Mean of −log P(item | the other items of its basket), P a softmax over the items that the user does not have.

    An item without text has a vector of 0. It is not guessed, and says nothing about the others.

    Args:
        vectors: [R, T] unit vectors, or 0.
        baskets: [B, R] 1 for the items of each user, 0 for the others.

    Returns:
        Scalar; 0 if no item can be guessed.
    """
    users, items = (baskets * vectors.any(dim=1)).nonzero(as_tuple=True)  # [N], [N]
    others = F.normalize((baskets @ vectors)[users] - vectors[items], dim=1)
    logits = others @ vectors.T / TEMPERATURE
    excluded = baskets[users] > 0
    excluded[torch.arange(len(items), device=items.device), items] = False
    losses = F.cross_entropy(logits.masked_fill(excluded, -torch.inf), items, reduction="sum")
    return losses / max(len(items), 1)
