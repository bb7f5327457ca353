"""Dropout with a fast random mask on CPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """`torch.nn.Dropout`; on a CPU the dropped share is rounded to 1/256.

    On a CPU torch draws one random number for each feature, which takes longer than a layer of the small decoder. Here
    eight features share a random number of eight bytes.
    """

    def __init__(self, share: float) -> None:
        """In training a ``share`` of the features, 0 ≤ share < 1, becomes 0; the others are divided by 1 − share."""
        super().__init__()
        self.share = share
        self.below = min(round(256 * share), 255)

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape."""
        if not self.training or not self.share:
            return features
        if features.device.type != "cpu":
            return F.dropout(features, self.share)
        drawn = torch.empty(-(-features.numel() // 8), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        kept = drawn.view(torch.uint8)[: features.numel()].view(features.shape) >= self.below
        return features * kept.to(features.dtype).mul_(256 / (256 - self.below))
