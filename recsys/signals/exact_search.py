"""Exact search: the items of a catalog with the largest inner products with each user.

A CPU that multiplies bfloat16 natively first screens: it takes products of rounded vectors, in half the time. Their
error has a known bound, so they say for sure which few items can be among the best; float32 products of these decide.

Shapes: B users, I items, D dimensions, C candidates.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.model.precision import multiplies_bfloat16
from recsys.signals import products as on_cpu
from recsys.signals.excluded import ExcludedItems
from recsys.signals.selection import largest

#: Users who are searched for together, and bytes of their products with items that are held at once.
_USERS, _BYTES = 1024, 2**28
#: Items multiplied at once: few enough that their products are still in the cache when they are read.
_SLICE = 4096
#: Items of a group, whose maximum is read first. They lie far apart, so that maxima are taken of whole rows.
_GROUP = 16
#: Groups per candidate whose maxima give a lower bound of the C-th best: more are slower, fewer give a worse bound.
_BOUNDED_BY = 6
#: Times C items that can be among the best of a user: with more it is cheaper to read all items.
_TOO_MANY = 8
#: Numbers of the items' vectors that are gathered at once on a GPU.
_GATHERED_CELLS = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemIndex:
    """The vectors of some items, ready to be searched."""

    vectors: Tensor
    """[I, D] float32."""
    rounded: Tensor
    """[I, D] the same in the precision that the device multiplies fastest."""
    length: float
    """Length of the longest vector."""
    error: float
    """Largest distance between a vector and its rounded copy."""

    @classmethod
    def of(cls, vectors: Tensor) -> "ItemIndex":
        """An index of [I, D] vectors on their device."""
        vectors = vectors.float()
        rounded = vectors.to(fastest_precision(vectors.device))
        return cls(
            vectors=vectors,
            rounded=rounded,
            length=float(_lengths(vectors).amax()) if len(vectors) else 0.0,
            error=float(_lengths(vectors - rounded.float()).amax()) if len(vectors) else 0.0,
        )

    def __len__(self) -> int:
        return len(self.vectors)


def fastest_precision(device: torch.device) -> torch.dtype:
    """bfloat16 on a CPU that has instructions for it, otherwise float32."""
    return torch.bfloat16 if device.type == "cpu" and multiplies_bfloat16(device) else torch.float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The best items of B users, best first."""

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
        tile: Users and items whose products are held at once; None: as many as `_USERS` and `_BYTES` allow.
        in_order: Whether the best come first. Without it they come in any order, and sorting takes no time.
    """
    num_users, num_items = tile or (_USERS, _BYTES // _USERS // index.rounded.itemsize)
    width = min(num_candidates, len(index))
    found = _nothing(len(users), width, users.device)
    most = min(num_items, len(index))
    slices = -(-most // _SLICE) if _screening_pays(index, most, num_candidates) else 0
    products = index.rounded.new_empty(slices * min(num_users, len(users)) * _SLICE)  # the first touch is what costs
    for start in range(0, len(users), num_users):
        those = range(start, min(start + num_users, len(users)))
        best = _nothing(len(those), 0, users.device)
        for first in range(0, len(index), num_items):
            items = range(first, min(first + num_items, len(index)))
            here = excluded.within(those, items)
            block = _search(users[start : those.stop], index, items, here, num_candidates, products)
            if in_order or len(items) < len(index):
                both = (torch.cat([best.items, block.items], 1), torch.cat([best.logits, block.logits], 1))
                block = _in_order(*both, width)
            best = block
        found.items[start : those.stop], found.logits[start : those.stop] = best.items, best.logits
    return found


def _screening_pays(index: ItemIndex, num_items: int, num: int) -> bool:
    """Whether to screen: only where bfloat16 is the fastest precision (2.4 times as fast), and not for few items."""
    return index.rounded.dtype == torch.bfloat16 and num_items >= _BOUNDED_BY * _GROUP * num


def _search(
    users: Tensor, index: ItemIndex, items: range, excluded: ExcludedItems, num: int, products: Tensor
) -> Retrieved:
    """The best of the items in a range, by item."""
    vectors = index.vectors[items.start : items.stop]
    if not _screening_pays(index, len(items), num):
        best = _among_all(users, vectors, excluded, num)
    else:
        rows, columns, too_many = _screen(users, index, items, excluded, num, products)
        best = _decide(users, vectors, rows, columns, num)
        for few in torch.split(too_many, max(1, _BYTES // (4 * len(items)))):
            theirs = _among_all(users[few], vectors, excluded.of_users(few.cpu().numpy()), num)
            best.items[few], best.logits[few] = theirs.items, theirs.logits
    return Retrieved(items=best.items + items.start, logits=best.logits)


def _among_all(users: Tensor, vectors: Tensor, excluded: ExcludedItems, num: int) -> Retrieved:
    """The best of all products, by item."""
    logits = users @ vectors.T
    _mask(logits, excluded.users, excluded.items)
    columns = _largest(logits, num)
    return Retrieved(items=columns, logits=logits.gather(1, columns))


def _screen(
    users: Tensor, index: ItemIndex, items: range, excluded: ExcludedItems, num: int, products: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(users, items) of all pairs that can be among the best, by user; and the users who have too many of them.

    With ũ, ĩ for the rounded vectors, |u·i − ũ·ĩ| = |(u − ũ)·i + ũ·(i − ĩ)| ≤ |u − ũ| |i| + |ũ| |i − ĩ|. If C rounded
    products reach t, the C-th best product is at least t minus that bound, and a product below t minus twice the bound
    is none of the best. t is the C-th largest of the maxima of disjoint groups.
    """
    rounded = users.to(index.rounded.dtype)
    num_slices, groups = -(-len(items) // _SLICE), _SLICE // _GROUP
    shape = (num_slices, len(users), _SLICE)
    products = products[: math.prod(shape)].view(shape)
    maxima = rounded.new_empty((len(users), num_slices, groups))
    order = np.argsort(excluded.items, kind="stable")
    bounds = np.searchsorted(excluded.items[order], np.arange(num_slices + 1) * _SLICE)
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        first = number * _SLICE
        part = index.rounded[items.start + first : min(items.start + first + _SLICE, items.stop)]
        torch.mm(rounded, part.T, out=products[number, :, : len(part)])
        products[number, :, len(part) :] = -torch.inf
        _mask(products[number], excluded.users[order[low:high]], excluded.items[order[low:high]] - first)
        torch.amax(products[number].view(-1, _GROUP, groups), 1, out=maxima[:, number])
    least = _least_of_best(maxima.flatten(1), users, rounded, index, num)
    rows, group = (maxima.flatten(1) >= least).nonzero(as_tuple=True)
    too_many = rows.bincount(minlength=len(users)) > _TOO_MANY * num
    if too_many.any():
        rows, group = rows[~too_many[rows]], group[~too_many[rows]]
    slices, place = group // groups, group % groups
    members = products.view(num_slices, -1, _GROUP, groups)[slices, rows, :, place]
    which, member = (members >= least[rows]).nonzero(as_tuple=True)
    return rows[which], (slices * _SLICE + place)[which] + member * groups, too_many.nonzero()[:, 0]


def _least_of_best(maxima: Tensor, users: Tensor, rounded: Tensor, index: ItemIndex, num: int) -> Tensor:
    """[B, 1] the least rounded product that can be one of the best, from the maxima [B, groups] of all groups."""
    groups = maxima.shape[1]
    together = max(1, groups // (_BOUNDED_BY * num))
    together = min(1 << (together.bit_length() - 1), groups & -groups)  # a power of two that divides the groups
    reached = maxima.view(len(users), together, -1).amax(1).topk(num, dim=1, sorted=False).values.amin(1, keepdim=True)
    error = _lengths(users - rounded.float()) * index.length + _lengths(rounded.float()) * index.error
    summing = index.vectors.shape[1] * torch.finfo(torch.float32).eps * _lengths(users) * index.length
    rounding = torch.finfo(maxima.dtype).eps * reached.float().abs()  # of the products themselves
    least = reached.float() - 2 * (error + summing) - rounding
    return least.clamp(min=torch.finfo(maxima.dtype).min).to(maxima.dtype)  # an excluded product is below that


def _decide(users: Tensor, vectors: Tensor, rows: Tensor, columns: Tensor, num: int) -> Retrieved:
    """The best of pairs (row, column), sorted by row, by their float32 products; the result is by item."""
    counts = rows.bincount(minlength=len(users))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    none = len(vectors)
    items = columns.new_full((len(users), max(int(counts.max()), num)), none)
    items[rows, place] = columns
    items = items.sort(dim=1).values
    logits = products_with(users, vectors, items.clamp(max=none - 1)).masked_fill(items == none, -torch.inf)
    best = _largest(logits, num)
    return Retrieved(items=items.masked_fill(items == none, 0).gather(1, best), logits=logits.gather(1, best))


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


def _mask(logits: Tensor, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> None:
    """Write −inf into the cells of (user, item) pairs."""
    cells = (torch.from_numpy(pairs).to(logits.device) for pairs in (users, items))
    logits[tuple(cells)] = -torch.inf
