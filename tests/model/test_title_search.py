"""Whatever the model would like to write, it writes titles of the catalog and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.model.title_scorer import TitleScorer, Tokens
from recsys.model.title_search import write_titles
from recsys.model.title_trie import Node, TitleTrie
from tests.tiny_language_model import byte_tokenizer, untrained_model

TOKENIZER = byte_tokenizer(["Red lamp", "Blue lamp"], 280)
SCORER = TitleScorer(
    untrained_model(len(TOKENIZER)).eval(),
    TOKENIZER,
    prompt=("Bought:", "\nNext:\n-"),
    max_title_tokens=24,
    batch_size=4,
)

catalogs = st.lists(
    st.one_of(st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(["Red lamp", "Red", "", "Lampe 💡"])),
    min_size=1,
    max_size=12,
)


def leaves(trie: TitleTrie, node: Node, written: Tokens = ()) -> dict[Tokens, list[int]]:
    """Every title that can be written, with its items."""
    found = {written: trie.items(node).tolist()} if len(trie.items(node)) else {}
    for token, child in zip(*trie.children(node), strict=True):
        found |= leaves(trie, child, (*written, int(token)))
    return found


@given(titles=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=5).map(tuple), max_size=12))
def test_a_trie_holds_its_titles_and_no_other(titles: list[Tokens]) -> None:
    """Also where one title begins with another."""
    items = np.arange(len(titles))[::-1] * 3
    expected: dict[Tokens, list[int]] = {}
    for title, item in sorted(zip(titles, items.tolist(), strict=True), key=lambda pair: pair[1]):
        expected.setdefault(title, []).append(item)
    trie = TitleTrie(titles, items)
    assert leaves(trie, trie.root) == expected


@settings(max_examples=25)
@given(catalog=catalogs, history=st.lists(st.text(max_size=8), max_size=2), num=st.integers(1, 5), data=st.data())
def test_all_that_is_written_is_in_the_catalog_and_available(
    catalog: list[str], history: list[str], num: int, data: Any
) -> None:
    available = np.array(data.draw(st.lists(st.booleans(), min_size=len(catalog), max_size=len(catalog))))
    excluded = np.array(data.draw(st.lists(st.integers(0, len(catalog) - 1), max_size=3)), dtype=np.int64)
    tokens = SCORER.title_tokens(catalog)
    rows = np.flatnonzero(available)
    trie = TitleTrie([tokens[row] for row in rows], rows)
    prefix = SCORER.read(SCORER.title_tokens(history))
    written = write_titles(SCORER, prefix, trie, num, lambda items: items[~np.isin(items, excluded)])
    assert len(written) <= num
    named = [item for title in written for item in title.items.tolist()]
    assert len(set(named)) == len(named)
    assert set(named) <= set(rows.tolist()) - set(excluded.tolist())
    for title in written:
        same = [item for item in rows.tolist() if tokens[item] == tokens[title.items[0]] and item not in excluded]
        assert title.items.tolist() == same, "all items of a title"
        found = SCORER.log_probs(prefix, [tokens[title.items[0]]])
        np.testing.assert_allclose(title.log_prob, found[0], rtol=1e-4, atol=1e-4)
    assert [title.log_prob for title in written] == sorted((title.log_prob for title in written), reverse=True)


@settings(max_examples=15)
@given(catalog=catalogs)
def test_with_as_many_beams_as_titles_the_best_are_found(catalog: list[str]) -> None:
    tokens = SCORER.title_tokens(catalog)
    distinct = sorted(set(tokens))
    prefix = SCORER.read([])
    written = write_titles(SCORER, prefix, TitleTrie(tokens, np.arange(len(tokens))), len(distinct))
    best = np.sort(SCORER.log_probs(prefix, distinct))[::-1]
    np.testing.assert_allclose([title.log_prob for title in written], best, rtol=1e-4, atol=1e-4)


def test_nothing_is_written_where_the_catalog_is_empty() -> None:
    assert write_titles(SCORER, SCORER.read([]), TitleTrie([], np.zeros(0, dtype=np.int64)), 3) == []


@pytest.mark.parametrize("num", [1, 3])
def test_a_model_that_was_never_asked_for_gradients_keeps_none(num: int) -> None:
    trie = TitleTrie(SCORER.title_tokens(["Red lamp", "Blue lamp", "Oak"]), np.arange(3))
    written = write_titles(SCORER, SCORER.read([]), trie, num)
    assert len(written) == num
    assert all(parameter.grad is None for parameter in SCORER.model.parameters())
    assert not torch.is_inference_mode_enabled()
