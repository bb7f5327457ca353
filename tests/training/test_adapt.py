"""A pretrained encoder learns a shop's texts: it guesses words of other texts better, and odd texts do not stop it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.errors import ConfigError
from recsys.model.config import AdaptConfig, ScratchEncoderConfig
from recsys.model.text_encoder import TextEncoder
from recsys.training.adapt import PartMatcher, TokenGuesser, adapt_encoder, mask_tokens, train_lesson
from recsys.training.pretrain import pretrain_encoder
from tests.training.test_pretrain import TEXTS

TINY = ScratchEncoderConfig(hidden_size=32, layers=1, heads=2, vocab_size=400, pretrain_steps=0)
STEPS = AdaptConfig(steps=40, batch_size=8, learning_rate=3e-3)


@pytest.fixture
def encoder() -> TextEncoder:
    """An encoder that knows the words, and has learned nothing."""
    return pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=0)


@pytest.mark.parametrize(("kind", "most"), [(TokenGuesser, 0.7), (PartMatcher, 0.9)])
def test_texts_that_it_never_read_are_known_better(
    encoder: TextEncoder, kind: type[TokenGuesser | PartMatcher], most: float
) -> None:
    texts = [f"{text}, {text}" for text in TEXTS]  # two parts of one text have words in common
    unread, read = texts[::5], [text for row, text in enumerate(texts) if row % 5]
    encoder.model.requires_grad_(True)
    lesson = kind(encoder)

    def held_out_loss() -> float:
        generator = torch.Generator().manual_seed(1)
        with torch.inference_mode():
            return float(np.mean([lesson(encoder.tokenize(unread), generator).item() for _ in range(20)]))

    before = held_out_loss()
    train_lesson(lesson, encoder.tokenize(read), STEPS.model_copy(update={"steps": 120}), 0)
    assert (after := held_out_loss()) < most * before, after


@pytest.mark.parametrize("objective", ["parts", "masked"])
def test_the_same_texts_give_the_same_weights_and_a_saved_copy_is_whole(objective: str, tmp_path: Path) -> None:
    config = AdaptConfig(**STEPS.model_dump() | {"objective": objective})
    random_state = torch.get_rng_state()
    digests = []
    for name, texts in (("first", TEXTS), ("second", [*reversed(TEXTS), *TEXTS, " "])):
        encoder = pretrain_encoder(TEXTS, TINY, max_tokens=16, seed=0)
        before, digest = encoder.encode(TEXTS), encoder.digest
        adapt_encoder(encoder, texts, config, 3).save(tmp_path / name)
        saved = TextEncoder.load(str(tmp_path / name), max_tokens=16)
        np.testing.assert_allclose(saved.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
        assert np.abs(saved.encode(TEXTS) - before).max() > 0.01
        digests.append(saved.digest)
    assert digests[0] == digests[1] != digest
    assert torch.equal(random_state, torch.get_rng_state())


def test_only_words_are_hidden_and_one_at_least(encoder: TextEncoder) -> None:
    tokens = encoder.tokenize(["red wool scarf", "a", ""])
    for seed in range(20):
        masked = mask_tokens(tokens, encoder, 400, torch.Generator().manual_seed(seed))
        ids = torch.tensor([row + [encoder.pad_id] * (len(tokens[0]) - len(row)) for row in tokens])
        special = torch.isin(ids, torch.tensor(encoder.tokenizer.all_special_ids))
        assert masked.hidden.any()
        assert not (masked.hidden & special).any()
        assert torch.equal(masked.ids[~masked.hidden], ids[~masked.hidden])
        assert torch.equal(masked.answers, ids[masked.hidden])


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_without_words_it_stays_as_it_was(encoder: TextEncoder, texts: list[str], tmp_path: Path) -> None:
    before = encoder.encode(TEXTS)
    adapt_encoder(encoder, texts, STEPS, 0).save(tmp_path / "saved")
    np.testing.assert_array_equal(TextEncoder.load(str(tmp_path / "saved"), max_tokens=16).encode(TEXTS), before)


def test_a_tokenizer_without_a_mask_token_is_refused(encoder: TextEncoder) -> None:
    encoder.tokenizer.mask_token = None
    masked = STEPS.model_copy(update={"objective": "masked"})
    with pytest.raises(ConfigError, match=r"objective=masked: .* has no mask token; set it to parts"):
        adapt_encoder(encoder, TEXTS, masked, 0)
