"""Keywords without a language model: phrases of the text, near to it, and different from each other."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.enrichment.backends.backend import WriterNeeds
from recsys.enrichment.backends.keywords import KeywordsBackend, KeywordsSettings
from recsys.enrichment.config import ItemTextsConfig
from recsys.enrichment.phrases import MOST_CANDIDATES, candidates_of, most_relevant, sentences_of
from recsys.enrichment.request import request_for


class WordVectors:
    """An encoder whose vectors are the words of a text, each in a dimension of its own."""

    WORDS = ("oak", "lamp", "desk", "brass", "steel", "pan", "kitchen", "garden")
    dim = len(WORDS) + 1

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        counts = np.array([[text.lower().split().count(word) for word in self.WORDS] + [0.1] for text in texts])
        vectors: npt.NDArray[np.float32] = (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)
        return vectors


def keywords_of(most: int = 3, **facts: Any) -> list[str]:
    needs = WriterNeeds(max_output_tokens=16, max_keywords=most, encoder=WordVectors)
    writer = KeywordsBackend().open(KeywordsSettings(), needs)
    (reply,) = writer.write([request_for(facts, ItemTextsConfig())])
    assert (reply.error, reply.input_tokens, reply.output_tokens) == ("", 0, 0)
    found: list[str] = json.loads(reply.text)["keywords"]
    return found


def test_candidates_do_not_cross_marks_and_hold_no_small_words() -> None:
    assert candidates_of("The oak lamp, with 2 shades (for the desk)") == ["oak", "oak lamp", "lamp", "shades", "desk"]
    assert candidates_of("Tapes & seals - R&D kit") == ["tapes", "seals", "r&d", "r&d kit", "kit"]
    assert candidates_of("") == []
    assert len(candidates_of(" ".join(f"word{number}" for number in range(500)))) == MOST_CANDIDATES


@given(st.text(max_size=300))
def test_candidates_are_words_of_the_text(text: str) -> None:
    for phrase in candidates_of(text):
        assert all(word in text.lower() for word in phrase.split(" "))
        assert len(phrase.split(" ")) <= 3


def test_relevance_is_weighed_against_what_is_chosen_already() -> None:
    vectors = np.array([[1, 0], [0.995, 0.0999], [0.6, 0.8]], np.float32)
    target = np.array([1, 0], np.float32)
    assert most_relevant(vectors, target, 2, diversity=0.0) == [0, 1]
    assert most_relevant(vectors, target, 2, diversity=0.7) == [0, 2]
    assert most_relevant(vectors, target, 9, diversity=0.7) == [0, 2, 1]


def test_keywords_are_what_the_facts_have_in_common() -> None:
    found = keywords_of(text="Oak lamp. Brass pan", reviews=["oak lamp for my desk", "oak lamp"])
    assert found[0] == "oak lamp"
    assert keywords_of() == []


def test_what_a_user_dislikes_is_no_keyword_and_pushes_others_down() -> None:
    liked = ["oak lamp", "steel pan"]
    assert keywords_of(1, liked=liked, disliked=["steel pan"]) == ["oak lamp"]
    assert keywords_of(1, liked=liked, disliked=["oak lamp"]) == ["steel pan"]
    assert "garden" not in keywords_of(8, liked=liked, disliked=["garden"])


@pytest.mark.parametrize(("text", "summary"), [("Oak lamp.", ""), ("A garden. An oak lamp. Hi.", "An oak lamp.")])
def test_a_summary_is_the_sentence_that_says_most(text: str, summary: str) -> None:
    needs = WriterNeeds(max_output_tokens=16, max_keywords=3, encoder=WordVectors)
    writer = KeywordsBackend().open(KeywordsSettings(), needs)
    facts = {"text": text, "reviews": ["oak lamp", "lamp"]}
    (reply,) = writer.write([request_for(facts, ItemTextsConfig())])
    assert json.loads(reply.text)["summary"] == summary


def test_sentences() -> None:
    assert sentences_of("One. Two! 3.5 inch? End") == ["One.", "Two!", "3.5 inch?", "End"]
