"""Exact retrieval: the best items of each user by inner product.

On a CPU almost all of its time goes into products in the precision that it multiplies fastest. They are wrong by no
more than a bound that is known, so they tell for sure which few items can be among the best; only these are multiplied
in float32, and decide. It knows vectors and indices only. Shapes: B users, I items, D dimensions, C candidates.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.compiled import compiled
from recsys.model.precision import multiplies_bfloat16
from recsys.signals.selection import largest

#: Users that go through together, and bytes of their products with items that are held at once.
_USERS, _BYTES = 1024, 2**28
#: Items multiplied at once: few enough that their products are still in the cache when they are looked at.
_SLICE = 4096
#: Items that are looked at as one. Those of a group lie far apart, so that a maximum is taken of whole rows.
_GROUP = 16
#: Groups per candidate that tell a lower bound of the C-th best: more are slower, and fewer bound it worse.
_LOOKED_AT = 6
#: Times C items that can be among the best of a user: with more it is cheaper to look at all of them.
_CROWD = 8
#: Numbers of the items' vectors that are gathered at once.
_GATHERED_CELLS = 2**18

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemIndex:
    """Items' vectors, ready to be searched."""

    vectors: Tensor
    """[I, D] float32."""
    rounded: Tensor
    """[I, D] the same in the precision that is multiplied fastest."""
    length: float
    """The longest vector's."""
    error: float
    """The longest difference's between a vector and its rounded self."""

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
    """bfloat16 on a CPU with instructions for it, where products take half the time, else float32."""
    return torch.bfloat16 if device.type == "cpu" and multiplies_bfloat16(device) else torch.float32


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

    def within(self, users: range, items: range) -> "Excluded":
        """Those of some users and items, counted from the first of them, by item."""
        inside = (self.users >= users.start) & (self.users < users.stop)
        inside &= (self.items >= items.start) & (self.items < items.stop)
        rows, columns = self.users[inside] - users.start, self.items[inside] - items.start
        order = np.argsort(columns, kind="stable")
        return Excluded(users=rows[order], items=columns[order])

    def of_users(self, users: npt.NDArray[np.int64], num_users: int) -> "Excluded":
        """Those of some of B users, who are numbered anew."""
        place = np.full(num_users, -1)
        place[users] = np.arange(len(users))
        theirs = place[self.users] >= 0
        return Excluded(users=place[self.users[theirs]], items=self.items[theirs])

    def bar(self, logits: Tensor) -> None:
        """Write −inf into the pairs' cells of [B, I] logits."""
        cells = (torch.from_numpy(pairs).to(logits.device) for pairs in (self.users, self.items))
        logits[tuple(cells)] = -torch.inf


