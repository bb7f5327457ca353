"""One epoch of training over batches of windows.

Shapes: B windows, L history length.
"""

import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from recsys.model.history_states import HistoryTexts
from recsys.training.engine import Engine
from recsys.training.window_batch import WindowBatch

#: Seconds between two calls of `Heard`; each call waits for the device.
PROGRESS_S = 1.0
#: Hears how far an epoch has come: its windows so far, and their mean loss.
Heard = Callable[[int, float], None]


def train_epoch(
    engine: Engine,
    batches: Iterable[WindowBatch],
    *,
    heard: Heard | None = None,
    listwise: bool = False,
    adversarial: bool = False,
) -> dict[str, float]:
    """Train on each batch once.

    Args:
        engine: A `TrainableRanker` and its optimiser.
        batches: This worker's windows.
        heard: Called every `PROGRESS_S` seconds.
        listwise: Train the candidate pass too, on one random target of each window.
        adversarial: Train on each batch a second time with perturbed tokens, as a micro-batch of its own. The returned
            loss is that of the first time.

    Returns:
        Mean loss over windows, number of windows, and windows per second.
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
        total += loss.detach().float() * len(batch)
        count += len(batch)
        if heard is not None and time.monotonic() - reported > PROGRESS_S:
            heard(count, float(total) / count)
            reported = time.monotonic()
    seconds = time.monotonic() - start
    return {"loss": float(total) / max(count, 1), "windows": float(count), "windows_per_s": count / seconds}


def draw_positions(targets: Tensor, weights: Tensor) -> Tensor:
    """[B] for each window a random position among those whose target has a positive weight.

    Args:
        targets: [B, L] padded with −1, at least one in each window.
        weights: [B, L]; if all targets of a window have weight 0, the position is drawn from all of them.
    """
    there = targets >= 0
    counting = there & (weights > 0)
    drawn_from = torch.where(counting.any(dim=1, keepdim=True), counting, there)
    return torch.multinomial(drawn_from.float(), 1).squeeze(1)
