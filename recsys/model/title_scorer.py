"""log P(title | prompt) of a causal language model: a user's prompt is read once, and all titles share it.

A prompt and a title become tokens apart from each other. Tokenizers merge letters across any border, so a title that
is tokenised together with its prompt can get other tokens than in the prompt of the next user, and its probability
would be that of one of several spellings. Here a title always is " title" with its leading space, as it stands inside
of a text, and ends with a line break. So each title has one sequence of tokens, none is the beginning of another, and
the probabilities of all titles add up to at most 1.

Shapes: C titles, T tokens of a title, P tokens of a prompt, V tokens of the vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from recsys.errors import ConfigError
from recsys.model.causal_model import load_causal_model
from recsys.model.decoder import NOT_SUPPORTED, TOLERANCE
from recsys.model.text_encoder import padded

Floats = npt.NDArray[np.float32]
#: One title as tokens.
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A prompt that was read."""

    keys: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values [1, heads, P, width] of each layer."""
    log_probs: Tensor
    """[V] log P of the token that follows."""

    def cache(self, num: int) -> DynamicCache:
        """A cache for ``num`` continuations; it copies nothing before the first token is added."""
        cache = DynamicCache()
        for keys, values in self.keys:
            layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = (part.expand(num, -1, -1, -1) for part in (keys, values))
            cache.layers.append(layer)
        return cache


class TitleScorer:
    """A causal language model with its tokenizer and a prompt; it is shared and never changed."""

    def __init__(
        self, model: Any, tokenizer: Any, *, prompt: tuple[str, str], max_title_tokens: int, batch_size: int
    ) -> None:
        """Tokenise the prompt.

        Args:
            model: A causal model of Hugging Face, in evaluation mode on its device.
            tokenizer: Its tokenizer.
            prompt: What is before and what is after the titles of the history.
            max_title_tokens: Longer titles are cut.
            batch_size: Titles of a forward pass.

        Raises:
            ConfigError: the model reads too few tokens, or no line breaks.
        """
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self._max_title_tokens = max_title_tokens
        start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        self._head, self._tail = (tuple(self._tokens(text)) for text in prompt)
        self._head = (*start, *self._head)
        self._line, self._end = tuple(self._tokens("\n-")), tuple(self._tokens("\n"))
        if not self._end:
            raise ConfigError(
                "lm.model: its tokenizer has no token for a line break, which ends a title; name a model that has one, "
                "such as a Qwen3 or a Llama"
            )
        if not self._head + self._tail:
            raise ConfigError("lm.prompt: has no text, and the model has no token that begins a text; give it a text")
        most = getattr(model.config, "max_position_embeddings", None) or 2**31
        self._room = most - len(self._head) - len(self._tail) - max_title_tokens - len(self._end)
        if self._room < 0:
            raise ConfigError(
                f"lm.model: reads {most} tokens, too few for lm.prompt and a title of lm.max_title_tokens="
                f"{max_title_tokens}; lower it, shorten the prompt, or name another model"
            )

    @classmethod
    def load(cls, folder: Path, device: torch.device, dtype: torch.dtype, **settings: Any) -> "TitleScorer":
        """A model of a local folder; ``settings`` as in the constructor. Only safetensors are read.

        Raises:
            ConfigError: the model cannot be loaded, or reads too few tokens.
        """
        model, tokenizer = load_causal_model(folder, dtype, "lm.model")
        scorer = cls(model.to(device), tokenizer, **settings)
        scorer._require_shared_prompts(str(folder))
        return scorer

    def title_tokens(self, titles: Sequence[str]) -> list[Tokens]:
        """The tokens of each title: with a leading space, without line breaks in it, cut, and with a line break."""
        texts = [" " + " ".join(title.split()) for title in titles]
        found = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return [(*tokens[: self._max_title_tokens], *self._end) for tokens in found]

    @torch.inference_mode()
    def read(self, history: Sequence[Tokens]) -> Prefix:
        """Read the prompt of a history.

        Args:
            history: Tokens of its titles, oldest first; the oldest are left out where the model has no room for them.
        """
        prompt = torch.tensor([self._prompt(history)], device=self.model.device)
        cache = DynamicCache()
        answer = self.model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        layers: list[Any] = cache.layers
        return Prefix(
            keys=tuple((layer.keys, layer.values) for layer in layers),
            log_probs=answer.logits[0, -1].float().log_softmax(-1),
        )

    @torch.inference_mode()
    def whole_log_prob(self, history: Sequence[Tokens], title: Tokens) -> float:
        """Log P(title | prompt), where the whole text is read at once: slow, and what `log_probs` has to equal."""
        prompt = self._prompt(history)
        answer = self.model(input_ids=torch.tensor([[*prompt, *title]], device=self.model.device), use_cache=False)
        log_probs = answer.logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        return float(log_probs.gather(1, torch.tensor(title, device=self.model.device)[:, None]).sum())

    @torch.inference_mode()
    def log_probs(self, prefix: Prefix, titles: Sequence[Tokens]) -> Floats:
        """[C] log P(title | prompt) of each title."""
        found = np.zeros(len(titles), dtype=np.float32)
        for places in self._batches(titles):
            found[places] = self._batch(prefix, [titles[place] for place in places])
        return found

    def _prompt(self, history: Sequence[Tokens]) -> list[int]:
        lines: list[int] = []
        for title in reversed(history):
            line = [*self._line, *title[: -len(self._end)]]
            if len(line) + len(lines) > self._room:
                break
            lines = line + lines
        return [*self._head, *lines, *self._tail]

    def _batches(self, titles: Sequence[Tokens]) -> Iterator[list[int]]:
        """Titles of similar length together, so that little padding is read."""
        order = sorted(range(len(titles)), key=lambda place: len(titles[place]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _batch(self, prefix: Prefix, titles: Sequence[Tokens]) -> Floats:
        """Padding is on the right, where no token of a title can see it."""
        targets = padded(titles, -1)[0].to(self.model.device)
        total = prefix.log_probs[targets[:, 0]]
        if targets.shape[1] > 1:
            inputs = targets[:, :-1].clamp(min=0)
            logits = self.model(input_ids=inputs, past_key_values=prefix.cache(len(titles)), use_cache=True).logits
            rest = targets[:, 1:]
            # title by title: in float32 the numbers of all of them would take several times the memory of the model's
            each = zip(logits, rest.clamp(min=0), strict=True)
            chosen = torch.stack([row.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0] for row, tokens in each])
            total = total + chosen.masked_fill(rest < 0, 0).sum(1)
        return np.asarray(total.cpu().numpy(), dtype=np.float32)

    def _require_shared_prompts(self, name: str) -> None:
        """Refuse models that read on from a kept prompt in another way, such as those with windows or states."""
        history = self.title_tokens(["a b c", "d e"])
        first, second = (self.title_tokens([text])[0] for text in ("f g", "h"))
        try:
            shared = self.log_probs(self.read(history), [first, second]).tolist()
        except NOT_SUPPORTED as error:
            raise ConfigError(
                f"lm.model: {name!r} does not read on from a kept prompt; name a decoder with full attention, such as "
                f"a Qwen3 or a Llama ({error})"
            ) from error
        whole = [self.whole_log_prob(history, title) for title in (first, second)]
        rounding = TOLERANCE if self.model.dtype == torch.float32 else 0.1
        if not np.allclose(shared, whole, rtol=rounding, atol=rounding):
            raise ConfigError(
                f"lm.model: {name!r} gives a title another probability where the prompt was kept; name a decoder with "
                f"full attention, such as a Qwen3 or a Llama"
            )

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens
