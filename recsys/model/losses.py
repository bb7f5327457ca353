"""Training objectives over item vectors; it knows nothing of where hidden states come from.

Shapes: N predicted positions, I items, D dimensions.
"""

from typing import Any

import torch
from torch import Tensor


class _BlockedSoftmax(torch.autograd.Function):
    """Cross-entropy over the whole catalog, a block of positions at a time.

    The N × I logits are never held at once: each block's gradient is taken as soon as its softmax is there, as
    in Cut Cross-Entropy (Wijmans et al., 2025), so memory is O(block · I).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, items: Tensor, targets: Tensor, block: int) -> Tensor:
        wants_gradient = hidden.requires_grad or items.requires_grad
        hidden_gradient = torch.empty_like(hidden) if wants_gradient else None
        items_gradient = torch.zeros_like(items, dtype=torch.float32) if wants_gradient else None
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(hidden), block):
            rows, wanted = hidden[start : start + block], targets[start : start + block, None]
            logits = (rows @ items.T).float()
            log_norm = logits.logsumexp(dim=1, keepdim=True)
            total += (log_norm - logits.gather(1, wanted)).sum()
            if hidden_gradient is not None and items_gradient is not None:
                error = logits.sub_(log_norm).exp_()
                error.scatter_add_(1, wanted, error.new_full(wanted.shape, -1.0))
                error = error.to(items.dtype)
                torch.mm(error, items, out=hidden_gradient[start : start + block])
                items_gradient += error.T @ rows
        # the mean is taken in `backward`, where a loss scale is at hand: 1 / (N · I) is zero to fp16
        ctx.save_for_backward(hidden_gradient, items_gradient)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, items_gradient = ctx.saved_tensors
        gradient = gradients[0] / len(hidden_gradient)
        return hidden_gradient * gradient, (items_gradient * gradient).to(hidden_gradient.dtype), None, None


def full_softmax(hidden: Tensor, items: Tensor, targets: Tensor, block: int = 1024) -> Tensor:
    """Mean of −log P(target | position), P(i) = exp(h·vᵢ) / Σₖ exp(h·vₖ) over every item.

    Args:
        hidden: [N, D] user states.
        items: [I, D] item vectors.
        targets: [N] int64 indices of the items that came next.
        block: positions whose logits are held at once.

    Returns:
        Scalar float32.
    """
    assert len(hidden), "no target in the batch"
    loss: Tensor = _BlockedSoftmax.apply(hidden, items, targets, block)  # type: ignore[no-untyped-call]
    return loss
