"""The user ranker: a causal transformer over item vectors, and the item vectors themselves.

After HLLM (Chen et al., 2024): an item language model feeds a user language model.

Shapes: B users, L history length, C candidates, I items, R rows (of the catalog), Q texts of users, T text dimensions,
D item dimensions, H hidden size of the decoder.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from recsys.model.candidate_pass import read_candidates, read_history
from recsys.model.dropout import Dropout
from recsys.model.features import NUM_GAP_BUCKETS, TextKind
from recsys.model.history_states import History, HistoryTexts, history_lengths, states_at
from recsys.model.last_states import LastStates
from recsys.model.lora import add_adapters, merged_weights
from recsys.model.ranker_spec import RankerSpec
from recsys.model.relative_time import NUM_TIME_BUCKETS, attention_mask, candidate_bias
from recsys.model.text_adapter import TextAdapter

#: Initial factor of cosines in the logits (an inverse temperature, as in CLIP). Training changes it.
INITIAL_SCALE = 14.0
#: Shorter item vectors stay so: without text and id an item has length 0, and gradients would have no bound.
SHORTEST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemIds:
    """The id part of the item vectors of a catalog."""

    embedding: Tensor
    """[I, D] id embeddings; a row counts only where ``known`` is true."""
    known: Tensor
    """[I] bool, items whose embedding is used; the vectors of all others come from their text alone."""


class Ranker(nn.Module):
    """Item vectors, user vectors and candidate scores over a catalog of I items.

    Item vector = normalised adapter(whitened text vector) + gate · id embedding. Only items with training interactions
    (``known``) have an id embedding. Training drops it at random, so the text alone is enough for a new item. An item
    without text (a text vector of 0) has its id alone.
    """

    text_vectors: Tensor
    known: Tensor

    def __init__(self, spec: RankerSpec, text_vectors: Tensor, known: Tensor, decoder: PreTrainedModel | None = None):
        super().__init__()
        assert text_vectors.shape == (spec.num_items, spec.text_dim), text_vectors.shape
        self.spec = spec
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.text_adapter = TextAdapter(spec.text_dim, spec.item_dim)
        self.id_embedding = nn.Embedding(spec.num_items, spec.item_dim)
        self.gate = nn.Parameter(torch.ones(spec.item_dim))
        self.gap_embedding = nn.Embedding(NUM_GAP_BUCKETS, spec.item_dim)
        self.event_embedding = nn.Embedding(spec.num_event_kinds + 1, spec.item_dim)
        self.candidate_embedding = nn.Parameter(torch.empty(spec.item_dim))
        self.log_scale = nn.Parameter(torch.full((1,), math.log(INITIAL_SCALE)))
        settings = dict(spec.decoder)
        decoder_settings = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.decoder = decoder if decoder is not None else AutoModel.from_config(decoder_settings)  # type: ignore[no-untyped-call]
        self.decoder.set_input_embeddings(nn.Identity())  # tokens are item vectors, not words
        hidden_size = decoder_settings.hidden_size
        same = hidden_size == spec.item_dim
        self.to_decoder = nn.Identity() if same else nn.Linear(spec.item_dim, hidden_size, bias=False)
        self.from_decoder = nn.Identity() if same else nn.Linear(hidden_size, spec.item_dim, bias=False)
        self.candidate_head = nn.Linear(hidden_size, 1, bias=False)
        self.dropout = Dropout(spec.dropout)
        self._decodes_in: torch.dtype | None = None
        for embedding in (self.id_embedding, self.gap_embedding, self.event_embedding):
            nn.init.normal_(embedding.weight, std=0.02)
        if spec.parts == "both":
            nn.init.zeros_(self.id_embedding.weight)  # an item begins as its text; events teach what the text lacks
        nn.init.normal_(self.candidate_embedding, std=0.02)
        nn.init.zeros_(self.candidate_head.weight)  # before training, candidates have their retrieval logit
        if spec.user_texts:  # last, so that a ranker without it starts from the same random numbers
            self.text_kind_embedding = nn.Embedding(len(TextKind), spec.item_dim)
            nn.init.normal_(self.text_kind_embedding.weight, std=0.02)
        if spec.logit_bias:
            self.logit_bias = nn.Parameter(torch.full((1,), -INITIAL_SCALE / 2))  # of unrelated items, at first
        if spec.relative_time:  # from zero, so that a model without it can be continued
            self.time_bias = nn.Parameter(torch.zeros(NUM_TIME_BUCKETS, decoder_settings.num_attention_heads))

    def add_lora(self, rank: int) -> None:
        """Freeze the decoder and add low-rank adapters to its linear layers."""
        self.decoder = add_adapters(self.decoder, rank)

    def decode_in(self, dtype: torch.dtype) -> None:
        """Convert the decoder's weights to this precision. States outside of the decoder stay float32.

        Buffers are not converted: rotary angles need more than the eight bits of bfloat16.
        """
        for weight in self.decoder.parameters():
            weight.data = weight.data.to(dtype)
        self._decodes_in = dtype

    def load_fitting(self, weights: dict[str, Tensor]) -> list[str]:
        """Copy the weights whose names and shapes fit; returns the names of the others, which are not changed.

        So a warm start from a ranker of other sizes keeps what fits.
        """
        own = self.state_dict()
        fitting = {name: tensor for name, tensor in weights.items() if name in own and own[name].shape == tensor.shape}
        self.load_state_dict(fitting, strict=False)
        return sorted(set(own) - set(fitting))

    def whole_weights(self) -> dict[str, Tensor]:
        """Weights for `load_state_dict` of a ranker without adapters: adapters are merged into their layers."""
        return dict(merged_weights(self))

    @property
    def ids(self) -> ItemIds:
        """The stored id embeddings, and the items that have one."""
        return ItemIds(embedding=self.id_embedding.weight.detach(), known=self.known)

    def item_vectors(
        self, rows: Tensor | None = None, texts: Tensor | None = None, ids: ItemIds | None = None
    ) -> Tensor:
        """[R, D] vectors of some items, of length 1, or 0 without text and id. The ranker itself is not changed.

        Args:
            rows: [R] of the catalog; None: all of it, R = I.
            texts: [R, T] their text vectors; None: the stored ones.
            ids: Id embeddings of all I items that are used instead of the stored ones, for example with embeddings
                that were imputed for cold items; None: the stored ones.
        """
        known = self.known if ids is None else ids.known
        if rows is not None:
            known = known[rows]
        if texts is None:
            texts = self.text_vectors if rows is None else self.text_vectors[rows]
        if rows is None:
            rows = torch.arange(self.spec.num_items, device=self.known.device)
        has_text = texts.any(dim=1)
        text = self.text_adapter(texts.to(self.text_adapter.weight.dtype)) * has_text[:, None]
        if self.spec.parts == "ids":
            text = torch.zeros_like(text)
        if self.spec.parts == "text":
            known = torch.zeros_like(known)
        if self.training and self.spec.id_dropout and self.spec.parts != "ids":  # without its id nothing is left
            known = known & ((torch.rand(len(rows), device=text.device) >= self.spec.id_dropout) | ~has_text)
        embedded = self.id_embedding(rows) if ids is None else F.embedding(rows, ids.embedding)
        return F.normalize(text + self.gate * embedded * known[:, None].to(text.dtype), dim=-1, eps=SHORTEST)

    def history_tokens(
        self, item_vectors: Tensor, items: Tensor, gaps: Tensor, events: Tensor, texts: HistoryTexts | None = None
    ) -> Tensor:
        """[B, L, D] tokens of the events, and of the users' profiles.

        Args:
            item_vectors: [I, D], or [R, D] of the rows that ``items`` index.
            items: [B, L] indices, padded on the right with I (or R), which also stands for a text without an item.
            gaps: [B, L] time-gap buckets.
            events: [B, L] event kinds.
            texts: Of the same histories; None: there are none. Only a ranker with `RankerSpec.user_texts` takes texts.
        """
        tokens = (
            self._item_tokens(item_vectors, items).add_(self.gap_embedding(gaps)).add_(self.event_embedding(events))
        )
        return tokens if texts is None else self._with_texts(tokens, texts)

    def hidden_states(self, tokens: Tensor, gaps: Tensor) -> Tensor:
        """[B, L, D] state after each token [B, L, D]; its product with an item vector is the retrieval logit."""
        entered = self._enter(tokens)
        mask = self._mask(gaps, entered)
        return self._leave(self.decoder(inputs_embeds=entered, attention_mask=mask, use_cache=False).last_hidden_state)

    def user_vectors(
        self, item_vectors: Tensor, items: Tensor, gaps: Tensor, events: Tensor, texts: HistoryTexts | None = None
    ) -> Tensor:
        """[B, D] state of each user after the last token; arguments as in `history_tokens`."""
        states = self.hidden_states(self.history_tokens(item_vectors, items, gaps, events, texts), gaps)
        return states_at(states, history_lengths(items, len(item_vectors), texts) - 1)

    def read(self, tokens: Tensor, gaps: Tensor, lengths: Tensor) -> History:
        """Read histories for `score_candidates`.

        Args:
            tokens: [B, L, D] of `history_tokens`.
            gaps: [B, L] time-gap buckets.
            lengths: [B] tokens of each history; the tokens after them are padding.
        """
        entered = self._enter(tokens)
        decoded, cache = read_history(self.decoder, entered, self._mask(gaps, entered))
        return History(states=self._leave(decoded), lengths=lengths, cache=cache, gaps=gaps)

    def last_states(self, tokens: Tensor, gaps: Tensor, lengths: Tensor, decode: LastStates) -> Tensor:
        """[B, D] `History.users`, computed faster than by `read`, which also prepares the candidate pass.

        Args:
            tokens: [B, L, D] of `history_tokens`.
            gaps: [B, L] time-gap buckets.
            lengths: [B] tokens of each history; what comes after them is not seen.
            decode: Made by `recsys.model.last_states.last_states` for this decoder.
        """
        entered = self._enter(tokens)
        return self._leave(decode(entered, lengths, self._mask(gaps, entered)))

    def score_candidates(self, item_vectors: Tensor, history: History, candidates: Tensor) -> Tensor:
        """Retrieval logit plus the candidate pass's logit of each candidate; neither depends on other candidates.

        Args:
            item_vectors: [I, D], or [R, D] of the rows that the history was read with.
            history: Of B users, by `read`.
            candidates: [B, C] indices, padded with I (or R).

        Returns:
            [B, C] float32 logits; −inf for padding.
        """
        if not candidates.shape[1]:
            return torch.zeros(candidates.shape, device=candidates.device)
        padding = candidates >= len(item_vectors)
        tokens = self._item_tokens(item_vectors, candidates) + self.candidate_embedding
        bias = candidate_bias(self.time_bias, history.gaps, history.lengths) if self.spec.relative_time else None
        decoded = read_candidates(self.decoder, history.cache, self._enter(tokens), history.lengths, bias)
        own: Tensor = self.candidate_head(self.dropout(self._own(decoded))).squeeze(-1).float()
        vectors = F.embedding(candidates.masked_fill(padding, 0), item_vectors)
        retrieval = torch.einsum("bd,bcd->bc", history.users.float(), vectors.float())
        return (retrieval + own).masked_fill(padding, -torch.inf)

    def candidate_logits(
        self,
        item_vectors: Tensor,
        items: Tensor,
        gaps: Tensor,
        events: Tensor,
        candidates: Tensor,
        texts: HistoryTexts | None = None,
    ) -> Tensor:
        """[B, C] float32 logits of each user's candidates: `read`, then `score_candidates`."""
        tokens = self.history_tokens(item_vectors, items, gaps, events, texts)
        history = self.read(tokens, gaps, history_lengths(items, len(item_vectors), texts))
        return self.score_candidates(item_vectors, history, candidates)

    def forward(
        self,
        items: Tensor,
        gaps: Tensor,
        events: Tensor,
        candidates: Tensor | None = None,
        texts: HistoryTexts | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Vectors of users and items, or the candidates' logits if there are candidates.

        Both go through this method because a sharded model (ZeRO-3) gathers its weights around `forward`.

        Args:
            items: [B, L] history, padded on the right with I.
            gaps: [B, L].
            events: [B, L].
            candidates: [B, C] padded with I.
            texts: See `history_tokens`.

        Returns:
            ([B, D] user vectors at the last token, [I, D] item vectors), or [B, C] logits.
        """
        item_vectors = self.item_vectors()
        if candidates is not None:
            return self.candidate_logits(item_vectors, items, gaps, events, candidates, texts)
        return self.user_vectors(item_vectors, items, gaps, events, texts), item_vectors

    def _item_tokens(self, item_vectors: Tensor, items: Tensor) -> Tensor:
        padding = items >= len(item_vectors)
        scale = math.sqrt(self.spec.item_dim)
        tokens = F.embedding(items.masked_fill(padding, 0), item_vectors)
        return tokens.mul_(scale).masked_fill_(padding[..., None], 0.0)

    def _with_texts(self, tokens: Tensor, texts: HistoryTexts) -> Tensor:
        """Tokens [B, L, D] plus their texts, which become vectors in the space of items, and the kinds of the texts."""
        assert self.spec.user_texts, "this ranker was trained without texts of users"
        there = texts.kinds > TextKind.NONE
        vectors = texts.vectors[texts.rows[there]].to(self.text_adapter.weight.dtype)
        read = F.normalize(self.text_adapter(vectors), dim=-1) * math.sqrt(self.spec.item_dim)
        added = torch.zeros_like(tokens)
        # even without any text the weights take part: sharded training waits for a gradient of each weight
        added[there] = (read + self.text_kind_embedding(texts.kinds[there])).to(tokens.dtype)
        return tokens + added

    def _enter(self, tokens: Tensor) -> Tensor:
        entered: Tensor = self.to_decoder(self.dropout(tokens))
        return entered if self._decodes_in is None else entered.to(self._decodes_in)

    def _mask(self, gaps: Tensor, entered: Tensor) -> Tensor | None:
        """[B, Q, L, L] of `attention_mask`, in the precision of what enters the decoder; None without relative time."""
        return attention_mask(self.time_bias, gaps).to(entered.dtype) if self.spec.relative_time else None

    def _leave(self, decoded: Tensor) -> Tensor:
        return F.normalize(self.from_decoder(self.dropout(self._own(decoded))), dim=-1) * self.log_scale.exp()

    def _own(self, decoded: Tensor) -> Tensor:
        """States in the precision of the weights outside of the decoder."""
        return decoded if self._decodes_in is None else decoded.to(self.log_scale.dtype)
