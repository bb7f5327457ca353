"""Softmax losses over item vectors.

Every loss is a mean over positions, weighted if weights are given. With label smoothing ε a target has probability
1 − ε, and ε is spread evenly over all classes, as in `torch.nn.functional.cross_entropy`.

Shapes: N predicted positions, I items, S sampled items, C candidates, D dimensions.
"""

from typing import Any

import torch
from torch import Tensor

#: Positions whose logits are in memory at once: few enough for a core's cache, or enough to use a GPU fully.
_CPU_BLOCK, _GPU_BLOCK = 256, 4096


class _BlockedSoftmax(torch.autograd.Function):
    """Weighted cross-entropy over many items, a block of positions at a time.

    The N × I logits are never in memory at once. The gradient of each block is computed right after its softmax, as in
    Cut Cross-Entropy (Wijmans et al., 2025), so memory is O(block · I). All blocks share one buffer, which stays in the
    cache, so that most of the time goes into the three matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        items: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        correction: Tensor | None,
        smoothing: float,
        block: int,
        arithmetic: torch.dtype,
    ) -> Tensor:
        """``weights`` [N] of mean 1; ``correction`` [I] is added to the logits of all items but a row's own target.

        ``arithmetic`` is the type of the products; everything after them is float32.
        """
        wants_gradient = hidden.requires_grad or items.requires_grad
        hidden_gradient = torch.empty_like(hidden) if wants_gradient else None
        items_gradient = torch.zeros_like(items, dtype=torch.float32) if wants_gradient else None
        total = hidden.new_zeros((), dtype=torch.float32)
        ctx.items_dtype = items.dtype
        hidden, items = hidden.to(arithmetic), items.to(arithmetic)
        columns = items.T.contiguous()
        buffer = hidden.new_empty((min(block, len(hidden)), len(items)), dtype=torch.float32)
        for start in range(0, len(hidden), block):
            rows, wanted = hidden[start : start + block], targets[start : start + block, None]
            own = 1.0 if weights is None else weights[start : start + block, None]
            logits = buffer[: len(rows)]
            if rows.dtype == torch.float32:
                torch.mm(rows, columns, out=logits)
            else:
                logits.copy_(rows @ columns)
            if correction is not None:
                logits += correction
                logits.scatter_add_(1, wanted, -correction[wanted])
            losses = -(1 - smoothing) * logits.gather(1, wanted)
            if smoothing:
                losses -= smoothing * logits.mean(dim=1, keepdim=True)
            peak = logits.amax(dim=1, keepdim=True)
            norm = logits.sub_(peak).exp_().sum(dim=1, keepdim=True)
            losses += peak + norm.log()
            total += (losses * own).sum()
            if hidden_gradient is not None and items_gradient is not None:
                error = logits.mul_(own / norm)
                if smoothing:
                    error -= smoothing / len(items) * own
                error.scatter_add_(1, wanted, error.new_full(wanted.shape, smoothing - 1.0) * own)
                error = error.to(items.dtype)
                hidden_gradient[start : start + block] = error @ items
                items_gradient += error.T @ rows
        # `backward` divides by N, after the loss scale of fp16 is applied: 1 / (N · I) would be zero in fp16
        ctx.save_for_backward(hidden_gradient, items_gradient)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, items_gradient = ctx.saved_tensors
        gradient = gradients[0] / len(hidden_gradient)
        items_part = (items_gradient * gradient).to(ctx.items_dtype)
        return hidden_gradient * gradient, items_part, None, None, None, None, None, None


def full_softmax(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    block: int | None = None,
) -> Tensor:
    """Mean of −log P(target | position), P(i) = exp(h·vᵢ) / Σₖ exp(h·vₖ) over every item.

    Args:
        hidden: [N, D] user states.
        items: [I, D] item vectors.
        targets: [N] int64 indices of the next items.
        weights: [N] ≥ 0 of the positions; None: all have weight 1.
        label_smoothing: ε in [0, 1).
        block: Positions whose logits are in memory at once; None: a number that suits the device.

    Returns:
        Scalar float32.
    """
    return _blocked(hidden, items, targets, weights, None, label_smoothing, block)


def sampled_softmax(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    log_q: Tensor,
    strength: float = 1.0,
    *,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    block: int | None = None,
) -> Tensor:
    """`full_softmax` estimated from S distinct items, each in the sample with probability qᵢ.

    Σₖ exp(h·vₖ) over the catalog is estimated by exp(h·v_target) + Σ exp(h·vₖ) / qₖ over the sample's other items,
    without bias (importance sampling, Bengio & Senécal, 2008; the logQ correction of Yi et al., 2019; the target itself
    is not corrected, because it is always in the sample, Khrylchenko et al., 2025). The items are distinct, so a target
    is never its own negative.

    Args:
        hidden: [N, D] user states.
        items: [S, D] vectors of distinct items, every target among them.
        targets: [N] int64 rows of ``items``.
        log_q: [S] log of each item's probability to be in the sample.
        strength: Of the correction, 0 to 1. Less lowers popular items: more coverage, less accuracy.
        weights: As in `full_softmax`.
        label_smoothing: As in `full_softmax`, over the sample.
        block: As in `full_softmax`.

    Returns:
        Scalar float32.
    """
    return _blocked(hidden, items, targets, weights, -strength * log_q.float(), label_smoothing, block)


def listwise_softmax(
    logits: Tensor, target_column: Tensor, *, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean of −log P(target | candidates), the softmax of each row over its candidates.

    Args:
        logits: [N, C]; −inf for padding.
        target_column: [N] int64 columns of the targets.
        weights: As in `full_softmax`.
        label_smoothing: As in `full_softmax`, over the candidates without the padding.

    Returns:
        Scalar float32.
    """
    assert len(logits), "no target in the batch"
    there = logits > -torch.inf
    log_probability = logits.float().log_softmax(dim=1)
    losses = (label_smoothing - 1) * log_probability.gather(1, target_column[:, None]).squeeze(1)
    if label_smoothing:
        losses = losses - label_smoothing * log_probability.masked_fill(~there, 0.0).sum(dim=1) / there.sum(dim=1)
    return (losses if weights is None else losses * _of_mean_one(weights)).mean()


def _blocked(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    correction: Tensor | None,
    smoothing: float,
    block: int | None,
) -> Tensor:
    assert len(hidden), "no target in the batch"
    kind = hidden.device.type
    block = block or (_CPU_BLOCK if kind == "cpu" else _GPU_BLOCK)
    arithmetic = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    scaled = None if weights is None else _of_mean_one(weights)
    loss: Tensor = _BlockedSoftmax.apply(  # type: ignore[no-untyped-call]
        hidden, items, targets, scaled, correction, smoothing, block, arithmetic
    )
    return loss


def _of_mean_one(weights: Tensor) -> Tensor:
    """Weights [N] divided by their mean, in float32; if all are zero they stay zero."""
    weights = weights.float()
    return weights / weights.mean().clamp(min=torch.finfo(torch.float32).tiny)
