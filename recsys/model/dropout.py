"""Dropout that draws its mask fast on a CPU too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """`torch.nn.Dropout`; on a CPU the share that is dropped is rounded to 1/256.

    There torch draws one number after the other, which takes longer than a layer of the small decoder: here eight
    features share a number, a byte each.
    """

    def __init__(self, share: float) -> None:
        """``share`` of the features, 0 ≤ share < 1, become 0 in training, and the others larger by 1 / (1 − share)."""
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
