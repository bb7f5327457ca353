"""The items that one training step looks at: all items with interactions, or a sample if these are too many.

Shapes: B windows, L history length, I items, S sampled items.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """S distinct items: those of the batch, and random ones. The batch holds rows of the sample, not of the catalog."""

    rows: Tensor
    """[S] catalog indices, in ascending order."""
    items: Tensor
    """[B, L] padded with S."""
    targets: Tensor
    """[B, L] padded with −1."""
    log_q: Tensor
    """[S] log of each item's probability to be in a sample like this one."""


def draw_sample(items: Tensor, targets: Tensor, counts: Tensor, num_negatives: int) -> Sample:
    """The items of a batch, and items drawn uniformly from the K items with interactions.

    Items without interactions are no negatives. They would be negatives in every step and never a target, and the
    ranker would learn from their text that new items are unlikely.

    An item is in the sample because it was drawn uniformly, or because it is in the batch, whose events count as drawn
    by popularity: q = 1 − (1 − 1/K)ᵐ (1 − pᵢ)ⁿ with m uniform draws, n events of the batch and the item's share pᵢ.

    Args:
        items: [B, L] catalog indices, padded with I.
        targets: [B, L] catalog indices, padded with −1.
        counts: [I] training interactions of each item; the items of the batch have at least one.
        num_negatives: m; with m ≥ K the sample holds all K items.
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
