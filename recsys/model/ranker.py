"""The user ranker: a causal transformer over item vectors, and the item vectors themselves.

It knows indices and vectors only, no ids, no text and no files. After HLLM (Chen et al., 2024): an item language model
feeds a user language model.

Shapes: B users, L history length, I items, T text dimensions, D item dimensions, H hidden size of the decoder,
N predicted positions.
"""

import json
import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, Qwen3Config

from recsys.config import RankerConfig
from recsys.errors import ConfigError
from recsys.model.features import NUM_GAP_BUCKETS
from recsys.model.losses import full_softmax

#: Logits start as this times a cosine (an inverse temperature, as in CLIP); the scale is learned from there.
INITIAL_SCALE = 14.0
#: Rises whenever weights of an older ranker no longer mean the same here.
ARCHITECTURE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerSpec:
    """What must be known to build a ranker's network; stored in ``model.json``."""

    num_items: int
    text_dim: int
    item_dim: int
    num_event_kinds: int
    decoder: dict[str, Any]
    dropout: float
    id_dropout: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)


def decoder_config(config: RankerConfig, max_length: int) -> dict[str, Any]:
    """The Hugging Face config of the decoder: the named model's own, or a small Qwen3 of the configured sizes."""
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
            attention_dropout=config.dropout,
            use_cache=False,
        )
    )


def build_decoder(config: RankerConfig) -> PreTrainedModel | None:
    """The pretrained decoder that `ranker.model` names, in float32; None where a small one starts from scratch."""
    if config.model is None:
        return None
    try:
        model: PreTrainedModel = AutoModel.from_pretrained(
            config.model, revision=config.revision, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"ranker.model: the weights of {config.model!r} cannot be loaded: {error}") from error
    _require_causal(model, config.model)
    return model


def _plain(config: PretrainedConfig) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))  # as `model.json` gives it back
    settings.pop("_name_or_path", None)
    settings.pop("transformers_version", None)
    settings["dtype"] = "float32"  # weights are kept in it whatever the hub's files hold
    return settings


