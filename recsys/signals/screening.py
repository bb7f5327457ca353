"""Screening: int8 products of users with all items say which few items can be among the best of each user.

Shapes: B users, I items, D dimensions, C candidates, W places for items of a user, S slices.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.compiled import compiled
from recsys.signals.excluded import ExcludedItems
from recsys.signals.int8_vectors import Int8Vectors

#: Users who are screened together, and bytes of their products with items that are held at once.
USERS, BYTES = 256, 2**27
#: Items multiplied at once: few enough that their products are still in the cache when they are read.
SLICE = 4096
#: Neighbours in the catalog, whose maximum is read first. They lie together, so that few cache lines are read again.
GROUP = 32
#: Groups per candidate whose maxima give a lower bound of the C-th best: more are slower, fewer give a worse bound.
_BOUNDED_BY = 3
#: Times C items that can be among the best of a user: with more it is cheaper to read all items.
_TOO_MANY = 8
#: The int8 product of an excluded item: less than any real one.
_NEVER = torch.iinfo(torch.int32).min

Ints32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """The items that can be among the C best of B users."""

    items: Ints32
    """[B, W] by item; the first ``counts`` of each row are set."""
    counts: Ints32
    """[B]; −1 for a user who has more than W."""

    @property
    def too_many(self) -> Tensor:
        """Users who have more than W; for them nothing is known."""
        return torch.from_numpy(np.flatnonzero(self.counts < 0))

    def rescored(self, users: Tensor, vectors: Tensor, num: int) -> tuple[Tensor, Tensor]:
        """[B, at least ``num``] the items, any where there is no further one; their float32 products, −inf there."""
        width = max(int(self.counts.max(initial=0)), num)
        logits = np.full((len(users), width), -np.inf, dtype=np.float32)
        items = self.items[:, :width]
        _rescore(users.numpy(), vectors.numpy(), items, self.counts, logits)
        return torch.from_numpy(items), torch.from_numpy(logits)


def pays(num_items: int, num: int) -> bool:
    """Whether screening is faster than reading all products: not for few items."""
    return num_items >= _BOUNDED_BY * GROUP * num


def buffer_for(num_users: int, num_items: int) -> Tensor:
    """Memory for the products of a block: the first touch is what costs, so blocks share it."""
    return torch.empty(-(-num_items // SLICE) * num_users * SLICE, dtype=torch.int32)


def screen(
    users: Tensor, rounded: Int8Vectors, items: range, excluded: ExcludedItems, num: int, slack: Tensor, buffer: Tensor
) -> Screened:
    """All items in a range that can be among the C best of each user.

    An int8 product is at most some bound away from the exact product, both in the user's units (see `Int8Vectors`).
    If C of them reach t, the C-th best product is at least t minus that bound, and a product below t minus twice the
    bound is none of the best. t is the C-th largest of the maxima of disjoint groups.

    Args:
        users: [B, D] float32.
        rounded: Of all items.
        items: The range.
        excluded: Pairs to leave out, numbered from the first item of the range.
        num: C, at most one for each group of items.
        slack: [B, 1] what the rounding of float32 sums may add to the bound.
        buffer: Of `buffer_for`.
    """
    numbers, unit, error = rounded.read(users)
    num_slices = -(-len(items) // SLICE)
    products = buffer[: num_slices * len(users) * SLICE].view(num_slices, len(users), SLICE)
    maxima = torch.empty((len(users), num_slices, SLICE // GROUP), dtype=torch.int32)
    order = np.argsort(excluded.items, kind="stable")
    bounds = np.searchsorted(excluded.items[order], np.arange(num_slices + 1) * SLICE)
    for number, (low, high) in enumerate(itertools.pairwise(bounds)):
        first = number * SLICE
        part = rounded.numbers[items.start + first : min(items.start + first + SLICE, items.stop)]
        if len(part) == SLICE:
            torch._int_mm(numbers, part.T, out=products[number])
        else:
            products[number, :, : len(part)] = torch._int_mm(numbers, part.T)
            products[number, :, len(part) :] = _NEVER
        products[number].numpy()[excluded.users[order[low:high]], excluded.items[order[low:high]] - first] = _NEVER
        torch.amax(products[number].view(len(users), -1, GROUP), 2, out=maxima[:, number])
    bound = error + slack / unit
    least = _least_of_best(maxima.flatten(1), bound, num)
    found = np.zeros((len(users), _TOO_MANY * num + GROUP), dtype=np.int32)
    counts = np.empty(len(users), dtype=np.int32)
    _select(products.numpy(), maxima.numpy(), least.numpy(), found, counts)
    return Screened(items=found, counts=counts)


def _least_of_best(maxima: Tensor, bound: Tensor, num: int) -> Tensor:
    """[B] int32 the least int8 product that can be one of the best, from the maxima [B, groups] of all groups."""
    groups = maxima.shape[1]
    together = max(1, groups // (_BOUNDED_BY * num))
    together = min(1 << (together.bit_length() - 1), groups & -groups)  # a power of two that divides the groups
    reached = maxima.view(len(maxima), together, -1).amax(1).topk(num, dim=1, sorted=False).values.amin(1, keepdim=True)
    least = (reached - 2 * bound).floor().nan_to_num(nan=_NEVER)
    return least.clamp(min=_NEVER + 1).to(torch.int32)[:, 0]  # an excluded product is below that


@compiled
def _select(products: Ints32, maxima: Ints32, least: Ints32, found: Ints32, counts: Ints32) -> None:
    """Fill items [B, W] and counts [B] with the places of products [S, B, SLICE] that reach ``least`` [B]."""
    for row in range(maxima.shape[0]):
        own, reached, count = found[row], least[row], 0
        for part in range(maxima.shape[1]):
            highest, values = maxima[row, part], products[part, row]
            for group in range(len(highest)):
                if highest[group] < reached or count > len(own) - GROUP:
                    continue
                for place in range(group * GROUP, (group + 1) * GROUP):
                    if values[place] >= reached:
                        own[count] = part * SLICE + place
                        count += 1
        counts[row] = count if count <= len(own) - GROUP else -1


@compiled
def _rescore(users: Floats, vectors: Floats, items: Ints32, counts: Ints32, logits: Floats) -> None:
    """Fill the first ``counts`` logits of each row with float32 products."""
    for row in range(len(users)):
        user = users[row]
        for column in range(counts[row]):
            vector = vectors[items[row, column]]
            product = np.float32(0)
            for place in range(len(user)):
                product += user[place] * vector[place]
            logits[row, column] = product
