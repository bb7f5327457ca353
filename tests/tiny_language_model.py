"""A tiny causal language model: made from a config, with a byte-level tokenizer, and trained on a catalog's texts."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

#: Begins each text, and ends it.
BORDER = "<|endoftext|>"


def byte_tokenizer(texts: Sequence[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """BPE over bytes, as GPT-2 has it: any Unicode text, and its spaces belong to the words that follow."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[BORDER], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BORDER, eos_token=BORDER)


def untrained_model(vocab_size: int, hidden_size: int = 32, layers: int = 2) -> Qwen3ForCausalLM:
    """Random weights, always the same."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=hidden_size // 4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config)


def train(
    model: Any, tokenizer: Any, texts: Sequence[str], *, steps: int, batch_size: int = 32, rate: float = 3e-3
) -> list[float]:
    """Next-token training with a one-cycle rate; the loss of each step."""
    rows = [
        [tokenizer.bos_token_id, *row][:512] for row in tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    ]
    draw, losses = random.Random(0), list[float]()  # noqa: S311 (no secret)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps + 1)
    model.train()
    for _ in range(steps):
        some = draw.sample(rows, min(batch_size, len(rows)))
        width = max(map(len, some))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in some])
        labels = torch.tensor([row + [-100] * (width - len(row)) for row in some])
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """As Hugging Face lays it out."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
