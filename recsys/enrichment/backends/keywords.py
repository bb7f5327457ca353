"""No language model: keywords are phrases of the facts, chosen by the text encoder. It costs no tokens."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.config.section import Fraction, Positive, Section
from recsys.enrichment.backends.backend import Backend, PhraseEncoder, Writer, WriterNeeds
from recsys.enrichment.phrases import Floats, candidates_of, most_relevant, sentences_of, unit
from recsys.enrichment.request import Facts, TextReply, TextRequest, texts_of

#: Facts that a user does not like. They push keywords away.
_DISLIKED = "disliked"
#: How much they push, of what the liked ones pull.
_PUSH = 0.5
#: Facts that are no words about the item or user.
_SUMMARY = "text"


class KeywordsSettings(Section):
    """Settings of `keywords`."""

    diversity: Fraction = 0.4
    """0: the phrases nearest to the text; 1: only phrases that differ from each other."""
    num_workers: Positive | None = None
    """Workers; null: one for each CPU."""


class KeywordsBackend(Backend[KeywordsSettings]):
    """Keywords by the text encoder."""

    name = "keywords"
    summary = "Keywords are phrases of the facts, chosen by the text encoder (MMR). No language model, no tokens."
    settings = KeywordsSettings
    texts_per_part = 512
    needs_encoder = True
    counts_tokens = False

    def identity(self, settings: KeywordsSettings, max_output_tokens: int) -> dict[str, Any]:  # noqa: ARG002
        """The diversity; the encoder comes in addition."""
        return {"diversity": settings.diversity}

    def workers(self, settings: KeywordsSettings) -> int | None:
        """As the settings say."""
        return settings.num_workers

    def open(self, settings: KeywordsSettings, needs: WriterNeeds) -> Writer:
        """Load the text encoder."""
        return KeywordsWriter(needs.encoder(), settings.diversity, needs.max_keywords)


class KeywordsWriter:
    """The loaded encoder."""

    def __init__(self, encoder: PhraseEncoder, diversity: float, max_keywords: int) -> None:
        self._encoder, self._diversity, self._most = encoder, diversity, max_keywords

    def write(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """As JSON, like a language model. Each different phrase is encoded once."""
        phrases = [self._phrases(request.facts) for request in requests]
        needed = {text for found in phrases for text in found}
        for request in requests:
            needed.update(text for value in request.facts.values() for text in texts_of(value))
            needed.update(sentences_of(_main_text(request.facts)))
        ordered = sorted(needed)
        encoded = self._encoder.encode(ordered) if ordered else np.zeros((0, self._encoder.dim), np.float32)
        vectors = dict(zip(ordered, encoded, strict=True))
        return [
            TextReply(text=json.dumps(self._written(request.facts, found, vectors), ensure_ascii=False))
            for request, found in zip(requests, phrases, strict=True)
        ]

    def _phrases(self, facts: Facts) -> list[str]:
        wanted = [value for name, value in facts.items() if name != _DISLIKED]
        texts = [text for value in wanted for text in texts_of(value)]
        return list(dict.fromkeys(phrase for text in texts for phrase in candidates_of(text)))

    def _written(self, facts: Facts, phrases: list[str], vectors: dict[str, Floats]) -> dict[str, Any]:
        target = self._target(facts, vectors)
        stacked = np.stack([vectors[phrase] for phrase in phrases]) if phrases else np.zeros((0, 1), np.float32)
        places = most_relevant(stacked, target, self._most, self._diversity) if phrases else []
        return {"summary": _central_sentence(facts, target, vectors), "keywords": [phrases[place] for place in places]}

    def _target(self, facts: Facts, vectors: dict[str, Floats]) -> Floats:
        """[T] what the keywords should be near to: the mean of the facts, less what a user dislikes."""
        total = np.zeros(self._encoder.dim, np.float32)
        for name, value in facts.items():
            texts = texts_of(value)
            if texts:
                mean = unit(np.mean([vectors[text] for text in texts], axis=0, dtype=np.float32))
                total = total - _PUSH * mean if name == _DISLIKED else total + mean
        return unit(total)


def _main_text(facts: Facts) -> str:
    return " ".join(texts_of(facts.get(_SUMMARY, "")))


def _central_sentence(facts: Facts, target: Floats, vectors: dict[str, Floats]) -> str:
    """The sentence of the item's text that is nearest to all of its facts; empty where the text is one sentence."""
    sentences = sentences_of(_main_text(facts))
    if len(sentences) < 2:  # it would only repeat the text
        return ""
    return max(sentences, key=lambda sentence: float(vectors[sentence] @ target))
