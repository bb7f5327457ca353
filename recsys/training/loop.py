"""One epoch of training and one of validation over batches of windows; it knows no Ray and no files.

Shapes: B windows, L history length, I items.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

PROGRESS_S = 20.0
#: Users whose scores of all items are held at once in validation.
USER_BLOCK = 64


class Engine(Protocol):
    """What DeepSpeed's engine is to the loop."""

    device: torch.device

    def __call__(self, *tensors: Tensor) -> Any:
        """Forward pass of the ranker."""

    def backward(self, loss: Tensor) -> Any:
        """Add up gradients."""

    def step(self) -> Any:
        """Step the optimiser where an accumulation is full."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout on."""

    def eval(self) -> Any:
        """Switch dropout off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBatch:
    """Windows as tensors, ready for the ranker."""

    items: Tensor
    """[B, L] padded with I."""
    gaps: Tensor
    """[B, L]."""
    events: Tensor
    """[B, L]."""
    targets: Tensor
    """[B, L] padded with −1."""

    @classmethod
    def of(cls, windows: pa.Table, num_items: int, device: torch.device) -> "WindowBatch":
        """From a table of `windows_schema`."""
        grids = {name: _grid(windows[name]).to(device) for name in ("items", "gaps", "events")}
        items, targets = grids["items"][:, :-1], grids["items"][:, 1:].contiguous()
        # an event without a successor in its window is no input either: nothing would be learned from it
        history = torch.where(targets >= 0, items, num_items)
        return cls(items=history, gaps=grids["gaps"], events=grids["events"], targets=targets)


def train_epoch(engine: Engine, batches: Iterable[WindowBatch], label: str) -> dict[str, float]:
    """Train on each batch once; reports the running loss every `PROGRESS_S` seconds.

    Returns:
        Mean loss over windows, windows seen and windows per second.
    """
    engine.train()
    start = reported = time.monotonic()
    total, count = torch.zeros((), device=engine.device), 0
    for batch in batches:
        loss = engine(batch.items, batch.gaps, batch.events, batch.targets)
        engine.backward(loss)
        engine.step()
        total += loss.detach().float() * len(batch.items)
        count += len(batch.items)
        if time.monotonic() - reported > PROGRESS_S:
            reported = time.monotonic()
            logger.info(
                "%s: %d windows, loss %.4f, %.0f windows/s", label, count, total / count, count / (reported - start)
            )
    seconds = time.monotonic() - start
    return {"loss": float(total) / max(count, 1), "windows": float(count), "windows_per_s": count / seconds}


def validate(
    engine: Engine,
    batches: Iterable[WindowBatch],
    num_items: int,
    exclude_history: bool,
    k: int = 10,
    prior: Tensor | None = None,
) -> float:
    """NDCG@k of each window's last target among all items, averaged over windows.

    Args:
        engine: The ranker.
        batches: One window a user; its last target is what is looked for.
        num_items: I.
        exclude_history: Rank the items of the window last, as lists leave out what was seen.
        k: Cut of the list.
        prior: [I] added to the logits; None: nothing.
    """
    engine.eval()
    ranks: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            users, item_vectors = engine(batch.items, batch.gaps, batch.events)
            last = (batch.targets >= 0).sum(dim=1) - 1
            wanted = batch.targets[torch.arange(len(last), device=last.device), last]
            history = batch.items if exclude_history else torch.full_like(batch.items, num_items)
            blocks = zip(*(torch.split(rows, USER_BLOCK) for rows in (users, wanted, history)), strict=True)
            for states, own, seen in blocks:
                logits = states.float() @ item_vectors.float().T
                ranks.append(_ranks(logits if prior is None else logits + prior, own, seen).cpu())
    if not ranks:
        return 0.0
    rank = torch.cat(ranks)
    return float(torch.where(rank <= k, 1 / torch.log2(rank + 1.0), 0.0).mean())


def _ranks(logits: Tensor, wanted: Tensor, history: Tensor) -> Tensor:
    """[B] rank (1 = best) of the wanted item among I logits [B, I], the history's other items left out.

    Equals rank by index, as in lists, and what is no number ranks last: a model that fell apart must not look good.
    """
    own = logits.gather(1, wanted[:, None])
    padded = torch.cat([logits, logits.new_zeros(len(logits), 1)], dim=1)  # column I takes the padding of the history
    padded.scatter_(1, history, -torch.inf)
    others, before = padded[:, :-1], torch.arange(logits.shape[1], device=logits.device) < wanted[:, None]
    return (~(others <= own) | ((others == own) & before)).sum(dim=1) + 1


def _grid(column: pa.ChunkedArray) -> Tensor:
    lists = column.combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.reshape(len(lists), -1).astype(np.int64))
