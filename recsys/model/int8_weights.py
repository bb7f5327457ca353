"""Weights of a transformer in int8, for models that hardly fit into memory; torch computes as before.

Each layer turns its weights into floating point when it is used, and forgets them then. The memory is half of that of
bfloat16, on CPUs and GPUs. It is not faster, unlike int8 of weights and activations (`recsys.model.onnx_int8`).

Shapes: V rows of a weight matrix, K of its columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Int8Matrix(nn.Module):
    """A matrix [V, K] in int8 with a scale for each row."""

    numbers: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = weight.detach().float().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127  # [V, 1]
        self.register_buffer("numbers", (weight.detach().float() / scales).round().to(torch.int8))
        self.register_buffer("scales", scales.to(weight.dtype))


class Int8Linear(Int8Matrix):
    """A linear layer: x · Wᵀ + b."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.weight)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., V] of x [..., K]."""
        products = F.linear(x, self.numbers.to(x.dtype)) * self.scales[:, 0]
        return products if self.bias is None else products + self.bias


class Int8Embedding(Int8Matrix):
    """A table of embeddings."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(table.weight)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., K] of rows [...]."""
        return self.numbers[rows].to(self.scales.dtype) * self.scales[rows]


def quantize_weights(model: nn.Module) -> None:
    """Replace all linear layers and tables of embeddings of a frozen model, in place."""
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            setattr(model, name, Int8Linear(layer))
        elif isinstance(layer, nn.Embedding):
            setattr(model, name, Int8Embedding(layer))
        else:
            quantize_weights(layer)
