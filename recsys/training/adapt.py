"""A pretrained encoder goes on learning with one shop's texts (continued pretraining; Gururangan et al., ACL 2020).

Two objectives. `parts`: two random parts of one text should be nearer to each other than to parts of other texts, as a
small encoder from scratch learns. `masked`: it guesses masked tokens, as BERT learned (Devlin et al., NAACL 2019).
Encoders for sentences come without the layer that guesses. So each gets a new one, which learns faster than the encoder
and is not kept.

Legend: B texts, T tokens, M masked tokens, D width of the model, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.errors import ConfigError
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import AdaptConfig
from recsys.model.text_encoder import TextEncoder, padded, pool_tokens
from recsys.training.pretrain import contrastive_loss, learn_texts, one_thread, some_tokens

#: Share of a text's tokens that are guessed. Of these, BERT masks 80 % and replaces 10 % by random tokens.
_GUESSED, _MASKED, _REPLACED = 0.15, 0.8, 0.1
#: Peak learning rate of the layer that guesses, which begins without knowledge.
_HEAD_LEARNING_RATE = 1e-3


def adapt_encoder(encoder: TextEncoder, texts: Sequence[str], config: AdaptConfig, seed: int) -> CatalogEncoder:
    """Train the encoder's model in place on the distinct non-blank `texts`; the answer is what saves it.

    The order of the texts and, on the CPU, the number of threads do not matter. The caller's random state does not
    change. Dense layers stay as they are.

    Args:
        encoder: In fp32, run by torch; its folder still exists.
        texts: Where all are blank, nothing is learned.
        config: What it learns, how long and how fast.
        seed: Of the order of the texts, and of the tokens that are hidden.

    Raises:
        ConfigError: it is to guess masked tokens, and its tokenizer has no mask token, as those of decoders.
    """
    if config.objective == "masked" and encoder.tokenizer.mask_token_id is None:
        raise ConfigError(
            f"encoder.adapt.objective=masked: the tokenizer of {encoder.folder.name} has no mask token; set it to parts"
        )
    corpus = sorted({text for text in texts if text.strip()})
    learned = CatalogEncoder(encoder, corpus, config.batch_size, None)
    lesson = TokenGuesser(encoder) if config.objective == "masked" else PartMatcher(encoder)
    with one_thread():
        if corpus:
            train_lesson(lesson, encoder.tokenize(corpus), config, seed)
    learned.requires_grad_(False)
    return learned


class PartMatcher(nn.Module):
    """An encoder that finds which parts are of one text; the forward pass is the loss."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder, self.model = encoder, encoder.model

    def forward(self, tokens: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
        """`contrastive_loss` of two random parts of each text."""
        return contrastive_loss(*(self._vectors(tokens, generator) for _ in range(2)))

    def _vectors(self, tokens: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
        special = self.encoder.tokenizer.all_special_ids
        parts = some_tokens(tokens, special, self.encoder.pad_id, generator)
        ids, attention = (each.to(self.encoder.device) for each in parts)
        hidden = self.model(input_ids=ids, attention_mask=attention).last_hidden_state
        vectors = pool_tokens(hidden, attention, self.encoder.pooling)
        for layer in self.encoder.dense:
            vectors = layer(vectors)
        return F.normalize(vectors, dim=-1)


class TokenGuesser(nn.Module):
    """An encoder with a layer on top that guesses tokens; the forward pass is the loss."""

    def __init__(self, encoder: TextEncoder) -> None:
        """The layer begins as the identity. The model's own embeddings of the tokens turn its output into guesses."""
        super().__init__()
        self.encoder, self.model = encoder, encoder.model
        self.embeddings = encoder.model.get_input_embeddings()
        vocabulary, width = self.embeddings.weight.shape
        self.head = nn.Sequential(nn.Linear(width, width, device="meta"), nn.LayerNorm(width, device="meta"))
        self.head.to_empty(device=encoder.device)  # on the meta device the caller's random state is not used
        nn.init.eye_(self.head[0].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.head[0].bias)  # type: ignore[arg-type]
        self.head[1].reset_parameters()  # type: ignore[operator]
        self.bias = nn.Parameter(torch.zeros(vocabulary, device=encoder.device))

    def forward(self, tokens: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of the hidden tokens among all V; 0 where there is nothing to hide."""
        masked = mask_tokens(tokens, self.encoder, len(self.bias), generator)
        ids, attention, hidden, answers = (each.to(self.encoder.device) for each in masked)
        states = self.model(input_ids=ids, attention_mask=attention).last_hidden_state[hidden]
        guesses = self.head(states) @ self.embeddings.weight.T + self.bias  # [M, V]
        return F.cross_entropy(guesses, answers, reduction="sum") / max(len(answers), 1)


class MaskedTokens(NamedTuple):
    """Texts in which some tokens are hidden."""

    ids: Tensor
    """int64 [B, T]: what the encoder reads."""
    attention: Tensor
    """int64 [B, T]: 1 where there is a token."""
    hidden: Tensor
    """bool [B, T]: where it has to guess; at least once in a batch with tokens that may be hidden."""
    answers: Tensor
    """int64 [M]: what was there, in the order of `hidden`."""


def mask_tokens(
    tokens: Sequence[Sequence[int]], encoder: TextEncoder, vocabulary: int, generator: torch.Generator
) -> MaskedTokens:
    """Hide tokens of a batch of texts, never the special ones."""
    ids, attention = padded(tokens, encoder.pad_id)
    able = (attention > 0) & ~torch.isin(ids, torch.tensor(encoder.tokenizer.all_special_ids))
    draw = torch.rand(ids.shape, generator=generator).masked_fill(~able, 2.0)
    hidden = able & (draw <= max(_GUESSED, float(draw.min())))
    how, other = torch.rand(ids.shape, generator=generator), torch.randint(vocabulary, ids.shape, generator=generator)
    read = torch.where(hidden & (how < _MASKED), encoder.tokenizer.mask_token_id, ids)
    read = torch.where(hidden & (how >= 1 - _REPLACED), other, read)
    return MaskedTokens(ids=read, attention=attention, hidden=hidden, answers=ids[hidden])


def train_lesson(
    lesson: PartMatcher | TokenGuesser, tokens: Sequence[Sequence[int]], config: AdaptConfig, seed: int
) -> None:
    """Train all that needs a gradient, on tokens of texts. Other arguments as in `adapt_encoder`."""
    model = list(lesson.model.parameters())
    # the embeddings are parts of both, and named once: as the model's, which is registered first
    new = [each for name, each in lesson.named_parameters() if not name.startswith("model.")]
    groups = [{"params": model, "lr": config.learning_rate}, {"params": new, "lr": _HEAD_LEARNING_RATE}]
    groups = [group for group in groups if group["params"]]
    learn_texts(lesson, lesson, groups, tokens, config.steps, config.batch_size, seed)
