"""The decoder's state after the last token of each history: what retrieval needs, without the candidate pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import Qwen3Model

from recsys.model.qwen3_last_states import Qwen3LastStates

#: Tokens [B, L, H], padded on the right, number of tokens of each user [B], where 0 counts as 1, and what is added to
#: the logits of attention [B, Q, L, L], with −∞ for later tokens (None: nothing but that) → states [B, H].
LastStates = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def last_states(decoder: nn.Module) -> LastStates:
    """A function that reads histories with a decoder, whose weights must not change any more.

    The small decoder, a Qwen3 in float32 on a CPU, has a faster way; other decoders compute all tokens in all layers.
    """
    if isinstance(decoder, Qwen3Model) and _is_plain(decoder):
        return Qwen3LastStates.of(decoder)

    def read(tokens: Tensor, lengths: Tensor, mask: Tensor | None = None) -> Tensor:
        states: Tensor = decoder(inputs_embeds=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        return states[torch.arange(len(states), device=states.device), (lengths - 1).clamp(min=0)]

    return read


def _is_plain(decoder: Qwen3Model) -> bool:
    config = decoder.config
    weights = {(weight.device.type, weight.dtype) for weight in decoder.parameters()}
    linear = all(type(module) is nn.Linear for name, module in decoder.named_modules() if name.endswith("_proj"))
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        weights == {("cpu", torch.float32)}
        and linear  # no adapters
        and kinds == {"full_attention"}
        and config.hidden_act == "silu"
        and not config.attention_bias
    )
