"""A pretrained encoder goes on learning with the texts of one shop: it guesses masked tokens (Gururangan et al., 2020).

The loss is that of BERT (Devlin et al., NAACL 2019). Encoders for sentences come without the layer that guesses tokens.
So each gets a new one: a linear layer that begins as the identity, a normalisation, and the token embeddings. It learns
faster than the encoder, and is not kept.

Legend: B texts, T tokens, M masked tokens, D width of the model, V tokens of the vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.errors import ConfigError
from recsys.model.catalog_encoder import CatalogEncoder
from recsys.model.config import AdaptConfig
from recsys.model.text_encoder import TextEncoder
from recsys.training.pretrain import endless_batches, one_thread, warmup_and_decay

#: Share of a text's tokens that are guessed. Of these, BERT masks 80 % and replaces 10 % by random tokens.
_GUESSED, _MASKED, _REPLACED = 0.15, 0.8, 0.1
#: Peak learning rate of the layer that guesses, which begins without knowledge.
_HEAD_LEARNING_RATE = 1e-3
_PROGRESS_EVERY = 50


def adapt_encoder(
    encoder: TextEncoder,
    texts: Sequence[str],
    config: AdaptConfig,
    seed: int,
    on_progress: Callable[[int, float], None] | None = None,
) -> CatalogEncoder:
    """Train the encoder in place on the distinct non-blank `texts`; the answer is what saves it.

    The order of the texts and, on the CPU, the number of threads do not matter. The caller's random state does not
    change. `on_progress(step, loss)` is called every 50 steps and at the last one.

    Args:
        encoder: In fp32, run by torch; its folder still exists.
        texts: Where all are blank, nothing is learned.
        config: How long and how fast.
        seed: Of the order of the texts, and of the tokens that are masked.
        on_progress: Is told the loss.

    Raises:
        ConfigError: its tokenizer has no mask token, as those of decoders.
    """
    if encoder.tokenizer.mask_token_id is None:
        raise ConfigError(
            f"encoder.adapt.steps={config.steps}: the tokenizer of {encoder.folder.name} has no mask token; take an "
            f"encoder such as MiniLM, or set it to 0"
        )
    corpus = sorted({text for text in texts if text.strip()})
    learned = CatalogEncoder(encoder, corpus, config.batch_size, None)
    with one_thread():
        if corpus:
            train_guesser(TokenGuesser(encoder.model), encoder, corpus, config, seed, on_progress)
    learned.requires_grad_(False)
    return learned


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

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(*(each.to(device) for each in self))


def mask_tokens(
    tokens: Sequence[Sequence[int]], encoder: TextEncoder, vocabulary: int, generator: torch.Generator
) -> MaskedTokens:
    """Hide tokens of a batch of texts, never the special ones."""
    width = max(map(len, tokens))
    ids = torch.tensor([[*row, *[encoder.pad_id] * (width - len(row))] for row in tokens])
    there = torch.arange(width) < torch.tensor([len(row) for row in tokens])[:, None]
    able = there & ~torch.isin(ids, torch.tensor(encoder.tokenizer.all_special_ids))
    draw = torch.rand(ids.shape, generator=generator).masked_fill(~able, 2.0)
    hidden = able & (draw <= max(_GUESSED, float(draw.min())))
    how, other = torch.rand(ids.shape, generator=generator), torch.randint(vocabulary, ids.shape, generator=generator)
    read = torch.where(hidden & (how < _MASKED), encoder.tokenizer.mask_token_id, ids)
    read = torch.where(hidden & (how >= 1 - _REPLACED), other, read)
    return MaskedTokens(ids=read, attention=there.long(), hidden=hidden, answers=ids[hidden])


class TokenGuesser(nn.Module):
    """An encoder with a layer on top that guesses tokens; the forward pass is the loss."""

    def __init__(self, model: Any) -> None:
        """The model's own embeddings of the tokens are the last layer of the guess."""
        super().__init__()
        self.model, self.embeddings = model, model.get_input_embeddings()
        vocabulary, width = self.embeddings.weight.shape
        device = self.embeddings.weight.device
        self.linear = nn.utils.skip_init(nn.Linear, width, width, device=device)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.LayerNorm(width, device=device)
        self.bias = nn.Parameter(torch.zeros(vocabulary, device=device))

    def head(self) -> list[nn.Parameter]:
        """What is new, and not kept."""
        return [*self.linear.parameters(), *self.norm.parameters(), self.bias]

    def forward(self, masked: MaskedTokens) -> Tensor:
        """Mean cross-entropy of the hidden tokens among all V."""
        states = self.model(input_ids=masked.ids, attention_mask=masked.attention).last_hidden_state[masked.hidden]
        guesses = self.norm(self.linear(states)) @ self.embeddings.weight.T + self.bias  # [M, V]
        return F.cross_entropy(guesses, masked.answers)


def train_guesser(
    guesser: TokenGuesser,
    encoder: TextEncoder,
    corpus: Sequence[str],
    config: AdaptConfig,
    seed: int,
    on_progress: Callable[[int, float], None] | None = None,
) -> None:
    """Train the guesser and with it the model of the encoder. Arguments as in `adapt_encoder`."""
    tokens = encoder.tokenize(corpus)
    generator = torch.Generator().manual_seed(seed)
    groups = [
        {"params": list(guesser.model.parameters()), "lr": config.learning_rate},
        {"params": guesser.head(), "lr": _HEAD_LEARNING_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_decay(config.steps))
    batches = endless_batches(len(tokens), config.batch_size, generator)
    vocabulary = len(guesser.bias)
    for step, rows in zip(range(1, config.steps + 1), batches, strict=False):
        masked = mask_tokens([tokens[row] for row in rows], encoder, vocabulary, generator)
        if not len(masked.answers):
            continue  # only special tokens
        loss = guesser(masked.to(encoder.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(guesser.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_progress and (step % _PROGRESS_EVERY == 0 or step == config.steps):
            on_progress(step, loss.item())
