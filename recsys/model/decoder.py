"""The decoder inside of the ranker: a small one, or one of Hugging Face if it passes the checks here."""

import json
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, Qwen3Config

from recsys.errors import ConfigError
from recsys.model.candidate_pass import read_candidates, read_history
from recsys.model.config import RankerConfig

#: Largest difference that counts as rounding when a model is checked.
TOLERANCE = 1e-4
#: What models raise that do not take a mask, positions or a cache.
NOT_SUPPORTED = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)


def decoder_config(config: RankerConfig, max_length: int) -> dict[str, Any]:
    """The Hugging Face config of the decoder: the named model's own, or a small Qwen3 of the configured sizes.

    Raises:
        ConfigError: the named model cannot be loaded, or its layers are not all of full attention.
    """
    if config.model is not None:
        try:
            found = AutoConfig.from_pretrained(config.model, revision=config.revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"ranker.model: {config.model!r} cannot be loaded; name a local folder or a hub id that can be "
                f"reached, or null for a small decoder: {error}"
            ) from error
        _require_full_attention(found, config.model, max_length)
        return _plain(found)
    return _plain(
        Qwen3Config(
            vocab_size=1,
            hidden_size=config.hidden_size,
            intermediate_size=2 * config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            head_dim=config.hidden_size // config.heads,
            max_position_embeddings=max(2 * max_length, 64),
            use_cache=False,
        )
    )


def build_decoder(config: RankerConfig) -> PreTrainedModel | None:
    """The pretrained decoder that `ranker.model` names, in float32; None if a small one starts from random weights.

    Raises:
        ConfigError: the weights cannot be loaded, or a token sees later tokens, or a candidate sees other candidates.
    """
    if config.model is None:
        return None
    try:
        model: PreTrainedModel = AutoModel.from_pretrained(
            config.model, revision=config.revision, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"ranker.model: the weights of {config.model!r} cannot be loaded: {error}") from error
    _require_causal(model, config.model)
    _require_separate_candidates(model, config.model)
    return model


def _plain(config: PretrainedConfig) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))  # as `model.json` holds it
    settings.pop("_name_or_path", None)
    settings.pop("transformers_version", None)
    settings["dtype"] = "float32"  # the precision of our weights, whatever the hub's files hold
    return settings


def _require_full_attention(config: PretrainedConfig, model: str, max_length: int) -> None:
    """Refuse decoders whose layers carry a state from token to token, or see only a window.

    A state would pass from one candidate to the next, and a window would hide the oldest events of a history.
    """
    attends = getattr(config, "num_attention_heads", None) is not None
    if getattr(config, "is_encoder_decoder", False) or not attends:
        raise ConfigError(
            f"ranker.model: {model!r} ({config.model_type}) is not a decoder with full attention; name one, such as a "
            f"Qwen3 or a Llama"
        )
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ConfigError(f"ranker.model: {model!r} has layers of kind {sorted(kinds)}; only full attention works here")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < max_length and getattr(config, "use_sliding_window", True):
        raise ConfigError(
            f"ranker.model: {model!r} sees the last {window} tokens; lower histories.max_length={max_length}, "
            f"or name a decoder of full attention"
        )


def _require_causal(model: PreTrainedModel, name: str) -> None:
    """Refuse models in which an item sees the items after it: they would learn to copy the target."""
    tokens = _some_tokens(model, num_users=2, length=2)
    tokens[1, 0] = tokens[0, 0]
    with torch.no_grad():
        first = model(inputs_embeds=tokens, use_cache=False).last_hidden_state[:, 0]
    if not torch.allclose(first[0], first[1], atol=TOLERANCE):
        raise ConfigError(f"ranker.model: {name!r} lets a token see later ones; name a causal decoder")


def _require_separate_candidates(model: PreTrainedModel, name: str) -> None:
    """Refuse models in which a candidate's state depends on other candidates, or differs from that of a next event."""
    length, num_candidates = 3, 4
    tokens = _some_tokens(model, num_users=1, length=length + num_candidates)
    history, candidates = tokens[:, :length], tokens[:, length:]
    lengths, order = torch.tensor([length]), torch.arange(num_candidates).flip(0)
    try:
        with torch.no_grad():
            cache = read_history(model, history)[1]
            states = read_candidates(model, cache, candidates, lengths)
            permuted = read_candidates(model, cache, candidates[:, order], lengths)[:, order]
            first = model(inputs_embeds=tokens[:, : length + 1], use_cache=False).last_hidden_state[:, length]
    except NOT_SUPPORTED as error:
        raise ConfigError(
            f"ranker.model: {name!r} does not take the mask, positions and cache that separate candidates; name a "
            f"decoder such as a Qwen3 or a Llama ({error})"
        ) from error
    separate = torch.allclose(states, permuted, atol=TOLERANCE) and torch.allclose(states[:, 0], first, atol=TOLERANCE)
    if not separate:
        raise ConfigError(
            f"ranker.model: {name!r} lets a candidate's score depend on other candidates; name a decoder with "
            f"full attention, such as a Qwen3 or a Llama"
        )


def _some_tokens(model: PreTrainedModel, num_users: int, length: int) -> torch.Tensor:
    """[num_users, length, H] random tokens, always the same."""
    return torch.randn(num_users, length, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
