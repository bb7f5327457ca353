"""Random changes of training windows: crop, mask and reorder (CL4SRec, Xie et al., 2022).

Shapes: B windows, L history length, I items. A window of n targets holds n + 1 events: its items, then its last target.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recsys.model.features import TextKind
from recsys.model.history_states import HistoryTexts
from recsys.training.config import Augmentation
from recsys.training.window_batch import WindowBatch, num_targets


def augment(
    batch: WindowBatch,
    num_items: int,
    kinds: Sequence[Augmentation],
    probability: float,
    share: float,
    generator: torch.Generator,
) -> WindowBatch:
    """Change each window with this probability, by one of these kinds of changes, drawn at random.

    Args:
        batch: Windows without changes.
        num_items: I.
        kinds: At least one.
        probability: Probability that a window is changed.
        share: Share of a window's events that are cut away, masked or reordered.
        generator: On the CPU.
    """
    num_windows = len(batch.items)
    changed = torch.rand(num_windows, generator=generator) < probability
    way = torch.randint(len(kinds), (num_windows,), generator=generator)
    ways: dict[Augmentation, Callable[[], WindowBatch]] = {
        "crop": lambda: crop(batch, num_items, share, generator),
        "mask": lambda: mask(batch, num_items, share, generator),
        "reorder": lambda: reorder(batch, share, generator),
    }
    augmented = batch
    for number, kind in enumerate(kinds):
        other = ways[kind]()
        learned = (other.targets >= 0).any(dim=1)  # a crop may leave nothing but searches
        augmented = _where((changed & (way == number)).to(learned.device) & learned, other, augmented)
    return augmented


def crop(batch: WindowBatch, num_items: int, share: float, generator: torch.Generator) -> WindowBatch:
    """Keep a random run of consecutive events: (1 − share) of the targets, at least one."""
    counts, places = _counts_and_places(batch)
    kept = torch.ceil(counts * (1 - share)).long().clamp(min=1)
    start = (_rand(counts.shape, generator, counts.device) * (counts - kept + 1)).long()
    index = (places + start).clamp(max=places.shape[1] - 1)
    beyond = places >= kept
    gaps = batch.gaps.gather(1, index).masked_fill(beyond, 0)
    gaps[:, 0] = 0  # no event comes before the first one of a window
    return WindowBatch(
        items=batch.items.gather(1, index).masked_fill(beyond, num_items),
        gaps=gaps,
        events=batch.events.gather(1, index).masked_fill(beyond, 0),
        targets=batch.targets.gather(1, index).masked_fill(beyond, -1),
        weights=batch.weights.gather(1, index).masked_fill(beyond, 0.0),
        texts=_moved(batch.texts, index, beyond),
    )


def mask(batch: WindowBatch, num_items: int, share: float, generator: torch.Generator) -> WindowBatch:
    """Mask the item of each event with probability ``share``; it stays a target."""
    hidden = _rand(batch.items.shape, generator, batch.items.device) < share
    return replace(batch, items=batch.items.masked_fill(hidden, num_items))


def reorder(batch: WindowBatch, share: float, generator: torch.Generator) -> WindowBatch:
    """Shuffle a random run of ``share`` of the events, except the first and the last event; time gaps stay in place.

    Targets move with their items: each is still the next item.
    """
    counts, places = _counts_and_places(batch)
    length = (counts * share).long().minimum(counts - 1).clamp(min=0)
    start = 1 + (_rand(counts.shape, generator, counts.device) * (counts - length)).long()
    inside = (places >= start) & (places < start + length)
    keys = torch.where(inside, start + _rand(places.shape, generator, places.device) * (length - 0.5), places.double())
    order = keys.argsort(dim=1)  # of the items
    order_of_targets = torch.cat([order[:, 1:] - 1, places[:, -1:]], dim=1)  # a target is the next item
    return WindowBatch(
        items=batch.items.gather(1, order),
        gaps=batch.gaps,
        events=batch.events.gather(1, order),
        targets=batch.targets.gather(1, order_of_targets),
        weights=batch.weights.gather(1, order_of_targets),
        texts=_moved(batch.texts, order, torch.zeros_like(inside)),
    )


def _counts_and_places(batch: WindowBatch) -> tuple[Tensor, Tensor]:
    """[B, 1] `num_targets` of each window, and [B, L] the places 0 … L − 1."""
    places = torch.arange(batch.items.shape[1], device=batch.items.device).expand_as(batch.items)
    return num_targets(batch.targets), places


def _moved(texts: HistoryTexts | None, index: Tensor, beyond: Tensor) -> HistoryTexts | None:
    """The texts of the tokens [B, L] in their new order, without those ``beyond`` the end."""
    if texts is None:
        return None
    kinds = texts.kinds.gather(1, index).masked_fill(beyond, TextKind.NONE)
    return HistoryTexts(rows=texts.rows.gather(1, index), kinds=kinds, vectors=texts.vectors)


def _rand(shape: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(device)


def _where(chosen: Tensor, changed: WindowBatch, batch: WindowBatch) -> WindowBatch:
    names = ("items", "gaps", "events", "targets", "weights")
    columns = {name: torch.where(chosen[:, None], getattr(changed, name), getattr(batch, name)) for name in names}
    texts = batch.texts
    if texts is not None and changed.texts is not None:
        rows = torch.where(chosen[:, None], changed.texts.rows, texts.rows)
        kinds = torch.where(chosen[:, None], changed.texts.kinds, texts.kinds)
        texts = HistoryTexts(rows=rows, kinds=kinds, vectors=texts.vectors)
    return WindowBatch(**columns, texts=texts)
