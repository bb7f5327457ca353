"""Exact search: the items of a catalog with the largest inner products with each user.

A CPU that multiplies int8 natively screens first: products of vectors rounded to int8 take a fraction of the time and
a quarter of the memory. Their error has a known bound, so they say for sure which few items can be among the best;
float32 products of these decide.

Shapes: B users, I items, D dimensions, C candidates.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.signals import products as on_cpu
from recsys.signals import screening
from recsys.signals.excluded import ExcludedItems, Ints
from recsys.signals.int8_vectors import Int8Vectors, multiplies_int8
from recsys.signals.selection import largest

#: Numbers of the items' vectors that are gathered at once on a GPU.
_GATHERED_CELLS = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemIndex:
    """The vectors of some items, ready to be searched."""

    vectors: Tensor
    """[I, D] float32."""
    rounded: Int8Vectors | None
    """The same for screening; None: nothing is screened."""
    length: float
    """Length of the longest vector."""

    @classmethod
    def of(cls, vectors: Tensor) -> "ItemIndex":
        """An index of [I, D] vectors on their device; float32 vectors are shared, not copied."""
        vectors = vectors.float()
        # int8 products of vectors with one dimension are wrong in torch 2.13, and would save nothing
        screens = len(vectors) > 0 and vectors.shape[1] > 1 and multiplies_int8(vectors.device)
        return cls(
            vectors=vectors,
            rounded=Int8Vectors.of(vectors) if screens else None,
            length=float(_lengths(vectors).amax()) if len(vectors) else 0.0,
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def screens(self, num_items: int, num: int) -> bool:
        """Whether the best of some items are found by screening."""
        return self.rounded is not None and screening.pays(num_items, num)


class RecommendableIndex:
    """The items of a catalog that may be recommended, ready to be searched."""

    def __init__(self, vectors: Tensor, recommendable: npt.NDArray[np.bool_]) -> None:
        """From the vectors [I, D] of all items, which are not copied where all may be recommended [I]."""
        self._rows = np.flatnonzero(recommendable)
        self._place = np.full(len(recommendable), -1)
        self._place[self._rows] = np.arange(len(self._rows))
        searched = vectors if recommendable.all() else vectors[torch.from_numpy(self._rows).to(vectors.device)]
        self._index = ItemIndex.of(searched)

    def best(self, users: Tensor, excluded: ExcludedItems, num: int) -> tuple[Ints, npt.NDArray[np.float32]]:
        """[B, C] catalog indices and products of the best items that are not excluded, in any order; see `retrieve`."""
        found = retrieve(users, self._index, excluded.renumbered(self._place), num, in_order=False)
        return self._rows[found.items.cpu().numpy()], found.logits.cpu().numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The best items of B users, best first where `retrieve` is asked for that."""

    items: Tensor
    """[B, C] int64 rows of the item matrix; where a score is −inf there was no further item."""
    logits: Tensor
    """[B, C] float32 inner products."""


