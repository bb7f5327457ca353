"""implicit's `topk`, which its factor models and RecTools rank with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from implicit.cpu.topk import topk
from stopwatch import THREADS, Work, compete


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    facts = json.loads((folder / "facts.json").read_text())
    items, users = np.load(folder / "items.npy"), np.load(folder / "users.npy")

    def work(number: int) -> int:
        found, _ = topk(items, users, facts["top_k"], num_threads=THREADS)
        assert found.shape == (len(users), facts["top_k"])
        return len(users)

    return work, {}


if __name__ == "__main__":
    compete(prepare)
