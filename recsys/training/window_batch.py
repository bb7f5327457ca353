"""A batch of training windows as tensors.

Shapes: B windows, L history length, I items, Q texts of users, T text dimensions.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from recsys.model.history_states import HistoryTexts


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
    """[B, L] float32, weight of each target; padded with 0."""
    texts: HistoryTexts | None = None
    """None if histories hold no texts."""
    ahead: Tensor | None = None
    """[B, L] targets from each on, in the next days; None if each position has only the next item as a target."""

    @classmethod
    def of(
        cls, windows: pa.Table, num_items: int, device: torch.device, text_vectors: Tensor | None = None
    ) -> "WindowBatch":
        """From a table of `windows_schema`; if it holds texts, ``text_vectors`` are theirs, [Q, T] on the device."""
        grids = {name: _grid(windows[name]).to(device) for name in windows.column_names}
        items, targets = grids["items"][:, :-1], grids["items"][:, 1:].contiguous()
        # an event without a successor in its window is no input: nothing would be learned from it
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
            ahead=grids.get("ahead"),
        )

    def __len__(self) -> int:
        return len(self.items)

    def at(self, index: Tensor | slice) -> "WindowBatch":
        """Some of the windows, by a slice or by row numbers."""
        return WindowBatch(
            items=self.items[index],
            gaps=self.gaps[index],
            events=self.events[index],
            targets=self.targets[index],
            weights=self.weights[index],
            texts=None if self.texts is None else self.texts.of(index),
            ahead=None if self.ahead is None else self.ahead[index],
        )


def num_targets(targets: Tensor) -> Tensor:
    """[B, 1] positions of each window [B, L] up to its last target; a token before a search has no target."""
    places = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    return (places * (targets >= 0)).amax(dim=1, keepdim=True)


def _grid(column: pa.ChunkedArray) -> Tensor:
    lists = column.combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), lists.type.list_size)
    return torch.from_numpy(flat.astype(np.int64 if np.issubdtype(flat.dtype, np.integer) else np.float32))
