"""One epoch of training and one of validation over batches of windows; it knows no Ray and no files.

Shapes: B windows, L history length, I items.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
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
) -> float:
    """NDCG@k of each window's last target among all items, averaged over windows.

    Args:
        engine: The ranker.
        batches: One window a user; its last target is what is looked for.
        num_items: I.
        exclude_history: Rank the items of the window last, as lists leave out what was seen.
        k: Cut of the list.
    """
    ranks = [
        _ranks(logits, wanted, history).cpu()
        for logits, wanted, history in _last_targets(engine, batches, num_items, exclude_history)
    ]
    if not ranks:
        return 0.0
    rank = torch.cat(ranks)
    return float(torch.where(rank <= k, 1 / torch.log2(rank + 1.0), 0.0).mean())


def fit_prior_weight(
    engine: Engine,
    batches: Iterable[WindowBatch],
    num_items: int,
    exclude_history: bool,
    prior: Tensor,
    weights: Sequence[float],
) -> float:
    """The weight w under which P ∝ exp(logit + w · prior) makes the windows' last targets likeliest; 0 without windows.

    Likelihood tells weights apart with fewer users than NDCG does, since every target counts and not only those near
    the top.

    Args:
        engine: The ranker.
        batches: One window a user.
        num_items: I.
        exclude_history: Items of the window have no probability, as lists leave out what was seen.
        prior: [I] such as log-popularity.
        weights: What is tried; on a tie the first.
    """
    likelihoods = torch.zeros(len(weights), dtype=torch.float64)
    for logits, wanted, history in _last_targets(engine, batches, num_items, exclude_history):
        for place, weight in enumerate(weights):
            shifted = _without_history(logits + weight * prior, wanted, history)
            likelihoods[place] += shifted.log_softmax(dim=1).gather(1, wanted[:, None]).sum().cpu()
    return weights[int(likelihoods.argmax())]


def _last_targets(
    engine: Engine, batches: Iterable[WindowBatch], num_items: int, exclude_history: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """(logits [b, I], wanted [b], history [b, L] padded with I) of a few users at a time; training mode is left off."""
    engine.eval()
    for batch in batches:
        with torch.no_grad():
            users, item_vectors = engine(batch.items, batch.gaps, batch.events)
        last = (batch.targets >= 0).sum(dim=1) - 1
        wanted = batch.targets[torch.arange(len(last), device=last.device), last]
        history = batch.items if exclude_history else torch.full_like(batch.items, num_items)
        for states, own, seen in zip(
            *(torch.split(rows, USER_BLOCK) for rows in (users, wanted, history)), strict=True
        ):
            yield states.float() @ item_vectors.float().T, own, seen


def _ranks(logits: Tensor, wanted: Tensor, history: Tensor) -> Tensor:
    """[B] rank (1 = best) of the wanted item among I logits [B, I], the history's other items left out.

    Equals rank by index, as in lists, and what is no number ranks last: a model that fell apart must not look good.
    """
    own = logits.gather(1, wanted[:, None])
    others = _without_history(logits, wanted, history)
    before = torch.arange(logits.shape[1], device=logits.device) < wanted[:, None]
    return (~(others <= own) | ((others == own) & before)).sum(dim=1) + 1


def _without_history(logits: Tensor, wanted: Tensor, history: Tensor) -> Tensor:
    """Logits [B, I] with −inf for the items of the history, but for the wanted one: a repeat is a fair target."""
    padded = torch.cat([logits, logits.new_zeros(len(logits), 1)], dim=1)  # column I takes the padding of the history
    padded.scatter_(1, history, -torch.inf)
    return padded[:, :-1].scatter(1, wanted[:, None], logits.gather(1, wanted[:, None]))


def _grid(column: pa.ChunkedArray) -> Tensor:
    lists = column.combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.reshape(len(lists), -1).astype(np.int64))
