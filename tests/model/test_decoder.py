"""Which decoders the ranker takes, and which it refuses before or after their weights are there."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from recsys.errors import ConfigError
from recsys.model.config import RankerConfig
from recsys.model.decoder import build_decoder, decoder_config

SMALL = RankerConfig(hidden_size=8, layers=2, heads=2, dropout=0.0, id_dropout=0.0)
SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def save(config: Any, dtype: torch.dtype, folder: Path) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        transformers.AutoModel.from_config(config, dtype=dtype).save_pretrained(folder)
    return str(folder)


def named(model: str) -> RankerConfig:
    return SMALL.model_copy(update={"model": model})


@pytest.mark.parametrize(
    "config",
    [
        transformers.Qwen3NextConfig(**SIZES),
        transformers.Qwen3Config(**SIZES, layer_types=["sliding_attention", "full_attention"], sliding_window=4),
        transformers.MistralConfig(**SIZES, sliding_window=7),
        transformers.MambaConfig(hidden_size=16, num_hidden_layers=2),
        transformers.JambaConfig(**SIZES),
        transformers.RwkvConfig(hidden_size=16, num_hidden_layers=2),
        transformers.T5Config(d_model=16, num_layers=2, num_heads=2),
    ],
    ids=["linear attention", "sliding layers", "short window", "state space", "hybrid", "recurrent", "two stacks"],
)
def test_decoders_without_full_attention_are_refused_by_their_config(config: Any, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"ranker\.model.*full attention"):
        decoder_config(named(str(tmp_path)), max_length=8)


def test_models_that_see_what_comes_after_are_refused(tmp_path: Path) -> None:
    sizes = {name: SIZES[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")}
    model = save(transformers.BertConfig(**sizes, num_hidden_layers=1), torch.float32, tmp_path)
    with pytest.raises(ConfigError, match=r"ranker\.model.*causal"):
        build_decoder(named(model))


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = named(str(tmp_path))
    with pytest.raises(ConfigError, match=r"ranker\.model"):
        decoder_config(config, 8)
    transformers.LlamaConfig(**SIZES).save_pretrained(tmp_path)
    assert decoder_config(config, 8)["hidden_size"] == 16
    with pytest.raises(ConfigError, match=r"ranker\.model: the weights"):
        build_decoder(config)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (transformers.BloomConfig(vocab_size=16, hidden_size=16, n_layer=2, n_head=2), "does not take the mask"),
        (transformers.MptConfig(vocab_size=16, d_model=16, n_layers=2, n_heads=2), "depend on other candidates"),
    ],
    ids=["no positions to give", "positions counted by itself"],
)
def test_decoders_that_cannot_keep_candidates_apart_are_refused_by_a_trial(
    config: Any, says: str, tmp_path: Path
) -> None:
    """Their configs show nothing: both are causal and of full attention, but they make positions of their own."""
    model = save(config, torch.float32, tmp_path)
    assert decoder_config(named(model), 8)["model_type"] == config.model_type
    with pytest.raises(ConfigError, match=rf"ranker\.model: .*{says}"):
        build_decoder(named(model))


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma", "GPT2", "OPT", "GPTNeoX", "Qwen3Moe", "Olmo2"])
def test_decoders_of_full_attention_pass(kind: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{kind}Config")(**SIZES)
    decoder = build_decoder(named(save(config, torch.float32, tmp_path)))
    assert decoder.config.model_type == config.model_type
