"""A text encoder in training: the module that an engine wraps.

Shapes: R texts of a step, T text dimensions.
"""

import math

import torch
from torch import Tensor, nn

from recsys.config.section import Precision
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.precision import multiplies_bfloat16


class TrainableEncoder(nn.Module):
    """An encoder whose forward pass, in a subclass, is the loss of a step or the vectors of some texts.

    All calls go through `forward` because a sharded model (ZeRO-3) gathers its weights around it.
    """

    def __init__(self, encoder: CatalogEncoder, precision: Precision) -> None:
        """Precision as `train.precision`: auto multiplies in bfloat16 where the device has instructions for it."""
        super().__init__()
        self.encoder = encoder
        self.precision = precision

    def vectors(self, rows: Tensor) -> Tensor:
        """[R, T] float32 of length 1, of the texts of these rows [R]."""
        mixed = self.precision == "auto" and multiplies_bfloat16(rows.device)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=mixed):
            vectors: Tensor = self.encoder(rows, math.ceil(len(rows) / self.encoder.batch_size))
        return vectors
