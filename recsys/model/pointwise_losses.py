"""Losses that judge each item by itself: σ(logit) is the probability that the user takes it, or the rating.

Shapes: N predicted positions, G draws of negatives, K negatives of a draw, D dimensions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLogits:
    """Logits of what the users took, and of items that they did not take."""

    taken: Tensor
    """[N] float32, of the target of each position."""
    others: Tensor
    """[N, K] float32."""
    counts: Tensor
    """[N, K] bool: whether an item is a negative of a position; the target of the position is none."""

    @classmethod
    def of(cls, hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, bias: Tensor) -> "ItemLogits":
        """Products of states [N, D] and item vectors [R, D], plus a bias [1].

        Args:
            hidden: [N, D].
            items: [R, D].
            targets: [N] rows of ``items``.
            negatives: [G, K] rows of ``items``. Each draw belongs to ⌈N / G⌉ positions that follow each other.
            bias: [1].
        """
        taken = (hidden.float() * items[targets].float()).sum(dim=1) + bias.float()
        sharing = -(-len(hidden) // len(negatives))
        padded = F.pad(hidden, (0, 0, 0, len(negatives) * sharing - len(hidden)))
        products = padded.view(len(negatives), sharing, -1) @ items[negatives].transpose(1, 2)
        others = products.flatten(0, 1)[: len(hidden)].float() + bias.float()
        drawn = negatives.repeat_interleave(sharing, dim=0)[: len(hidden)]
        return cls(taken=taken, others=others, counts=drawn != targets[:, None])


def generalised_cross_entropy(
    logits: ItemLogits, num_items: int, calibration: float, weights: Tensor | None = None
) -> Tensor:
    """GBCE of gSASRec (Petrov & Macdonald, RecSys 2023, arXiv 2308.07192): −log(σ(s⁺)^β · Π (1 − σ(s⁻))).

    Binary cross-entropy over K drawn negatives predicts too high probabilities, since it saw few of the negatives.
    β = α (t (1 − 1/α) + 1/α), with the share of negatives α = K / (I − 1), undoes this for t = 1. With t = 0, β is 1.

    Args:
        logits: Of N positions.
        num_items: I, from which the negatives were drawn.
        calibration: t in [0, 1].
        weights: [N] ≥ 0 of the positions; None: all have weight 1.

    Returns:
        Scalar float32: the mean over positions. The paper's code divides by K + 1 too. Then many gradients are as small
        as AdamW's ε, and their weights hardly move.
    """
    num_negatives = logits.others.shape[1]
    drawn = min(num_negatives / max(num_items - 1, 1), 1.0)
    power = drawn * (calibration * (1 - 1 / drawn) + 1 / drawn)
    losses = -power * F.logsigmoid(logits.taken) - (F.logsigmoid(-logits.others) * logits.counts).sum(dim=1)
    return _mean(losses, weights)


def rating_error(logits: ItemLogits, ratings: Tensor, squared: bool) -> Tensor:
    """The error of predicted ratings: those of the targets, and 0 for the items that were drawn as negatives.

    The negatives of a position together count as much as its target: else nearly all that is learned is a rating of 0.

    Args:
        logits: Of N positions.
        ratings: [N] in [0, 1]; positions with a rating of 0 are no targets and do not count.
        squared: Squared error of σ(logit), else its cross-entropy with the rating.

    Returns:
        Scalar float32, mean over the positions that count.
    """

    def error(each: Tensor, wanted: Tensor) -> Tensor:
        if squared:
            return (each.sigmoid() - wanted).square()
        return F.binary_cross_entropy_with_logits(each, wanted, reduction="none")

    there = (ratings > 0).float()
    of_others = (error(logits.others, torch.zeros_like(logits.others)) * logits.counts).sum(dim=1)
    losses = error(logits.taken, ratings) + of_others / logits.counts.sum(dim=1).clamp(min=1)
    return (losses * there).sum() / there.sum().clamp(min=1)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    weights = weights.float()
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(torch.float32).tiny)
