"""The loss of a linear autoencoder over text vectors, which a text encoder learns from baskets.

ELSA (Vančura et al., RecSys 2022) rebuilds a basket x of items by x̂ = x(AAᵀ − 1) with one unit vector of each item in
A. beeFormer (Vančura et al., 2024, arXiv:2409.10309) takes the vectors of a text encoder for A and trains the encoder.

Shapes: B users, R items of a step, T text dimensions.
"""

import torch.nn.functional as F
from torch import Tensor


def autoencoder_loss(vectors: Tensor, baskets: Tensor) -> Tensor:
    """Mean squared distance between the directions of baskets and of their reconstructions: 2 − 2 cos(x̂, x).

    No item explains itself: the diagonal of AAᵀ − 1 is 0, since the vectors have length 1. An item without text has a
    vector of 0 and the diagonal 0.

    Args:
        vectors: [R, T] unit vectors, or 0.
        baskets: [B, R] weights of the items of each user, 0 for items that a user does not have.

    Returns:
        Scalar in [0, 4].
    """
    rebuilt = baskets @ vectors @ vectors.T - baskets * vectors.any(dim=1)
    return (F.normalize(rebuilt, dim=1) - F.normalize(baskets, dim=1)).square().sum(dim=1).mean()
