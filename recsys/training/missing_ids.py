"""Items that training would begin with neither text nor id.

Shapes: I items, D item dimensions, T text dimensions.
"""

import torch

from recsys.model.ranker import Ranker

#: Standard deviation of a drawn id embedding; that of the ranker's other embeddings.
_SPREAD = 0.02


@torch.no_grad()
def draw_missing_ids(ranker: Ranker) -> None:
    """Draw id embeddings [I, D] where both the text vector [I, T] and the id embedding of an item are 0.

    An id embedding begins at 0, because an item begins as its text. Without a text its vector would have no direction.
    """
    missing = ~(ranker.text_vectors.any(dim=1) | ranker.id_embedding.weight.any(dim=1))
    if missing.any():
        drawn = torch.randn(int(missing.sum()), ranker.spec.item_dim) * _SPREAD
        ranker.id_embedding.weight[missing] = drawn.to(ranker.id_embedding.weight)
