"""A learned number for each head and each time between two events, which is added to the logits of the attention.

After HSTU (Zhai et al., ICML 2024, arXiv 2402.17152), whose time term it takes. All layers share the numbers, as the
position term of T5 does (Raffel et al., 2020), so every decoder takes them with its attention mask.

Times are summed from the gap buckets that the ranker reads anyway. So the time between an event and the event before it
has its exact bucket. The time over several events is known to a factor of √2 or so, which is at most the next bucket.

Shapes: B users, L history length, Q heads, S buckets of time.
"""

import torch
from torch import Tensor

from recsys.model.features import NUM_GAP_BUCKETS

#: S: powers of two of seconds, as of gaps. No time between two events is the first bucket.
NUM_TIME_BUCKETS = NUM_GAP_BUCKETS - 1


def attention_mask(table: Tensor, gaps: Tensor) -> Tensor:
    """[B, Q, L, L] what is added to the logit of each earlier token (last) for each token; −∞ for later tokens.

    Args:
        table: [S, Q].
        gaps: [B, L] buckets of `recsys.model.features.gap_buckets`.
    """
    length = gaps.shape[1]
    later = torch.ones(length, length, dtype=torch.bool, device=gaps.device).triu(1)
    return _looked_up(table, _time_buckets(gaps)).masked_fill(later, -torch.inf)


def candidate_bias(table: Tensor, gaps: Tensor, lengths: Tensor) -> Tensor:
    """[B, Q, L + 1] what is added to the logits of a candidate, which stands at the time of the last event.

    Args:
        table: [S, Q].
        gaps: [B, L], as in `attention_mask`.
        lengths: [B] tokens of each history; what comes after them means nothing.

    Returns:
        For each token of the history, and in the last column for the candidate itself.
    """
    to_history = _looked_up(table, _time_buckets(gaps, lengths))
    return torch.cat([to_history, table[0].expand(len(gaps), -1)[..., None, None]], dim=3).squeeze(2)


def _time_buckets(gaps: Tensor, lengths: Tensor | None = None) -> Tensor:
    """[B, K, L] bucket of the time from each token (last) to each token, K = L, or to the last one, K = 1."""
    seconds = _seconds_since_first(gaps)
    until = seconds if lengths is None else seconds.gather(1, (lengths - 1).clamp(min=0)[:, None])
    starts = 2 ** torch.arange(NUM_TIME_BUCKETS, device=gaps.device) - 1
    apart = (until[:, :, None] - seconds[:, None, :]).clamp(min=0)
    return torch.bucketize(apart, starts, right=True) - 1


def _seconds_since_first(gaps: Tensor) -> Tensor:
    """[B, L] int64 seconds from the first token to each, if every gap lies in the middle of its bucket."""
    return ((3 * 2**gaps) // 4 - 1).clamp(min=0).cumsum(dim=1)


def _looked_up(table: Tensor, buckets: Tensor) -> Tensor:
    """[B, Q, K, L] of a table [S, Q] and buckets [B, K, L]."""
    return torch.nn.functional.embedding(buckets, table).permute(0, 3, 1, 2)
