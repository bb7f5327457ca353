"""log P(title | prompt): a kept prompt gives what the whole text gives, and titles are told apart."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from recsys.errors import ConfigError
from recsys.model.title_scorer import TitleScorer
from tests.tiny_language_model import byte_tokenizer, save, untrained_model

TITLES = [
    "Red lamp",
    "Red lamp with a very long cable of ten metres",
    "Blue lamp",
    "Oak table",
    "Tisch aus Eiche, groß",
]
PROMPT = ("Bought:", "\nNext:\n-")


def scorer(model: Any = None, **changes: Any) -> TitleScorer:
    tokenizer = byte_tokenizer(TITLES, 300)
    given = {"prompt": PROMPT, "max_title_tokens": 24, "batch_size": 2} | changes
    return TitleScorer((model or untrained_model(len(tokenizer))).eval(), tokenizer, **given)


def gpt2() -> GPT2LMHeadModel:
    """With absolute positions, which must go on where the prompt ends."""
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=256, n_embd=32, n_layer=2, n_head=4))


SCORERS = {"Qwen3": scorer(), "GPT-2": scorer(gpt2())}
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.mark.parametrize("name", SCORERS)
@settings(max_examples=15)
@given(history=st.lists(texts, max_size=4), titles=st.lists(texts, min_size=1, max_size=5))
def test_a_shared_prompt_gives_what_each_whole_text_gives(name: str, history: list[str], titles: list[str]) -> None:
    one = SCORERS[name]
    read, asked = one.title_tokens(history), one.title_tokens(titles)
    found = one.log_probs(one.read(read), asked)
    expected = [one.whole_log_prob(read, title) for title in asked]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(st.lists(texts, min_size=2, max_size=6, unique_by=lambda title: " ".join(title.split())))
def test_no_title_is_the_beginning_of_another(titles: list[str]) -> None:
    """So the probabilities of all titles add up to at most 1."""
    tokens = scorer(max_title_tokens=256).title_tokens(titles)
    for first in tokens:
        assert not any(other[: len(first)] == first for other in tokens if other is not first)


def test_the_tokens_of_a_title_do_not_depend_on_what_is_before_it() -> None:
    """A tokenizer may merge letters across the border of prompt and title; here it never sees the border."""
    one = scorer()
    first, second = one.title_tokens(["Red lamp", " Red \n lamp"])
    assert first == second
    assert one.tokenizer.decode(first) == " Red lamp\n"


def test_probabilities_add_up_to_one_over_all_that_can_follow() -> None:
    prefix = SCORERS["Qwen3"].read([])
    assert math.isclose(float(prefix.log_probs.exp().sum()), 1, rel_tol=1e-5)


class LargestFloat32(TorchDispatchMode):
    """How many numbers the largest tensor of float32 has that is made within the context."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else (found,):
            if isinstance(each, torch.Tensor) and each.dtype == torch.float32:
                self.numbers = max(self.numbers, each.numel())
        return found


def test_a_batch_is_not_whole_in_float32() -> None:
    """A vocabulary of 150,000 tokens would take a gigabyte for 32 titles, twice."""
    vocabulary, num = 20_000, 16
    one = scorer(untrained_model(vocabulary, hidden_size=16, layers=1).to(torch.bfloat16), batch_size=num)
    titles = one.title_tokens(["Red lamp with a very long cable"] * num)
    prefix = one.read([])
    with LargestFloat32() as made:
        one.log_probs(prefix, titles)
    assert made.numbers <= len(titles[0]) * vocabulary


def test_long_titles_are_cut_and_long_histories_lose_their_oldest() -> None:
    short = untrained_model(300)
    short.config.max_position_embeddings = 60
    one = scorer(short, max_title_tokens=3)
    title = one.title_tokens([TITLES[1]])[0]
    assert one.tokenizer.decode(title).endswith("\n")
    assert len(title) == 4
    other = one.title_tokens(["Oak table"])[0]
    first, oldest_changed, newest_changed = (
        one.read(history).log_probs for history in ([title] * 50, [other, *[title] * 49], [*[title] * 49, other])
    )
    assert torch.equal(first, oldest_changed)
    assert not torch.equal(first, newest_changed)


def test_a_model_with_too_few_positions_is_refused() -> None:
    short = untrained_model(300)
    short.config.max_position_embeddings = 20
    with pytest.raises(ConfigError, match=r"lm\.model: reads 20 tokens, too few .* lm\.max_title_tokens=24"):
        scorer(short)


def test_a_tokenizer_that_drops_line_breaks_is_refused() -> None:
    """As BERT's do, which some GPT-2 models have: the titles of a history would be lost."""
    words = Tokenizer(models.WordLevel({"red": 0, "lamp": 1, "-": 2, "?": 3}, unk_token="?"))  # noqa: S106 (no secret)
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
    with pytest.raises(ConfigError, match=r"lm\.model: its tokenizer has no token for a line break"):
        TitleScorer(untrained_model(300), tokenizer, prompt=PROMPT, max_title_tokens=24, batch_size=2)


def test_a_folder_is_loaded_and_other_folders_are_refused(tmp_path: Path) -> None:
    one = scorer()
    save(one.model, one.tokenizer, tmp_path / "tiny")
    given: Any = {"prompt": PROMPT, "max_title_tokens": 24, "batch_size": 2}
    loaded = TitleScorer.load(tmp_path / "tiny", torch.device("cpu"), torch.float32, **given)
    tokens = one.title_tokens(TITLES)
    assert loaded.title_tokens(TITLES) == tokens
    assert loaded.log_probs(loaded.read([]), tokens).tolist() == one.log_probs(one.read([]), tokens).tolist()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"lm\.model: .* cannot be loaded as a causal language model"):
        TitleScorer.load(tmp_path / "empty", torch.device("cpu"), torch.float32, **given)