def retrieve(
    users: Tensor,
    index: ItemIndex,
    excluded: ExcludedItems,
    num_candidates: int,
    tile: tuple[int, int] | None = None,
    *,
    in_order: bool = True,
) -> Retrieved:
    """The C largest of B × I inner products; equal products come by index.

    Args:
        users: [B, D] float32.
        index: I items.
        excluded: Pairs to leave out, as rows of the index.
        num_candidates: C; fewer come back where the catalog is smaller.
        tile: Users and items whose products are held at once; None: as many as `screening` says.
        in_order: Whether the best come first. Without it they come in any order, and sorting takes no time.
    """
    num_users, num_items = tile or (screening.USERS, screening.BYTES // screening.USERS // 4)
    width = min(num_candidates, len(index))
    found = _nothing(len(users), width, users.device)
    most = min(num_items, len(index))
    screened = index.screens(most, num_candidates)
    buffer = screening.buffer_for(min(num_users, len(users)), most if screened else 0)
    for start in range(0, len(users), num_users):
        those = range(start, min(start + num_users, len(users)))
        best = _nothing(len(those), 0, users.device)
        for first in range(0, len(index), num_items):
            items = range(first, min(first + num_items, len(index)))
            here = excluded.within(those, items)
            block = _search(users[start : those.stop], index, items, here, num_candidates, buffer)
            if in_order or len(items) < len(index):
                both = (torch.cat([best.items, block.items], 1), torch.cat([best.logits, block.logits], 1))
                block = _in_order(*both, width)
            best = block
        found.items[start : those.stop], found.logits[start : those.stop] = best.items, best.logits
    return found


def _search(
    users: Tensor, index: ItemIndex, items: range, excluded: ExcludedItems, num: int, buffer: Tensor
) -> Retrieved:
    """The best of the items in a range, by item."""
    vectors = index.vectors[items.start : items.stop]
    if index.rounded is None or not index.screens(len(items), num):
        best = _among_all(users, vectors, excluded, num)
    else:
        slack = 2 * vectors.shape[1] * torch.finfo(torch.float32).eps * _lengths(users) * index.length
        screened = screening.screen(users, index.rounded, items, excluded, num, slack, buffer)
        columns, logits = screened.rescored(users, vectors, num)
        chosen = _largest(logits, num)
        best = Retrieved(items=columns.gather(1, chosen).long(), logits=logits.gather(1, chosen))
        too_many = screened.too_many
        for start in range(0, len(too_many), at_once := max(1, screening.BYTES // (4 * len(items)))):
            few = too_many[start : start + at_once]
            theirs = _among_all(users[few], vectors, excluded.of_users(few.numpy()), num)
            best.items[few], best.logits[few] = theirs.items, theirs.logits
    return Retrieved(items=best.items + items.start, logits=best.logits)


def _among_all(users: Tensor, vectors: Tensor, excluded: ExcludedItems, num: int) -> Retrieved:
    """The best of all products, by item."""
    logits = _products(users, vectors)
    cells = (torch.from_numpy(pairs).to(logits.device) for pairs in (excluded.users, excluded.items))
    logits[tuple(cells)] = -torch.inf
    columns = _largest(logits, num)
    return Retrieved(items=columns, logits=logits.gather(1, columns))


def _products(users: Tensor, vectors: Tensor) -> Tensor:
    """[B, I] products."""
    if len(users) == 1 and users.device.type == "cpu":  # numpy's BLAS takes less than half of torch's time for one user
        return torch.from_numpy(users.numpy() @ vectors.numpy().T)
    return users @ vectors.T


def _in_order(items: Tensor, logits: Tensor, num: int) -> Retrieved:
    """The `num` best of [B, N], best first; equal products stay in their order."""
    order = logits.sort(dim=1, descending=True, stable=True)
    return Retrieved(items=items.gather(1, order.indices[:, :num]), logits=order.values[:, :num])


def _nothing(num_users: int, width: int, device: torch.device) -> Retrieved:
    shape = (num_users, width)
    return Retrieved(
        items=torch.zeros(shape, dtype=torch.int64, device=device),
        logits=torch.full(shape, -torch.inf, device=device),
    )


def _lengths(vectors: Tensor) -> Tensor:
    """[N, 1] Euclidean lengths."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return lengths


def products_with(users: Tensor, vectors: Tensor, items: Tensor) -> Tensor:
    """[B, C] float32 products of each user with some items.

    Args:
        users: [B, D].
        vectors: [I, D].
        items: [B, C] rows of `vectors`.
    """
    users, vectors = users.float(), vectors.float()
    if users.device.type == "cpu":
        return torch.from_numpy(on_cpu.inner_products(users.numpy(), vectors.numpy(), items.numpy()))
    few = max(1, _GATHERED_CELLS // (items.shape[1] * vectors.shape[1]))
    blocks = zip(torch.split(users, few), torch.split(items, few), strict=True)
    return torch.cat([torch.einsum("bd,bcd->bc", user, vectors[item]) for user, item in blocks])


def _largest(values: Tensor, num: int) -> Tensor:
    """[B, num] columns of the largest of [B, N] values, ascending; the first columns where equal values meet the cut.

    `topk` alone keeps any of several equal values, so a list would depend on the sizes of the batch and of the blocks.
    Among values of −inf any column may come.
    """
    if num >= values.shape[1]:
        return torch.arange(values.shape[1], device=values.device).expand_as(values)
    if values.device.type == "cpu":
        return torch.from_numpy(largest(values.numpy(), num))
    top = values.topk(num + 1, dim=1)
    columns = top.indices[:, :num]
    tied = (top.values[:, num - 1] == top.values[:, num]) & top.values[:, num].isfinite()
    if tied.any():
        columns = columns.clone()
        columns[tied] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, :num]
    return columns.sort(dim=1).values
