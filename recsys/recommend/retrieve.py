"""Exact retrieval: the best items of each user by inner product, a tile of users and a block of items at a time.

It knows vectors and indices only. Shapes: B users, I items, D dimensions, C candidates.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Users and items whose inner products are held at once: few enough for a CPU's cache, or enough for a GPU.
_CPU_TILE, _GPU_TILE = (512, 8_192), (8_192, 65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The best items of B users, best first."""

    items: Tensor
    """[B, C] int64 rows of the item matrix; where a score is −inf there was no further item."""
    logits: Tensor
    """[B, C] float32 inner products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """(user, item) pairs that must not be retrieved."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    @classmethod
    def of(cls, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> "Excluded":
        """Pairs in any order; pairs with a negative item are ignored."""
        return cls(users=users[items >= 0], items=items[items >= 0])

    @classmethod
    def none(cls) -> "Excluded":
        """No pair at all."""
        return cls(users=np.empty(0, np.int64), items=np.empty(0, np.int64))


def retrieve(
    users: Tensor, items: Tensor, excluded: Excluded, num_candidates: int, tile: tuple[int, int] | None = None
) -> Retrieved:
    """Top C of B × I inner products, of which a tile is held at once; equals come by index.

    Items go by in blocks. Once a user has C of them, only those above the lowest are looked at further, and these are
    few: after k blocks a share of C / (k · block). So nearly all of the time goes into the products.

    Args:
        users: [B, D] float32.
        items: [I, D] float32.
        excluded: Pairs to leave out.
        num_candidates: C; fewer come back where the catalog is smaller.
        tile: Users and items that are multiplied at once; None: as suits the device.
    """
    num_users, block = tile or (_CPU_TILE if users.device.type == "cpu" else _GPU_TILE)
    by_tile = excluded.users // num_users * (len(items) + 1) + excluded.items  # tiles in order, items within them
    order = np.argsort(by_tile, kind="stable")
    by_tile, barred_users, barred_items = by_tile[order], excluded.users[order], excluded.items[order]
    buffer = users.new_empty(min(num_users, len(users)) * min(block, len(items)))
    found = []
    for start in range(0, len(users), num_users):
        best = _Best(users[start : start + num_users], num_candidates)
        for first in range(0, len(items), block):
            part = items[first : first + block]
            logits = buffer[: len(best.users) * len(part)].view(len(best.users), len(part))
            torch.mm(best.users, part.T, out=logits)
            place = start // num_users * (len(items) + 1) + first
            low, high = np.searchsorted(by_tile, [place, place + len(part)])
            rows, columns = barred_users[low:high] - start, barred_items[low:high] - first
            logits[torch.from_numpy(rows).to(users.device), torch.from_numpy(columns).to(users.device)] = -torch.inf
            best.look_at(logits, first)
        found.append(best.in_order())
    if not found:
        width = min(num_candidates, len(items))
        return Retrieved(items=torch.zeros((0, width), dtype=torch.int64), logits=users.new_zeros((0, width)))
    return Retrieved(items=torch.cat([item for item, _ in found]), logits=torch.cat([logit for _, logit in found]))


class _Best:
    """The best of the items that went by so far, for a tile of users."""

    def __init__(self, users: Tensor, num: int):
        self.users, self.num = users, num
        self.logits = users.new_zeros((len(users), 0))
        self.items = torch.zeros((len(users), 0), dtype=torch.int64, device=users.device)
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        """(user, item, logit) of those that were above the C-th when they went by."""
        self.num_waiting = 0

    def look_at(self, logits: Tensor, first: int) -> None:
        """Take in the items [first, first + width) with their logits [users, width]."""
        if self.logits.shape[1] < self.num:
            top = largest(logits, self.num)
            self._keep(torch.cat([self.logits, logits.gather(1, top)], 1), torch.cat([self.items, top + first], 1))
            return
        users, columns = _places(logits > self.least)  # an equal one is of a higher index: it loses
        self.waiting.append((users, columns + first, logits[users, columns]))
        self.num_waiting += len(users)
        if self.num_waiting > self.logits.numel():
            self._settle()

    def in_order(self) -> tuple[Tensor, Tensor]:
        """Items and logits [users, ≤ C], best first."""
        self._settle()
        order = self.logits.sort(dim=1, descending=True, stable=True).indices
        return self.items.gather(1, order), self.logits.gather(1, order)

    def _settle(self) -> None:
        """Let those that wait stand against the best."""
        if not self.num_waiting:
            return
        users, items, logits = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.num_waiting = [], 0
        users, order = users.sort(stable=True)
        counts = users.bincount(minlength=len(self.users))
        place = torch.arange(len(users), device=users.device) - (counts.cumsum(0) - counts)[users]
        shape = (len(self.users), int(counts.max()))
        new_logits, new_items = self.logits.new_full(shape, -torch.inf), self.items.new_zeros(shape)
        new_logits[users, place], new_items[users, place] = logits[order], items[order]
        self._keep(torch.cat([self.logits, new_logits], dim=1), torch.cat([self.items, new_items], dim=1))

    def _keep(self, logits: Tensor, items: Tensor) -> None:
        """The best of these, in the order of their columns, which is that of the items."""
        columns = largest(logits, self.num)
        self.logits, self.items = logits.gather(1, columns), items.gather(1, columns)
        self.least = self.logits.amin(dim=1, keepdim=True)


def _places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the few that are true, in order."""
    if mask.shape[1] % 8:
        rows, columns = mask.nonzero(as_tuple=True)
        return rows, columns
    rows, words = mask.view(torch.int64).nonzero(as_tuple=True)  # eight at a time
    hits, places = mask.view(len(mask), -1, 8)[rows, words].nonzero(as_tuple=True)
    return rows[hits], words[hits] * 8 + places


def largest(logits: Tensor, num: int) -> Tensor:
    """[B, num] columns of the largest values of each row, ascending; the first columns where equals meet the cut.

    `topk` alone keeps any of them, so that a list would hang on the size of the batch and of the blocks. Among values
    of −inf any may come.
    """
    if num >= logits.shape[1]:
        return torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    top = logits.topk(num + 1, dim=1)
    columns = top.indices[:, :num]
    tied = (top.values[:, num - 1] == top.values[:, num]) & top.values[:, num].isfinite()
    if tied.any():
        columns = columns.clone()
        columns[tied] = logits[tied].sort(dim=1, descending=True, stable=True).indices[:, :num]
    return columns.sort(dim=1).values


def unit_rows(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """[N, T] vectors of length 1, or 0 where there is none."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / norms, dtype=np.float32)
