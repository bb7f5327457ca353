"""A tiny decoder in a folder, for what reads or loads one."""

import shutil
from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers, trainers

TEXTS = ["red wool scarf", "a kettle", "hat", "steel kettle with a very long handle and a lid", "日本の茶碗 🍵"]


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 with random weights, whose tokenizer has an end token but no padding token."""
    folder = tmp_path_factory.mktemp("qwen3")
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trained)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, padding_side="left")
    tokenizer.eos_token = trained.special_tokens[0].content
    tokenizer.save_pretrained(folder)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.Qwen3Model(config)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(decoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(decoder, tmp_path / "copy"))
