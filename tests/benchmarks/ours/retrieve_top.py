"""Exact top 100 of normal vectors by the retrieval of recsys."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recsys.signals.retrieve import Excluded, ItemIndex, retrieve
from stopwatch import THREADS, Work, compete


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    items, users = (torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("items", "users"))
    index = ItemIndex.of(items)

    def work(number: int) -> int:
        with torch.inference_mode():
            found = retrieve(users, index, Excluded.none(), facts["top_k"])
        if number == 0:
            np.save(folder / "ours.npy", found.items.numpy())
        return len(users)

    return work, {"multiply_adds": facts["items"] * facts["dim"]}


if __name__ == "__main__":
    compete(prepare)
