"""Encoders without unused tokens and without layers: the same vectors for the shop's texts, and any text has tokens."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from recsys.errors import ConfigError
from recsys.model.encoder_files import encoder_digest
from recsys.model.file_hashes import verify_hashes
from recsys.model.prune_encoder import store_as, stored_dtype, write_pruned
from recsys.model.prune_tokenizer import prune_tokenizer
from recsys.model.text_encoder import TextEncoder
from recsys.model.transformer_layers import config_of_layers, num_layers, only_layers

#: What the tokenizers learn from; the shop uses a part of it.
CORPUS = [
    "red wool scarf", "steel kettle with a very long handle and a lid", "straw hat for the beach", "scarves and hats",
    "Größe 42, blau", "日本の茶碗", "kettles, scarfs, handles", "a longer handle", "the longest lid of the beach",
]  # fmt: skip
SHOP = ["red wool scarf", "a kettle with a long handle", "Größe 42", "hat, hat, hat"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
KINDS = ("WordPiece", "BPE", "Unigram")


def word_pieces() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=260, special_tokens=SPECIAL, show_progress=False)
    )
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def byte_pairs() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False, min_frequency=1
        ),
    )
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


def probabilities() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token=SPECIAL[1], show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextEncoder]:
    """A tiny BERT of four layers with random weights for each kind of tokenizer."""
    made = {}
    for kind, make in zip(KINDS, (word_pieces, byte_pairs, probabilities), strict=True):
        folder = tmp_path_factory.mktemp(kind)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=make(), model_max_length=32, **dict(zip(NAMES, SPECIAL, strict=True))
        )
        tokenizer.save_pretrained(folder)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
            intermediate_size=48, max_position_embeddings=32, pad_token_id=0,
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        made[kind] = TextEncoder.load(str(folder), max_tokens=24)
    return made


@pytest.fixture(scope="session")
def pruned(encoders: dict[str, TextEncoder], tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextEncoder]:
    """The same without the tokens that the shop does not use."""
    smaller = {}
    for kind, encoder in encoders.items():
        folder = tmp_path_factory.mktemp("pruned") / kind
        write_pruned(encoder, folder, texts=SHOP)
        smaller[kind] = TextEncoder.load(str(folder), max_tokens=24)
    return smaller


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_the_shop_have_the_same_vectors(
    kind: str, encoders: dict[str, TextEncoder], pruned: dict[str, TextEncoder]
) -> None:
    whole, smaller = encoders[kind], pruned[kind]
    assert len(smaller.tokenizer) < len(whole.tokenizer)
    assert smaller.model.config.vocab_size == len(smaller.tokenizer)
    for text in SHOP:
        assert smaller.tokenizer.tokenize(text) == whole.tokenizer.tokenize(text)
    np.testing.assert_array_equal(smaller.encode(SHOP), whole.encode(SHOP))
    assert smaller.pad_id == smaller.tokenizer.convert_tokens_to_ids("[PAD]")
    verify_hashes(smaller.folder)
    assert encoder_digest(str(smaller.folder)) != encoder_digest(str(whole.folder))


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(st.text(max_size=40), st.sampled_from(CORPUS)))
def test_any_text_still_has_tokens(
    kind: str, encoders: dict[str, TextEncoder], pruned: dict[str, TextEncoder], text: str
) -> None:
    whole, smaller = encoders[kind].tokenizer, pruned[kind].tokenizer
    ids = smaller(text)["input_ids"]
    assert all(0 <= token < len(smaller) for token in ids)
    assert ids[0] == smaller.cls_token_id
    assert ids[-1] == smaller.sep_token_id
    # no text loses its characters: what the whole tokenizer can write, the smaller one can
    unknown = [each.tokenize(text).count("[UNK]") for each in (whole, smaller)]
    assert unknown[1] <= unknown[0]


def test_spare_tokens_are_the_most_frequent_words(encoders: dict[str, TextEncoder], tmp_path: Path) -> None:
    encoder = encoders["WordPiece"]
    sizes = {}
    for num in (0, 4):
        write_pruned(encoder, tmp_path / str(num), texts=SHOP, spare_tokens=num)
        sizes[num] = json.loads((tmp_path / str(num) / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(sizes[4]) > set(sizes[0])
    assert len(sizes[4]) == len(sizes[0]) + 4


def test_layers_are_left_out(encoders: dict[str, TextEncoder], tmp_path: Path) -> None:
    encoder = encoders["WordPiece"]
    before = encoder.encode(SHOP)
    write_pruned(encoder, tmp_path / "some", layers=[0, 3], texts=SHOP)
    smaller = TextEncoder.load(str(tmp_path / "some"), max_tokens=24)
    assert (num_layers(smaller.model), num_layers(encoder.model)) == (2, 4)
    with only_layers(encoder.model, [0, 3]):
        np.testing.assert_allclose(smaller.encode(SHOP), encoder.encode(SHOP), atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(SHOP), before), "the encoder itself is as it was"
    kept = smaller.model.encoder.layer[1].state_dict()
    for name, tensor in encoder.model.encoder.layer[3].state_dict().items():
        assert torch.equal(kept[name], tensor)


def test_a_decoder_loses_layers_too(decoder: Path, tmp_path: Path) -> None:
    encoder = TextEncoder.load(str(decoder), max_tokens=24)
    write_pruned(encoder, tmp_path / "one", layers=[1], texts=SHOP)
    smaller = TextEncoder.load(str(tmp_path / "one"), max_tokens=24)
    assert (num_layers(smaller.model), smaller.pooling, smaller.encode(["", "hat"]).shape) == (1, "last", (2, 32))
    assert json.loads((tmp_path / "one/config.json").read_text())["layer_types"] == ["full_attention"]


def test_layers_keep_their_kind_of_attention(encoders: dict[str, TextEncoder], tmp_path: Path) -> None:
    """Published configs of ModernBERT say that every third layer sees the whole text, and list no kinds."""
    source, whole = encoders["WordPiece"], tmp_path / "whole"
    source.tokenizer.save_pretrained(whole)
    config = transformers.ModernBertConfig(
        vocab_size=len(source.tokenizer), hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=48, local_attention=4, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        transformers.ModernBertModel(config).save_pretrained(whole)
    stored = json.loads((whole / "config.json").read_text())
    del stored["layer_types"]
    (whole / "config.json").write_text(json.dumps(stored | {"global_attn_every_n_layers": 3}))
    encoder = TextEncoder.load(str(whole), max_tokens=24)
    write_pruned(encoder, tmp_path / "some", layers=[0, 3])
    smaller = TextEncoder.load(str(tmp_path / "some"), max_tokens=24)
    assert smaller.model.config.layer_types == ["full_attention"] * 2
    with only_layers(encoder.model, [0, 3]):
        np.testing.assert_allclose(smaller.encode(SHOP), encoder.encode(SHOP), atol=1e-6)


def test_a_model_that_lacks_layers_reads_the_kinds_of_those_that_it_has(
    encoders: dict[str, TextEncoder], tmp_path: Path
) -> None:
    """Gemma looks up the kind of each layer by its place; layers are chosen by what such a model says."""
    source, whole = encoders["WordPiece"], tmp_path / "whole"
    source.tokenizer.save_pretrained(whole)
    config = transformers.Gemma3TextConfig(
        vocab_size=len(source.tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, head_dim=16,
        num_key_value_heads=1, intermediate_size=48, sliding_window=4, pad_token_id=0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = transformers.Gemma3TextModel(config)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(whole)
    encoder = TextEncoder.load(str(whole), max_tokens=24)
    before = encoder.encode(SHOP)
    write_pruned(encoder, tmp_path / "some", layers=[0, 2])
    with only_layers(encoder.model, [0, 2]):
        found = encoder.encode(SHOP)
    np.testing.assert_allclose(found, TextEncoder.load(str(tmp_path / "some"), max_tokens=24).encode(SHOP), atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(SHOP), before)


def test_kinds_that_a_config_computes_are_left_to_it() -> None:
    config = transformers.MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=3, state_size=4)
    model = transformers.MambaModel(config)
    with only_layers(model, [0, 2]):
        assert (num_layers(model), config.layer_types) == (2, ["linear_attention"] * 2)
    assert num_layers(model) == len(config.layer_types) == 3
    assert "layer_types" not in config_of_layers({}, model, [0])


def test_weights_keep_the_type_in_which_they_are_stored(decoder: Path, tmp_path: Path) -> None:
    encoder = TextEncoder.load(str(decoder), max_tokens=24)
    assert stored_dtype(decoder) == torch.float32
    write_pruned(encoder, tmp_path / "half")
    store_as(tmp_path / "half", torch.bfloat16)
    verify_hashes(tmp_path / "half")
    half = TextEncoder.load(str(tmp_path / "half"), max_tokens=24)
    write_pruned(half, tmp_path / "again", layers=[0])
    assert stored_dtype(tmp_path / "again") == torch.bfloat16


def test_other_kinds_of_tokenizers_are_refused(encoders: dict[str, TextEncoder], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tokenizer\.json.*compress\.vocabulary=false"):
        prune_tokenizer(tmp_path, [])
    whole = json.loads((encoders["WordPiece"].folder / "tokenizer.json").read_text())
    whole["model"] = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    with pytest.raises(ConfigError, match="kind 'WordLevel': only those of WordPiece, BPE, Unigram"):
        prune_tokenizer(tmp_path, [])
