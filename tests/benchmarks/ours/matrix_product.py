"""The machine's matrix-product rate, with the threads that all contestants have: the limit of what it can do."""

from pathlib import Path
from typing import Any

import torch
from stopwatch import THREADS, Work, compete

SIZE = 2048


def prepare(folder: Path) -> tuple[Work, dict[str, Any]]:
    torch.set_num_threads(THREADS)
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    out = torch.empty(SIZE, SIZE)

    def work(number: int) -> int:
        torch.mm(left, right, out=out)
        torch.mm(left, right, out=out)
        return 2 * SIZE**3

    return work, {}


if __name__ == "__main__":
    compete(prepare)
