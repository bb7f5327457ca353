"""sentence-transformers' `encode` with MiniLM."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from stopwatch import THREADS, Work, compete


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    texts = json.loads((folder / "texts.json").read_text())
    model = SentenceTransformer(facts["encoder"], device="cpu")

    def work(number: int) -> int:
        vectors = model.encode(
            texts, batch_size=facts["batch_size"], normalize_embeddings=True, show_progress_bar=False
        )
        if number == 0:
            np.save(folder / "peer.npy", vectors)
        return len(texts)

    return work, {}


if __name__ == "__main__":
    compete(prepare)