def retrieve(
    users: Tensor, index: ItemIndex, excluded: Excluded, num_candidates: int, tile: tuple[int, int] | None = None
) -> Retrieved:
    """Top C of B × I inner products; equals come by index.

    Args:
        users: [B, D] float32.
        index: I items.
        excluded: Pairs to leave out.
        num_candidates: C; fewer come back where the catalog is smaller.
        tile: Users and items whose products are held at once; None: as many as `_USERS` and `_BYTES` allow.
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
            barred = excluded.within(those, items)
            block = _search(users[start : those.stop], index, items, barred, num_candidates, products)
            best = _in_order(torch.cat([best.items, block.items], 1), torch.cat([best.logits, block.logits], 1), width)
        found.items[start : those.stop], found.logits[start : those.stop] = best.items, best.logits
    return found


def _screening_pays(index: ItemIndex, num_items: int, num: int) -> bool:
    """Whether to look at maxima of groups first: not for few items, and on a GPU never.

    An H100 chooses among all items eight times faster than it screens them.
    """
    return index.vectors.device.type == "cpu" and num_items >= _LOOKED_AT * _GROUP * num


def _search(users: Tensor, index: ItemIndex, items: range, barred: Excluded, num: int, products: Tensor) -> Retrieved:
    """The best of the items in a range, by item."""
    vectors = index.vectors[items.start : items.stop]
    if not _screening_pays(index, len(items), num):
        best = _among_all(users, vectors, barred, num)
    else:
        rows, columns, crowded = _screen(users, index, items, barred, num, products)
        best = _decide(users, vectors, rows, columns, num)
        for few in torch.split(crowded, max(1, _BYTES // (4 * len(items)))):
            theirs = _among_all(users[few], vectors, barred.of_users(few.cpu().numpy(), len(users)), num)
            best.items[few], best.logits[few] = theirs.items, theirs.logits
    return Retrieved(items=best.items + items.start, logits=best.logits)


def _among_all(users: Tensor, vectors: Tensor, barred: Excluded, num: int) -> Retrieved:
    """The best by all of the products at once, by item."""
    logits = users @ vectors.T
    barred.bar(logits)
    columns = _largest(logits, num)
    return Retrieved(items=columns, logits=logits.gather(1, columns))


def _screen(
    users: Tensor, index: ItemIndex, items: range, barred: Excluded, num: int, products: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(users, items) of all pairs that can be among the best, by user; and the users who have too many of them.

    With ũ, ĩ for the rounded vectors, |u·i − ũ·ĩ| = |(u − ũ)·i + ũ·(i − ĩ)| ≤ |u − ũ| |i| + |ũ| |i − ĩ|. If C rounded
    products reach t, the C-th best product is at least t less that bound, and what is below t less twice the bound is
    none of the best. For t serves the C-th largest of maxima of disjoint groups.
    """
    rounded = users.to(index.rounded.dtype)
    num_slices, groups = -(-len(items) // _SLICE), _SLICE // _GROUP
    shape = (num_slices, len(users), _SLICE)
    products = products[: math.prod(shape)].view(shape)
    maxima = rounded.new_empty((len(users), num_slices, groups))
    bounds = np.searchsorted(barred.items, np.arange(num_slices + 1) * _SLICE)
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        first = number * _SLICE
        part = index.rounded[items.start + first : min(items.start + first + _SLICE, items.stop)]
        torch.mm(rounded, part.T, out=products[number, :, : len(part)])
        products[number, :, len(part) :] = -torch.inf
        Excluded(users=barred.users[low:high], items=barred.items[low:high] - first).bar(products[number])
        torch.amax(products[number].view(-1, _GROUP, groups), 1, out=maxima[:, number])
    least = _least(maxima.flatten(1), users, rounded, index, num)
    rows, group = (maxima.flatten(1) >= least).nonzero(as_tuple=True)
    crowded = rows.bincount(minlength=len(users)) > _CROWD * num
    if crowded.any():
        rows, group = rows[~crowded[rows]], group[~crowded[rows]]
    slices, place = group // groups, group % groups
    members = products.view(num_slices, -1, _GROUP, groups)[slices, rows, :, place]
    which, member = (members >= least[rows]).nonzero(as_tuple=True)
    return rows[which], (slices * _SLICE + place)[which] + member * groups, crowded.nonzero()[:, 0]


def _least(maxima: Tensor, users: Tensor, rounded: Tensor, index: ItemIndex, num: int) -> Tensor:
    """[B, 1] what a rounded product must reach to be that of one of the best, from maxima [B, groups] of all."""
    together = max(1, maxima.shape[1] // (_LOOKED_AT * num))
    together = 1 << (together.bit_length() - 1)
    reached = maxima.view(len(users), together, -1).amax(1).topk(num, dim=1, sorted=False).values.amin(1, keepdim=True)
    error = _lengths(users - rounded.float()) * index.length + _lengths(rounded.float()) * index.error
    summing = index.vectors.shape[1] * torch.finfo(torch.float32).eps * _lengths(users) * index.length
    rounding = torch.finfo(maxima.dtype).eps * reached.float().abs()  # of the products themselves
    least = reached.float() - 2 * (error + summing) - rounding
    return least.clamp(min=torch.finfo(maxima.dtype).min).to(maxima.dtype)  # what is barred is below that


def _decide(users: Tensor, vectors: Tensor, rows: Tensor, columns: Tensor, num: int) -> Retrieved:
    """The best of pairs (row, column), which come by row, by their float32 products; by item."""
    counts = rows.bincount(minlength=len(users))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    none = len(vectors)
    items = columns.new_full((len(users), max(int(counts.max()), num)), none)
    items[rows, place] = columns
    items = items.sort(dim=1).values
    logits = inner_products(users, vectors, items.clamp(max=none - 1)).masked_fill(items == none, -torch.inf)
    best = _largest(logits, num)
    return Retrieved(items=items.masked_fill(items == none, 0).gather(1, best), logits=logits.gather(1, best))


def _in_order(items: Tensor, logits: Tensor, num: int) -> Retrieved:
    """The `num` best of [B, N], best first; equals as they come."""
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


def inner_products(users: Tensor, vectors: Tensor, items: Tensor) -> Tensor:
    """[B, C] float32 products of each user with some items.

    Args:
        users: [B, D].
        vectors: [I, D].
        items: [B, C] rows of `vectors`.
    """
    users, vectors = users.float(), vectors.float()
    if users.device.type == "cpu":
        products = torch.empty(items.shape)
        users, vectors, items = (part.contiguous() for part in (users, vectors, items))
        _multiply(users.numpy(), vectors.numpy(), items.numpy(), products.numpy())
        return products
    few = max(1, _GATHERED_CELLS // (items.shape[1] * vectors.shape[1]))
    blocks = zip(torch.split(users, few), torch.split(items, few), strict=True)
    return torch.cat([torch.einsum("bd,bcd->bc", user, vectors[item]) for user, item in blocks])


def _largest(values: Tensor, num: int) -> Tensor:
    """[B, num] columns of the largest of [B, N] values, as `selection.largest` chooses them.

    `topk` alone keeps any of equals, so that a list would hang on the size of the batch and of the blocks. Among values
    of −inf any may come.
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


@compiled
def _multiply(users: Floats, vectors: Floats, items: npt.NDArray[np.int64], products: Floats) -> None:
    num_users, width = items.shape
    for row in range(num_users):
        user = users[row]
        for column in range(width):
            vector = vectors[items[row, column]]
            product = np.float32(0)
            for place in range(len(user)):
                product += user[place] * vector[place]
            products[row, column] = product


def unit_rows(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """[N, T] vectors of length 1, or 0 where there is none."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / norms, dtype=np.float32)
