"""One epoch of training over batches of windows; it knows no Ray and no files.

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

from recsys.model.ranker import HistoryTexts

logger = logging.getLogger(__name__)

PROGRESS_S = 20.0


class Engine(Protocol):
    """What DeepSpeed's engine is to the loop."""

    device: torch.device

    def __call__(self, *tensors: Tensor, **named: Tensor | HistoryTexts | bool | None) -> Any:
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
    weights: Tensor
    """[B, L] float32, what each target counts for; padded with 0."""
    texts: HistoryTexts | None = None
    """None where histories hold no texts."""

    @classmethod
    def of(
        cls, windows: pa.Table, num_items: int, device: torch.device, text_vectors: Tensor | None = None
    ) -> "WindowBatch":
        """From a table of `windows_schema`; ``text_vectors`` [Q, T], on the device, are there where it holds texts."""
        grids = {name: _grid(windows[name]).to(device) for name in windows.column_names}
        items, targets = grids["items"][:, :-1], grids["items"][:, 1:].contiguous()
        # an event without a successor in its window is no input either: nothing would be learned from it
        places = torch.arange(targets.shape[1], device=device)
        read = places < num_targets(targets)
        history = torch.where(read & (items >= 0), items, num_items)
        texts = None
        if text_vectors is not None:
            kinds = torch.where(read, grids["text_kinds"], 0)
            texts = HistoryTexts(rows=grids["texts"], kinds=kinds, vectors=text_vectors)
        return cls(
            items=history,
            gaps=grids["gaps"],
            events=grids["events"],
            targets=targets,
            weights=grids["weights"],
            texts=texts,
        )

    def rows(self, start: int, stop: int) -> "WindowBatch":
        """Some of the windows."""
        grids = (self.items, self.gaps, self.events, self.targets, self.weights)
        items, gaps, events, targets, weights = (grid[start:stop] for grid in grids)
        texts = None if self.texts is None else self.texts.of(slice(start, stop))
        return WindowBatch(items=items, gaps=gaps, events=events, targets=targets, weights=weights, texts=texts)


def num_targets(targets: Tensor) -> Tensor:
    """[B, 1] places of each window [B, L] up to its last target; a token before a search has none."""
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    return (places * (targets >= 0)).amax(dim=1, keepdim=True)


def train_epoch(
    engine: Engine,
    batches: Iterable[WindowBatch],
    label: str,
    *,
    listwise: bool = False,
    adversarial: bool = False,
) -> dict[str, float]:
    """Train on each batch once; reports the running loss every `PROGRESS_S` seconds.

    Args:
        engine: A `TrainableRanker` and its optimiser.
        batches: This worker's windows.
        label: What the epoch is called in reports.
        listwise: Train the isolated pass too, on one random target of each window.
        adversarial: Train on each batch a second time, as a micro-batch of its own, with its tokens pushed to where
            the loss is higher; the loss that is told is that of the first time.

    Returns:
        Mean loss over windows, windows seen and windows per second.
    """
    engine.train()
    start = reported = time.monotonic()
    total, count = torch.zeros((), device=engine.device), 0
    for batch in batches:
        named: dict[str, Tensor | HistoryTexts] = {"targets": batch.targets, "weights": batch.weights}
        if batch.texts is not None:
            named["texts"] = batch.texts
        if listwise:
            named["positions"] = draw_positions(batch.targets, batch.weights)
        loss = engine(batch.items, batch.gaps, batch.events, **named)
        engine.backward(loss)
        engine.step()
        if adversarial:
            engine.backward(engine(batch.items, batch.gaps, batch.events, perturbed=True, **named))
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


def draw_positions(targets: Tensor, weights: Tensor) -> Tensor:
    """[B] for each window a position, drawn evenly from those whose target counts for something.

    Args:
        targets: [B, L] padded with −1, at least one in each window.
        weights: [B, L]; where a window's targets all weigh nothing, it is drawn from them all the same.
    """
    there = targets >= 0
    counting = there & (weights > 0)
    drawn_from = torch.where(counting.any(dim=1, keepdim=True), counting, there)
    return torch.multinomial(drawn_from.float(), 1).squeeze(1)


def _grid(column: pa.ChunkedArray) -> Tensor:
    lists = column.combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)
    return torch.from_numpy(flat.astype(np.int64 if np.issubdtype(flat.dtype, np.integer) else np.float32))
