"""Vectors of short texts by the text encoder of recsys with MiniLM's weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stopwatch import THREADS, Work, compete

from recsys.model.text_encoder import TextEncoder


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    texts = json.loads((folder / "texts.json").read_text())
    encoder = TextEncoder.load(facts["encoder"], precision=facts["precision"])
    tokens = [len(row) for row in encoder.tokenizer(texts, truncation=True, max_length=encoder.max_tokens)["input_ids"]]
    weights = sum(module.weight.numel() for module in encoder.model.modules() if isinstance(module, torch.nn.Linear))
    width = encoder.model.config.hidden_size * encoder.model.config.num_hidden_layers
    needed = weights * np.mean(tokens) + 2 * width * np.mean(np.square(tokens))

    def work(number: int) -> int:
        vectors = encoder.encode(texts, facts["batch_size"])
        if number == 0:
            np.save(folder / "ours.npy", vectors)
        return len(texts)

    return work, {"multiply_adds": float(needed), "mean_tokens": round(float(np.mean(tokens)), 1)}


if __name__ == "__main__":
    compete(prepare)
