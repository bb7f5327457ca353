"""sentence-transformers' CrossEncoder: one user's history and one candidate at a time, both as text.

Its body has MiniLM's weights, its head has random weights. This does not change the time.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sentence_transformers import CrossEncoder
from stopwatch import THREADS, Work, compete


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    titles = pd.read_parquet(folder / "items.parquet").set_index("item_id").title
    histories = pd.read_parquet(folder / "histories.parquet").groupby("user_id").item_id.agg(list)
    candidates = pd.read_parquet(folder / "candidates.parquet").groupby("user_id").item_id.agg(list)
    model = CrossEncoder(facts["encoder"], num_labels=1, max_length=512, device="cpu")
    users = histories.index.tolist()

    def pairs_of(user: str) -> list[tuple[str, str]]:
        history = ", ".join(titles[histories[user]])
        return [(history, titles[item]) for item in candidates[user][: facts["pairs"]]]

    def work(number: int) -> int:
        pairs = pairs_of(users[number % len(users)])
        scores = model.predict(pairs, show_progress_bar=False)
        assert len(scores) == len(pairs)
        return len(pairs)

    tokens = model.tokenizer(*zip(*pairs_of(users[0]), strict=True), truncation=True, max_length=512)["input_ids"]
    return work, {"mean_tokens": sum(map(len, tokens)) / len(tokens)}


if __name__ == "__main__":
    compete(prepare)