def _require_causal(model: PreTrainedModel, name: str) -> None:
    """Refuse models in which an item sees the items after it: they would learn to copy what they should foretell."""
    tokens = torch.randn(2, 2, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    tokens[1, 0] = tokens[0, 0]
    with torch.no_grad():
        first = model(inputs_embeds=tokens, use_cache=False).last_hidden_state[:, 0]
    if not torch.allclose(first[0], first[1], atol=1e-4):
        raise ConfigError(f"ranker.model: {name!r} lets a token see later ones; name a causal decoder")


def _require_full_attention(config: PretrainedConfig, model: str, max_length: int) -> None:
    """Refuse decoders whose layers carry state from token to token, or see only a window."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise ConfigError(f"ranker.model: {model!r} has layers of kind {sorted(kinds)}; only full attention works here")
    window = getattr(config, "sliding_window", None)
    if window is not None and window < max_length and getattr(config, "use_sliding_window", True):
        raise ConfigError(
            f"ranker.model: {model!r} sees the last {window} tokens; lower histories.max_length={max_length}, "
            f"or name a decoder of full attention"
        )


class Ranker(nn.Module):
    """Item vectors, user vectors and the training loss of a catalog of I items.

    Item vector = normalised adapter(text vector) + gate · id embedding. The id part is there only for items with
    training interactions (``known``) and is dropped at random in training, so a new item lives on its text alone.
    """

    text_vectors: Tensor
    known: Tensor

    def __init__(self, spec: RankerSpec, text_vectors: Tensor, known: Tensor, decoder: PreTrainedModel | None = None):
        super().__init__()
        assert text_vectors.shape == (spec.num_items, spec.text_dim), text_vectors.shape
        self.spec = spec
        self.lora_rank = 0
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.text_adapter = nn.Linear(spec.text_dim, spec.item_dim)
        self.id_embedding = nn.Embedding(spec.num_items, spec.item_dim)
        self.gate = nn.Parameter(torch.ones(spec.item_dim))
        self.gap_embedding = nn.Embedding(NUM_GAP_BUCKETS, spec.item_dim)
        self.event_embedding = nn.Embedding(spec.num_event_kinds + 1, spec.item_dim)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(INITIAL_SCALE)))
        settings = dict(spec.decoder)
        decoder_settings = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.decoder = decoder if decoder is not None else AutoModel.from_config(decoder_settings)  # type: ignore[no-untyped-call]
        self.decoder.set_input_embeddings(nn.Identity())  # tokens are item vectors: a vocabulary would be dead weight
        hidden_size = decoder_settings.hidden_size
        same = hidden_size == spec.item_dim
        self.to_decoder = nn.Identity() if same else nn.Linear(spec.item_dim, hidden_size, bias=False)
        self.from_decoder = nn.Identity() if same else nn.Linear(hidden_size, spec.item_dim, bias=False)
        self.dropout = nn.Dropout(spec.dropout)
        for embedding in (self.id_embedding, self.gap_embedding, self.event_embedding):
            nn.init.normal_(embedding.weight, std=0.02)

    def add_lora(self, rank: int) -> None:
        """Freeze the decoder but for low-rank adapters of its linear layers (Hu et al., 2021)."""
        from peft import LoraConfig, get_peft_model  # seconds to import, and few rankers need it

        self.lora_rank = rank
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
        with warnings.catch_warnings():  # peft 0.21 asks transformers by a name that is going away
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            self.decoder = get_peft_model(self.decoder, settings)

    def load_fitting(self, weights: dict[str, Tensor]) -> list[str]:
        """Copy the weights whose names and shapes fit; answers the names that start anew.

        A warm start from a ranker of other sizes so keeps what it can.
        """
        own = self.state_dict()
        fitting = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
        self.load_state_dict(fitting, strict=False)
        return sorted(set(own) - set(fitting))

    def whole_weights(self) -> dict[str, Tensor]:
        """State as `load_state_dict` of a ranker without adapters takes it: adapters are merged into their layers."""
        adapted: dict[str, Any] = {}
        if self.lora_rank:
            from peft.tuners.lora import LoraLayer

            adapted = {name: module for name, module in self.named_modules() if isinstance(module, LoraLayer)}
        weights: dict[str, Tensor] = {}
        for name, tensor in self.state_dict().items():
            if ".lora_" in name:
                continue
            layer = adapted.get(name.removesuffix(".base_layer.weight"))
            whole = tensor if layer is None else tensor + layer.get_delta_weight("default").to(tensor.dtype)
            weights[name.replace(".base_model.model.", ".").replace(".base_layer.", ".")] = whole.detach().clone()
        return weights

    def item_vectors(self) -> Tensor:
        """[I, D] vectors of the whole catalog, of length 1."""
        text = self.text_adapter(self.text_vectors.to(self.text_adapter.weight.dtype))
        ids = self.id_embedding(torch.arange(self.spec.num_items, device=text.device))
        present = self.known
        if self.training and self.spec.id_dropout:
            kept = torch.rand(self.spec.num_items, device=text.device) >= self.spec.id_dropout
            present = present & kept
        return F.normalize(text + self.gate * ids * present[:, None].to(text.dtype), dim=-1)

    def hidden_states(self, item_vectors: Tensor, items: Tensor, gaps: Tensor, events: Tensor) -> Tensor:
        """[B, L, D] state after each event, scaled so that its product with an item vector is a logit.

        Args:
            item_vectors: [I, D].
            items: [B, L] indices, padded on the right with I; padding cannot be seen from before it.
            gaps: [B, L] time-gap buckets.
            events: [B, L] event kinds.
        """
        table = torch.cat([item_vectors, item_vectors.new_zeros(1, item_vectors.shape[1])])
        tokens = F.embedding(items, table) * self.spec.item_dim**0.5
        tokens = tokens + self.gap_embedding(gaps) + self.event_embedding(events)
        decoded = self.decoder(inputs_embeds=self.to_decoder(self.dropout(tokens)), use_cache=False).last_hidden_state
        return F.normalize(self.from_decoder(self.dropout(decoded)), dim=-1) * self.log_scale.exp()

    def forward(
        self, items: Tensor, gaps: Tensor, events: Tensor, targets: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The training loss, or the vectors of users and items where there are no targets.

        Both go through here since a sharded model (ZeRO-3) gathers its weights around `forward`.

        Args:
            items: [B, L] history, padded on the right with I.
            gaps: [B, L].
            events: [B, L].
            targets: [B, L] item that came next at each position, −1 for none; None to encode.

        Returns:
            Scalar loss, or ([B, D] user vectors at the last event, [I, D] item vectors).
        """
        item_vectors = self.item_vectors()
        states = self.hidden_states(item_vectors, items, gaps, events)
        if targets is not None:
            wanted = targets >= 0
            return full_softmax(states[wanted], item_vectors, targets[wanted])
        return self._last(states, items), item_vectors

    def user_vectors(self, item_vectors: Tensor, items: Tensor, gaps: Tensor, events: Tensor) -> Tensor:
        """[B, D] state of each user after the last event; arguments as in `hidden_states`."""
        return self._last(self.hidden_states(item_vectors, items, gaps, events), items)

    def _last(self, states: Tensor, items: Tensor) -> Tensor:
        last = (items < self.spec.num_items).sum(dim=1).clamp(min=1) - 1
        return states[torch.arange(len(items), device=items.device), last]
