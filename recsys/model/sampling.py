"""The items that one training step looks at: those that anything is known of, or a sample where they are too many.

It knows indices and counts, no vectors. Shapes: B windows, L history length, I items, S sampled items.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """S distinct items: those of the batch and some at random; the batch's own indices are rows of the sample."""

    rows: Tensor
    """[S] catalog indices, rising."""
    items: Tensor
    """[B, L] padded with S."""
    targets: Tensor
    """[B, L] padded with −1."""
    log_q: Tensor
    """[S] log of the probability with which each item came into a sample like this one."""


def draw_sample(items: Tensor, targets: Tensor, counts: Tensor, num_negatives: int) -> Sample:
    """The items of a batch, and uniform ones of the K items that have interactions.

    What nobody took yet is no negative: nobody could have taken it. As a negative of every step and the target of none
    its text, all that a new item has, would be learned to be the least likely of all.

    An item's way into the sample is to be drawn uniformly, or to stand in the batch, whose events are taken as drawn by
    popularity: q = 1 − (1 − 1/K)ᵐ (1 − pᵢ)ⁿ with m uniform draws, n events of the batch and the share pᵢ of the item.

    Args:
        items: [B, L] catalog indices, padded with I.
        targets: [B, L] catalog indices, padded with −1.
        counts: [I] training interactions of each item; those of the batch have some.
        num_negatives: m; from K on all of them are taken.
    """
    num_items = len(counts)
    seen = torch.cat([items[items < num_items], targets[targets >= 0]])
    known = counts.nonzero().squeeze(1)
    if num_negatives >= len(known):
        rows = torch.unique(torch.cat([seen, known]))
        log_q = torch.zeros(len(rows), device=items.device)
    else:
        uniform = known[torch.randint(len(known), (num_negatives,), device=items.device)]
        rows = torch.unique(torch.cat([seen, uniform]))
        share = counts[rows].double() / counts.sum().clamp(min=1)
        num_events = (targets >= 0).sum() + len(targets)
        log_missed = num_negatives * math.log1p(-1 / len(known)) + num_events * torch.log1p(-share.clamp(max=1 - 1e-12))
        log_q = torch.log(-torch.expm1(log_missed)).float()
    padding = targets < 0
    local_targets = torch.searchsorted(rows, targets.masked_fill(padding, 0).contiguous()).masked_fill(padding, -1)
    local_items = torch.searchsorted(rows, items.contiguous())  # padding, larger than every row, becomes S
    return Sample(rows=rows, items=local_items, targets=local_targets, log_q=log_q)
