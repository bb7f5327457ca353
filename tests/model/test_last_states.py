"""The states after the last tokens are those that the decoder itself gives, however they are computed."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, PreTrainedModel, Qwen3Config

from recsys.model.config import RankerConfig
from recsys.model.decoder import decoder_config
from recsys.model.last_states import last_states
from recsys.model.lora import add_adapters

SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
CONFIGS = {
    "small": transformers.AutoConfig.for_model(**decoder_config(RankerConfig(hidden_size=16, layers=2, heads=2), 8)),
    "one layer": Qwen3Config(**SIZES | {"num_hidden_layers": 1}),
    "shared keys": Qwen3Config(**SIZES | {"num_hidden_layers": 3}),
    "biases": Qwen3Config(**SIZES, attention_bias=True),
    "another activation": Qwen3Config(**SIZES, hidden_act="gelu"),
    "llama": transformers.LlamaConfig(**SIZES),
}


def make_decoder(name: str) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder: PreTrainedModel = AutoModel.from_config(CONFIGS[name]).eval()
        for weight in decoder.parameters():  # norms too
            torch.nn.init.normal_(weight, std=0.5)
    return decoder


DECODERS = {name: make_decoder(name) for name in CONFIGS}


@given(st.sampled_from(list(CONFIGS)), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_equals_the_whole_pass(name: str, lengths: list[int], seed: int) -> None:
    decoder = DECODERS[name]
    tokens = torch.randn(len(lengths), max(*lengths, 1), 16, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        found = last_states(decoder)(tokens, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = tokens[row : row + 1, : max(length, 1)]
            expected = decoder(inputs_embeds=alone, use_cache=False).last_hidden_state[0, -1]
            torch.testing.assert_close(found[row], expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "own"), [("small", True), ("shared keys", True), ("biases", False), ("llama", False)])
def test_whose_loops_are_ours(name: str, own: bool) -> None:
    """What is not known to be the same is read by the decoder itself."""
    assert (type(last_states(DECODERS[name])).__name__ == "Qwen3LastStates") == own


def test_adapters_are_not_passed_over() -> None:
    decoder = add_adapters(make_decoder("small"), 2)
    for weight in decoder.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    tokens = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = last_states(decoder)(tokens, torch.tensor([3, 1]))
        states = decoder(inputs_embeds=tokens, use_cache=False).last_hidden_state
    torch.testing.assert_close(found, torch.stack([states[0, 2], states[1, 0]]))
