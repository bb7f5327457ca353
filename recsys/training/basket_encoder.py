"""A text encoder that learns from baskets: the module that an engine trains.

Shapes: I items, B users, R items of a step, T text dimensions.
"""

import math

import torch
from torch import Tensor, nn

from recsys.config.section import Precision
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.precision import multiplies_bfloat16
from recsys.training.basket_loss import autoencoder_loss


class BasketEncoder(nn.Module):
    """A catalog's encoder, whose forward pass is the loss of a step or the vectors of some items."""

    def __init__(self, encoder: CatalogEncoder, precision: Precision) -> None:
        """Precision as `train.precision`: auto multiplies in bfloat16 where the device has instructions for it."""
        super().__init__()
        self.encoder = encoder
        self.precision = precision

    def forward(self, rows: Tensor, baskets: Tensor | None = None) -> Tensor:
        """The loss, or vectors without baskets.

        All calls go through this method because a sharded model (ZeRO-3) gathers its weights around `forward`.

        Args:
            rows: [R] of the catalog.
            baskets: [B, R] weights. R must be the same on all workers.

        Returns:
            Scalar loss, or float32 [R, T] of length 1.
        """
        mixed = self.precision == "auto" and multiplies_bfloat16(rows.device)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=mixed):
            vectors: Tensor = self.encoder(rows, math.ceil(len(rows) / self.encoder.batch_size))
        return vectors if baskets is None else autoencoder_loss(vectors, baskets)
