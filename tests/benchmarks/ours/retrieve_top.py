"""Exact top 100 of normal vectors by the retrieval of recsys."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stopwatch import THREADS, Work, compete

from recsys.signals.exact_search import ItemIndex, retrieve
from recsys.signals.excluded import ExcludedItems


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    items, users = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("items", "users"))
    index = ItemIndex.of(items)

    def work(number: int) -> int:
        with torch.inference_mode():
            found = retrieve(users, index, ExcludedItems.none(), facts["top_k"])
        if number == 0:
            np.save(folder / "ours.npy", found.items.numpy())
        return len(users)

    return work, {"multiply_adds": facts["items"] * facts["dim"]}


if __name__ == "__main__":
    compete(prepare)
