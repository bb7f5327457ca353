"""The decoder's state after the last token of each history, and nothing that it does not need.

The last layer answers for the last token alone: its keys and values are of all tokens, but its queries and what follows
attention are not, which is two fifths of the work of two layers. On a CPU norms and rotations are one pass over numbers
that are in the cache, where the general code makes a dozen.

Shapes: B users, L history length, N = B · L tokens, H hidden size, Q heads of queries, K of keys, E head size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3Model

from recsys.compiled import compiled

#: Tokens [B, L, H], padded on the right, and how many each user has [B], 0 read as 1 → states [B, H].
LastStates = Callable[[Tensor, Tensor], Tensor]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def last_states(decoder: nn.Module) -> LastStates:
    """How to read histories by a decoder whose weights do not change any more.

    Any decoder reads all tokens in all layers, but for Qwen3, which the small one is, in float32 on a CPU.
    """
    if isinstance(decoder, Qwen3Model) and _is_plain(decoder):
        return _Qwen3.of(decoder)

    def read(tokens: Tensor, lengths: Tensor) -> Tensor:
        states: Tensor = decoder(inputs_embeds=tokens, use_cache=False).last_hidden_state
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


#: Tokens that go through together: few enough that what becomes of them stays in a core's cache.
_TOKENS = 1600
#: Weights of a layer, as Hugging Face calls them.
_NAMES = (
    "input_layernorm",
    *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
    "post_attention_layernorm",
    *(f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """Weights of a layer, those that are multiplied with the same numbers beside each other."""

    before_attention: Floats
    queries_keys_values: Tensor
    """[(Q + 2 K) · E, H]."""
    query_norm: Floats
    key_norm: Floats
    after_attention: Tensor
    before_gate: Floats
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True, kw_only=True)
class _Qwen3:
    """The published architecture (Qwen Team, "Qwen3 Technical Report", 2025), with grouped queries."""

    layers: tuple[_Layer, ...]
    norm: Floats
    rotary: nn.Module
    heads: int
    key_heads: int
    head_size: int
    epsilon: float

    @classmethod
    def of(cls, decoder: Qwen3Model) -> "_Qwen3":
        weights, config = decoder.state_dict(), decoder.config
        assert isinstance(decoder.rotary_emb, nn.Module), "a Qwen3 turns its heads"

        def layer(number: int) -> _Layer:
            own = {name: weights[f"layers.{number}.{name}.weight"] for name in _NAMES}
            return _Layer(
                before_attention=_array(own["input_layernorm"]),
                queries_keys_values=torch.cat([own[f"self_attn.{part}_proj"] for part in "qkv"]),
                query_norm=_array(own["self_attn.q_norm"]),
                key_norm=_array(own["self_attn.k_norm"]),
                after_attention=own["self_attn.o_proj"],
                before_gate=_array(own["post_attention_layernorm"]),
                gate=own["mlp.gate_proj"],
                up=own["mlp.up_proj"],
                down=own["mlp.down_proj"],
            )

        return cls(
            layers=tuple(layer(number) for number in range(config.num_hidden_layers)),
            norm=_array(weights["norm.weight"]),
            rotary=decoder.rotary_emb,
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads or config.num_attention_heads,
            head_size=config.head_dim,
            epsilon=config.rms_norm_eps,
        )

    def __call__(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        few = max(1, _TOKENS // max(tokens.shape[1], 1))
        blocks = zip(torch.split(tokens, few), torch.split(lengths, few), strict=True)
        return torch.cat([self._read(*block) for block in blocks])

    def _read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        num_users, length, size = tokens.shape
        cos, sin = (_array(part[0]) for part in self.rotary(tokens, torch.arange(length)[None]))
        states = tokens.reshape(-1, size)
        places = np.tile(np.arange(length), num_users)
        for layer in self.layers[:-1]:
            own = self._heads(F.linear(self._normed(states, layer.before_attention), layer.queries_keys_values))
            queries = self._turned(own, 0, self.heads, layer.query_norm, cos, sin, places)
            keys = self._turned(own, self.heads, self.key_heads, layer.key_norm, cos, sin, places)
            values = own[:, self.heads + self.key_heads :]
            queries, keys, values = (
                part.view(num_users, length, -1, self.head_size).transpose(1, 2) for part in (queries, keys, values)
            )
            grouped = self.heads != self.key_heads
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=grouped)
            states = self._after(layer, states, attended.transpose(1, 2).reshape(len(states), -1))
        layer = self.layers[-1]
        ends = (lengths - 1).clamp(min=0)
        last = torch.arange(num_users) * length + ends
        normed = self._normed(states, layer.before_attention)
        of_queries, of_others = layer.queries_keys_values.tensor_split([self.heads * self.head_size])
        asked = self._heads(F.linear(normed[last], of_queries))
        asked = self._turned(asked, 0, self.heads, layer.query_norm, cos, sin, ends.numpy())
        own = self._heads(F.linear(normed, of_others))
        keys = self._turned(own, 0, self.key_heads, layer.key_norm, cos, sin, places)
        attended = torch.empty_like(asked)
        _attend(_array(asked), _array(keys), _array(own), ends.numpy() + 1, _array(attended))
        return self._normed(self._after(layer, states[last], attended.view(num_users, -1)), self.norm)

    def _heads(self, projected: Tensor) -> Tensor:
        return projected.view(len(projected), -1, self.head_size)

    def _after(self, layer: _Layer, states: Tensor, attended: Tensor) -> Tensor:
        """[N, H] what a layer makes of its states when attention is done."""
        states = torch.addmm(states, attended, layer.after_attention.T)
        normed = self._normed(states, layer.before_gate)
        gated = F.silu(F.linear(normed, layer.gate), inplace=True).mul_(F.linear(normed, layer.up))
        return torch.addmm(states, gated, layer.down.T)

    def _normed(self, states: Tensor, weight: Floats) -> Tensor:
        normed = torch.empty_like(states)
        _norm(_array(states), weight, np.float32(self.epsilon), _array(normed))
        return normed

    def _turned(
        self, own: Tensor, first: int, heads: int, weight: Floats, cos: Floats, sin: Floats, places: Ints
    ) -> Tensor:
        turned = torch.empty(len(own), heads, self.head_size)
        _norm_and_turn(_array(own), first, weight, np.float32(self.epsilon), cos, sin, places, _array(turned))
        return turned


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().numpy()
    return array


@compiled
def _norm(states: Floats, weight: Floats, epsilon: np.float32, out: Floats) -> None:
    """Root mean square norm of [N, H] (Zhang & Sennrich, NeurIPS 2019)."""
    num, size = states.shape
    for row in range(num):
        square = np.float32(0)
        for place in range(size):
            square += states[row, place] * states[row, place]
        scale = np.float32(1) / np.sqrt(square / np.float32(size) + epsilon)
        for place in range(size):
            out[row, place] = states[row, place] * scale * weight[place]


# Heads are rows of whole arrays below, told by their numbers: only of such does the compiler make vectors.


@compiled
def _norm_and_turn(
    own: Floats, first: int, weight: Floats, epsilon: np.float32, cos: Floats, sin: Floats, places: Ints, out: Floats
) -> None:
    """The norm of heads [N, ≥ first + heads, E] from the first on, turned by their tokens' places (Su et al., 2021)."""
    num, heads, size = out.shape
    half = size // 2
    low_weight, high_weight = weight[:half], weight[half:]
    for row in range(num):
        low_cos, high_cos = cos[places[row], :half], cos[places[row], half:]
        low_sin, high_sin = sin[places[row], :half], sin[places[row], half:]
        for head in range(heads):
            low, high = own[row, first + head, :half], own[row, first + head, half:]
            low_out, high_out = out[row, head, :half], out[row, head, half:]
            square = np.float32(0)
            for place in range(half):
                square += low[place] * low[place] + high[place] * high[place]
            scale = np.float32(1) / np.sqrt(square / np.float32(size) + epsilon)
            for place in range(half):
                one, other = low[place] * scale * low_weight[place], high[place] * scale * high_weight[place]
                low_out[place] = one * low_cos[place] - other * low_sin[place]
                high_out[place] = other * high_cos[place] + one * high_sin[place]


@compiled
def _attend(queries: Floats, keys: Floats, own: Floats, counts: Ints, out: Floats) -> None:
    """Attention of one query a user [B, Q, E] over the first of that user's keys [B · L, K, E].

    The values are the last heads of `own`, as many as there are of keys.
    """
    num_users, heads, size = queries.shape
    length, shared, before = len(keys) // num_users, heads // keys.shape[1], own.shape[1] - keys.shape[1]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    weights = np.empty(length, dtype=np.float32)
    for user in range(num_users):
        first, count = user * length, counts[user]
        for head in range(heads):
            query, answer = queries[user, head], out[user, head]
            most = np.float32(-np.inf)
            for place in range(count):
                key = keys[first + place, head // shared]
                product = np.float32(0)
                for part in range(size):
                    product += query[part] * key[part]
                weights[place] = product * scale
                most = max(most, weights[place])
            total = np.float32(0)
            answer[:] = 0
            for place in range(count):
                weight = np.exp(weights[place] - most)
                total += weight
                value = own[first + place, before + head // shared]
                for part in range(size):
                    answer[part] += weight * value[part]
            for part in range(size):
                answer[part] /= total
