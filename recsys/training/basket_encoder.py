"""A text encoder that learns from baskets.

Shapes: I items, B users, R items of a step, T text dimensions.
"""

from torch import Tensor

from recsys.training.basket_loss import left_out_item_loss
from recsys.training.trainable_encoder import TrainableEncoder


class BasketEncoder(TrainableEncoder):
    """A catalog's encoder, whose forward pass is the loss of a step or the vectors of some items."""

    def forward(self, rows: Tensor, baskets: Tensor | None = None) -> Tensor:
        """The loss, or vectors without baskets.

        Args:
            rows: [R] of the catalog.
            baskets: [B, R] 1 for the items of each user, else 0. R must be the same on all workers.

        Returns:
            Scalar loss, or float32 [R, T] of length 1.
        """
        vectors = self.vectors(rows)
        return vectors if baskets is None else left_out_item_loss(vectors, baskets)
