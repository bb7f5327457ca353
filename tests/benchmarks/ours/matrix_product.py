"""The rate of matrix products with the same threads and precision as ours: the limit of the machine."""

import json
from pathlib import Path
from typing import Any

import torch
from stopwatch import THREADS, Work, compete

from recsys.model.precision import dtype_of

SIZE = 2048


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    facts = json.loads((folder / "facts.json").read_text())
    dtype = dtype_of(facts.get("precision", "fp32"), torch.device("cpu"))
    left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    out = torch.empty(SIZE, SIZE, dtype=dtype)

    def work(number: int) -> int:
        torch.mm(left, right, out=out)
        torch.mm(left, right, out=out)
        return 2 * SIZE**3

    return work, {}


if __name__ == "__main__":
    compete(prepare)
