"""The candidate pass: each candidate attends to the history and to itself, never to another candidate.

The decoder reads the history once, and its keys and values are kept. All candidates attend to them at the position
after the last event. So the state of a candidate does not depend on the other candidates, on their order or on their
number (as in Phoenix, the ranker of X's published algorithm).

Shapes: B users, L history length, C candidates, H hidden size of the decoder, Q its heads.
"""

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

#: Candidates of one forward pass. A block attends to L + block keys, and the mask hides the keys of other candidates.
#: The mask and the masked products grow with the block.
CANDIDATE_BLOCK = 128


def read_history(decoder: nn.Module, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Cache]:
    """Decode histories and keep their keys and values.

    Args:
        decoder: A causal full-attention decoder of Hugging Face.
        tokens: [B, L, H], padded on the right.
        mask: [B, Q, L, L] of `recsys.model.relative_time.attention_mask`; None: only later tokens are hidden.

    Returns:
        [B, L, H] states, and the cache for `read_candidates`.
    """
    cache = DynamicCache()
    states: Tensor = decoder(
        inputs_embeds=tokens, attention_mask=mask, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return states, cache


def read_candidates(
    decoder: nn.Module, cache: Cache, tokens: Tensor, lengths: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Decode candidates after histories that `read_history` has read; gradients flow into both.

    Args:
        decoder: The one that filled the cache.
        cache: Of B histories; the call does not change it.
        tokens: [B, C, H].
        lengths: [B] number of tokens of each history that candidates see; also the position of the candidates.
        bias: [B, Q, L + 1] of `recsys.model.relative_time.candidate_bias`; None: nothing is added.

    Returns:
        [B, C, H] states.
    """
    num_read = cache.get_seq_length()
    hidden = torch.finfo(tokens.dtype).min
    later = torch.arange(num_read, device=tokens.device) >= lengths[:, None]
    bias = torch.zeros(len(tokens), 1, num_read + 1, device=tokens.device) if bias is None else bias
    bias = bias.to(tokens.dtype)
    history_mask = bias[..., :-1].masked_fill(later[:, None], hidden)  # [B, Q or 1, L]
    states = []
    for block in torch.split(tokens, CANDIDATE_BLOCK, dim=1):
        size = block.shape[1]
        others = ~torch.eye(size, dtype=torch.bool, device=tokens.device)
        own_mask = bias[..., -1:, None].expand(-1, -1, size, size).masked_fill(others, hidden)
        mask = torch.cat(
            [history_mask[:, :, None].expand(-1, -1, size, -1), own_mask], dim=3
        )  # [B, Q or 1, size, L + size], added to the attention's logits
        decoded = decoder(
            inputs_embeds=block,
            attention_mask=mask,
            position_ids=lengths[:, None].expand(-1, size),
            past_key_values=cache,
            use_cache=True,
        )
        cache.crop(-size)  # forget the block: the next one must not see it
        states.append(decoded.last_hidden_state)
    return torch.cat(states, dim=1)
