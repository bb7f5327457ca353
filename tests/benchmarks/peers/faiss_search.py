"""faiss-cpu's IndexFlatIP."""

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from stopwatch import THREADS, Work, compete


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    faiss.omp_set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    items, users = np.load(folder / "items.npy"), np.load(folder / "users.npy")
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)

    def work(number: int) -> int:
        _, found = index.search(users, facts["top_k"])
        if number == 0:
            np.save(folder / "peer.npy", found)
        return len(users)

    return work, {}


if __name__ == "__main__":
    compete(prepare)
