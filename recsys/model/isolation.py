"""Candidates beside a history: each attends to the history and to itself, never to another candidate.

It knows decoders and token vectors, no items. The history is read once and its keys and values are kept; candidates
attend to them, all at the position after the last event, so that a candidate's state cannot depend on its neighbours,
on their order or on their number (as in Phoenix, the ranker of X's published algorithm).

Shapes: B users, L history length, C candidates, H hidden size of the decoder, Q heads of queries, K of keys, G = Q / K
that share a head of keys, E head size.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, Cache, DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

#: Candidates read at once: what is held of each in a layer, in the attention and behind it, grows with it.
CANDIDATE_BLOCK = 128
#: Keys are filled up to a multiple of so many: a GPU's products of other sizes take twice the time.
_ALIGNED = 8
#: What Hugging Face's decoders call `_attention`.
_NAME = "isolated"


class Seen(NamedTuple):
    """What candidates attend to beside themselves."""

    keys: tuple[Tensor, ...]
    """Of each layer, [B, K, L, E]."""
    values: tuple[Tensor, ...]
    """Of each layer, [B, K, L, E]."""
    bias: Tensor
    """[B, 1, 1, L] added to the attention's logits: −inf where there is no event."""


def able_to_isolate(decoder: PreTrainedModel) -> PreTrainedModel:
    """The decoder, which hears from now on what candidates may see; all else that it reads it reads as before.

    Raises:
        ValueError: its attention is its own affair.
    """
    decoder.set_attn_implementation(_NAME)
    if decoder.config._attn_implementation != _NAME:
        raise ValueError("its attention cannot be replaced")
    return decoder


def read_history(decoder: nn.Module, tokens: Tensor) -> tuple[Tensor, Cache]:
    """Decode histories and keep their keys and values.

    Args:
        decoder: A causal full-attention decoder of Hugging Face, `able_to_isolate`.
        tokens: [B, L, H], padded on the right.

    Returns:
        [B, L, H] states, and the cache for `read_candidates`.
    """
    cache = DynamicCache()
    states: Tensor = decoder(inputs_embeds=tokens, past_key_values=cache, use_cache=True).last_hidden_state
    return states, cache


def read_candidates(decoder: nn.Module, cache: Cache, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Decode candidates after histories that were read before; gradients flow into both.

    Args:
        decoder: The one that filled the cache.
        cache: Of B histories; nothing is added to it.
        tokens: [B, C, H].
        lengths: [B] events of each history that candidates see; also the candidates' position.

    Returns:
        [B, C, H] states.
    """
    num_read = cache.get_seq_length()
    padding = -num_read % _ALIGNED
    later = torch.arange(num_read + padding, device=tokens.device) >= lengths[:, None]
    bias = torch.zeros(later.shape, dtype=tokens.dtype, device=tokens.device).masked_fill(later, -torch.inf)
    layers: list[Any] = cache.layers
    seen = Seen(
        keys=tuple(F.pad(layer.keys, (0, 0, 0, padding)) for layer in layers),
        values=tuple(F.pad(layer.values, (0, 0, 0, padding)) for layer in layers),
        bias=bias[:, None, None],
    )
    states = [
        decoder(
            inputs_embeds=block, position_ids=lengths[:, None].expand(-1, block.shape[1]), use_cache=False, seen=seen
        ).last_hidden_state
        for block in torch.split(tokens, CANDIDATE_BLOCK, dim=1)
    ]
    return torch.cat(states, dim=1)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attention as Hugging Face's decoders call it: of tokens to those before them, or of candidates to what is `seen`.

    Args:
        module: The attention of one layer.
        query: [B, Q, C, E].
        key: [B, K, C, E].
        value: [B, K, C, E].
        attention_mask: Of plain attention.
        settings: Among them `scaling`, and `seen` of candidates.

    Returns:
        [B, C, Q, E].
    """
    seen: Seen | None = settings.pop("seen", None)
    if seen is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    num_users, heads, num, size = query.shape
    shared = key.shape[1]
    keys, values = seen.keys[module.layer_idx], seen.values[module.layer_idx]
    query = query.reshape(num_users, shared, -1, size) * (settings.get("scaling") or size**-0.5)  # [B, K, G · C, E]
    # softmax over the history and the candidate itself, whose own key and value G queries share; nothing is dropped
    own = (query.view(num_users, shared, -1, num, size) * key[:, :, None]).sum(dim=-1).view(num_users, shared, -1, 1)
    logits, own = (query @ keys.transpose(2, 3) + seen.bias).float(), own.float()
    most = torch.maximum(logits.amax(dim=-1, keepdim=True), own)
    weights, own = (logits - most).exp(), (own - most).exp()
    total = weights.sum(dim=-1, keepdim=True) + own
    weights, own = (weights / total).to(query.dtype), (own / total).to(query.dtype)
    attended = (weights @ values).view(num_users, shared, -1, num, size)
    attended = attended + own.view(num_users, shared, -1, num, 1) * value[:, :, None]
    return attended.reshape(num_users, heads, num, size).transpose(1, 2), None


AttentionInterface.register(_NAME, _attention)
